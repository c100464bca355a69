"""Learning rates over training."""

import math

import tensorflow as tf

from workbench.privacy.config import DpSgdConfig


def learning_rate(config: DpSgdConfig, step: tf.Tensor) -> tf.Tensor:
    """The learning rate of a step, float32.

    Args:
      config: whose `steps` are the whole training; linear and cosine schedules end at 0.
      step: int64.
    """
    t = tf.cast(step, tf.float32)
    way = tf.clip_by_value((t - config.warmup) / max(1, config.steps - config.warmup), 0.0, 1.0)
    rate = tf.constant(config.learning_rate)
    if config.schedule == "linear":
        rate *= 1 - way
    elif config.schedule == "cosine":
        rate *= 0.5 * (1 + tf.cos(math.pi * way))
    if config.warmup:
        rate *= tf.minimum(1.0, (t + 1) / config.warmup)
    return rate
