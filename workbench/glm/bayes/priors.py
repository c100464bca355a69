"""Prior distributions of coefficients and of scales, as they were said or from the data's spread.

Where nothing was said they are rstanarm's (Gelman, Hill & Vehtari 2020, section 9.5): for each of
its standard deviations a column is unlikely to move the response by more than 2.5 of its own,
and scales are exponential, or Student's for those of groups, as brms has them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from workbench.core.config import ConfigError, nearest
from workbench.glm.bayes import scales
from workbench.glm.config import BayesConfig, PriorConfig
from workbench.glm.regression import INTERCEPT, Grouping, Regression

tfd = tfp.distributions

COEFFICIENTS = ("normal", "student_t", "cauchy", "laplace", "flat", "horseshoe")
# A first guess of groups' standard deviation, as a share of its usual prior's scale.
SPREAD = 0.2
SCALES = ("normal", "student_t", "cauchy", "flat", "exponential", "jeffreys", "fixed")


@dataclass(frozen=True)
class Priors:
    """All priors of a regression.

    Attributes:
      coefficients: of each column's.
      dispersion: of the parameter of `scales`; None where there is none.
      groups: by factor, of the standard deviation of each coefficient that varies.
    """

    coefficients: list[PriorConfig]
    dispersion: PriorConfig | None
    groups: dict[str, list[PriorConfig]]


class Independent:
    """Independent priors of a vector's entries.

    Args:
      priors: one for each entry; none of them a horseshoe or fixed.
    """

    def __init__(self, priors: Sequence[PriorConfig]):
        self._size = len(priors)
        kinds = sorted({prior.kind for prior in priors} - {"flat"})
        self._places = {
            kind: [i for i, prior in enumerate(priors) if prior.kind == kind] for kind in kinds
        }
        self._priors = {kind: [priors[i] for i in self._places[kind]] for kind in kinds}

    def log_prob(self, values: tf.Tensor) -> tf.Tensor:
        """The log density of values `[..., k]`, `[...]`, up to a constant."""
        total = tf.zeros(values.shape[:-1], values.dtype)
        for kind, places in self._places.items():
            some = values if len(places) == self._size else tf.gather(values, places, axis=-1)
            total += tf.reduce_sum(_log_prob(kind, self._priors[kind], some), -1)
        return total


def _log_prob(kind: str, priors: Sequence[PriorConfig], values: tf.Tensor) -> tf.Tensor:
    location, scale, freedom = (
        tf.constant([getattr(prior, name) for prior in priors], values.dtype)
        for name in ("location", "scale", "freedom")
    )
    if kind == "exponential":
        return -values / scale
    if kind == "jeffreys":
        return -tf.math.log(values)
    distribution = {
        "normal": lambda: tfd.Normal(location, scale),
        "student_t": lambda: tfd.StudentT(freedom, location, scale),
        "cauchy": lambda: tfd.Cauchy(location, scale),
        "laplace": lambda: tfd.Laplace(location, scale),
    }[kind]()
    return distribution.log_prob(values)


def priors_of(regression: Regression, config: BayesConfig) -> Priors:
    """Every prior, as it was said or as it usually is.

    Raises:
      ConfigError: for names that the regression has not, and kinds that do not fit.
    """
    said = config.priors_by_name()
    dispersion = scales.name_of(regression)
    factors = {f"sd_{grouping.factor}": grouping for grouping in regression.groupings}
    named = [*regression.names, *regression.terms, "default"]
    spreads = [*([dispersion] if dispersion else []), *(["sd"] if factors else []), *factors]
    for name, prior in said.items():
        if name not in named + spreads:
            raise ConfigError(f"priors.{name} is of nothing here{nearest(name, named + spreads)}")
        kinds = SCALES if name in spreads else COEFFICIENTS
        if prior.kind not in kinds:
            what = "a scale" if name in spreads else "a coefficient"
            choices = ", ".join(kinds)
            raise ConfigError(
                f"priors.{name}.kind={prior.kind} is none of {what}; choose from {choices}"
            )
    terms = {i: term for term, columns in regression.terms.items() for i in columns}
    usual = _Usual(regression)
    coefficients = [
        said.get(name) or said.get(terms.get(i, "")) or said.get("default") or usual.coefficient(i)
        for i, name in enumerate(regression.names)
    ]
    groups = {
        grouping.factor: [
            said.get(name) or said.get("sd") or usual.spread(grouping, i)
            for i in range(len(grouping.names))
        ]
        for name, grouping in factors.items()
    }
    scatter = (said.get(dispersion) or usual.dispersion()) if dispersion else None
    return Priors(coefficients, scatter, groups)


def usual_spread(regression: Regression, grouping: Grouping) -> np.ndarray:
    """Standard deviations of what varies by group to start from, `[q]`."""
    usual = _Usual(regression)
    places = range(len(grouping.names))
    return np.array([SPREAD * usual.spread(grouping, i).scale for i in places])


class _Usual:
    """Weak priors of the data's own scale."""

    def __init__(self, regression: Regression):
        self._regression = regression
        self._gaussian = regression.family.key == "gaussian"
        y = regression.rows.response
        identity = self._gaussian and regression.family.link.name == "identity"
        self._spread = float(np.std(y)) or 1.0 if identity else 1.0
        mean = tf.constant(np.mean(y), tf.float64)
        centre = float(regression.family.link.of(mean))
        self._centre = centre if np.isfinite(centre) else 0.0
        self._response = float(np.std(y)) or 1.0

    def coefficient(self, column: int) -> PriorConfig:
        if self._regression.names[column] == INTERCEPT:
            return PriorConfig("normal", self._centre, 2.5 * self._spread, at_means=True)
        values = self._regression.rows.design[:, column]
        return PriorConfig("normal", 0.0, 2.5 * self._spread / _deviation(values))

    def spread(self, grouping: Grouping, column: int) -> PriorConfig:
        scale = 2.5 * self._spread
        if grouping.names[column] != INTERCEPT:
            scale /= _deviation(grouping.design[:, column])
        return PriorConfig("student_t", 0.0, scale, 3.0)

    def dispersion(self) -> PriorConfig:
        return PriorConfig("exponential", scale=self._response if self._gaussian else 1.0)


def _deviation(values: np.ndarray) -> float:
    """The standard deviation of a column; of a constant one, its size."""
    return float(np.std(values)) or abs(float(values[0])) or 1.0
