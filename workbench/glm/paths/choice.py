"""Which λ cross-validation chooses.

As glmnet has it (Friedman, Hastie & Tibshirani 2010, section 2.5): folds count by their weights,
and the standard error is that of their weighted mean.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf


class Curve(NamedTuple):
    """Deviances of the rows held out, for each observation and at each λ.

    Attributes:
      mean: `[L]`.
      error: its standard error, `[L]`.
    """

    mean: tf.Tensor
    error: tf.Tensor

    @classmethod
    def of(cls, held: tf.Tensor, weights: tf.Tensor) -> "Curve":
        """From those of each problem, `[L, K]`, and the weights of the rows it has not, `[K]`.

        The first problem has all rows.
        """
        held = tf.convert_to_tensor(held)
        mean = mean_of(held, weights)
        spread = mean_of(tf.square(held - mean[:, None]), weights)
        return cls(mean, tf.sqrt(spread / (weights.shape[0] - 2)))


def mean_of(held: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Σ weight · value / Σ weight over the last axis; 0 where nothing has a weight."""
    return tf.math.divide_no_nan(tf.reduce_sum(held * weights, -1), tf.reduce_sum(weights))


def chosen(curve: Curve | None, taken: tf.Tensor, choose: str) -> tf.Tensor:
    """The place of the λ, int32; the last one's where nothing was held out.

    Args:
      curve: of the whole path, on which λ go down; None without folds.
      taken: how many λ it is known for.
      choose: "min", or "1se".
    """
    taken = tf.maximum(taken, 1)
    if curve is None:
        return taken - 1
    known = tf.range(curve.mean.shape[0]) < taken
    far = tf.constant(np.inf, curve.mean.dtype)
    mean = tf.where(known & tf.math.is_finite(curve.mean), curve.mean, far)
    best = tf.argmin(mean, output_type=tf.int32)
    if choose == "min":
        return best
    return tf.argmax(mean <= mean[best] + curve.error[best], output_type=tf.int32)
