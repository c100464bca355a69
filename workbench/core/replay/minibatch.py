"""Shuffled minibatches of a data set that fits on the device."""

from typing import Any

import tensorflow as tf

from workbench.core.config import ConfigError


class ShuffledMinibatches(tf.Module):
    """Every example once an epoch, in an order that is new each epoch.

    The batch of step t is a function of (seed, t): the epoch is t // steps_per_epoch, and a
    stateless shuffle at its first step gives its order. The remainder of an epoch that fills no
    batch is left out of it, as static shapes ask.

    Args:
      data: nest of tensors with a common first dimension, the examples.
      batch_size: examples in a batch.

    Raises:
      ConfigError: when the batch is larger than the data.
    """

    def __init__(self, data: Any, batch_size: int):
        super().__init__(name="shuffled_minibatches")
        self._data = tf.nest.map_structure(tf.convert_to_tensor, data)
        self._examples = int(tf.nest.flatten(self._data)[0].shape[0])
        self._batch_size = batch_size
        if batch_size > self._examples:
            raise ConfigError(
                f"batch_size={batch_size} exceeds the {self._examples} examples; lower it"
            )
        self._order = tf.Variable(tf.range(self._examples), trainable=False, name="order")

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch."""
        return self._examples // self._batch_size

    def sample(self, seed: tf.Tensor) -> Any:
        """The batch of step `seed[1]` in the stream `seed[0]`: `[batch_size, ...]` each."""
        epoch, place = seed[1] // self.steps_per_epoch, seed[1] % self.steps_per_epoch
        epoch_seed = tf.stack([seed[0], epoch])
        order = tf.cond(place == 0, lambda: self._shuffle(epoch_seed), self._order.read_value)
        start = tf.cast(place, tf.int32) * self._batch_size
        # Not `tf.slice`: XLA takes where it begins for a constant and compiles anew every time.
        batch = tf.gather(order, start + tf.range(self._batch_size))
        return tf.nest.map_structure(lambda tensor: tf.gather(tensor, batch), self._data)

    def _shuffle(self, seed: tf.Tensor) -> tf.Tensor:
        # By sorting random keys: XLA has no `stateless_shuffle`.
        keys = tf.random.stateless_uniform([self._examples], seed, None, None, tf.int64)
        return self._order.assign(tf.argsort(keys))
