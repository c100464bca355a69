"""A regression on a table that memory does not hold: scanned once, then read block by block."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from formulaic import ModelSpec
from formulaic.parser.types import Factor

from workbench.core.config import ConfigError
from workbench.datasets.tables.base import Table
from workbench.glm import columns
from workbench.glm.config import ModelConfig
from workbench.glm.families import Family
from workbench.glm.notation import STATEFUL, Notation
from workbench.glm.reading import Reading, design_of, encoded, spec_of, terms_of
from workbench.glm.rows import Rows
from workbench.glm.search import Facts

# Numbers that are read from a file at once.
BATCH = 2**21
# Rows from which the columns' names are found out.
SAMPLE = 64


@dataclass(frozen=True, eq=False)
class Streamed:
    """A model and a table, all of whose rows were seen to fit it.

    Attributes:
      reading: the model, and what it says of the table.
      names: of the design's columns.
      terms: of the formula, and which columns each stands for.
      spec: formulaic's, by which rows become columns.
      count: rows without missing values.
      dropped: those with some.
      facts: of all rows.
      levels: of the columns that are categories, in order.
      numbers: the columns of numbers that the design consists of, None being the intercept; None
        instead where it has others, too, which formulaic has to compute.
    """

    table: Table
    reading: Reading
    names: list[str]
    terms: dict[str, list[int]]
    spec: ModelSpec
    count: int
    dropped: int
    facts: Facts
    levels: dict[str, pd.Index]
    numbers: list[str | None] | None

    @classmethod
    def of(cls, table: Table, model: ModelConfig, na: str = "drop") -> "Streamed":
        """Goes through a table once.

        Args:
          table: the data.
          model: what the user says of it; what is left empty is what the table is known for.
          na: what becomes of rows with missing values, "drop" or "fail".

        Raises:
          ConfigError: for a formula that cannot be read, or needs all rows at once, and data that
            do not fit it.
        """
        reading = Reading.of(table, model)
        _refuse_whole(reading.notation)
        scan = _Scan(table, reading)
        for frame in _batches(table, reading):
            scan.add(frame)
        scan.check(na)
        levels = scan.levels
        _, spec = encoded(spec_of(reading.notation.right), _leveled(scan.sample, levels))
        terms, numbers = terms_of(spec), _numbers(spec, levels)
        names = list(spec.column_names)
        scan.refuse_constant(names)
        count, dropped = scan.gaps.total - scan.gaps.rows, scan.gaps.rows
        return cls(table, reading, names, terms, spec, count, dropped, scan.facts, levels, numbers)

    @property
    def model(self) -> ModelConfig:
        """What the user said, and where nothing was, what the table is known for."""
        return self.reading.model

    @property
    def family(self) -> Family:
        """Distribution and link."""
        return self.reading.family

    @property
    def response(self) -> str:
        """The response's name."""
        return self.reading.notation.response

    def blocks(self, rows: int, dtype: str = "float64") -> Iterator[Rows]:
        """All rows in order, in blocks of one size; memory holds one of them and a batch.

        The last block is filled up with rows of frequency 0.

        Args:
          rows: of a block.
          dtype: of its arrays.
        """
        block, filled = self._block(rows, dtype), 0
        for frame, places in self._typed():
            start = 0
            while start < len(frame):
                taken = min(len(frame) - start, rows - filled)
                part = slice(start, start + taken)
                self._fill(block, slice(filled, filled + taken), frame.iloc[part], places[part])
                start, filled = start + taken, filled + taken
                if filled == rows:
                    yield block
                    block, filled = self._block(rows, dtype), 0
        if filled:
            # Of any row, so that all of them are possible.
            for array in block:
                array[filled:] = array[0]
            block.frequency[filled:] = 0
            yield block

    def _typed(self) -> Iterator[tuple[pd.DataFrame, np.ndarray]]:
        """Batches of rows without missing values, and their places."""
        start = 0
        for frame in _batches(self.table, self.reading):
            places = np.arange(start, start + len(frame))
            start += len(frame)
            if self.dropped:
                kept = ~frame.isna().to_numpy().any(axis=1)
                frame, places = frame[kept], places[kept]
            yield _leveled(frame, self.levels), places

    def _block(self, rows: int, dtype: str) -> Rows:
        arrays = (np.empty([rows], dtype) for _ in range(4))
        return Rows(np.empty([rows, len(self.names)], dtype), *arrays)

    def _fill(self, block: Rows, at: slice, frame: pd.DataFrame, places: np.ndarray) -> None:
        rows = self.reading.rows(np.empty([len(frame), 0]), frame, places)
        for array, value in zip(block[1:], rows[1:], strict=True):
            array[at] = value
        if self.numbers is None:
            block.design[at] = design_of(self.spec, frame, places)[0]
            return
        for number, name in enumerate(self.numbers):
            block.design[at, number] = 1 if name is None else frame[name]


