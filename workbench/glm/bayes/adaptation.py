"""What samplers find out while they warm up: how long a step may be, and the posterior's shape.

All of it comes from sums over chains, so that it does not depend on how many replicas there are.
"""

import numpy as np
import tensorflow as tf

# Of dual averaging (Hoffman & Gelman 2014, section 3.2.1): γ, t0 and κ.
SHRINKAGE, SMOOTHING, DECAY = 0.05, 10.0, 0.75
# The first step, in units of D^(-1/4), and how many times as long those are that it may try.
FIRST, BOLD = 0.8, 2.0
# Shares of the warm-up after which the shape that was seen is taken.
WINDOWS = (0.1, 0.3, 0.6)
# Coordinates of which correlations are learned too, at the most.
DENSE = 256
# How many points for each coordinate the first shape, which is a sphere, is worth.
DOUBT = 5.0


def windows(warm_up: int) -> list[int]:
    """Numbers of draws after which the shape that was seen is taken."""
    return sorted({round(share * warm_up) for share in WINDOWS} - {0, warm_up})


class StepSize(tf.Module):
    """ε by dual averaging: Nesterov 2009; Hoffman & Gelman 2014, section 3.2.

    Args:
      size: D.
      acceptance: δ, to aim at.
      dtype: of coordinates.
    """

    def __init__(self, size: int, acceptance: float, dtype: tf.DType):
        super().__init__(name="step_size")
        first = float(np.log(FIRST * size**-0.25))
        self._acceptance, self._bold = acceptance, first + float(np.log(BOLD))
        self._log, self._average = _state(first, dtype), _state(first, dtype)
        self._missing, self._count = _state(0.0, dtype), _state(0.0, dtype)

    def value(self, warm: tf.Tensor) -> tf.Tensor:
        """ε: the one that is tried; once `warm`, the average."""
        return tf.exp(tf.where(warm, self._average, self._log))

    def learn(self, accepted: tf.Tensor) -> None:
        """Takes in the probability that a draw was accepted."""
        count = self._count.assign_add(1)
        missing = self._missing.assign_add(self._acceptance - accepted)
        log = self._bold - missing * tf.sqrt(count) / (SHRINKAGE * (count + SMOOTHING))
        share = count**-DECAY
        self._log.assign(log)
        self._average.assign(share * log + (1 - share) * self._average)

    def restart(self) -> None:
        """Begins once more from the average."""
        self._log.assign(self._average)
        self._missing.assign(tf.zeros_like(self._missing))
        self._count.assign(tf.zeros_like(self._count))


class Shape(tf.Module):
    """F of a posterior whose covariance is about F F'; a diagonal where there are many coordinates.

    Args:
      size: D.
      dtype: of coordinates.
    """

    def __init__(self, size: int, dtype: tf.DType):
        super().__init__(name="shape")
        self._dense = size <= DENSE
        self._one = np.eye(size) if self._dense else np.ones(size)
        self._factor = _state(self._one, dtype)
        self._count, self._sum = _state(0.0, dtype), _state(np.zeros(size), dtype)
        self._squares = _state(0 * self._one, dtype)

    @property
    def mean(self) -> tf.Tensor:
        """Of the points that were seen, `[D]`."""
        return self._sum / tf.maximum(self._count, 1)

    def stretched(self, sphere: tf.Tensor) -> tf.Tensor:
        """F v of each v, `[C, D]`."""
        if self._dense:
            return tf.matmul(sphere, self._factor, transpose_b=True)
        return sphere * self._factor

    def pulled_back(self, gradient: tf.Tensor) -> tf.Tensor:
        """F' g of each g, `[C, D]`."""
        return tf.matmul(gradient, self._factor) if self._dense else gradient * self._factor

    def moments(self, points: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """What is to be summed of points `[C, D]`."""
        if self._dense:
            squares = tf.matmul(points, points, transpose_a=True)
        else:
            squares = tf.reduce_sum(tf.square(points), 0)
        count = tf.constant(points.shape[0], points.dtype)
        return count, tf.reduce_sum(points, 0), squares

    def learn(self, moments: tuple[tf.Tensor, tf.Tensor, tf.Tensor]) -> None:
        """Takes in the moments of points."""
        for variable, more in zip((self._count, self._sum, self._squares), moments, strict=True):
            variable.assign_add(more)

    def take(self) -> None:
        """Makes what was seen the shape, if it is one, and forgets it."""
        mean, doubt = self.mean, DOUBT * float(len(self._one))
        centre = mean[:, None] * mean if self._dense else tf.square(mean)
        covariance = self._squares / tf.maximum(self._count, 1) - centre
        share = self._count / (self._count + doubt)
        covariance = share * covariance + (1 - share) * tf.constant(self._one, mean.dtype)
        factor = tf.linalg.cholesky(covariance) if self._dense else tf.sqrt(covariance)
        good = tf.reduce_all(tf.math.is_finite(factor))
        self._factor.assign(tf.where(good, factor, self._factor))
        for variable in (self._count, self._sum, self._squares):
            variable.assign(tf.zeros_like(variable))


def _state(value: float | np.ndarray, dtype: tf.DType) -> tf.Variable:
    return tf.Variable(tf.constant(value, dtype), trainable=False)
