"""What maximum likelihood found, and what that is worth.

Conventions are statsmodels': φ = Pearson's χ² / (n - p), 1 where the family has none; the
log-likelihood of linear models takes φ at its maximum and all others at that estimate; AIC and BIC
count coefficients (and an estimated α), not φ; a null model is an intercept with the offset.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from workbench.core.config import ConfigError, nearest
from workbench.glm.config import MleConfig
from workbench.glm.families import Family, NegativeBinomial, Tweedie
from workbench.glm.inference import (
    algebra,
    covariance,
    hypotheses,
    influence,
    prediction,
    profile,
    refit,
    report,
    residuals,
    rowwise,
)
from workbench.glm.inference.covariance import Bread
from workbench.glm.inference.hypotheses import Test
from workbench.glm.inference.refit import Optimum
from workbench.glm.inference.rowwise import Rowwise
from workbench.glm.regression import Regression
from workbench.glm.rows import Rows
from workbench.glm.search import Estimate

if TYPE_CHECKING:
    import pandas as pd

ALPHA = "alpha"
# Rows whose log-likelihoods are computed at once; Tweedie's is a long sum.
AT_ONCE = 2**15


class Fit:
    """An estimate with its inference; everything is computed when it is first asked for.

    Args:
      regression: the model and its rows.
      estimate: of the coefficients.
      options: which covariance, test and level are the usual ones.

    Attributes:
      coefficients: β, `[p]`.
      names: of parameters: the columns', and "alpha" where that was estimated.
      penalised: whether a ridge penalty shrinks β. Standard errors are then those of the posterior
        whose mode β is, and degrees of freedom are the hat matrix's trace.
    """

    def __init__(self, regression: Regression, estimate: Estimate, options: MleConfig):
        self.regression, self.estimate, self.options = regression, estimate, options
        self.coefficients = estimate.coefficients
        self.estimates_alpha = (
            isinstance(regression.family, NegativeBinomial) and regression.model.alpha is None
        )
        self.names = [*regression.names, *([ALPHA] if self.estimates_alpha else [])]
        self.penalised = bool(np.any(estimate.penalty))

    def __repr__(self) -> str:
        return f"<Fit of {self.regression.response} on {len(self.coefficients)} columns>"

    def __str__(self) -> str:
        return self.summary()

    # The estimate, and how it fits.

    @cached_property
    def family(self) -> Family:
        """Distribution and link, with α."""
        given = self.regression.family
        if isinstance(given, NegativeBinomial):
            assert self.estimate.alpha is not None
            return NegativeBinomial(self.estimate.alpha, given.link)
        return given

    @property
    def rows(self) -> Rows:
        """The regression's."""
        return self.regression.rows

    @property
    def alpha(self) -> float | None:
        """α of negative binomial responses."""
        return self.estimate.alpha

    @cached_property
    def parameters(self) -> np.ndarray:
        """β, and α where it was estimated; `[k]`, as `names` has them."""
        return np.append(self.coefficients, np.array([self.alpha] * self.estimates_alpha))

    @cached_property
    def observations(self) -> float:
        """n, the sum of frequencies."""
        return self.rows.observations

    @cached_property
    def model_freedom(self) -> float:
        """p; under a penalty Σ_j 1 - λ_j (A⁻¹)_jj."""
        lengths = np.sum(self._bread.whitening**2, 1) if self.penalised else 0.0
        return float(len(self.coefficients) - np.sum(self.estimate.penalty * lengths))

    @cached_property
    def residual_freedom(self) -> float:
        """n - p."""
        return self.observations - self.model_freedom

    @cached_property
    def deviance(self) -> float:
        """D(β)."""
        return float(np.sum(self._frequency * self.rowwise.deviance))

    @cached_property
    def pearson_chi2(self) -> float:
        """Σ w (y - μ)² / V(μ)."""
        seen = self._frequency > 0
        return float(np.sum(self._frequency[seen] * self.residuals("pearson")[seen] ** 2))

    @cached_property
    def dispersion(self) -> float:
        """φ: Pearson's χ² / (n - p), or 1 of families that have none."""
        if not self.dispersed:
            return 1.0
        return self.pearson_chi2 / self.residual_freedom if self.residual_freedom > 0 else np.nan

    @property
    def dispersed(self) -> bool:
        """Whether φ is estimated."""
        return self.family.dispersed or self.options.dispersion == "pearson"

    @cached_property
    def log_likelihood(self) -> float:
        """At the estimate; nan of Tweedie responses whose power is not in (1, 2)."""
        linear = self.family.key == "gaussian" and self.family.link.name == "identity"
        dispersion = self.deviance / self.observations if linear else self.dispersion
        return self.log_likelihood_at(self.family, self.rowwise.eta, dispersion)

    @cached_property
    def null_deviance(self) -> float:
        """D of an intercept alone, with the offset; at the same α."""
        return self._null(self.family).deviance

    @cached_property
    def null_log_likelihood(self) -> float:
        """Of an intercept alone, with the offset, at φ; α is estimated anew."""
        null = self._null(self.family, anew=self.estimates_alpha)
        return self.log_likelihood_at(null.family, null.eta, self.dispersion)

    @property
    def aic(self) -> float:
        """-2 log L + 2 k."""
        return -2 * self.log_likelihood + 2 * self._counted

    @property
    def bic(self) -> float:
        """-2 log L + k log n."""
        return -2 * self.log_likelihood + self._counted * float(np.log(self.observations))

    @cached_property
    def pseudo_r2(self) -> dict[str, float]:
        """McFadden's, Cox and Snell's, and Nagelkerke's."""
        null, gain = self.null_log_likelihood, self.log_likelihood - self.null_log_likelihood
        share = -np.expm1(-2 * gain / self.observations)
        most = -np.expm1(2 * null / self.observations)
        return {
            "mcfadden": gain / -null,
            "cox_snell": float(share),
            "nagelkerke": float(share / most),
        }

    # How far the estimate may be off.

    @cached_property
    def covariance(self) -> np.ndarray:
        """Of the parameters, of the kind that `options.covariance` says, `[k, k]`."""
        return self._root @ self._root.T

    @cached_property
    def standard_errors(self) -> np.ndarray:
        """`[k]`."""
        return np.sqrt(np.sum(self._root**2, 1))

    @cached_property
    def test_freedom(self) -> float | None:
        """Student's degrees of freedom: n - p, or clusters - 1; None where tests are normal."""
        if self.test == "z":
            return None
        if self.options.covariance == "cluster":
            return self.clusters - 1
        return self.residual_freedom

    @cached_property
    def clusters(self) -> int:
        """How many there are."""
        codes = self.regression.clusters
        return 0 if codes is None else len(np.unique(codes[self._frequency > 0]))

    @property
    def test(self) -> str:
        """ "z" or "t"."""
        if self.options.test == "auto":
            return "t" if self.family.key == "gaussian" else "z"
        return self.options.test

    @cached_property
    def statistics(self) -> np.ndarray:
        """Parameters in units of their standard errors, `[k]`."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.parameters / self.standard_errors

    @cached_property
    def p_values(self) -> np.ndarray:
        """Of two-sided tests against 0, `[k]`."""
        return 2 * self.reference.sf(np.abs(self.statistics))

    @property
    def reference(self) -> Any:
        """The distribution of statistics, of `scipy.stats`."""
        return stats.norm() if self.test_freedom is None else stats.t(self.test_freedom)

    def quantile(self, level: float | None = None) -> float:
        """How many standard errors an interval reaches to either side."""
        return float(self.reference.isf((1 - (level or self.options.level)) / 2))

    def intervals(self, level: float | None = None) -> np.ndarray:
        """Wald's, `[k, 2]`; `level` is `options.level` unless it is given."""
        half = self.quantile(level) * self.standard_errors
        return np.column_stack([self.parameters - half, self.parameters + half])

    def profile_intervals(
        self, names: Sequence[str] | None = None, level: float | None = None
    ) -> "pd.DataFrame":
        """Profile-likelihood intervals of some coefficients or all: low and high, by name.

        They are where the deviance of the model with the coefficient held has risen by φ times the
        square of the quantile (Venables & Ripley 2002, section 7.2); φ and α stay.
        """
        return profile.intervals(self, names or self.regression.names, level)

    def with_covariance(self, kind: str) -> "Fit":
        """The same with another covariance: "model", "hc0" to "hc3"."""
        options = replace(self.options, covariance=kind, clusters=None)
        return Fit(self.regression, self.estimate, options)

    # Tests.

    def wald_test(self, what: Sequence[str] | np.ndarray, value: np.ndarray | float = 0.0) -> Test:
        """Of names' coefficients being 0, or of L β = value for a matrix L `[q, p]`."""
        return hypotheses.wald(self, what, value)

    def likelihood_ratio_test(self, smaller: "Fit") -> Test:
        """Against a model whose columns these contain."""
        return hypotheses.likelihood_ratio(self, smaller)

    def score_test(self, columns: np.ndarray) -> Test:
        """Rao's, of columns `[n, q]` that the model could have beside: no refit."""
        return hypotheses.score(self, columns)

    def drop_one(self, kind: str = "likelihood_ratio") -> "pd.DataFrame":
        """A test of each term of the formula, all others being in the model.

        Args:
          kind: "likelihood_ratio" refits without the term, "wald" does not.
        """
        return hypotheses.drop_one(self, kind)

    # Rows.

    @cached_property
    def rowwise(self) -> Rowwise:
        """What each row has at the estimate."""
        return rowwise.at(self.family, self.rows, rowwise.predictor(self.rows, self.coefficients))

    @property
    def fitted(self) -> np.ndarray:
        """μ, `[n]`."""
        return self.rowwise.mean

    def residuals(self, kind: str = "deviance", seed: int = 0) -> np.ndarray:
        """Residuals `[n]`: response, working, pearson, deviance, anscombe or quantile.

        All but the quantile ones are for φ = 1; where responses are not continuous those are drawn,
        by `seed`.
        """
        dispersion = self.dispersion if kind == "quantile" else 1.0
        return residuals.residuals(kind, self.family, self.rows, self.rowwise, dispersion, seed)

    @cached_property
    def leverage(self) -> np.ndarray:
        """The diagonal of the hat matrix, `[n]`."""
        return influence.leverage(self.rows, self.rowwise, self._bread.whitening)

    def influence(self) -> "pd.DataFrame":
        """Of each row: leverage, Cook's distance, standardised and studentised residuals."""
        import pandas as pd

        pearson, deviance = self.residuals("pearson"), self.residuals("deviance")
        left = np.sqrt(self.dispersion * (1 - self.leverage))
        standardised = pearson / left
        odds = self.leverage / (1 - self.leverage)
        return pd.DataFrame(
            {
                "leverage": self.leverage,
                "cooks_distance": standardised**2 * odds / len(self.coefficients),
                "standardised_pearson": standardised,
                "standardised_deviance": deviance / left,
                "studentised": influence.studentised(
                    deviance, pearson, self.leverage, self.residual_freedom, self.dispersed
                ),
            }
        )

    def dfbetas(self) -> np.ndarray:
        """By how many standard errors each row raises each coefficient, `[n, p]`."""
        moves = influence.moves(self.rows, self.rowwise, self._bread.whitening, self.leverage)
        return moves / self.standard_errors[: len(self.coefficients)]

    def predict(
        self,
        new: "pd.DataFrame | np.ndarray | None" = None,
        offset: np.ndarray | float | None = None,
        level: float | None = None,
    ) -> "pd.DataFrame":
        """Means of rows with their standard errors and intervals.

        Args:
          new: a table with the formula's columns, or a design matrix; None is the rows themselves.
          offset: of a design matrix.
          level: of the intervals; None is `options.level`.

        Returns:
          A frame with `mean`, its standard error `se` (by the delta method) and interval `low` to
          `high` (that of the linear predictor, mapped), `linear` and `linear_se`.
        """
        return prediction.predict(self, new, offset, level)

    # For reading.

    @cached_property
    def warnings(self) -> list[str]:
        """What a reader of the numbers should know, in words."""
        return report.warnings(self)

    def to_frame(self) -> "pd.DataFrame":
        """Parameters by name: coefficient, std_err, z or t, p_value, low, high."""
        return report.frame(self)

    def summary(self) -> str:
        """The table that statisticians know."""
        return report.summary(self)

    def write(self, folder: Path) -> list[Path]:
        """Tables, summary and plots into a run folder; their paths."""
        return report.write(self, folder)

    # Shared by the modules beside.

    def column(self, name: str) -> int:
        """Where a coefficient stands."""
        known = self.regression.names
        if name not in known:
            raise ConfigError(f"{name!r} is no coefficient{nearest(name, known)}")
        return known.index(name)

    def place(self, row: int) -> int:
        """A row's number in the data, from 1."""
        source = self.regression.source
        return int(row if source is None else source[row]) + 1

    def refitted(self, rows: Rows, columns: np.ndarray, start: np.ndarray) -> Optimum:
        """The maximum of the likelihood on other rows of the same regression.

        Args:
          rows: fewer columns, or another offset.
          columns: which of the coefficients they belong to, int `[q]`.
          start: of these, `[q]`.
        """
        return refit.maximised(self.family, rows, self.estimate.penalty[columns], start)

    def log_likelihood_at(self, family: Family, eta: np.ndarray, dispersion: float) -> float:
        """Of the rows at a linear predictor `[n]`."""
        if isinstance(family, Tweedie) and not 1 < family.power < 2:
            return np.nan
        y, weight = self.rows.response, np.broadcast_to(self.rows.weight, eta.shape)
        total = 0.0
        for begin in range(0, len(y), AT_ONCE):
            part = slice(begin, begin + AT_ONCE)
            seen = self._frequency[part] > 0
            values = family.log_likelihood(y[part], eta[part], dispersion, weight[part]).numpy()
            total += float(np.sum(self._frequency[part][seen] * values[seen]))
        return total

    @cached_property
    def upper(self) -> np.ndarray:
        """R, R'R = X'WX + Λ, for φ = 1."""
        weight = self._frequency * self.rowwise.weight
        return algebra.triangle(self.rows.design, weight, self.estimate.penalty)

    @cached_property
    def model_root(self) -> np.ndarray:
        """F, whose FF' is the model-based covariance, `[k, k]`."""
        return np.sqrt(self.dispersion) * self._bread.root

    @cached_property
    def _root(self) -> np.ndarray:
        kind = self.options.covariance
        if kind == "model":
            return self.model_root
        clusters = self.regression.clusters
        if kind == "cluster" and clusters is None:
            raise ConfigError(
                "covariance=cluster needs clusters=COLUMN when the model is estimated"
            )
        bread = self._bread
        if not self.estimates_alpha:
            bread = covariance.observed(
                self.family, self.rows, self.rowwise, self.upper, self.estimate.penalty
            )
        return covariance.robust(
            kind, self.rows, self.rowwise, bread, self.residual_freedom, clusters
        )

    def root_of_predictor(self) -> np.ndarray:
        """F, whose FF' is the covariance of β, `[p, k]`."""
        return self._root[: len(self.coefficients)]

    @cached_property
    def _bread(self) -> Bread:
        if not self.estimates_alpha:
            return covariance.plain(self.upper)
        assert isinstance(self.family, NegativeBinomial)
        return covariance.with_alpha(
            self.family, self.rows, self.rowwise.eta, self.upper, self.estimate.penalty
        )

    @property
    def _frequency(self) -> np.ndarray:
        return np.broadcast_to(self.rows.frequency, self.rows.response.shape)

    @property
    def _counted(self) -> float:
        return self.model_freedom + self.estimates_alpha

    def _null(self, family: Family, anew: bool = False) -> Optimum:
        ones = np.ones((len(self.rows.response), 1))
        precision = self._frequency * self.rows.weight
        mean = np.average(self.rows.response, weights=precision)
        start = np.array([float(family.link.of(mean)) - np.mean(self.rows.offset)])
        rows = self.rows._replace(design=ones)
        if anew:
            assert isinstance(family, NegativeBinomial)
            return refit.maximised_with_alpha(family, rows, np.zeros(1), start)
        return refit.maximised(family, rows, np.zeros(1), start)
