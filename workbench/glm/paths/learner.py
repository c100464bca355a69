"""A path of penalised estimates as steps: one λ each, for all rows and without each fold.

Lee, Sun & Saunders 2014 (proximal Newton) as Friedman, Hastie & Tibshirani 2010 have it. Around γ,
the deviance is replaced by a quadratic whose penalised minimum gives the step; a pass over the rows
judges where it leads, and it is halved for as long as the penalised deviance grows. Gradients are
exact, so that X̃'WX̃ may be an earlier one: it is computed anew where a step gained too little over
the one before. Of the gaussian family with its usual link it is the same for the whole path, and
no other pass over the rows is needed.

Groups whose gradient was far below the threshold are left out until it is not (Tibshirani et al.
2012, the strong rules); as gradients of all columns are there after each step, none is missed.
"""

from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from workbench.core import replicas
from workbench.core.learner import Learner, Mean, Metrics
from workbench.core.random import Seed
from workbench.glm import links
from workbench.glm.config import PathConfig
from workbench.glm.families import Family, Gaussian
from workbench.glm.paths import choice
from workbench.glm.paths.descent import ByProducts, ByRows, Groups, Thresholds, descend
from workbench.glm.paths.folds import FoldedBlocks
from workbench.glm.paths.penalty import Penalty
from workbench.glm.paths.sums import Found, Problems
from workbench.glm.paths.wide import Wide
from workbench.glm.rows import Rows

# Numbers in X̃'WX̃ of all problems from which on it is not formed.
PRODUCTS = 2**27
# How much less a step must promise than the one before, or the products are computed anew.
CONTRACTION = 0.02
# By how much the largest λ is above the one that rounding leaves uncertain.
EDGE = 1 + 1e-6
# What is rounding: of a promise, and of a deviance, as a share of the latter.
FLOOR = {tf.float64: 1e-18, tf.float32: 1e-9}
ROUNDING = {tf.float64: 1e-12, tf.float32: 1e-5}
# Renewals of products that the problems share, in one λ, after which each gets its own.
SHARED = 2
# Halvings of a step after which none is believed to lower the deviance.
HALVINGS = 40
# a for the largest λ of ridge regression, at which no λ leaves all coefficients at 0.
LEAST_MIX = 1e-3
# What descent leaves of a step, as a share of what ends a λ.
INNER = 1e-2


