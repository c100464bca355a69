"""Gaussian noise for sums that several replicas share: drawn once, the same for all of them."""

from collections.abc import Sequence

import tensorflow as tf

from workbench.core.random import Seed, normal


def gaussian(shapes: Sequence[tf.TensorShape], seed: Seed) -> list[tf.Tensor]:
    """Independent standard normal tensors for a step."""
    sizes = [shape.num_elements() for shape in shapes]
    flat = normal([sum(sizes)], seed("noise"))
    parts = tf.split(flat, sizes)
    return [tf.reshape(part, shape) for part, shape in zip(parts, shapes, strict=True)]


def tree(shapes: Sequence[tf.TensorShape], seed: Seed, period: int) -> list[tf.Tensor]:
    """What a step adds to the noise of the sum of all steps since the last restart.

    The noise of the sum of the first m steps is that of the nodes of a binary tree which together
    stand above the first m leaves: one node for each bit of m (Dwork et al. 2010; Kairouz et al.
    2021, "Practical and Private (Deep) Learning without Sampling or Shuffling"). The m-th step
    completes one of them, that of m's lowest bit, which takes the place of those of all lower
    bits. A node's noise is that of the step which completes it, so that no tree has to be kept.

    Args:
      period: steps from one restart to the next.
    """
    m = seed.step % period + 1

    def completed(by: tf.Tensor) -> list[tf.Tensor]:
        return gaussian(shapes, seed.at(seed.step - m + by))

    def replace(level: tf.Tensor, noise: list[tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
        # The node of the bit `level` of m - 1, whose lower bits are all ones.
        node = completed(m - 2**level)
        return level + 1, [total - part for total, part in zip(noise, node, strict=True)]

    start = (tf.constant(0, tf.int64), completed(m))
    return tf.while_loop(lambda level, _: m % 2 ** (level + 1) == 0, replace, start)[1]
