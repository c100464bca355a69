"""What a path penalises, and how much: groups of columns, factors and scales.

In scaled columns x̃_j = (x_j - c_j) / s_j, whose coefficients are γ_j = s_j β_j,

    P(γ) = Σ_g v_g (a √m_g ‖γ_g‖ + (1 - a) ‖γ_g‖² / 2),

m_g being the number of columns of group g. With groups of one column it is the elastic net (Zou &
Hastie 2005), else the group lasso (Yuan & Lin 2006).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from workbench.core.config import ConfigError, nearest
from workbench.glm.config import PathConfig
from workbench.glm.regression import INTERCEPT, Regression
from workbench.glm.rows import Rows

# Standard deviations, as shares of the mean, that are rounding.
CONSTANT = 1e-12


@dataclass(frozen=True, eq=False)
class Penalty:
    """A penalty on the columns of a design, and how these are scaled.

    Attributes:
      mix: a.
      groups: columns of each group, in the order of the first; neighbours.
      factors: v, one for each group; 0 leaves it free.
      centre: c, `[p]`.
      scale: s, `[p]`.
      intercept: the column that is 1 throughout; None without.
    """

    mix: float
    groups: list[list[int]]
    factors: np.ndarray
    centre: np.ndarray
    scale: np.ndarray
    intercept: int | None

    @property
    def free(self) -> np.ndarray:
        """Whether a column is not penalised, bool `[p]`."""
        free = np.zeros(len(self.scale), bool)
        for columns, factor in zip(self.groups, self.factors, strict=True):
            free[columns] = factor == 0
        return free

    def original(self, gamma: np.ndarray) -> np.ndarray:
        """β `[..., p]` of the columns as they were."""
        beta = gamma / self.scale
        if self.intercept is not None:
            beta[..., self.intercept] -= beta @ self.centre
        return beta


def penalty_of(config: PathConfig, regression: Regression) -> Penalty:
    """The penalty that a configuration means.

    Raises:
      ConfigError: when factors name nothing that there is, nothing is penalised, or a column does
        not vary.
    """
    names = regression.names
    intercept = names.index(INTERCEPT) if INTERCEPT in names else None
    if config.penalty == "group_lasso":
        groups = {term: columns for term, columns in regression.terms.items() if columns}
        what = "term of the formula"
    else:
        groups = {name: [column] for column, name in enumerate(names)}
        what = "column"
    ordered = dict(sorted(groups.items(), key=lambda group: min(group[1])))
    if [column for columns in ordered.values() for column in columns] != list(range(len(names))):
        raise ConfigError("penalty=group_lasso needs terms whose columns are neighbours")
    factors = _factors(config, list(ordered), what, intercept, groups)
    free = np.concatenate(
        [np.full(len(c), v == 0) for c, v in zip(ordered.values(), factors, strict=True)]
    )
    centre, scale = _scaling(regression.rows, names, intercept, config.standardise, free)
    return Penalty(config.mix, list(ordered.values()), factors, centre, scale, intercept)


def _factors(
    config: PathConfig,
    names: list[str],
    what: str,
    intercept: int | None,
    groups: Mapping[str, list[int]],
) -> np.ndarray:
    given = dict(config.factors or {})
    for name, factor in given.items():
        if name not in names:
            raise ConfigError(f"factors has {name}, which is no {what}{nearest(name, names)}")
        if not isinstance(factor, int | float) or not 0 <= factor < np.inf:
            raise ConfigError(f"factors.{name}={factor} is out of range: it must be at least 0")
    usual = {name: 0.0 if groups[name] == [intercept] else 1.0 for name in names}
    factors = np.array([float(given.get(name, usual[name])) for name in names])
    if not factors.any():
        raise ConfigError("all factors are 0, so that nothing is penalised: take method=mle")
    return factors


def _scaling(
    rows: Rows, names: list[str], intercept: int | None, standardise: bool, free: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Weighted means, 0 without an intercept to make up for them, and standard deviations."""
    precision = np.broadcast_to(rows.precision, rows.response.shape)
    share = precision / np.sum(precision)
    mean = share @ rows.design
    # In parts, as centred columns are a copy of all.
    size = max(1, 2**20 // len(names))
    variance = np.zeros(len(names))
    for begin in range(0, len(share), size):
        part = slice(begin, begin + size)
        variance += share[part] @ np.square(rows.design[part] - mean)
    spread = np.sqrt(variance)
    for column in np.flatnonzero(spread <= CONSTANT * np.abs(mean)):
        if column == intercept:
            continue
        if intercept is not None or mean[column] == 0:
            raise ConfigError(
                f"{names[column]} is {mean[column]:g} in every row that counts; leave it out"
            )
        spread[column] = abs(mean[column])
    if intercept is None:
        centre = np.zeros(len(names))
    else:
        centre = mean.copy()
        centre[intercept], spread[intercept] = 0.0, 1.0
    scale = spread if standardise else np.where(free, spread, 1.0)
    return centre, scale
