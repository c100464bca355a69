"""Where responses stand in their distributions."""

from typing import NamedTuple

import numpy as np
from scipy import stats

from workbench.core.config import ConfigError
from workbench.glm.families import Family, NegativeBinomial, Tweedie
from workbench.glm.rows import Rows

# Rows times terms of a series that are gone through at once.
NUMBERS = 2**20


class Place(NamedTuple):
    """Probabilities, `[n]`, both from below and from above, so that neither tail is rounded away.

    Attributes:
      before: P(Y < y).
      below: P(Y ≤ y).
      after: P(Y ≥ y).
      above: P(Y > y).
    """

    before: np.ndarray
    below: np.ndarray
    after: np.ndarray
    above: np.ndarray


def place(family: Family, rows: Rows, mean: np.ndarray, dispersion: float) -> Place:
    """Of each response, given its mean.

    Weights w of counts are exposures: w y is Poisson with mean w μ.
    """
    y, weight = rows.response, np.broadcast_to(rows.weight, rows.response.shape)
    scale = dispersion / weight
    if isinstance(family, Tweedie):
        return _compound(family, y, mean, scale)
    if family.key == "gaussian":
        return _continuous(stats.norm(mean, np.sqrt(scale)), y)
    if family.key == "gamma":
        return _continuous(stats.gamma(1 / scale, scale=mean * scale), y)
    if family.key == "inverse_gaussian":
        return _continuous(stats.invgauss(mean * scale, scale=1 / scale), y)
    count = np.round(weight * y)
    if family.key == "binomial":
        return _discrete(stats.binom(np.round(weight), mean), count)
    if isinstance(family, NegativeBinomial):
        alpha = float(family.alpha)
        return _discrete(stats.nbinom(weight / alpha, 1 / (1 + alpha * mean)), count)
    return _discrete(stats.poisson(weight * mean), count)


def _continuous(distribution: stats.rv_continuous, y: np.ndarray) -> Place:
    below, above = distribution.cdf(y), distribution.sf(y)
    return Place(below, below, above, above)


def _discrete(distribution: stats.rv_discrete, y: np.ndarray) -> Place:
    return Place(
        distribution.cdf(y - 1), distribution.cdf(y), distribution.sf(y - 1), distribution.sf(y)
    )


def _compound(family: Tweedie, y: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> Place:
    """Of a Poisson number of gamma ones, by summing over how many they are (Jørgensen 1997)."""
    power = family.power
    if not 1 < power < 2:
        raise ConfigError(f"quantile residuals are not known for power={power:g}, only in (1, 2)")
    rate = mean ** (2 - power) / ((2 - power) * scale)
    shape, size = (2 - power) / (power - 1), scale * (power - 1) * mean ** (power - 1)
    # Ten standard deviations above the mean, and some more where that is small.
    last = int(rate.max() + 10 * np.sqrt(rate.max()) + 30)
    below, above = np.exp(-rate), np.zeros_like(y)
    step = max(1, NUMBERS // last)
    numbers = np.arange(1, last + 1)
    for begin in range(0, len(y), step):
        part = slice(begin, begin + step)
        chance = stats.poisson.pmf(numbers, rate[part, None])
        gamma = stats.gamma(numbers * shape, scale=size[part, None])
        below[part] += np.sum(chance * gamma.cdf(y[part, None]), 1)
        above[part] = np.sum(chance * gamma.sf(y[part, None]), 1)
    none = y == 0
    return Place(np.where(none, 0.0, below), below, np.where(none, 1.0, above), above)
