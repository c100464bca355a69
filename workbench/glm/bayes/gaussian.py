"""Gaussian approximations of a posterior, and how good they are."""

from collections.abc import Callable
from dataclasses import dataclass

import arviz as az
import numpy as np
import scipy.linalg

# Differences of log densities that are rounding.
ROUNDING = 1e-4
# Curvatures that count as this large at the least, beside the largest.
LEAST = 1e-10


@dataclass(frozen=True, eq=False)
class Gaussian:
    """A multivariate normal distribution of coordinates.

    Attributes:
      location: `[D]`.
      scale: the lower triangular factor of the covariance, `[D, D]`.
    """

    location: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, location: np.ndarray, information: np.ndarray) -> "Gaussian":
        """From the inverse of a covariance; where that is none, with a spread that is very wide."""
        size = np.sqrt(np.abs(np.diag(information)))
        size = np.where(size > 0, size, 1)
        values, vectors = np.linalg.eigh(information / size[:, None] / size)
        root = vectors / np.sqrt(np.maximum(values, LEAST * values[-1])) / size[:, None]
        triangle = np.linalg.qr(root.T)[1].T
        return cls(location, triangle * np.sign(np.diag(triangle)))

    def draw(self, count: int, generator: np.random.Generator) -> np.ndarray:
        """Coordinates `[count, D]`."""
        noise = generator.standard_normal([count, len(self.location)])
        return self.location + noise @ self.scale.T

    def log_density(self, theta: np.ndarray) -> np.ndarray:
        """Up to a constant, `[count]`, of coordinates `[count, D]`."""
        noise = scipy.linalg.solve_triangular(self.scale, (theta - self.location).T, lower=True)
        return -0.5 * np.sum(noise**2, axis=0)


def pareto_k(
    log_density: Callable[[np.ndarray], np.ndarray], theta: np.ndarray, q: Gaussian
) -> float:
    """k̂ of importance ratios of the posterior to an approximation (Yao et al. 2018).

    Below 0.7 draws of the approximation can stand for the posterior's; -inf where both are the
    same up to rounding.

    Args:
      log_density: of the posterior, up to a constant, `[count]` of coordinates `[count, D]`.
      theta: draws of the approximation, `[count, D]`.
      q: the approximation.
    """
    ratios = log_density(theta) - q.log_density(theta)
    ratios = np.where(np.isfinite(ratios), ratios, -np.inf)
    if np.ptp(ratios) < ROUNDING:
        return -np.inf
    _, k = az.psislw(ratios - np.max(ratios))
    return float(k)
