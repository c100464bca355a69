"""Canaries: made-up examples whose traces in what is released are easy to see.

There are m of them, each with a gradient along a parameter of its own, far longer than the clipping
norm C. Coins of the run's seed decide which are in the training set. Those come into steps as
examples do, by chance at the same rate or once an epoch, go through the same clipping, which leaves
them C (or, clipped by layers, C/√L), and get the same noise.

For the guarantee they are data: the claim, which is about one example among n, is held against one
canary among n examples and the other canaries that are in. The sampling rate and the divisor of
sums are fixed numbers that stay what they are for n. A sampling's capacity, losses, and the count
of examples below C leave canaries aside, so that no more becomes known of them than of examples.
"""

import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from workbench.core.config import ConfigError
from workbench.core.random import Seed
from workbench.core.streams import stream_key
from workbench.privacy.clipping import Clipping
from workbench.privacy.mechanism import Mechanism, Poisson, Shuffled

# A canary's gradient in clipping norms: without clipping, it could not be overlooked.
LENGTH = 10.0


class Canaries(tf.Module):
    """m canaries, and what an adversary sees of each.

    The adversary knows all data but the canaries, who was in each step, and every sum that was
    released: what remains of a sum along a canary's parameter, in clipping norms, is x = b + z N,
    with noise N of multiplier z, and b = 1 if the canary was in the step. It adds up over steps

    * with Poisson sampling at rate q: log(1 - q + q exp((2x - 1) / 2z²)), the likelihood ratio;
    * with shuffled batches, whose order is no secret: x of the steps whose turn it is to have the
      canary; or, with a tree's noise, of all steps below each node of it that stands above such a
      step and whose noise can be told from the others': left children, as they are 2^k steps from
      one multiple of 2^(k+1) on.

    Args:
      count: m.
      mechanism: what is audited.
      shapes: of the gradients.
      seed: the run's.

    Raises:
      ConfigError: when there are more of them than parameters.
    """

    def __init__(
        self, count: int, mechanism: Mechanism, shapes: Sequence[tf.TensorShape], seed: int
    ):
        super().__init__(name="canaries")
        assert isinstance(mechanism.sampling, Poisson | Shuffled)
        self._sampling = mechanism.sampling
        self._tree = mechanism.tree
        self._shapes = list(shapes)
        self._sizes = [shape.num_elements() for shape in shapes]
        parameters = sum(self._sizes)
        if count > parameters:
            raise ConfigError(
                f"privacy.audit.canaries={count} exceeds the {parameters} parameters of the "
                "network, of which each canary takes one; lower it"
            )
        draws = np.random.RandomState(stream_key(seed, "canaries") % 2**32)
        places = draws.choice(parameters, count, replace=False).astype(np.int32)
        self.count = count
        self._places = tf.Variable(places, trainable=False, name="places")
        self._included = tf.Variable(draws.rand(count) < 0.5, trainable=False, name="included")
        self._scores = tf.Variable(tf.zeros([count]), trainable=False, name="scores")
        self._steps = tf.Variable(0, trainable=False, dtype=tf.int64, name="steps")

    def included(self) -> np.ndarray:
        """Which are in the training set, bool `[m]`."""
        return self._included.numpy()

    def scores(self) -> np.ndarray:
        """The higher, the more probably in the training set: float32 `[m]`."""
        return self._scores.numpy()

    def steps(self) -> int:
        """How many steps were seen."""
        return int(self._steps.numpy())

    def drawn(self, seed: Seed) -> tf.Tensor:
        """Which are in a step if they are in the training set, bool `[m]`."""
        if isinstance(self._sampling, Poisson):
            bits = tf.random.stateless_uniform(
                [self.count], seed("canaries"), None, None, tf.int32
            )  # the same whether XLA draws them or not, unlike floats
            below = round(self._sampling.rate * 2**32)
            return tf.cast(tf.bitcast(bits, tf.uint32), tf.int64) < below
        turns, place = self._turns(self._sampling, seed)
        return turns == place

    def weights(self, seed: Seed) -> tf.Tensor:
        """How often a step's x counts, float32 `[m]`."""
        if isinstance(self._sampling, Poisson):
            return tf.ones([self.count])
        turns, place = self._turns(self._sampling, seed)
        if not self._tree:
            return tf.cast(turns == place, tf.float32)
        length = self._sampling.steps_per_epoch
        nodes = []
        for level in range(length.bit_length()):
            node = turns // 2**level
            told = (node % 2 == 0) & ((node + 1) * 2**level <= length)
            nodes.append(tf.cast(told & (place // 2**level == node), tf.float32))
        return tf.add_n(nodes)

    def _turns(self, sampling: Shuffled, seed: Seed) -> tuple[tf.Tensor, tf.Tensor]:
        """The step of the epoch that each canary has, int32 `[m]`, and which this one is."""
        length = sampling.steps_per_epoch
        epoch = seed.at(seed.step // length)("canaries")
        turns = tf.random.stateless_uniform([self.count], epoch, 0, length, tf.int32)
        return turns, tf.cast(seed.step % length, tf.int32)

    def inserted(
        self, gradients: Sequence[tf.Tensor], clipping: Clipping, drawn: tf.Tensor
    ) -> list[tf.Tensor]:
        """A step's sums with the canaries that are in it.

        Args:
          gradients: sums over examples, one for each variable.
          clipping: of examples.
          drawn: see there.
        """
        places = self._places.read_value()
        length = LENGTH * tf.convert_to_tensor(clipping.norm)
        ends = np.cumsum(self._sizes)
        along = [
            (places >= end - size) & (places < end)
            for size, end in zip(self._sizes, ends, strict=True)
        ]
        weights = clipping.weights([tf.where(its, length**2, 0.0) for its in along])
        clipped = length * tf.add_n(
            [tf.where(its, weight, 0.0) for its, weight in zip(along, weights, strict=True)]
        )
        added = tf.where(self._included & drawn, clipped, 0.0)
        flat = tf.tensor_scatter_nd_add(_flat(gradients), places[:, None], added)
        parts = tf.split(flat, self._sizes)
        return [tf.reshape(part, shape) for part, shape in zip(parts, self._shapes, strict=True)]

    def look(
        self,
        gradients: Sequence[tf.Tensor],
        released: Sequence[tf.Tensor],
        norm: tf.Tensor,
        multiplier: tf.Tensor,
        weights: tf.Tensor,
    ) -> None:
        """Adds up what a step shows; inside of `each`.

        Args:
          gradients: sums over examples.
          released: with canaries and noise.
          norm: C, float32.
          multiplier: z, float32.
          weights: see there.
        """
        rest = [after - before for after, before in zip(released, gradients, strict=True)]
        x = tf.gather(_flat(rest), self._places.read_value()) / norm
        if isinstance(self._sampling, Poisson):
            shown = _log_mixture(self._sampling.rate, (2 * x - 1) / (2 * multiplier**2))
        else:
            shown = weights * x
        self._scores.assign_add(shown)
        self._steps.assign_add(1)


def _flat(tensors: Sequence[tf.Tensor]) -> tf.Tensor:
    return tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], 0)


def _log_mixture(rate: float, exponent: tf.Tensor) -> tf.Tensor:
    """log(1 - rate + rate · exp(exponent)), for any exponent."""
    if rate == 1:
        return exponent
    return math.log1p(-rate) + tf.nn.softplus(exponent + math.log(rate / (1 - rate)))
