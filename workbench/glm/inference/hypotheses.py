"""Tests of coefficients: Wald's, by likelihood ratios, and Rao's score test."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import linalg, stats

from workbench.core.config import ConfigError
from workbench.glm.families import NegativeBinomial
from workbench.glm.inference import algebra
from workbench.glm.inference.refit import Optimum, maximised_with_alpha

if TYPE_CHECKING:
    import pandas as pd

    from workbench.glm.inference.fit import Fit


@dataclass(frozen=True)
class Test:
    """The outcome of a test.

    Attributes:
      statistic: distributed as χ², or as F where there is a second number of degrees of freedom.
      freedom: of the hypothesis.
      residual_freedom: of φ's estimate; None where the statistic is χ².
    """

    statistic: float
    freedom: int
    residual_freedom: float | None = None

    @property
    def p_value(self) -> float:
        """How probable a statistic at least as large is under the hypothesis."""
        if self.residual_freedom is None:
            return float(stats.chi2.sf(self.statistic, self.freedom))
        return float(stats.f.sf(self.statistic, self.freedom, self.residual_freedom))

    def __str__(self) -> str:
        name, freedom = "χ²", f"{self.freedom}"
        if self.residual_freedom is not None:
            name, freedom = "F", f"{freedom}, {self.residual_freedom:g}"
        return f"{name}({freedom}) = {self.statistic:.4g}, p = {self.p_value:.4g}"


def wald(fit: "Fit", what: Sequence[str] | np.ndarray, value: np.ndarray | float) -> Test:
    """(Lβ - c)' (L V L')⁻¹ (Lβ - c)."""
    matrix = what if isinstance(what, np.ndarray) else _selecting(fit, what)
    apart = matrix @ fit.coefficients - value
    root = matrix @ fit.root_of_predictor()
    # Solved through the root: L V L' would square its condition.
    triangle = linalg.qr(root.T, mode="r")[0][: len(matrix)]
    statistic = float(np.sum(linalg.solve_triangular(triangle, apart, trans="T") ** 2))
    return _either(statistic, len(matrix), fit.test_freedom)


def likelihood_ratio(fit: "Fit", smaller: "Fit") -> Test:
    """Of two fits of nested models to the same rows."""
    missing = set(smaller.regression.names) - set(fit.regression.names)
    if missing or len(smaller.rows.response) != len(fit.rows.response):
        reason = f"{', '.join(sorted(missing))} is not in this one" if missing else "rows differ"
        raise ConfigError(f"the models are not nested: {reason}")
    freedom = len(fit.coefficients) - len(smaller.coefficients)
    if fit.estimates_alpha:
        gain = 2 * (fit.log_likelihood - smaller.log_likelihood)
        return _test(fit, gain / fit.dispersion, freedom)
    return _test(fit, (smaller.deviance - fit.deviance) / fit.dispersion, freedom)


def score(fit: "Fit", columns: np.ndarray) -> Test:
    """s' (Z'WZ - Z'WX (X'WX)⁻¹ X'WZ)⁻¹ s / φ, with s = Z'u at the estimate.

    With expected information; for links that are not canonical the observed one differs.
    """
    added = np.reshape(np.asarray(columns, np.float64), (len(fit.rows.response), -1))
    frequency = np.broadcast_to(fit.rows.frequency, fit.rows.response.shape)
    weight = frequency * fit.rowwise.weight
    whitening = algebra.inverse(fit.upper)
    shared = np.zeros((len(fit.coefficients), added.shape[1]))
    for part in algebra.blocks(fit.rows.design):
        white = fit.rows.design[part] @ whitening
        shared += white.T @ (weight[part, None] * added[part])
    alone = added - fit.rows.design @ (whitening @ shared)
    upper = algebra.triangle(alone, weight, np.zeros(added.shape[1]))
    slope = alone.T @ (frequency * fit.rowwise.pull)
    half = linalg.solve_triangular(upper, slope, trans="T")
    return _test(fit, float(half @ half) / fit.dispersion, added.shape[1])


def drop_one(fit: "Fit", kind: str) -> "pd.DataFrame":
    """One row a term."""
    import pandas as pd

    found = {}
    for term, columns in fit.regression.terms.items():
        if kind == "wald":
            test = wald(fit, [fit.regression.names[column] for column in columns], 0.0)
            deviance = np.nan
        else:
            without = _without(fit, columns)
            deviance = without.deviance
            test = _test(fit, _lost(fit, without), len(columns))
        found[term] = {
            "df": test.freedom,
            "deviance": deviance,
            "F" if test.residual_freedom is not None else "chi2": test.statistic,
            "p_value": test.p_value,
        }
    return pd.DataFrame.from_dict(found, orient="index").rename_axis("term")


def _without(fit: "Fit", columns: list[int]) -> Optimum:
    kept = np.setdiff1d(np.arange(len(fit.coefficients)), columns)
    rows = fit.rows._replace(design=fit.rows.design[:, kept])
    start = fit.coefficients[kept]
    if fit.estimates_alpha:
        assert isinstance(fit.family, NegativeBinomial)
        return maximised_with_alpha(fit.family, rows, fit.estimate.penalty[kept], start)
    return fit.refitted(rows, kept, start)


def _lost(fit: "Fit", without: Optimum) -> float:
    """By how much -2 log L / φ is larger; nan where that was not found."""
    if not without.converged:
        return np.nan
    if fit.estimates_alpha:
        likelihood = fit.log_likelihood_at(without.family, without.eta, 1.0)
        return 2 * (fit.log_likelihood - likelihood) / fit.dispersion
    penalty = float(np.sum(fit.estimate.penalty * fit.coefficients**2))
    return (without.objective - fit.deviance - penalty) / fit.dispersion


def _test(fit: "Fit", statistic: float, freedom: int) -> Test:
    """By χ², or by F where single coefficients are tested by t."""
    return _either(statistic, freedom, fit.residual_freedom if fit.test == "t" else None)


def _either(statistic: float, freedom: int, residual_freedom: float | None) -> Test:
    statistic = max(statistic, 0.0)
    if residual_freedom is None:
        return Test(statistic, freedom)
    return Test(statistic / freedom, freedom, residual_freedom)


def _selecting(fit: "Fit", names: Sequence[str]) -> np.ndarray:
    return np.eye(len(fit.coefficients))[[fit.column(name) for name in names]]
