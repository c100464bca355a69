"""The parameter by which a family's responses scatter: its name, what it does, a first guess."""

import numpy as np
import tensorflow as tf

from workbench.glm import scoring
from workbench.glm.families import Family, NegativeBinomial
from workbench.glm.regression import Regression
from workbench.glm.rows import Rows

NAMES = {
    "gaussian": "sigma",
    "gamma": "shape",
    "inverse_gaussian": "dispersion",
    "tweedie": "dispersion",
    "negative_binomial": "alpha",
}
# Of α, which moments may say is negative.
LEAST_ALPHA = 1e-3


def name_of(regression: Regression) -> str | None:
    """What the parameter is called; None where there is none."""
    if regression.family.key == "negative_binomial" and regression.model.alpha is not None:
        return None
    return NAMES.get(regression.family.key)


def applied(family: Family, value: tf.Tensor | None) -> tuple[Family, tf.Tensor | float]:
    """The family and φ at a value of the parameter."""
    name = NAMES.get(family.key)
    if value is None or name is None:
        return family, 1.0
    if isinstance(family, NegativeBinomial):
        return NegativeBinomial(value, family.link), 1.0
    return family, {"sigma": value * value, "shape": 1 / value, "dispersion": value}[name]


def guess(family: Family, rows: Rows, beta: np.ndarray) -> float:
    """The value of the parameter by moments, at β."""
    eta = scoring.predictor(rows, tf.constant(beta, tf.float64))
    mean = family.link.mean(eta).numpy()
    precision = np.broadcast_to(rows.precision, mean.shape)
    squared = precision * (rows.response - mean) ** 2
    freedom = max(rows.observations - len(beta), 0.1 * rows.observations)
    if isinstance(family, NegativeBinomial):
        alpha = np.sum(squared - precision * mean) / np.sum(precision * mean**2)
        return max(float(alpha), LEAST_ALPHA)
    phi = float(np.sum(squared / np.asarray(family.variance(mean)))) / freedom or 1.0
    return {"sigma": phi**0.5, "shape": 1 / phi, "dispersion": phi}[NAMES[family.key]]
