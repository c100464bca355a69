"""Log-likelihoods of many chains at once, each in the cheapest form that its family has.

All of them see coefficients through one product with the design matrix, `[C, P]` by `[P, n]`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from workbench.core import replicas
from workbench.glm import links
from workbench.glm.bayes import scales
from workbench.glm.bayes.standard import Standard
from workbench.glm.families import Binomial, Family, Gaussian, Poisson
from workbench.glm.rows import Rows


class Likelihood(ABC):
    """log p(y | parameters) up to a constant.

    Attributes:
      data: what it needs of the rows.
    """

    data: replicas.Given

    @abstractmethod
    def __call__(self, linear: tf.Tensor, scale: tf.Tensor | None) -> tf.Tensor:
        """Its value, `[C]`.

        Args:
          linear: standardised coefficients, `[C, P]`.
          scale: the parameter of `scales`, `[C, 1]`; None where there is none.
        """


def likelihood_of(family: Family, rows: Rows, form: Standard, dtype: tf.DType) -> Likelihood:
    """The likelihood of a regression in its standard form."""
    many = len(rows.response) > form.design.shape[1] + 1
    if isinstance(family, Gaussian) and family.link is links.identity and many:
        return _Squares(rows, form, dtype)
    if (cumulant := CUMULANTS.get((type(family), family.link.name))) is not None:
        return _Canonical(cumulant, rows, form, dtype)
    return _General(family, rows, form, dtype)


class _Squares(Likelihood):
    """Normal responses: all there is to know of n rows are P + 1, R of the QR decomposition."""

    def __init__(self, rows: Rows, form: Standard, dtype: tf.DType):
        self._count = rows.observations
        root = np.sqrt(np.broadcast_to(rows.precision, rows.response.shape))
        columns = np.column_stack([form.design, rows.response - form.offset])
        found = np.linalg.qr(root[:, None] * columns, mode="r")
        triangle = np.asarray(found, dtype.as_numpy_dtype)
        self.data = replicas.Given(triangle[:, :-1], triangle[:, -1])

    def __call__(self, linear: tf.Tensor, scale: tf.Tensor | None) -> tf.Tensor:
        assert scale is not None
        triangle, target = self.data.values
        residual = (tf.matmul(linear, triangle, transpose_b=True) - target) / scale
        return -tf.reduce_sum(tf.square(residual), 1) / 2 - self._count * tf.math.log(scale[:, 0])


class _Canonical(Likelihood):
    """Σ w (y η - b(η)), whose derivative by η is w (y - b'(η)); b and b' share their work."""

    def __init__(
        self,
        cumulant: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]],
        rows: Rows,
        form: Standard,
        dtype: tf.DType,
    ):
        self._cumulant = cumulant
        arrays = (form.design, form.offset, rows.response, rows.precision)
        self.data = replicas.Given(*(tf.constant(array, dtype) for array in arrays))

    def __call__(self, linear: tf.Tensor, scale: tf.Tensor | None) -> tf.Tensor:
        design, offset, response, weight = self.data.values

        @tf.custom_gradient
        def value(linear: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
            eta = tf.matmul(linear, design, transpose_b=True) + offset
            cumulant, mean = self._cumulant(eta)
            residual = weight * (response - mean)
            total = tf.reduce_sum(weight * (response * eta - cumulant), 1)
            return total, lambda upstream: upstream[:, None] * tf.matmul(residual, design)

        return value(linear)


class _General(Likelihood):
    """Any family's, with its derivatives by TensorFlow."""

    def __init__(self, family: Family, rows: Rows, form: Standard, dtype: tf.DType):
        self._family = family
        arrays = (form.design, form.offset, rows.response, rows.weight, rows.frequency)
        self.data = replicas.Given(*(tf.constant(array, dtype) for array in arrays))

    def __call__(self, linear: tf.Tensor, scale: tf.Tensor | None) -> tf.Tensor:
        design, offset, response, weight, frequency = self.data.values
        family, phi = scales.applied(self._family, scale)
        eta = tf.matmul(linear, design, transpose_b=True) + offset
        rows = family.log_likelihood(response, eta, phi, weight)
        rows = tf.where(family.possible(eta), rows, tf.constant(-np.inf, rows.dtype))
        return tf.reduce_sum(frequency * rows, 1)


def _logistic(eta: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """log(1 + exp(η)), and its derivative."""
    small = tf.exp(-tf.abs(eta))
    cumulant = tf.maximum(eta, 0) + tf.math.log(1 + small)
    return cumulant, tf.where(eta >= 0, tf.ones_like(eta), small) / (1 + small)


def _exponential(eta: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    mean = links.log.mean(eta)
    return mean, mean


CUMULANTS = {(Binomial, "logit"): _logistic, (Poisson, "log"): _exponential}
