"""Minimises a quadratic and a penalty by coordinate descent, for several problems side by side.

Friedman, Hastie & Tibshirani 2010, section 2: of each problem

    -g'd + d'Hd / 2 + Σ_g (h_g ‖γ_g + d_g‖ + e_g ‖γ_g + d_g‖² / 2)

is minimised over one group after the other. For a group of one column that is exact; for others,
the quadratic is replaced by one above it, with the curvature L_g in all directions (Simon,
Friedman, Hastie & Tibshirani 2013). After each cycle over all groups come cycles over those that
are in, until these settle.

H is X̃'WX̃: given as it is, where there are few columns, and else by X̃ and W.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow.compiler.tf2xla.python import xla


class Groups:
    """Groups of neighbouring columns.

    Args:
      columns: of each group; 0, 1, ... in order.

    Attributes:
      starts: first columns, int32 `[G]`.
      sizes: numbers of columns, int32 `[G]`.
      owner: which group a column is of, int32 `[p]`.
      widest: the largest number of columns.
    """

    def __init__(self, columns: list[list[int]]):
        self.starts = np.array([group[0] for group in columns], np.int32)
        self.sizes = np.array([len(group) for group in columns], np.int32)
        self.owner = np.repeat(np.arange(len(columns), dtype=np.int32), self.sizes)
        self.widest = int(self.sizes.max())

    def __len__(self) -> int:
        return len(self.starts)

    def sums(self, values: tf.Tensor) -> tf.Tensor:
        """Over each group's columns, `[G, K]` from `[p, K]`."""
        if self.widest == 1:
            return values
        return tf.math.unsorted_segment_sum(values, self.owner, len(self))

    def norms(self, values: tf.Tensor) -> tf.Tensor:
        """‖·‖ of each group, `[G, K]` from `[p, K]`."""
        return tf.abs(values) if self.widest == 1 else tf.sqrt(self.sums(tf.square(values)))


class Thresholds(NamedTuple):
    """The penalty at a λ, `[G]` each.

    Attributes:
      hard: h, below which a group's gradient leaves it at 0.
      soft: e, by which coefficients shrink.
    """

    hard: tf.Tensor
    soft: tf.Tensor


class Quadratic(ABC):
    """-g'd + d'Hd / 2 for K problems, as descent goes through it.

    Attributes:
      curvature: L, `[G, K]`: not below the largest eigenvalue of a group's part of H.
    """

    curvature: tf.Tensor

    @abstractmethod
    def gradient(self, state: tf.Tensor, start: tf.Tensor, count: int) -> tf.Tensor:
        """g - Hd of some columns, `[count, K]`, from what is kept of d."""

    @abstractmethod
    def moved(self, state: tf.Tensor, start: tf.Tensor, change: tf.Tensor) -> tf.Tensor:
        """What is kept, after a change `[count, K]` of d."""


class ByProducts(Quadratic):
    """By H, `[p, p, K]`; g - Hd is what is kept, `[p, K]`."""

    def __init__(self, groups: Groups, products: tf.Tensor):
        self._beyond = groups.widest - 1
        self._products = tf.pad(products, [[0, self._beyond], [0, 0], [0, 0]])
        if groups.widest == 1:
            self.curvature = tf.transpose(tf.linalg.diag_part(tf.transpose(products, [2, 0, 1])))
            return
        together = tf.cast(groups.owner[:, None] == groups.owner, products.dtype)
        bounds = tf.reduce_sum(tf.abs(products) * together[:, :, None], 1)
        self.curvature = tf.math.unsorted_segment_max(bounds, groups.owner, len(groups))

    def gradient(self, state: tf.Tensor, start: tf.Tensor, count: int) -> tf.Tensor:
        return _part(tf.pad(state, [[0, self._beyond], [0, 0]]), start, count)

    def moved(self, state: tf.Tensor, start: tf.Tensor, change: tf.Tensor) -> tf.Tensor:
        rows = _part(self._products, start, change.shape[0])
        return state - tf.reduce_sum(rows * change[:, None], 0)


