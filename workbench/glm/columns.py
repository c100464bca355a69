"""A table's columns as numbers and categories, checked: what is missing, endless or of no use."""

import decimal
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pandas as pd

from workbench.core.config import ConfigError, nearest
from workbench.datasets.tables.base import Table
from workbench.glm.regression import INTERCEPT
from workbench.glm.rows import Rows

# Rows that an error names.
FEW = 3
# Share of a column's words that are numbers, from which on the others are mistakes.
MOSTLY = 0.5


def known(table: Table, roles: dict[str, str | None]) -> None:
    """Whether a table's columns are told apart by their names, and those with a part are there.

    Args:
      table: with the columns.
      roles: columns by what they are for.

    Raises:
      ConfigError: naming the first that is not.
    """
    columns = table.columns
    if len(set(columns)) < len(columns):
        twice = next(name for name in columns if columns.count(name) > 1)
        raise ConfigError(f"{table.name} has several columns named {twice!r}; rename them")
    for role, name in roles.items():
        if name is not None and name not in columns:
            raise ConfigError(f"{role}={name} is no column{nearest(name, columns)}")


class Gaps:
    """Missing values, counted batch by batch.

    Args:
      name: the table's.

    Attributes:
      total: rows that were seen.
      rows: those of them that have some.
    """

    def __init__(self, name: str):
        self._name = name
        self.total = self.rows = 0
        self._columns: Counter[str] = Counter()
        self._first: list[int] = []

    def add(self, frame: pd.DataFrame) -> np.ndarray:
        """Counts the next rows; says which of them have no missing values, bool `[n]`."""
        missing = frame.isna().to_numpy()
        gaps = missing.any(axis=1)
        if gaps.any():
            self._columns.update(dict(zip(frame, missing.sum(axis=0), strict=True)))
            self._first += (self.total + np.flatnonzero(gaps)[:FEW]).tolist()
        self.total += len(frame)
        self.rows += np.count_nonzero(gaps)
        return ~gaps

    def check(self, na: str) -> None:
        """Whether there are rows without.

        Args:
          na: "drop" them, or "fail" where there is one.

        Raises:
          ConfigError: when there is none, or one with some that may not have them.
        """
        if not self.total:
            raise ConfigError(f"{self._name} has no rows")
        found = ", ".join(f"{column}: {count}" for column, count in self._columns.items() if count)
        if self.rows == self.total:
            raise ConfigError(f"{self._name} has missing values in each of its rows ({found})")
        if self.rows and na == "fail":
            raise ConfigError(
                f"{self._name} has missing values {_where(self._first, self.rows)} ({found}); "
                "leave them out, as na=drop does"
            )


def typed(frame: pd.DataFrame, categories: Collection[str], places: np.ndarray) -> pd.DataFrame:
    """Columns as float64 where they are numbers, and as objects or categories where they are not.

    Args:
      frame: rows without missing values.
      categories: columns that are used as categories, whatever they hold.
      places: of the rows in the data, `[n]`, from 0.

    Raises:
      ConfigError: for infinite values, and words among numbers.
    """
    columns = {
        name: _category(frame[name]) if name in categories else _number(frame[name], places)
        for name in frame
    }
    return pd.DataFrame(columns, index=pd.RangeIndex(len(frame)), copy=False)


def _category(values: pd.Series) -> np.ndarray | pd.Categorical:
    """Values as they are; whole numbers as such, which they were before a gap made them floats."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        return values.array.remove_unused_categories()
    found = values.to_numpy()
    if found.dtype.kind == "f" and np.array_equal(found, np.floor(found)):
        return found.astype(np.int64)
    return found


def levels(found: Collection[Any]) -> pd.Index:
    """Categories in order."""
    _, ordered = pd.factorize(np.array([*found], object), sort=True)
    return pd.Index(_category(pd.Series(ordered).infer_objects()))


def _number(values: pd.Series, places: np.ndarray) -> np.ndarray | pd.Categorical:
    """Numbers as float64; words, which become categories, stay."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        return values.array.remove_unused_categories()
    if pd.api.types.is_numeric_dtype(values.dtype):
        return finite(values.to_numpy(np.float64), str(values.name), places)
    found = values.to_numpy(object)
    if all(isinstance(value, bool | np.bool_ | decimal.Decimal) for value in found):
        return finite(found.astype(np.float64), str(values.name), places)
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        raise ConfigError(f"{values.name} holds dates; make a number of them, or write C(…)")
    _refuse_words_among_numbers(found, str(values.name), places)
    return found


def _refuse_words_among_numbers(found: np.ndarray, name: str, places: np.ndarray) -> None:
    words = pd.to_numeric(pd.Series(found), errors="coerce").isna().to_numpy()
    if words.mean() < MOSTLY:
        row = int(np.argmax(words))
        value = f"is {found[row]!r} in row {places[row] + 1}" if words.any() else "holds words"
        raise ConfigError(
            f"{name} {value}, and numbers elsewhere; mend it, or write C({name}) for categories"
        )


def finite(values: np.ndarray, name: str, places: np.ndarray) -> np.ndarray:
    """The values, none of which is infinite.

    Raises:
      ConfigError: naming the first that is.
    """
    bad = ~np.isfinite(values)
    if bad.any():
        rows = places[np.flatnonzero(bad)]
        raise ConfigError(f"{name} is {values[bad][0]:g} {_where(rows, len(rows))}")
    return values


def above_zero(values: np.ndarray, name: str, role: str, places: np.ndarray) -> np.ndarray:
    """The values, all of which are above 0.

    Raises:
      ConfigError: naming the first that is not.
    """
    if values.dtype.kind != "f":
        raise ConfigError(f"{role}={name} holds words, and has to be a number")
    bad = values <= 0
    if bad.any():
        rows = places[np.flatnonzero(bad)]
        raise ConfigError(
            f"{role}={name} has to be above 0, and is {values[bad][0]:g} {_where(rows, len(rows))}"
        )
    return values


def refuse_constant(low: np.ndarray, high: np.ndarray, names: Sequence[str]) -> None:
    """Refuses columns that are constant beside the intercept, or 0.

    Args:
      low: their smallest values.
      high: their largest ones.
      names: theirs.

    Raises:
      ConfigError: naming the first such column.
    """
    for column in np.flatnonzero(low == high):
        name, value = names[column], low[column]
        if value == 0 or (INTERCEPT in names and name != INTERCEPT):
            beside = ", as the intercept is" if value else ""
            raise ConfigError(f"{name} is {value:g} in all rows{beside}; leave it out")


def refuse_unexplained(low: float, high: float, name: str, family: str) -> None:
    """Refuses normal responses that do not vary.

    Args:
      low: the smallest one, without its offset.
      high: the largest one.
      name: theirs.
      family: their distribution.

    Raises:
      ConfigError: when they are all the same.
    """
    if family == "gaussian" and low == high:
        raise ConfigError(f"{name} is {low:g} in all rows: nothing is to be explained")


def enough(rows: Rows) -> None:
    """Whether there are as many rows as columns, as estimates without a penalty need.

    Raises:
      ConfigError: when there are not.
    """
    count, width = rows.design.shape
    if count < width:
        raise ConfigError(
            f"{width} columns are too many for {count} rows; drop some, or set method.ridge"
        )


def _where(first: Sequence[int] | np.ndarray, count: int) -> str:
    """Where rows are, as rows are counted."""
    numbers = ", ".join(str(row + 1) for row in first[:FEW])
    return f"in row {numbers}" if count == 1 else f"in {count} rows, first {numbers}"
