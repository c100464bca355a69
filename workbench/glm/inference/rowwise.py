"""What every row has at an estimate, as NumPy arrays."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from workbench.glm.families import Family
from workbench.glm.rows import Rows
from workbench.glm.scoring import weighted


class Rowwise(NamedTuple):
    """Of one copy of each row, for φ = 1, all `[n]`.

    Attributes:
      eta: the linear predictor.
      mean: μ.
      variance: V(μ).
      slope: dμ/dη.
      pull: the derivative of its log-likelihood by η, u = w (y - μ) (dμ/dη) / V(μ).
      weight: the expectation of what is lost of u as η grows, W = w (dμ/dη)² / V(μ).
      deviance: w d(y, μ).
      outside: whether the family has no such mean.
    """

    eta: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    slope: np.ndarray
    pull: np.ndarray
    weight: np.ndarray
    deviance: np.ndarray
    outside: np.ndarray


def at(family: Family, rows: Rows, eta: np.ndarray) -> Rowwise:
    """What rows have at a linear predictor `[n]`."""
    place = tf.constant(eta)
    found = weighted(family, rows._replace(frequency=np.ones(1)), place)
    mean, variance, slope = (value.numpy() for value in family(place))
    pull, weight, deviance = (
        value.numpy() for value in (found.residual, found.weight, found.deviance)
    )
    outside = found.outside.numpy() > 0
    return Rowwise(eta, mean, variance, slope, pull, weight, deviance, outside)


def predictor(rows: Rows, beta: np.ndarray) -> np.ndarray:
    """η = Xβ + offset, `[n]`."""
    return rows.design @ beta + rows.offset
