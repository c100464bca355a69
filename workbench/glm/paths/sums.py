"""Passes over the rows for several problems at once: all rows, and all but one fold's.

At γ of each problem, the sums are those of scoring, and the deviance of the rows that are held
out. The products X̃'WX̃ of all of them come from one pass too: folds are added up one by one, at the
weights that the problem of all rows has, and a problem's product is that of all without its fold.
It is off by as much as weights differ, which slows a step down and changes no answer. Where it
slows too much, each problem's product is computed at weights of its own.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from workbench.core import replicas
from workbench.glm import scoring
from workbench.glm.families import Family
from workbench.glm.paths.folds import FoldedBlocks
from workbench.glm.paths.penalty import Penalty
from workbench.glm.rows import Rows


class Found(NamedTuple):
    """What a pass finds at the problems' coefficients.

    Attributes:
      deviance: of the rows that a problem has, for each observation, `[K]`.
      held: of those that it has not, `[K]`; infinite where one of them has no mean.
      gradient: X̃'u for each observation, `[p, K]`.
      outside: how many rows have a mean that the family has not, `[K]`.
    """

    deviance: tf.Tensor
    held: tf.Tensor
    gradient: tf.Tensor
    outside: tf.Tensor


class Products(NamedTuple):
    """Quadratics of the problems' deviances around some coefficients, for each observation.

    Attributes:
      product: X̃'WX̃, `[p, p, K]`.
      cross: X̃'u, `[p, K]`.
      deviance: `[K]`.
    """

    product: tf.Tensor
    cross: tf.Tensor
    deviance: tf.Tensor


class Problems:
    """The problems of a path: their rows, columns as they are scaled, and sums over both.

    Args:
      family: distribution and link.
      blocks: the rows.
      penalty: for the columns' scales.
      seen: the sum of weights of each problem's rows, `[K]`; chance deals rows to folds.
    """

    def __init__(self, family: Family, blocks: FoldedBlocks, penalty: Penalty, seen: np.ndarray):
        self.family, self.blocks, self.dtype = family, blocks, blocks.dtype
        self.intercept = penalty.intercept
        self.count = blocks.problems
        self._centre = tf.constant(penalty.centre, self.dtype)
        self._scale = tf.constant(penalty.scale, self.dtype)
        self.weights = replicas.Given(seen.astype(blocks.dtype.as_numpy_dtype))

    @property
    def seen(self) -> tf.Tensor:
        """The sum of weights of each problem's rows, `[K]`."""
        return self.weights.values[0]

    @property
    def unseen(self) -> tf.Tensor:
        """The same of the rows that it has not, `[K]`."""
        return self.seen[0] - self.seen

    def original(self, gamma: tf.Tensor) -> tf.Tensor:
        """β of the columns as they were, `[p, K]`."""
        beta = gamma / self._scale[:, None]
        if self.intercept is None:
            return beta
        shift = tf.linalg.matvec(beta, self._centre, transpose_a=True)
        place = tf.one_hot(self.intercept, len(self._scale), dtype=self.dtype)
        return beta - place[:, None] * shift

    def share(self, gamma: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Inside of `replicas.each`: sums at γ over this replica's rows."""
        beta = self.original(gamma)
        none, zeros = tf.zeros([self.count], self.dtype), tf.zeros(beta.shape, self.dtype)

        def look(block: tuple[Rows, tf.Tensor], sums: tuple[tf.Tensor, ...]):  # type: ignore[no-untyped-def]
            rows, trained = block
            eta = tf.matmul(rows.design, beta) + rows.offset[:, None]
            found = scoring.weighted(self.family, upright(rows), eta)
            score = tf.matmul(rows.design, trained * found.residual, transpose_a=True)
            away = 1 - trained
            parts = (
                tf.reduce_sum(trained * found.deviance, 0),
                tf.reduce_sum(away * found.deviance, 0),
                score,
                tf.reduce_sum(trained * found.outside, 0),
                tf.reduce_sum(away * found.outside, 0),
            )
            return tuple(total + part for total, part in zip(sums, parts, strict=True))

        return self.blocks.fold(look, (none, none, zeros, none, none), tf.constant(1))

    def found(self, sums: tuple[tf.Tensor, ...]) -> Found:
        """What the replicas' shares come to."""
        deviance, held, score, outside, lost = sums
        far = tf.where(lost > 0, tf.constant(np.inf, self.dtype), tf.zeros([], self.dtype))
        return Found(
            deviance / self.seen,
            tf.math.divide_no_nan(held, self.unseen) + far,
            self._scaled(score) / self.seen,
            outside,
        )

    def shared_products(self, gamma: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Inside of `replicas.each`: each fold's quadratic at γ `[p]`, over this replica's rows."""
        beta = self.original(gamma[:, None])[:, 0]
        columns = beta.shape[0]

        def look(rows: Rows, fold: tf.Tensor, sums: tuple[tf.Tensor, ...]):  # type: ignore[no-untyped-def]
            eta = scoring.predictor(rows, beta)
            found = scoring.weighted(self.family, rows, eta)
            design = rows.design - self._centre
            parts = (
                scoring.half_product(design, found.weight),
                tf.linalg.matvec(design, found.residual, transpose_a=True),
                tf.reduce_sum(found.deviance),
            )
            place = tf.one_hot(fold, self.count, dtype=self.dtype)
            return tuple(
                total + tf.reshape(place, [-1, *[1] * len(part.shape)]) * part
                for total, part in zip(sums, parts, strict=True)
            )

        zeros = (
            tf.zeros([self.count, columns, columns], self.dtype),
            tf.zeros([self.count, columns], self.dtype),
            tf.zeros([self.count], self.dtype),
        )
        return self.blocks.by_fold(look, zeros)

    def products(self, folds: tuple[tf.Tensor, ...]) -> Products:
        """The problems' quadratics from the folds'."""
        half, cross, deviance = (self._without(part) for part in folds)
        return Products(self._product(half), tf.transpose(cross / self._scale), deviance)

    def own_products(self, gamma: tf.Tensor) -> tf.Tensor:
        """Inside of `replicas.each`: each problem's X̃'WX̃ at its own γ, over this replica's rows."""
        beta = self.original(gamma)

        def look(block: tuple[Rows, tf.Tensor], sums: tf.Tensor) -> tf.Tensor:
            rows, trained = block
            eta = tf.matmul(rows.design, beta) + rows.offset[:, None]
            weight = trained * scoring.weighted(self.family, upright(rows), eta).weight
            design = rows.design - self._centre
            halves = (scoring.half_product(design, weight[:, k]) for k in range(self.count))
            return sums + tf.stack(list(halves))

        columns = beta.shape[0]
        zeros = tf.zeros([self.count, columns, columns], self.dtype)
        return self.blocks.fold(look, zeros, tf.constant(1))

    def products_of_their_own(self, halves: tf.Tensor) -> tf.Tensor:
        """What the replicas' shares of `own_products` come to, `[p, p, K]`."""
        return self._product(halves / self.seen[:, None, None])

    def _product(self, half: tf.Tensor) -> tf.Tensor:
        """Scaled and whole, `[p, p, K]`, from upper halves `[K, p, p]`."""
        upper = tf.linalg.band_part(half, 0, -1)
        lower = tf.transpose(tf.linalg.set_diag(upper, tf.zeros_like(upper[:, 0])), [0, 2, 1])
        return tf.transpose((upper + lower) / (self._scale[:, None] * self._scale), [1, 2, 0])

    def _without(self, folds: tf.Tensor) -> tf.Tensor:
        """Sums of all folds and of all but each, for each observation; the first fold is none's."""
        every = tf.reduce_sum(folds, 0)
        left = tf.concat([every[None], every - folds[1:]], 0)
        return left / tf.reshape(self.seen, [-1, *[1] * (len(folds.shape) - 1)])

    def _scaled(self, score: tf.Tensor) -> tf.Tensor:
        """X̃'u from X'u, `[p, K]`."""
        if self.intercept is not None:
            score = score - self._centre[:, None] * score[self.intercept]
        return score / self._scale[:, None]


def upright(rows: Rows) -> Rows:
    """Rows that go with a linear predictor `[rows, K]`."""
    return Rows(*(value if len(value.shape) == 2 else value[:, None] for value in rows))