class ByRows(Quadratic):
    """By columns X̃', `[p, n]`, and weights W, `[n, K]`; u - WX̃d is what is kept, `[n, K]`."""

    def __init__(self, groups: Groups, columns: tf.Tensor, weights: tf.Tensor, squares: tf.Tensor):
        self._columns = tf.pad(columns, [[0, groups.widest - 1], [0, 0]])
        self._weights = weights
        self.curvature = groups.sums(squares)

    def gradient(self, state: tf.Tensor, start: tf.Tensor, count: int) -> tf.Tensor:
        return tf.reduce_sum(_part(self._columns, start, count)[:, :, None] * state, 1)

    def moved(self, state: tf.Tensor, start: tf.Tensor, change: tf.Tensor) -> tf.Tensor:
        columns = _part(self._columns, start, change.shape[0])
        return state - self._weights * tf.reduce_sum(columns[:, :, None] * change[:, None], 0)


def descend(
    groups: Groups,
    quadratic: Quadratic,
    gamma: tf.Tensor,
    state: tf.Tensor,
    thresholds: Thresholds,
    allowed: tf.Tensor,
    tolerance: tf.Tensor,
    cycles: int = 10_000,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Where the penalised quadratics of K problems are smallest; for XLA.

    Args:
      groups: of columns.
      quadratic: around `gamma`.
      gamma: where to start, `[p, K]`.
      state: what the quadratic keeps, at the start.
      thresholds: of the penalty.
      allowed: which groups may change, bool `[G]`.
      tolerance: the largest L_g ‖d_g‖² in a cycle that ends it, `[K]`.
      cycles: at most.

    Returns:
      γ, `[p, K]`, and the state there.
    """
    columns, beyond, curvature = gamma.shape[0], groups.widest - 1, quadratic.curvature
    place = tf.range(groups.widest)
    starts, sizes = tf.constant(groups.starts), tf.constant(groups.sizes)

    def visit(
        group: tf.Tensor, gamma: tf.Tensor, state: tf.Tensor, largest: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        start, size = _part(starts, group)[0], _part(sizes, group)[0]
        steep, hard, soft = (_part(of, group) for of in (curvature, *thresholds))
        inside = (place < size)[:, None]
        here = _part(gamma, start, groups.widest)
        pull = quadratic.gradient(state, start, groups.widest) + steep * here
        if groups.widest == 1:
            norm = tf.abs(pull)
        else:
            pull = tf.where(inside, pull, tf.zeros_like(pull))
            norm = tf.sqrt(tf.reduce_sum(tf.square(pull), 0, keepdims=True))
        left = tf.maximum(norm - hard, 0)
        new = pull * tf.math.divide_no_nan(left, norm * (steep + soft))
        new = tf.where(inside, new, here)
        change = new - here
        gamma = xla.dynamic_update_slice(gamma, new, tf.stack([start, 0]))
        largest = tf.maximum(largest, steep[0] * tf.reduce_sum(tf.square(change), 0))
        return gamma, quadratic.moved(state, start, change), largest

    def cycle(listed: tf.Tensor, gamma: tf.Tensor, state: tf.Tensor):  # type: ignore[no-untyped-def]
        """Once over the groups that are listed."""
        order = tf.argsort(tf.cast(~listed, tf.int32), stable=True)
        count = tf.reduce_sum(tf.cast(listed, tf.int32))
        start = (tf.constant(0), gamma, state, tf.zeros_like(tolerance))
        _, gamma, state, largest = tf.while_loop(
            lambda turn, *_: turn < count,
            lambda turn, *rest: (turn + 1, *visit(_part(order, turn)[0], *rest)),
            start,
        )
        return gamma, state, tf.reduce_any(largest > tolerance)

    def settle(taken: tf.Tensor, moving: tf.Tensor, everywhere: tf.Tensor, gamma, state):  # type: ignore[no-untyped-def]
        # Those that are in until they settle, then all that may change, who decide.
        within = tf.reduce_any(groups.norms(gamma[:columns]) > 0, 1)
        listed = allowed & (everywhere | within)
        gamma, state, moves = cycle(listed, gamma, state)
        return taken + 1, moves | ~everywhere, ~everywhere & ~moves, gamma, state

    start = (
        tf.constant(0),
        tf.constant(True),
        tf.constant(True),
        tf.pad(gamma, [[0, beyond], [0, 0]]),
        state,
    )
    *_, gamma, state = tf.while_loop(
        lambda taken, moving, *_: moving & (taken < cycles), settle, start
    )
    return gamma[:columns], state


def _part(whole: tf.Tensor, start: tf.Tensor, count: int = 1) -> tf.Tensor:
    """Some of the first axis; XLA would compile anew for each place where `tf.slice` begins."""
    begin = tf.stack([start, *[0] * (whole.shape.rank - 1)])
    return xla.dynamic_slice(whole, begin, [count, *whole.shape[1:]])
