"""Distributions of the response, by how their variance follows their mean.

Each is one of `tfp.glm`'s exponential families too, and `tfp.glm.fit` takes it. What estimation
needs beside is here: deviances and log-likelihoods with dispersion and weights, as McCullagh &
Nelder 1989 have them, and where to start. All are functions of the linear predictor η rather than
of the mean, so that nothing cancels where a mean is near its end.
"""

import math as numbers
from abc import abstractmethod
from typing import ClassVar

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from workbench.core.config import ConfigError
from workbench.glm import links
from workbench.glm.config import LINKS, ModelConfig
from workbench.glm.links import Link

math = tf.math
# Terms of Tweedie's series on either side of the largest: nine standard deviations.
TERMS = 72

CANONICAL = (("gaussian", "identity"), ("binomial", "logit"), ("poisson", "log"))


class Family(tfp.glm.ExponentialFamily):
    """A distribution and a link.

    Args:
      link: from the mean to the linear predictor; None is the family's usual one.

    Attributes:
      key: its name in configurations.
      dispersed: whether φ is to be estimated; else it is 1.
    """

    key: ClassVar[str]
    dispersed: ClassVar[bool] = False

    def __init__(self, link: Link | None = None):
        super().__init__(name=self.key)
        self.link = link or links.LINKS[LINKS[self.key][0]]

    @property
    def canonical(self) -> bool:
        """Whether dμ/dη is V(μ), and any η has a mean."""
        return (self.key, self.link.name) in CANONICAL

    def _call(self, eta: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """TFP's: mean, variance function and dμ/dη, from η."""
        mean = self.link.mean(eta)
        return mean, self.variance(mean), self.link.slope(eta)

    def _log_prob(self, y: tf.Tensor, eta: tf.Tensor) -> tf.Tensor:
        one = tf.ones([], eta.dtype)
        return self.log_likelihood(y, eta, one, tf.ones_like(y))

    @abstractmethod
    def variance(self, mean: tf.Tensor) -> tf.Tensor:
        """V(μ): the response's variance is φ V(μ) / w."""

    @abstractmethod
    def deviance(self, y: tf.Tensor, eta: tf.Tensor) -> tf.Tensor:
        """d(y, μ), of each response, for φ = w = 1."""

    @abstractmethod
    def log_likelihood(
        self, y: tf.Tensor, eta: tf.Tensor, dispersion: tf.Tensor, weight: tf.Tensor
    ) -> tf.Tensor:
        """Of each response, with its variance weight w."""

    def start(self, y: tf.Tensor, weight: tf.Tensor, average: tf.Tensor) -> tf.Tensor:
        """Means to start from: near the responses and inside of where means can be."""
        return (y + average) / 2

    def possible(self, eta: tf.Tensor) -> tf.Tensor:
        """Where the distribution has a mean, bool."""
        return math.is_finite(self.link.mean(eta))

    def refuse(self, y: np.ndarray, name: str, places: np.ndarray) -> None:
        """Checks responses; values that are not finite were dealt with before.

        Args:
          y: the responses, `[n]`.
          name: theirs.
          places: in the data, `[n]`, from 0.

        Raises:
          ConfigError: for the first one that the distribution does not have.
        """


class _Positive(Family):
    def possible(self, eta: tf.Tensor) -> tf.Tensor:
        mean = self.link.mean(eta)
        return (mean > 0) & math.is_finite(mean)

    def refuse(self, y: np.ndarray, name: str, places: np.ndarray) -> None:
        _refuse(y <= 0, y, name, places, self.key, "above 0")


class _Counts(Family):
    def possible(self, eta: tf.Tensor) -> tf.Tensor:
        mean = self.link.mean(eta)
        # η < 0 has a mean under the square root link, and is another branch of it.
        inside = eta >= 0 if self.link is links.sqrt else mean > 0
        return inside & (mean > 0) & math.is_finite(mean)

    def refuse(self, y: np.ndarray, name: str, places: np.ndarray) -> None:
        _refuse(y < 0, y, name, places, self.key, "counts, which are not negative")
        _refuse(y != np.floor(y), y, name, places, self.key, "counts, which are whole")


class Gaussian(Family):
    """Normal: V(μ) = 1."""

    key = "gaussian"
    dispersed = True

    def variance(self, mean: tf.Tensor) -> tf.Tensor:
        return tf.ones_like(mean)

    def deviance(self, y: tf.Tensor, eta: tf.Tensor) -> tf.Tensor:
        return tf.square(y - self.link.mean(eta))

    def log_likelihood(
        self, y: tf.Tensor, eta: tf.Tensor, dispersion: tf.Tensor, weight: tf.Tensor
    ) -> tf.Tensor:
        variance = dispersion / weight
        return -0.5 * (self.deviance(y, eta) / variance + math.log(2 * numbers.pi * variance))

    def start(self, y: tf.Tensor, weight: tf.Tensor, average: tf.Tensor) -> tf.Tensor:
        if self.link is links.identity:
            return y
        if self.link is links.log:
            return tf.where(y > 0, y, math.abs(average) + 0.01)
        return super().start(y, weight, average)


class Binomial(Family):
    """Shares of successes y in w trials: V(μ) = μ (1 - μ)."""

    key = "binomial"

    def __init__(self, link: Link | None = None):
        super().__init__(link)
        if self.link.logs is None:
            choices = ", ".join(LINKS[self.key])
            raise ConfigError(f"link={self.link.name} has no shares; choose from {choices}")

    def _call(self, eta: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        log_mean, log_rest = self._logs(eta)
        mean = tf.exp(log_mean)
        variance = tf.exp(log_mean + log_rest)
        slope = variance if self.link is links.logit else self.link.slope(eta)
        return mean, variance, slope

    def _logs(self, eta: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        assert self.link.logs is not None
        return self.link.logs(eta)

    def variance(self, mean: tf.Tensor) -> tf.Tensor:
        return mean * (1 - mean)

    def deviance(self, y: tf.Tensor, eta: tf.Tensor) -> tf.Tensor:
        saturated = math.xlogy(y, y) + math.xlogy(1 - y, 1 - y)
        return 2 * (saturated - self._log_odds(y, eta))

    def log_likelihood(
        self, y: tf.Tensor, eta: tf.Tensor, dispersion: tf.Tensor, weight: tf.Tensor
    ) -> tf.Tensor:
        successes, failures = weight * y, weight * (1 - y)
        ways = math.lgamma(weight + 1) - math.lgamma(successes + 1) - math.lgamma(failures + 1)
        return ways + weight * self._log_odds(y, eta)

    def _log_odds(self, y: tf.Tensor, eta: tf.Tensor) -> tf.Tensor:
        """y log μ + (1 - y) log(1 - μ)."""
        log_mean, log_rest = self._logs(eta)
        if self.link is links.logit:
            return y * eta + log_rest
        return math.multiply_no_nan(log_mean, y) + math.multiply_no_nan(log_rest, 1 - y)

    def start(self, y: tf.Tensor, weight: tf.Tensor, average: tf.Tensor) -> tf.Tensor:
        return (weight * y + 0.5) / (weight + 1)

    def possible(self, eta: tf.Tensor) -> tf.Tensor:
        if self.link is links.log:
            return eta < 0
        if self.link is links.identity or self.link.name.startswith("power"):
            mean = self.link.mean(eta)
            return (mean > 0) & (mean < 1)
        return math.is_finite(eta)

    def refuse(self, y: np.ndarray, name: str, places: np.ndarray) -> None:
        _refuse((y < 0) | (y > 1), y, name, places, self.key, "shares, in [0, 1]")


class Poisson(_Counts):
    """Counts: V(μ) = μ."""

    key = "poisson"

    def variance(self, mean: tf.Tensor) -> tf.Tensor:
        return mean

    def deviance(self, y: tf.Tensor, eta: tf.Tensor) -> tf.Tensor:
        mean = self.link.mean(eta)
        return 2 * (_y_log(y, mean) - (y - mean))

    def log_likelihood(
        self, y: tf.Tensor, eta: tf.Tensor, dispersion: tf.Tensor, weight: tf.Tensor
    ) -> tf.Tensor:
        mean = self.link.mean(eta)
        log_mean = eta if self.link is links.log else math.log(mean)
        return weight * (math.multiply_no_nan(log_mean, y) - mean - math.lgamma(y + 1))


class Gamma(_Positive):
    """Positive numbers with a constant coefficient of variation: V(μ) = μ²."""

    key = "gamma"
    dispersed = True

    def variance(self, mean: tf.Tensor) -> tf.Tensor:
        return mean * mean

    def deviance(self, y: tf.Tensor, eta: tf.Tensor) -> tf.Tensor:
        ratio = y / self.link.mean(eta)
        return 2 * (ratio - 1 - math.log(ratio))

    def log_likelihood(
        self, y: tf.Tensor, eta: tf.Tensor, dispersion: tf.Tensor, weight: tf.Tensor
    ) -> tf.Tensor:
        shape = weight / dispersion
        ratio = y / self.link.mean(eta)
        return shape * (math.log(shape * ratio) - ratio) - math.log(y) - math.lgamma(shape)


class InverseGaussian(_Positive):
    """Positive numbers with a long tail: V(μ) = μ³."""

    key = "inverse_gaussian"
    dispersed = True

    def variance(self, mean: tf.Tensor) -> tf.Tensor:
        return mean * mean * mean

    def deviance(self, y: tf.Tensor, eta: tf.Tensor) -> tf.Tensor:
        mean = self.link.mean(eta)
        return tf.square((y - mean) / mean) / y

    def log_likelihood(
        self, y: tf.Tensor, eta: tf.Tensor, dispersion: tf.Tensor, weight: tf.Tensor
    ) -> tf.Tensor:
        scale = dispersion / weight
        return -0.5 * (self.deviance(y, eta) / scale + math.log(2 * numbers.pi * scale * y**3))


class NegativeBinomial(_Counts):
    """Counts that vary more than Poisson's: V(μ) = μ + α μ².

    Args:
      alpha: α, of which 0 would be Poisson's; a number or a tensor.
    """

    key = "negative_binomial"

    def __init__(self, alpha: float | tf.Tensor = 1.0, link: Link | None = None):
        super().__init__(link)
        self.alpha = alpha

    def variance(self, mean: tf.Tensor) -> tf.Tensor:
        return mean + self.alpha * mean * mean

    def deviance(self, y: tf.Tensor, eta: tf.Tensor) -> tf.Tensor:
        mean = self.link.mean(eta)
        # (y + 1/α) log((1 + αy) / (1 + αμ)), which keeps its digits when α is small.
        excess = math.log1p(self.alpha * (y - mean) / (1 + self.alpha * mean))
        return 2 * (_y_log(y, mean) - (y + 1 / self.alpha) * excess)

    def log_likelihood(
        self, y: tf.Tensor, eta: tf.Tensor, dispersion: tf.Tensor, weight: tf.Tensor
    ) -> tf.Tensor:
        alpha, mean = tf.cast(self.alpha, y.dtype), self.link.mean(eta)
        size, spread = 1 / alpha, math.log1p(alpha * mean)
        ways = math.lgamma(y + size) - math.lgamma(size) - math.lgamma(y + 1)
        kernel = math.multiply_no_nan(math.log(alpha * mean) - spread, y) - size * spread
        return weight * (ways + kernel)


class Tweedie(Family):
    """V(μ) = μ^p; for 1 < p < 2 sums of a Poisson number of gamma ones, which may be 0.

    Args:
      power: p, above 1 and not 2, or not above 0.
    """

    key = "tweedie"
    dispersed = True

    def __init__(self, power: float = 1.5, link: Link | None = None):
        super().__init__(link)
        self.power = power

    def variance(self, mean: tf.Tensor) -> tf.Tensor:
        return mean**self.power

    def deviance(self, y: tf.Tensor, eta: tf.Tensor) -> tf.Tensor:
        p, mean = self.power, self.link.mean(eta)
        up = tf.where(y > 0, y, tf.ones_like(y)) ** (2 - p) / ((1 - p) * (2 - p))
        up = tf.where(y > 0, up, tf.zeros_like(y))
        return 2 * (up - y * mean ** (1 - p) / (1 - p) + mean ** (2 - p) / (2 - p))

    def log_likelihood(
        self, y: tf.Tensor, eta: tf.Tensor, dispersion: tf.Tensor, weight: tf.Tensor
    ) -> tf.Tensor:
        p, mean = self.power, self.link.mean(eta)
        if not 1 < p < 2:
            raise ConfigError(f"the likelihood is not known for power={p:g}, only between 1 and 2")
        scale = dispersion / weight
        kernel = (y * mean ** (1 - p) / (1 - p) - mean ** (2 - p) / (2 - p)) / scale
        some = tf.where(y > 0, y, tf.ones_like(y))
        ways = _log_ways(some, tf.cast(scale, y.dtype), p) - math.log(some)
        return kernel + tf.where(y > 0, ways, tf.zeros_like(y))

    def possible(self, eta: tf.Tensor) -> tf.Tensor:
        mean = self.link.mean(eta)
        return (mean > 0) & math.is_finite(mean)

    def refuse(self, y: np.ndarray, name: str, places: np.ndarray) -> None:
        if self.power > 2:
            above_2 = f"{self.key} with power={self.power:g}"
            _refuse(y <= 0, y, name, places, above_2, "above 0")
        elif self.power > 0:
            _refuse(y < 0, y, name, places, self.key, "not negative")


_ALL: tuple[type[Family], ...] = (
    Gaussian,
    Binomial,
    Poisson,
    Gamma,
    InverseGaussian,
    NegativeBinomial,
    Tweedie,
)
FAMILIES = {family.key: family for family in _ALL}


def family_of(config: ModelConfig) -> Family:
    """The distribution and link of a model."""
    link = None if config.link is None else links.link(config.link)
    if config.family == "negative_binomial":
        return NegativeBinomial(1.0 if config.alpha is None else config.alpha, link)
    if config.family == "tweedie":
        return Tweedie(config.power, link)
    return FAMILIES[config.family](link)


def _refuse(
    bad: np.ndarray, y: np.ndarray, name: str, places: np.ndarray, family: str, needed: str
) -> None:
    if bad.any():
        row = int(np.argmax(bad))
        raise ConfigError(
            f"{name} is {y[row]:g} in row {places[row] + 1}: a {family} response has values that "
            f"are {needed}"
        )


def _y_log(y: tf.Tensor, mean: tf.Tensor) -> tf.Tensor:
    """y log(y / μ), 0 at y = 0."""
    return math.multiply_no_nan(math.log(tf.where(y > 0, y, tf.ones_like(y)) / mean), y)


def _log_ways(y: tf.Tensor, scale: tf.Tensor, power: float) -> tf.Tensor:
    """log Σ_k z^k / (k! Γ(ak)), by which positive sums of k gamma numbers come about.

    Dunn & Smyth 2005. As a function of k the terms are bell-shaped, with their centre at
    y^(2-p) / (φ (2-p)). Where that bell is wide, terms further than 1 apart give the same sum, by
    the trapezoidal rule, to all digits; so their number is fixed.
    """
    a = (2 - power) / (power - 1)
    log_z = a * math.log(y / (power - 1)) - (1 + a) * math.log(scale) - numbers.log(2 - power)
    centre = tf.maximum(tf.round(y ** (2 - power) / (scale * (2 - power))), 1)
    step = tf.stop_gradient(tf.maximum(tf.sqrt(centre / (1 + a)) / 8, 1))
    away = tf.range(-TERMS, TERMS + 1, dtype=y.dtype)
    k = tf.stop_gradient(centre)[..., None] + step[..., None] * away
    there = k >= 1
    k = tf.where(there, k, tf.ones_like(k))
    terms = k * log_z[..., None] - math.lgamma(k + 1) - math.lgamma(a * k)
    terms = tf.where(there, terms, tf.constant(-numbers.inf, y.dtype))
    return math.reduce_logsumexp(terms, -1) + math.log(step)
