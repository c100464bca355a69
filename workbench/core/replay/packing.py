"""Transitions as one array: a compiled call takes time for every piece that it is handed."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from workbench.core.replay.transitions import Transitions


def packed_spec(observation: tf.TensorSpec, steps: int, num_envs: int) -> tf.TensorSpec:
    """The spec of what `pack` makes: float32 `[T, N, 2 |observation| + 4]`."""
    width = 2 * observation.shape.num_elements() + 4
    return tf.TensorSpec([steps, num_envs, width], tf.float32)


def pack(rows: Sequence[Transitions]) -> np.ndarray:
    """T rows of N transitions with float32 observations, as one array.

    Actions and flags become float32 too, which holds integers up to 2²⁴ exactly.
    """
    fields = [np.array(field, np.float32) for field in zip(*rows, strict=True)]
    steps, num_envs = fields[2].shape
    return np.concatenate([field.reshape(steps, num_envs, -1) for field in fields], axis=-1)


def unpack(packed: tf.Tensor, observation: tf.TensorSpec) -> Transitions:
    """What was packed: fields `[T, N, ...]`."""
    size = observation.shape.num_elements()
    shape = [*packed.shape[:2], *observation.shape]
    first, action, reward, following, terminated, truncated = tf.split(
        packed, [size, 1, 1, size, 1, 1], axis=-1
    )
    return Transitions(
        tf.reshape(first, shape),
        tf.cast(action[..., 0], tf.int32),
        reward[..., 0],
        tf.reshape(following, shape),
        terminated[..., 0] > 0,
        truncated[..., 0] > 0,
    )
