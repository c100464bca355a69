"""Fisher scoring: one pass over the rows gives deviance, score and information.

McCullagh & Nelder 1989, section 2.5. At β, with η = Xβ + offset, μ = g⁻¹(η), and
W = w (dμ/dη)² / V(μ),

    (X'WX + Λ) δ = X' [w (y - μ) (dμ/dη) / V(μ)] - Λβ,    β ← β + t δ,

where t is halved for as long as the penalised deviance grows. The pass that finds out whether it
does gives the next step's score and information too.
"""

from typing import NamedTuple

import tensorflow as tf

from workbench.glm.families import Family, NegativeBinomial
from workbench.glm.links import Link
from workbench.glm.rows import Rows

# Columns of a panel of X'WX, of which only those on and above the diagonal are computed.
PANEL = 64


class Sums(NamedTuple):
    """What a pass over rows finds at β, for φ = 1.

    Attributes:
      deviance: Σ w d(y, μ), of rows whose mean is possible.
      score: X'u, `[p]`.
      information: X'WX, `[p, p]`, on and above the diagonal; or, by orthogonal transformations,
        R of the QR decomposition of √W [X, r], `[p + 1, p + 1]`, r being u / W.
      outside: how many rows have a mean that the family has not.
      shape: of the log-likelihood in log α, first and second derivative, `[2]`; 0 where no α is
        estimated.
    """

    deviance: tf.Tensor
    score: tf.Tensor
    information: tf.Tensor
    outside: tf.Tensor
    shape: tf.Tensor

    @classmethod
    def zeros(cls, columns: int, dtype: tf.DType, orthogonal: bool) -> "Sums":
        """Those of no rows."""
        size = columns + orthogonal
        return cls(
            tf.zeros([], dtype),
            tf.zeros([columns], dtype),
            tf.zeros([size, size], dtype),
            tf.zeros([], dtype),
            tf.zeros([2], dtype),
        )


class Weighted(NamedTuple):
    """A block's rows as weighted least squares sees them at β, all `[rows]`.

    Attributes:
      eta: the linear predictor.
      residual: u, whose product with X is the score.
      weight: W.
      deviance: w d(y, μ).
      outside: whether a mean is impossible; such rows count nowhere else.
    """

    eta: tf.Tensor
    residual: tf.Tensor
    weight: tf.Tensor
    deviance: tf.Tensor
    outside: tf.Tensor


def weighted(family: Family, rows: Rows, eta: tf.Tensor) -> Weighted:
    """Residuals, weights and deviances at a linear predictor `[rows]`."""
    if family.canonical:
        # Nothing divides and all means are possible: rows that do not count are multiplied by 0.
        mean, variance, _ = family(eta)
        return Weighted(
            eta,
            rows.precision * (rows.response - mean),
            rows.precision * variance,
            rows.precision * family.deviance(rows.response, eta),
            tf.zeros([], eta.dtype),
        )
    zero, one = tf.zeros_like(eta), tf.ones_like(eta)
    seen = rows.precision > 0
    possible = family.possible(eta)
    mean, variance, slope = family(eta)
    # Where a variance underflows, so does what stands above it.
    counted = possible & seen & (variance > 0)
    pull = tf.where(counted, slope / tf.where(counted, variance, one), zero)
    slope = tf.where(counted, slope, zero)
    mean = tf.where(counted, mean, zero)
    residual = rows.precision * (rows.response - mean) * pull
    deviance = tf.where(possible & seen, rows.precision * family.deviance(rows.response, eta), zero)
    outside = tf.cast(seen & ~possible, eta.dtype)
    return Weighted(eta, residual, rows.precision * slope * pull, deviance, outside)


def predictor(rows: Rows, beta: tf.Tensor) -> tf.Tensor:
    """η = Xβ + offset, `[rows]`."""
    return tf.linalg.matvec(rows.design, beta) + rows.offset


