"""The mode of a density and its curvature there, by Newton's method; a Gaussian from these.

Far from the mode the density may curve upwards; its curvature counts as if it were downwards
there (Dauphin et al. 2014), which every step is then sure to climb by. Of a step's halvings, all
of which are looked at together, the longest that keeps enough of its promise is taken.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from workbench.core import replicas
from workbench.core.learner import Learner, Metrics
from workbench.core.random import Seed

Density = Callable[[tf.Tensor], tf.Tensor]

HALVINGS = 16
# Rows of the curvature that are found at once.
ROWS = 32
# Of what a step promises, the least that counts (Armijo 1966).
KEPT = 1e-4
# Promised gains of log density that are rounding.
NOTHING = {tf.float64: 1e-16, tf.float32: 1e-6}
# Curvatures that are none.
FLAT = {tf.float64: 1e-12, tf.float32: 1e-6}


class Mode(Learner):
    """Climbs a log density from 0.

    Args:
      density: log p `[C]` of coordinates `[C, D]`, up to a constant; differentiable twice.
      size: D.
      dtype: of coordinates, which are about of the density's scale.
      data: that the density looks at, if any.

    Attributes:
      theta: where it stands, `[D]`.
      information: -∂² log p, `[D, D]`, at the last look.
    """

    unit = "iterations"
    kernels = True  # eigenvalues, which XLA:CPU goes about in loops
    limit = 500
    limited_by = "iterations"

    def __init__(
        self,
        density: Density,
        size: int,
        dtype: tf.DType = tf.float64,
        data: replicas.Given | None = None,
    ):
        super().__init__(name="mode")
        self._density, self._dtype, self.data = density, dtype, data
        self.theta = tf.Variable(tf.zeros([size], dtype), trainable=False)
        self.information = tf.Variable(tf.eye(size, dtype=dtype), trainable=False)
        self._log_density = tf.Variable(tf.zeros([], dtype), trainable=False)
        self._length = tf.Variable(tf.ones([], dtype), trainable=False)
        self._gain = tf.Variable(tf.ones([], dtype), trainable=False)
        self._converged = tf.Variable(False, trainable=False)

    @property
    def converged(self) -> bool:
        """Whether nothing is left to gain."""
        return bool(self._converged.numpy())

    @property
    def flat(self) -> np.ndarray:
        """Directions in which the density does not fall from where it stands, `[k, D]`."""
        values, vectors = np.linalg.eigh(self.information.numpy())
        return vectors.T[values <= FLAT[self._dtype]]

    def train_step(self, seed: Seed) -> Metrics:
        """One step of Newton's; none once it has converged."""
        return replicas.first(replicas.each(self._climbed)())

    def evaluate(self, seed: Seed) -> Metrics:
        density = replicas.each(lambda: self._density(self.theta[None])[0])()
        return {"log_density": replicas.first(density)}

    def done(self, metrics: dict[str, float]) -> str | None:
        return "converged" if metrics["converged"] else None

    def fault(self, metrics: dict[str, float]) -> str | None:
        if metrics.get("step_length") == 0:
            return "no step raises the posterior's density: another sampler is needed"
        return super().fault(metrics)

    def _climbed(self) -> Metrics:
        tf.cond(self._converged, lambda: None, self._climb)
        return {
            "log_density": tf.identity(self._log_density),
            "gain": tf.identity(self._gain),
            "step_length": tf.identity(self._length),
            "converged": tf.cast(self._converged, self._dtype),
        }

    def _climb(self) -> None:
        density, gradient, information = expansion(self._density, self.theta)
        known = tf.reduce_all(tf.math.is_finite(information))
        information = tf.where(known, information, self.information)
        step, downwards = _newton(information, gradient)
        gain = tf.reduce_sum(gradient * step) / 2
        length = tf.where(known, self._longest(density, step, gain), 0)
        last = known & downwards & (gain <= NOTHING[self._dtype])
        # The last step promises so little that it needs no look to be believed.
        length = tf.where(last, tf.ones_like(length), length)
        self.theta.assign_add(tf.where(length > 0, length * step, 0))
        self.information.assign(information)
        self._log_density.assign(density)
        self._gain.assign(gain)
        self._length.assign(length)
        self._converged.assign(last)

    def _longest(self, density: tf.Tensor, step: tf.Tensor, gain: tf.Tensor) -> tf.Tensor:
        """The longest share of a step that is worth its promise; 0 if there is none."""
        lengths = tf.constant(0.5 ** np.arange(HALVINGS), self._dtype)
        found = self._density(self.theta + lengths[:, None] * step)
        slack = 10 * np.finfo(self._dtype.as_numpy_dtype).eps * (1 + tf.abs(density))
        good = tf.math.is_finite(found) & (found >= density + 2 * KEPT * lengths * gain - slack)
        return tf.reduce_max(tf.where(good, lengths, tf.zeros_like(lengths)))


def expansion(density: Density, theta: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """log p, its gradient `[D]` and -∂² log p `[D, D]` at coordinates `[D]`.

    Rows of the curvature come from batches, some at a time: each is the derivative of a gradient
    along a coordinate.
    """
    size = theta.shape[0]
    batch = min(size, ROWS)
    batches = -(-size // batch)
    axes = tf.eye(batches * batch, size, dtype=theta.dtype)

    def look(along: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        copies = tf.tile(theta[None], [batch, 1])
        with tf.GradientTape() as outer:
            outer.watch(copies)
            with tf.GradientTape() as inner:
                inner.watch(copies)
                densities = density(copies)
            gradients = inner.gradient(densities, copies)
            slopes = tf.reduce_sum(gradients * along, -1)
        return densities[0], gradients[0], outer.gradient(slopes, copies)

    parts = tf.reshape(axes, [batches, batch, size])
    signature = tuple(tf.TensorSpec(shape, theta.dtype) for shape in ([], [size], [batch, size]))
    found = tf.map_fn(look, parts, fn_output_signature=signature, parallel_iterations=1)
    densities, gradients, rows = found
    rows = tf.reshape(rows, [-1, size])[:size]
    return densities[0], gradients[0], -(rows + tf.transpose(rows)) / 2


def _newton(information: tf.Tensor, gradient: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """A step that climbs, and whether the density curves downwards throughout."""
    scale = _scale(information)
    values, vectors = tf.linalg.eigh(information * scale[:, None] * scale)
    sizes = tf.abs(values)
    least = FLAT[values.dtype] * tf.reduce_max(sizes)
    along = tf.linalg.matvec(vectors, scale * gradient, transpose_a=True)
    step = scale * tf.linalg.matvec(vectors, along / tf.maximum(sizes, least))
    return step, tf.reduce_min(values) > -least


def _scale(information: tf.Tensor) -> tf.Tensor:
    """By which coordinates are of one curvature."""
    diagonal = tf.abs(tf.linalg.diag_part(information))
    return tf.where(diagonal > 0, tf.math.rsqrt(diagonal), tf.ones_like(diagonal))