class _Scan:
    """What one pass over a table finds.

    Args:
      table: the data.
      reading: what a model says of it.

    Attributes:
      gaps: missing values.
      sample: a few rows without.
    """

    def __init__(self, table: Table, reading: Reading):
        self.gaps, self.sample = columns.Gaps(table.name), pd.DataFrame()
        self._reading = reading
        self._categories: dict[str, set[Any]] = {}
        # By column; "" is the response without its offset.
        self._ranges: dict[str, tuple[float, float]] = {}
        self._sums = np.zeros(4)

    def add(self, frame: pd.DataFrame) -> None:
        """Takes in a batch.

        Raises:
          ConfigError: for values that do not fit.
        """
        start = self.gaps.total
        kept = np.flatnonzero(self.gaps.add(frame))
        if not len(kept):
            return
        places = start + kept
        typed = self._reading.typed(frame.iloc[kept] if len(kept) < len(frame) else frame, places)
        for name in typed:
            if typed[name].dtype == np.float64:
                self._stretch(name, typed[name].to_numpy())
            else:
                self._categories.setdefault(name, set()).update(typed[name].unique())
        if self.sample.empty:
            self.sample = typed.iloc[:SAMPLE]
        self._count(self._reading.rows(np.empty([len(typed), 0]), typed, places))

    def check(self, na: str) -> None:
        """Whether the rows that were found will do.

        Raises:
          ConfigError: when there are none, some have gaps and may not, or the response is constant.
        """
        self.gaps.check(na)
        reading = self._reading
        columns.refuse_unexplained(*self._ranges[""], reading.notation.response, reading.family.key)

    def refuse_constant(self, names: Sequence[str]) -> None:
        """Refuses columns of the table that are constant, as far as they are in the design.

        Raises:
          ConfigError: naming the first.
        """
        low, high = np.array([self._ranges.get(name, (np.nan, np.nan)) for name in names]).T
        columns.refuse_constant(low, high, names)

    @property
    def levels(self) -> dict[str, pd.Index]:
        """The categories of the columns that have some, in order."""
        return {name: columns.levels(found) for name, found in self._categories.items()}

    @property
    def facts(self) -> Facts:
        """Of all rows that were kept."""
        frequency, precision, responses, offsets = self._sums
        kept = self.gaps.total - self.gaps.rows
        return Facts(frequency, responses / precision, offsets / kept, precision)

    def _count(self, rows: Rows) -> None:
        parts = (rows.frequency, rows.precision, rows.precision * rows.response, rows.offset)
        count = len(rows.response)
        self._sums += [np.sum(part) * (count if len(part) == 1 else 1) for part in parts]
        self._stretch("", rows.response - rows.offset)

    def _stretch(self, name: str, values: np.ndarray) -> None:
        low, high = self._ranges.get(name, (np.inf, -np.inf))
        self._ranges[name] = min(low, values.min()), max(high, values.max())


def _batches(table: Table, reading: Reading) -> Iterator[pd.DataFrame]:
    used = reading.columns
    yield from table.batches(max(1, BATCH // len(used)), used)


def _leveled(frame: pd.DataFrame, levels: Mapping[str, pd.Index]) -> pd.DataFrame:
    """Columns as float64, and as categories that are the same in all batches."""
    return pd.DataFrame(
        {
            name: pd.Categorical(frame[name], levels[name])
            if name in levels
            else frame[name].to_numpy(np.float64)
            for name in frame
        },
        copy=False,
    )


def _numbers(spec: ModelSpec, levels: Mapping[str, pd.Index]) -> list[str | None] | None:
    """What `Streamed.numbers` is."""
    factors = [list(term.factors) for term in spec.terms]
    literal, lookup = Factor.EvalMethod.LITERAL, Factor.EvalMethod.LOOKUP
    found: list[str | None] = []
    for factor, *others in factors:
        if others or factor.eval_method not in (literal, lookup) or factor.expr in levels:
            return None
        found.append(None if factor.eval_method is literal else factor.expr)
    return found


def _refuse_whole(notation: Notation) -> None:
    """Refuses what cannot be computed block by block."""
    if notation.varying:
        raise ConfigError(
            "terms that vary by group need all rows in memory: set dataset.stream=false"
        )
    if found := sorted(notation.functions.intersection(STATEFUL)):
        raise ConfigError(
            f"{found[0]}() needs all rows in memory: set dataset.stream=false, or compute it in "
            "the table"
        )
