"""Lots: the examples of a step, of a size that chance decides, or each once an epoch."""

import math
from typing import NamedTuple

import tensorflow as tf

from workbench.core.replay.minibatch import ShuffledMinibatches


class Lot(NamedTuple):
    """Which examples a step takes, of static size.

    Attributes:
      indices: int32 `[size]`; the first `count` are in the lot, ascending, the others stand for
        nothing (they are valid indices).
      count: int32.
      overflowed: bool, whether more were drawn than there is room for.
    """

    indices: tf.Tensor
    count: tf.Tensor
    overflowed: tf.Tensor


class PoissonLots(tf.Module):
    """Every example is in a lot with probability `rate`, independently of the others.

    The distance from one that is in to the next is geometric, so that only those which are drawn
    cost anything: with uniform u, 1 + floor(log(u) / log(1 - rate)).

    Args:
      examples: in the data.
      rate: in (0, 1].
      size: the most in a lot; where more were drawn, those of the highest indices are left out.
    """

    def __init__(self, examples: int, rate: float, size: int):
        super().__init__(name="poisson_lots")
        self._examples = examples
        self._rate = rate
        self.size = size

    def sample(self, seed: tf.Tensor) -> Lot:
        """The lot of a stateless seed, int64 `[2]`."""
        # One more than there is room for, to see whether there are more.
        found = tf.cumsum(self._gaps(seed, self.size + 1)) - 1.0
        inside = found < self._examples
        indices = tf.where(inside, found, 0.0)
        return Lot(
            tf.cast(indices[: self.size], tf.int32),
            tf.reduce_sum(tf.cast(inside[: self.size], tf.int32)),
            inside[self.size],
        )

    def _gaps(self, seed: tf.Tensor, count: int) -> tf.Tensor:
        if self._rate == 1:
            return tf.ones([count], tf.float64)
        # Integers are the same whether XLA draws them or not; 53 bits of them fill a float64.
        bits = tf.random.stateless_uniform([count], seed, None, None, tf.int64)
        uniform = (tf.cast(bits & (2**53 - 1), tf.float64) + 0.5) * 2.0**-53
        gaps = 1.0 + tf.floor(tf.math.log(uniform) / math.log1p(-self._rate))
        return tf.minimum(gaps, self._examples + 1.0)  # sums stay exact


class ShuffledLots(tf.Module):
    """Lots of one size, in which every example is once an epoch, see `ShuffledMinibatches`.

    Args:
      examples: in the data.
      size: of a lot.
    """

    def __init__(self, examples: int, size: int):
        super().__init__(name="shuffled_lots")
        self._batches = ShuffledMinibatches(tf.range(examples), size)
        self.size = size

    def sample(self, seed: tf.Tensor) -> Lot:
        """The lot of step `seed[1]`."""
        return Lot(self._batches.sample(seed), tf.constant(self.size), tf.constant(False))
