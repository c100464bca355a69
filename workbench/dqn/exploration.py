"""Epsilon-greedy exploration."""

from typing import Any

import numpy as np
import tensorflow as tf

from workbench.core.replicas import Share
from workbench.dqn.config import ExplorationConfig


def epsilon(config: ExplorationConfig, step: Any) -> Any:
    """The exploration rate at environment steps: float32 tensor for a tensor, array for an array.

    linear: start + (end - start) min(1, step / steps);
    exponential: start (end / start)^min(1, step / steps).
    """
    if tf.is_tensor(step):
        progress = tf.minimum(1.0, tf.cast(step, tf.float32) / config.steps)
    else:
        progress = np.minimum(1.0, step / config.steps)
    if config.schedule == "linear":
        return config.start + (config.end - config.start) * progress
    return config.start * (config.end / config.start) ** progress


def epsilon_greedy(
    q_values: tf.Tensor, epsilon: tf.Tensor, seed: tf.Tensor, share: Share
) -> tf.Tensor:
    """A uniformly random action with probability epsilon, else the greedy one.

    Args:
      q_values: float32 `[n, A]`, of the environments that this replica has.
      epsilon: float32 scalar.
      seed: int64 `[2]`.
      share: which environments those are, of all that `seed` draws for.

    Returns:
      Actions, int32 `[n]`.
    """
    num_actions = q_values.shape[1]
    chance, which = tf.unstack(
        share.of(tf.random.stateless_uniform([2, share.total], seed), axis=1)
    )
    # The product may round up to A itself.
    random = tf.minimum(tf.cast(which * num_actions, tf.int32), num_actions - 1)
    return tf.where(chance < epsilon, random, greedy(q_values))


def greedy(q_values: tf.Tensor) -> tf.Tensor:
    """The first best action, int32 `[N]`, of float32 `[N, A]`."""
    return tf.argmax(q_values, axis=-1, output_type=tf.int32)