class Path(Learner):
    """Estimates at one λ after the other, each from where the last one ended.

    Args:
      config: of the method.
      family: distribution and link.
      rows: of the regression; checked.
      penalty: on its columns.
      fold: with which each row is held out, int32 `[n]`, see `folds.dealt`.
      block: numbers of the design matrix that are gone through at once.

    Attributes:
      lambdas: `[L]`.
      coefficients: β at each, `[L, p]`.
      explained: the share of the null deviance, `[L]`.
      held: deviances of the rows that a problem has not, for each observation, `[L, K]`; the first
        has all.
      taken: how many λ have been gone through.
      free: whether a column is not penalised, bool `[p]`.
    """

    unit = "penalties"
    kernels = True  # products of float64, of which XLA:CPU makes loops

    def __init__(
        self,
        config: PathConfig,
        family: Family,
        rows: Rows,
        penalty: Penalty,
        fold: np.ndarray,
        block: int = 2**18,
    ):
        super().__init__(name="path")
        self.config, self.family = config, family
        columns, dtype = rows.design.shape[1], tf.as_dtype(rows.design.dtype)
        blocks = FoldedBlocks(rows, fold, block)
        precision = np.broadcast_to(rows.precision, rows.response.shape)
        held = np.bincount(fold, precision, blocks.problems)
        held[0] = 0.0
        self._problems = Problems(family, blocks, penalty, precision.sum() - held)
        self._rows, self._folds, self._weights = *blocks.given, self._problems.weights
        self.free = penalty.free
        wide = columns > len(rows.response) or columns**2 * blocks.problems > PRODUCTS
        self._wide = Wide(self._problems, penalty) if wide else None
        self._columns = self._wide.columns if self._wide else None
        linear = isinstance(family, Gaussian) and family.link is links.identity
        self._quadratic = linear and not wide
        self._dtype, self._shape = dtype, (columns, blocks.problems)

        groups = Groups(penalty.groups)
        self._groups = groups
        factors = penalty.factors * np.sqrt(groups.sizes)
        self._hard = tf.constant((penalty.mix * factors)[:, None], dtype)
        self._soft = tf.constant(((1 - penalty.mix) * penalty.factors)[:, None], dtype)
        self._steepest = tf.constant((max(penalty.mix, LEAST_MIX) * factors)[:, None], dtype)
        self._descend = tf.function(
            self._descend_by_rows if wide else self._descend_by_products,
            jit_compile=True,
            autograph=False,
        )

        values = config.values
        count = config.lambdas if values is None else len(values)
        self.limit, self.limited_by = count, "penalties"
        ratio = config.ratio or (0.01 if columns > len(rows.response) else 1e-4)
        self._shares = np.geomspace(1, ratio, count) if count > 1 else np.ones(1)

        def state(value: Any, kind: tf.DType = dtype) -> tf.Variable:
            return tf.Variable(tf.cast(value, kind), trainable=False)

        unknown = tf.constant(np.inf, dtype)
        # Where each problem stands, and where it may go.
        self._gamma = state(_constant(family, rows, penalty, precision, self._shape))
        self._gradient = state(tf.zeros(self._shape))
        self._deviance = state(tf.fill([blocks.problems], unknown))
        self._held_now = state(tf.zeros([blocks.problems]))
        self._step = state(tf.zeros(self._shape))
        self._length = state(tf.ones([blocks.problems]))
        self._promised = state(tf.fill([blocks.problems], unknown))
        self._waiting = state(tf.zeros([blocks.problems]), tf.bool)
        self._settled = state(tf.zeros([blocks.problems]), tf.bool)
        self._null = state(tf.fill([blocks.problems], unknown))
        if not wide:
            # Quadratics of the deviance, and where they were taken.
            self._product = state(tf.zeros([columns, columns, blocks.problems]))
            self._cross = state(tf.zeros(self._shape))
            self._origin = state(tf.zeros([blocks.problems]))
            self._base = state(self._gamma.read_value())
            self._stale = state(True, tf.bool)
            self._renewals = state(0, tf.int32)
        self.passes = state(0, tf.int32)
        self.failed = state(False, tf.bool)
        # λ, the one before, and the path.
        self._now, self._before = state(unknown), state(unknown)
        self.lambdas = state(tf.zeros([count]) if values is None else values)
        self.coefficients = state(tf.zeros([count, columns]))
        self.explained = state(tf.zeros([count]))
        self.held = state(tf.zeros([count, blocks.problems]))
        self.taken = state(0, tf.int32)

    def train_step(self, seed: Seed) -> Metrics:
        """One λ; none after the last."""
        tf.cond(replicas.value(self.taken) < self.lambdas.shape[0], self._advance, lambda: None)
        return replicas.first(replicas.each(self._report)())

    def evaluate(self, seed: Seed) -> Metrics:
        """The deviance at the λ that is chosen: of the rows held out, where there are folds."""
        return replicas.first(replicas.each(self._judged)())

    def fault(self, metrics: dict[str, float]) -> str | None:
        if self.failed.numpy():
            return self._trouble()
        return super().fault(metrics)

    @property
    def curve(self) -> choice.Curve | None:
        """Deviances of the rows held out, at all λ; None without folds."""
        return choice.Curve.of(self.held, self._problems.unseen) if self.config.folds else None

    def _report(self) -> Metrics:
        last = tf.maximum(self.taken - 1, 0)
        held = choice.mean_of(self.held[last], self._problems.unseen)
        known = tf.cast(tf.math.is_finite(held), self._dtype)
        loss = self._objective(self._gamma, self._deviance)[0]
        return {
            "lambda": self.lambdas[last],
            "columns": self._inside(self.coefficients[last]),
            "explained": self.explained[last],
            "held_out": Mean(tf.math.multiply_no_nan(held, known), known),
            "passes": tf.cast(self.passes, self._dtype),
            "loss": loss,
        }

    def _judged(self) -> Metrics:
        curve = self.curve
        chosen = choice.chosen(curve, self.taken, self.config.choose)
        deviance = (1 - self.explained) * self._null[0] if curve is None else curve.mean
        return {
            "deviance": deviance[chosen],
            "explained": self.explained[chosen],
            "lambda": self.lambdas[chosen],
            "columns": self._inside(self.coefficients[chosen]),
        }

    def _inside(self, coefficients: tf.Tensor) -> tf.Tensor:
        """How many penalised columns have a coefficient other than 0."""
        inside = (coefficients != 0) & ~self.free
        return tf.reduce_sum(tf.cast(inside, self._dtype))

    def _trouble(self) -> str:
        if not np.all(np.isfinite(self._deviance.numpy())):
            return (
                "with all penalised coefficients at 0 the model has no mean that its family has: "
                "take another link, or a formula with an intercept"
            )
        return (
            f"lambda={self._now.numpy():g} does not settle within "
            f"iterations={self.config.iterations}: raise it, or lambda"
        )

    # How a λ goes.

    def _advance(self) -> None:
        first = replicas.value(self.taken) == 0
        tf.cond(first, self._open, lambda: None)
        # The null fit comes before the first one.
        tf.while_loop(lambda turn: turn < 1, self._fit, [tf.where(first, -1, 0)])

    def _open(self) -> None:
        if self._wide is None:
            self._renew()
        self._look()

    def _fit(self, turn: tf.Tensor) -> tf.Tensor:
        replicas.each(self._begin)(turn)
        tf.while_loop(lambda busy: busy, lambda _: self._iterate(), [tf.constant(True)])
        replicas.each(self._end)(turn)
        return turn + 1

    def _iterate(self) -> tf.Tensor:
        if self._wide is None and not self._quadratic:
            tf.cond(replicas.value(self._stale), self._renew, lambda: None)
        replicas.each(self._propose)()
        busy = replicas.first(replicas.each(self._busy)())
        tf.cond(busy, self._look, lambda: None)
        return busy

    def _renew(self) -> None:
        """Products where the problems stand; what all share is tried first."""
        if self._quadratic or self._shape[1] == 1:
            self._renew_shared()
        else:
            enough = replicas.value(self._renewals) < SHARED
            tf.cond(enough, self._renew_shared, self._renew_own)

    def _renew_shared(self) -> None:
        share = replicas.each(lambda: self._problems.shared_products(self._gamma[:, 0]))
        replicas.each(self._take)(replicas.total(share()))

    def _renew_own(self) -> None:
        share = replicas.each(lambda: self._problems.own_products(self._gamma))
        replicas.each(self._take_own)(replicas.total(share()))

    def _look(self) -> None:
        """Judges the candidates."""
        if self._quadratic:
            replicas.each(lambda: self._judge(self._by_quadratic()))()
        else:
            sums = replicas.total(replicas.each(lambda: self._problems.share(self._candidate()))())
            replicas.each(lambda sums: self._judge(self._problems.found(sums)))(sums)

    def _begin(self, turn: tf.Tensor) -> None:
        unknown = tf.constant(np.inf, self._dtype)
        index = tf.minimum(self.taken, self.lambdas.shape[0] - 1)
        self._now.assign(tf.where(turn < 0, unknown, self.lambdas[index]))
        self._settled.assign(tf.zeros_like(self._settled))
        self._waiting.assign(tf.zeros_like(self._waiting))
        self._promised.assign(tf.fill(self._promised.shape, unknown))
        self.passes.assign(0)
        if self._wide is None:
            self._renewals.assign(0)

    def _end(self, turn: tf.Tensor) -> None:
        tf.cond(turn < 0, self._end_null, self._end_one)

    def _end_null(self) -> None:
        self._null.assign(self._deviance)
        ratios = tf.math.divide_no_nan(self._groups.norms(self._gradient[:, :1]), self._steepest)
        largest = EDGE * tf.reduce_max(ratios)
        if self.config.values is None:
            self.lambdas.assign(largest * tf.constant(self._shares, self._dtype))
        self._before.assign(largest)

    def _end_one(self) -> None:
        place = self.taken

        def put(path: tf.Variable, value: tf.Tensor) -> None:
            path.assign(tf.tensor_scatter_nd_update(path, [[place]], [value]))

        put(self.coefficients, self._problems.original(self._gamma)[:, 0])
        put(self.explained, 1 - tf.math.divide_no_nan(self._deviance, self._null)[0])
        put(self.held, self._held_now)
        self._before.assign(self._now)
        self.taken.assign_add(1)

    def _busy(self) -> tf.Tensor:
        """Whether some problem has somewhere to go; too many passes are a failure."""
        left = self.passes < self.config.iterations
        going = ~tf.reduce_all(self._settled)
        halved = tf.reduce_min(self._length) < 2.0**-HALVINGS
        self.failed.assign(self.failed | (going & (halved | ~left)) | ~self._known())
        return going & ~self.failed

    def _known(self) -> tf.Tensor:
        return tf.reduce_all(tf.math.is_finite(self._deviance))

    def _propose(self) -> None:
        """A step for each problem that has taken its last one."""
        thresholds = self._thresholds(self._now)
        share = max(self.config.tolerance, FLOOR[self._dtype])
        tolerance = share * tf.minimum(self._null, self._deviance)
        gamma, gradient = self._minimum(thresholds, INNER * tolerance)
        step = gamma - self._gamma
        promised = tf.reduce_sum(step * (self._gradient - gradient), 0)
        waiting = tf.identity(self._waiting)
        settled = self._settled | (~waiting & (promised <= tolerance))
        if self._wide is None and not self._quadratic:
            slow = ~settled & ~waiting & (promised > CONTRACTION * self._promised)
            self._stale.assign(self._stale | tf.reduce_any(slow))
        self._step.assign(tf.where(waiting, self._step, step))
        self._length.assign(tf.where(waiting, self._length, tf.ones_like(self._length)))
        self._promised.assign(tf.where(waiting, self._promised, promised))
        self._settled.assign(settled)

    def _minimum(self, thresholds: Thresholds, tolerance: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """γ of the penalised quadratics' minima, and their gradients there."""
        gamma = tf.identity(self._gamma)
        rest = (*thresholds, self._allowed(thresholds), tolerance)
        if self._wide is None:
            found: tuple[tf.Tensor, tf.Tensor] = self._descend(
                self._product, gamma, self._gradient, *rest
            )
            return found
        weights, residual, squares = self._wide.at(gamma)
        columns = self._wide.columns.values[0]
        gamma, residual = self._descend(columns, weights, squares, gamma, residual, *rest)
        return gamma, self._wide.gradient(residual)

    def _descend_by_products(
        self, products: tf.Tensor, gamma: tf.Tensor, gradient: tf.Tensor, *rest: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        hard, soft, *limits = rest
        quadratic = ByProducts(self._groups, products)
        return descend(self._groups, quadratic, gamma, gradient, Thresholds(hard, soft), *limits)

    def _descend_by_rows(
        self,
        columns: tf.Tensor,
        weights: tf.Tensor,
        squares: tf.Tensor,
        gamma: tf.Tensor,
        residual: tf.Tensor,
        *rest: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        hard, soft, *limits = rest
        quadratic = ByRows(self._groups, columns, weights, squares)
        return descend(self._groups, quadratic, gamma, residual, Thresholds(hard, soft), *limits)

    def _judge(self, found: Found) -> None:
        candidate = self._candidate()
        before = self._objective(self._gamma, self._deviance)
        after = self._objective(candidate, found.deviance)
        slack = ROUNDING[self._dtype] * found.deviance
        better = tf.math.is_finite(after) & (found.outside == 0) & (after <= before + slack)
        moving = ~self._settled
        taken = better & moving
        self._gradient.assign(tf.where(taken, found.gradient, self._gradient))
        self._deviance.assign(tf.where(taken, found.deviance, self._deviance))
        self._held_now.assign(tf.where(taken, found.held, self._held_now))
        self._gamma.assign(tf.where(taken, candidate, self._gamma))
        waiting = moving & ~better
        self._waiting.assign(waiting)
        self._length.assign(tf.where(waiting, self._length / 2, self._length))
        self.passes.assign_add(1)

    def _by_quadratic(self) -> Found:
        """What a pass would find, from the products."""
        far = self._candidate() - self._base
        origin, cross, product = self._origin, self._cross, self._product
        pushed = tf.einsum("ijk,jk->ik", product, far)
        own = origin - tf.reduce_sum(far * (2 * cross - pushed), 0)
        by_all = tf.matmul(product[:, :, 0], far)
        every = origin[0] - tf.reduce_sum(far * (2 * cross[:, :1] - by_all), 0)
        seen, unseen = self._problems.seen, self._problems.unseen
        held = tf.math.divide_no_nan(seen[0] * every - seen * own, unseen)
        return Found(own, held, cross - pushed, tf.zeros_like(own))

    def _take(self, folds: tuple[tf.Tensor, ...]) -> None:
        products = self._problems.products(folds)
        self._cross.assign(products.cross)
        self._origin.assign(products.deviance)
        self._base.assign(self._gamma)
        self._renewed(products.product)

    def _take_own(self, halves: tf.Tensor) -> None:
        self._renewed(self._problems.products_of_their_own(halves))

    def _renewed(self, product: tf.Tensor) -> None:
        self._product.assign(product)
        self._stale.assign(False)
        self._renewals.assign_add(1)
        self._promised.assign(tf.fill(self._promised.shape, tf.constant(np.inf, self._dtype)))

    def _candidate(self) -> tf.Tensor:
        return self._gamma + self._length * self._step

    def _objective(self, gamma: tf.Tensor, deviance: tf.Tensor) -> tf.Tensor:
        """Half the mean deviance and the penalty, `[K]`."""
        norms = self._groups.norms(gamma)
        hard = tf.reduce_sum(self._hard * norms, 0)
        soft = tf.reduce_sum(self._soft * tf.square(norms), 0) / 2
        return deviance / 2 + tf.math.multiply_no_nan(self._now, hard + soft)

    def _thresholds(self, strength: tf.Tensor) -> Thresholds:
        times = partial(tf.math.multiply_no_nan, strength)
        return Thresholds(times(self._hard)[:, 0], times(self._soft)[:, 0])

    def _allowed(self, thresholds: Thresholds) -> tf.Tensor:
        """Groups that may change: those that are in, free, or near the threshold."""
        strong = tf.math.multiply_no_nan(2 * self._now - self._before, self._hard[:, 0])
        limit = tf.where(tf.math.is_finite(strong), strong, thresholds.hard)
        limit = tf.minimum(limit, thresholds.hard)
        pull = tf.reduce_max(self._groups.norms(self._gradient), 1)
        within = tf.reduce_max(self._groups.norms(self._gamma), 1)
        return (pull >= limit) | (within > 0)


def _constant(
    family: Family, rows: Rows, penalty: Penalty, precision: np.ndarray, shape: tuple[int, int]
) -> np.ndarray:
    """γ of a constant mean, where there is an intercept; else 0."""
    gamma = np.zeros(shape)
    if penalty.intercept is not None:
        share = precision / precision.sum()
        mean, offset = share @ rows.response, np.broadcast_to(rows.offset, share.shape) @ share
        constant = float(family.link.of(tf.constant(mean, tf.float64)))
        gamma[penalty.intercept] = constant - offset
    return gamma
