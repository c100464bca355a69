"""A regression: rows with what their columns mean."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from workbench.glm.config import ModelConfig
from workbench.glm.families import Family
from workbench.glm.rows import Rows

INTERCEPT = "Intercept"


@dataclass(frozen=True, eq=False)
class Grouping:
    """A term `(design | factor)` of a hierarchical formula: coefficients that vary by group.

    Attributes:
      factor: the column whose levels are the groups.
      levels: the groups' names, in the order of codes.
      codes: int32 `[n]`, which group a row is of.
      names: of the coefficients that vary, e.g. ["Intercept", "x"].
      design: their columns, float64 `[n, q]`.
      spec: formulaic's, by which new data become columns.
    """

    factor: str
    levels: Sequence[str]
    codes: np.ndarray
    names: list[str]
    design: np.ndarray
    spec: Any = None


@dataclass(frozen=True, eq=False)
class Regression:
    """A model and checked data for it.

    Attributes:
      model: what the user said.
      family: distribution and link.
      rows: float64 design, response (shares, of binomial ones), offset and weights.
      names: of the design's columns, as in "Intercept", "x", "C(group)[T.b]".
      terms: of the formula, and which columns each stands for.
      response: the response's name.
      spec: formulaic's, by which new data become columns; None where there was no formula.
      source: which rows of the data were kept, int64 `[n]`; their places, from 0.
      dropped: how many rows were left out for missing values.
      clusters: int32 `[n]`, whose a row is; None where nobody asked.
      groupings: of a hierarchical formula.
    """

    model: ModelConfig
    family: Family
    rows: Rows
    names: list[str]
    terms: dict[str, list[int]]
    response: str
    spec: Any = None
    source: np.ndarray | None = None
    dropped: int = 0
    clusters: np.ndarray | None = None
    groupings: list[Grouping] = field(default_factory=list)
