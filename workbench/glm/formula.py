"""From a formula and a table to a regression, and from new data to the same columns."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from workbench.core.config import ConfigError
from workbench.datasets.tables.base import Table
from workbench.glm import columns
from workbench.glm.config import ModelConfig
from workbench.glm.notation import Reader, Varying
from workbench.glm.reading import Reading, design_of, offset, spec_of, terms_of
from workbench.glm.regression import Grouping, Regression


def regression_of(
    table: Table, model: ModelConfig, na: str = "drop", clusters: str | None = None
) -> Regression:
    """The regression of a model on a table that fits into memory.

    Args:
      table: the data.
      model: what the user says of it; what is left empty is what the table is known for.
      na: what becomes of rows with missing values, "drop" or "fail".
      clusters: the column that says whose a row is.

    Raises:
      ConfigError: for a formula that cannot be read, and data that do not fit it.
    """
    reading = Reading.of(table, model, clusters)
    notation = reading.notation
    frame, gaps = table.frame(reading.columns), columns.Gaps(table.name)
    source = np.flatnonzero(gaps.add(frame))
    gaps.check(na)
    frame = reading.typed(frame.iloc[source], source)
    design, spec = design_of(spec_of(notation.right), frame, source)
    names, terms = list(spec.column_names), terms_of(spec)
    if not names and not notation.varying:
        raise ConfigError(f"formula={notation.text!r} has nothing to explain by; add 1")
    low, high = design.min(axis=0), design.max(axis=0)
    columns.refuse_constant(low, high, names)
    rows = reading.rows(design, frame, source)
    left = rows.response - rows.offset
    columns.refuse_unexplained(left.min(), left.max(), notation.response, reading.family.key)
    return Regression(
        reading.model,
        reading.family,
        rows,
        names,
        terms,
        notation.response,
        spec,
        source,
        gaps.rows,
        None if clusters is None else _codes(frame, [clusters])[0],
        [_grouping(term, frame, source) for term in notation.varying],
    )


def columns_of(
    regression: Regression, frame: pd.DataFrame | Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """New data as a regression's columns.

    Args:
      regression: with the formula and the categories that were seen.
      frame: has the columns that the formula explains by; others are left alone.

    Returns:
      The design, float64 `[n, p]`, and the offset, `[n]` or `[1]`.

    Raises:
      ConfigError: when columns or values are missing, and for unseen categories.
    """
    model, spec, frame = regression.model, regression.spec, pd.DataFrame(frame)
    reader = Reader(model.formula, list(frame.columns))
    reader.read(spec.formula)
    roles = {"offset": model.offset, "exposure": model.exposure}
    for name in filter(None, roles.values()):
        reader.use(name)
    frame, places = _given(frame, reader)
    design, _ = design_of(spec, frame, places)
    added = offset(model, frame, places)
    return design, np.zeros(1) if added is None else added


def groups_of(regression: Regression, frame: pd.DataFrame | Mapping[str, Any]) -> list[Grouping]:
    """The groups of new data, all of which were seen.

    Raises:
      ConfigError: as `columns_of` does, and for unseen groups.
    """
    frame = pd.DataFrame(frame)
    return [_regrouped(grouping, regression, frame) for grouping in regression.groupings]


def _given(frame: pd.DataFrame, reader: Reader) -> tuple[pd.DataFrame, np.ndarray]:
    """The columns of new data that are used, none of whose values is missing."""
    used, places = frame[reader.columns], np.arange(len(frame))
    gaps = columns.Gaps("the new data")
    gaps.add(used)
    gaps.check("fail")
    return columns.typed(used, reader.categories, places), places


def _grouping(term: Varying, frame: pd.DataFrame, source: np.ndarray) -> Grouping:
    design, spec = design_of(spec_of(term.inside), frame, source)
    codes, levels = _codes(frame, term.columns)
    return Grouping(term.factor, levels, codes, list(spec.column_names), design, spec)


def _regrouped(grouping: Grouping, regression: Regression, frame: pd.DataFrame) -> Grouping:
    parts = grouping.factor.split(":")
    reader = Reader(regression.model.formula, list(frame.columns))
    reader.read(grouping.spec.formula)
    for name in parts:
        reader.use(name, categorical=True)
    frame, places = _given(frame, reader)
    keys = _keys(frame, parts)
    codes = pd.Index(grouping.levels).get_indexer(keys)
    if (codes < 0).any():
        raise ConfigError(
            f"{grouping.factor} has groups that the estimation has not seen "
            f"({keys[int(np.argmin(codes))]})"
        )
    design, _ = design_of(grouping.spec, frame, places)
    return dataclasses.replace(grouping, codes=codes.astype(np.int32), design=design)


def _codes(frame: pd.DataFrame, parts: list[str]) -> tuple[np.ndarray, list[str]]:
    """Which group each row is of, int32 `[n]`, and the groups' names in order."""
    values = frame[parts[0]] if len(parts) == 1 else _keys(frame, parts)
    codes, levels = pd.factorize(values, sort=True)
    return codes.astype(np.int32), [str(level) for level in levels]


def _keys(frame: pd.DataFrame, parts: list[str]) -> np.ndarray:
    """Each row's group by name, as "county" or "county:year"."""
    words = [frame[part].astype(str) for part in parts]
    return words[0].str.cat(words[1:], sep=":").to_numpy(object)