def added(family: Family, rows: Rows, beta: tf.Tensor, sums: Sums, orthogonal: bool) -> Sums:
    """The sums with those of a block, at β."""
    return _with(rows, weighted(family, rows, predictor(rows, beta)), sums, orthogonal)


def shape_added(log_alpha: tf.Tensor, link: Link, rows: Rows, beta: tf.Tensor, sums: Sums) -> Sums:
    """The sums with a block's derivatives in log α of negative binomial responses."""
    eta = predictor(rows, beta)
    with tf.GradientTape() as outer:
        outer.watch(log_alpha)
        with tf.GradientTape() as inner:
            inner.watch(log_alpha)
            family = NegativeBinomial(tf.exp(log_alpha), link)
            weight = tf.broadcast_to(rows.precision, rows.response.shape)
            each = family.log_likelihood(rows.response, eta, tf.ones_like(log_alpha), weight)
            total = tf.reduce_sum(tf.where(weight > 0, each, tf.zeros_like(each)))
        first = inner.gradient(total, log_alpha)
    second = outer.gradient(first, log_alpha)
    return sums._replace(shape=sums.shape + tf.stack([first, second]))


def added_start(
    family: Family, rows: Rows, average: tf.Tensor, sums: Sums, orthogonal: bool
) -> Sums:
    """The sums with those of a block at the family's starting means.

    Their score is that of β = 0 in the least squares problem whose solution is the first β.
    """
    mean = family.start(rows.response, tf.broadcast_to(rows.weight, rows.response.shape), average)
    found = weighted(family, rows, family.link.of(mean))
    working = found.eta - rows.offset
    return _with(
        rows, found._replace(residual=found.residual + found.weight * working), sums, orthogonal
    )


def fit_of(family: Family, rows: Rows, beta: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Deviance and Pearson's χ² of a block at β."""
    found = weighted(family, rows, predictor(rows, beta))
    mean, variance, _ = family(found.eta)
    pearson = rows.precision * tf.square(rows.response - mean) / variance
    seen = (rows.precision > 0) & (variance > 0)
    return (
        tf.reduce_sum(found.deviance),
        tf.reduce_sum(tf.where(seen, pearson, tf.zeros_like(pearson))),
    )


def _with(rows: Rows, found: Weighted, sums: Sums, orthogonal: bool) -> Sums:
    if orthogonal:
        information = _triangular(rows.design, found, sums.information)
    else:
        information = sums.information + half_product(rows.design, found.weight)
    return Sums(
        sums.deviance + tf.reduce_sum(found.deviance),
        sums.score + tf.linalg.matvec(rows.design, found.residual, transpose_a=True),
        information,
        sums.outside + tf.reduce_sum(found.outside),
        sums.shape,
    )


def half_product(design: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    """X'WX on and above its diagonal; below it, something or 0.

    Args:
      design: X, `[rows, p]`.
      weight: the diagonal of W, `[rows]`.
    """
    columns = design.shape[1]
    scaled = weight[:, None] * design
    if columns < 2 * PANEL:
        return tf.matmul(design, scaled, transpose_a=True)
    panels = [
        tf.pad(
            tf.matmul(design[:, begin : begin + PANEL], scaled[:, begin:], transpose_a=True),
            [[0, 0], [begin, 0]],
        )
        for begin in range(0, columns, PANEL)
    ]
    return tf.concat(panels, 0)


def whole(half: tf.Tensor) -> tf.Tensor:
    """The symmetric matrix with an upper half."""
    upper = tf.linalg.band_part(half, 0, -1)
    return upper + tf.transpose(upper) - tf.linalg.diag(tf.linalg.diag_part(half))


def _triangular(design: tf.Tensor, found: Weighted, above: tf.Tensor) -> tf.Tensor:
    """R of the rows that R stands for already, and of a block."""
    root = tf.sqrt(found.weight)
    working = tf.math.divide_no_nan(found.residual, root)
    block = tf.concat([root[:, None] * design, working[:, None]], 1)
    size = above.shape[0]
    return tf.linalg.qr(tf.concat([above, block], 0)).r[:size]
