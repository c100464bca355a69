"""A quick estimate of a regression, from which coordinates of its posterior are made.

Fisher scoring, with normal distributions in the priors' places. Where it does not converge, what
it has found is a fair origin and scale still.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from workbench.glm import scoring
from workbench.glm.bayes import scales
from workbench.glm.bayes.priors import Priors
from workbench.glm.config import PriorConfig
from workbench.glm.families import Family
from workbench.glm.regression import Regression
from workbench.glm.rows import Rows

# Estimates of the scale, and scoring steps and halvings between them.
ROUNDS, STEPS, HALVINGS = 3, 15, 15
# A gain in log density that ends a round.
LITTLE = 1e-3
# Eigenvalues of a correlation-like matrix that stand for no information.
SMALLEST = 1e-10


class Estimate(NamedTuple):
    """What was found.

    Attributes:
      beta: coefficients, `[p]`.
      weight: W / φ, `[n]`, of the likelihood's information X'WX / φ.
      scale: of the parameter of `scales`; 1 where there is none.
    """

    beta: np.ndarray
    weight: np.ndarray
    scale: float


class Pull(NamedTuple):
    """Normal distributions of combinations of coefficients.

    Attributes:
      combinations: T, `[p, p]`.
      location: m, `[p]`.
      precision: P, `[p]`; 0 where a prior is flat.
    """

    combinations: np.ndarray
    location: np.ndarray
    precision: np.ndarray

    @classmethod
    def of(cls, priors: list[PriorConfig], combinations: np.ndarray) -> "Pull":
        """Distributions about as wide as priors of the combinations."""
        location = np.array([prior.location for prior in priors])
        return cls(combinations, location, np.array([_precision(prior) for prior in priors]))

    @property
    def information(self) -> np.ndarray:
        """T'PT."""
        return self.combinations.T @ (self.precision[:, None] * self.combinations)

    def energy(self, beta: np.ndarray) -> float:
        """(Tβ - m)' P (Tβ - m) / 2."""
        return float(self.precision @ (self.combinations @ beta - self.location) ** 2) / 2

    def force(self, beta: np.ndarray) -> np.ndarray:
        """Its negative gradient, `[p]`."""
        return self.combinations.T @ (self.precision * (self.location - self.combinations @ beta))


def estimate(regression: Regression, priors: Priors, pull: Pull) -> Estimate:
    """The mode of β at a scale by moments."""
    rows, family = regression.rows, regression.family
    scored = _Scoring(family, rows, pull)
    if priors.dispersion is None:
        weight = scored.climb(None)
        return Estimate(scored.beta, weight, 1.0)
    fixed = priors.dispersion.kind == "fixed"
    for _ in range(1 if fixed else ROUNDS):
        scale = priors.dispersion.location if fixed else scales.guess(family, rows, scored.beta)
        weight = scored.climb(scale)
    return Estimate(scored.beta, weight, scale)


def root_of_inverse(matrix: np.ndarray) -> np.ndarray:
    """L with L L' the inverse of a symmetric matrix, as far as that exists."""
    diagonal = np.diag(matrix)
    scale = 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1))
    values, vectors = np.linalg.eigh(scale[:, None] * matrix * scale)
    return scale[:, None] * vectors / np.sqrt(np.maximum(values, SMALLEST))


def _precision(prior: PriorConfig) -> float:
    if prior.kind == "student_t":
        return (prior.freedom + 1) / (prior.freedom * prior.scale**2)
    wide = {"normal": 1.0, "horseshoe": 1.0, "cauchy": 2.0, "laplace": 0.5}
    return wide.get(prior.kind, 0.0) / prior.scale**2


class _Scoring:
    def __init__(self, family: Family, rows: Rows, pull: Pull):
        self._family, self._rows, self._pull = family, rows, pull
        ones = np.ones_like(rows.response)
        average = tf.constant(np.average(rows.response, weights=rows.precision * ones), tf.float64)
        eta = family.link.of(family.start(rows.response, rows.weight * ones, average))
        found = scoring.weighted(family, rows, eta)
        working = found.residual + found.weight * (found.eta - rows.offset)
        information, score = self._products(found.weight.numpy(), working.numpy())
        self.beta = _solved(information + pull.information, score + pull.force(0 * score))
        if not np.isfinite(self._height(family, 1.0, 0 * self.beta)[0]):
            constant = float(family.link.of(average)) - rows.offset + 0 * rows.response
            self.beta = np.linalg.lstsq(rows.design, constant, rcond=None)[0]

    def climb(self, scale: float | None) -> np.ndarray:
        """Goes to the mode for a scale; W / φ where it ends."""
        family, phi = scales.applied(self._family, scale)
        height, found = self._height(family, phi, 0 * self.beta)
        for _ in range(STEPS):
            weight, residual = found.weight.numpy() / phi, found.residual.numpy() / phi
            information, score = self._products(weight, residual)
            force = score + self._pull.force(self.beta)
            step = _solved(information + self._pull.information, force)
            for _ in range(HALVINGS):
                higher, found_there = self._height(family, phi, step)
                if higher >= height or not np.isfinite(height):
                    break
                step = step / 2
            else:
                break
            gain, self.beta, height, found = higher - height, self.beta + step, higher, found_there
            if gain < LITTLE:
                break
        return found.weight.numpy() / phi

    def _height(
        self, family: Family, phi: float, step: np.ndarray
    ) -> tuple[float, scoring.Weighted]:
        """The log density a step ahead; none where two would leave what the family has."""
        beta = self.beta + step
        eta = scoring.predictor(self._rows, tf.constant(beta, tf.float64))
        found = scoring.weighted(family, self._rows, eta)
        possible = family.possible(eta) & family.possible(eta + self._rows.design @ step)
        density = -float(tf.reduce_sum(found.deviance)) / (2 * phi) - self._pull.energy(beta)
        good = bool(tf.reduce_all(possible)) and np.isfinite(density)
        return (density if good else -np.inf), found

    def _products(self, weight: np.ndarray, residual: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        design = self._rows.design
        return design.T @ (weight[:, None] * design), design.T @ residual


def _solved(information: np.ndarray, score: np.ndarray) -> np.ndarray:
    root = root_of_inverse(information)
    return root @ (root.T @ score)


class Standard(NamedTuple):
    """The linear part of a model, on standardised coefficients (u, r); all float64.

    Attributes:
      origin: β where they are 0, `[p]`.
      basis: [L, K]: β = origin + basis (u, r), `[p, P]`.
      offset: η there, `[n]`.
      design: η = offset + design (u, r), `[n, P]`.
    """

    origin: np.ndarray
    basis: np.ndarray
    offset: np.ndarray
    design: np.ndarray


def standardised(
    rows: Rows,
    found: Estimate,
    information: np.ndarray,
    other: np.ndarray,
    at: np.ndarray,
) -> Standard:
    """The standard form of X β + Z r.

    Args:
      rows: of X, the columns whose coefficients are u's.
      found: β and weights where r is `at`.
      information: of the priors of β.
      other: Z, `[n, h]`.
      at: r, `[h]`.
    """
    x = rows.design
    root = root_of_inverse(x.T @ (found.weight[:, None] * x) + information)
    follow = -root @ (root.T @ (x.T @ (found.weight[:, None] * other)))
    origin = found.beta - follow @ at
    design = np.concatenate([x @ root, x @ follow + other], 1)
    return Standard(origin, np.concatenate([root, follow], 1), x @ origin + rows.offset, design)
