"""Solves one scoring step, and says how far columns are from being others' combinations."""

from typing import NamedTuple

import tensorflow as tf

from workbench.glm.scoring import whole

# Added to the diagonal of a correlation-like matrix: rounding makes no eigenvalue as negative.
# What it costs the step, the next one makes good.
SHIFT = {tf.float64: 1e-12, tf.float32: 1e-5}


class Step(NamedTuple):
    """A scoring step.

    Attributes:
      delta: δ, `[p]`.
      gain: δ' (X'WX + Λ) δ, by which the penalised deviance will fall.
      size: the same of β, if all the parts of the linear predictor had one sign: what rounding
        is a share of.
      pivots: 1 - R² of each column on those before it, `[p]`.
    """

    delta: tf.Tensor
    gain: tf.Tensor
    size: tf.Tensor
    pivots: tf.Tensor


def by_cholesky(half: tf.Tensor, penalty: tf.Tensor, beta: tf.Tensor, gradient: tf.Tensor) -> Step:
    """From the normal equations.

    Args:
      half: X'WX, on and above its diagonal.
      penalty: the diagonal of Λ, `[p]`.
      beta: where the step starts, `[p]`.
      gradient: of the penalised log-likelihood there, `[p]`.
    """
    full = whole(half) + tf.linalg.diag(penalty)
    diagonal = tf.linalg.diag_part(full)
    scale = tf.math.rsqrt(tf.where(diagonal > 0, diagonal, tf.ones_like(diagonal)))
    alike = scale[:, None] * full * scale
    shifted = alike + SHIFT[half.dtype] * tf.eye(alike.shape[0], dtype=half.dtype)
    lower = tf.linalg.cholesky(shifted)
    solution = tf.linalg.cholesky_solve(lower, (scale * gradient)[:, None])[:, 0]
    delta = scale * solution
    gain = tf.reduce_sum(delta * gradient)
    size = tf.square(tf.reduce_sum(tf.abs(beta) * tf.sqrt(tf.maximum(diagonal, 0))))
    return Step(delta, gain, size, tf.square(tf.linalg.diag_part(lower)))


def by_qr(triangle: tf.Tensor, penalty: tf.Tensor, beta: tf.Tensor, gradient: tf.Tensor) -> Step:
    """From R of √W [X, r].

    Args:
      triangle: R, `[p + 1, p + 1]`.
      penalty: the diagonal of Λ, `[p]`.
      beta: where the step starts, `[p]`.
      gradient: of the penalised log-likelihood there, `[p]`.
    """
    order = triangle.shape[0]
    root = tf.sqrt(penalty)
    rows = tf.concat([tf.linalg.diag(root), -(root * beta)[:, None]], 1)
    r = tf.linalg.qr(tf.concat([triangle, rows], 0)).r[:order]
    upper, right = r[:-1, :-1], r[:-1, -1:]
    diagonal = tf.linalg.diag_part(upper)
    lengths = tf.reduce_sum(tf.square(upper), 0)
    pivots = tf.math.divide_no_nan(tf.square(diagonal), lengths)
    safe = tf.where(diagonal == 0, tf.ones_like(diagonal), diagonal)
    delta = tf.linalg.triangular_solve(tf.linalg.set_diag(upper, safe), right, lower=False)[:, 0]
    gain = tf.reduce_sum(delta * gradient)
    size = tf.square(tf.reduce_sum(tf.abs(beta) * tf.sqrt(lengths)))
    return Step(delta, gain, size, pivots)
