"""Shifted and mirrored copies of images."""

import tensorflow as tf

from workbench.privacy.config import AugmentationConfig


def augmented(
    config: AugmentationConfig, images: tf.Tensor, seed: tf.Tensor, rows: tf.Tensor
) -> tf.Tensor:
    """Copies of images, each moved by chance: `[B, H, W, C]` to `[B · copies, H, W, C]`.

    Args:
      seed: int64 `[2]`.
      rows: int32 `[B]`, the examples' numbers: with `seed`, they decide how one is moved, whoever
        else is beside it.
    """
    _, height, width, _ = images.shape
    reach = 2 * config.shift + 1
    kinds = reach * reach * (2 if config.flip else 1)

    def choose(row: tf.Tensor) -> tf.Tensor:
        own = tf.stack([seed[0] + tf.cast(row, tf.int64), seed[1]])
        return tf.random.stateless_uniform([config.copies], own, 0, kinds, tf.int32)

    chosen = tf.reshape(tf.vectorized_map(choose, rows), [-1])
    copies = tf.repeat(images, config.copies, axis=0)
    down, right = chosen % reach, chosen // reach % reach
    padding = [config.shift, config.shift]
    padded = tf.pad(copies, [[0, 0], padding, padding, [0, 0]])
    places_down = down[:, None] + tf.range(height)
    places_right = right[:, None] + tf.range(width)
    moved = tf.gather(padded, places_down, axis=1, batch_dims=1)
    moved = tf.gather(moved, places_right, axis=2, batch_dims=1)
    if not config.flip:
        return moved
    mirrored = chosen // (reach * reach) == 1
    return tf.where(mirrored[:, None, None, None], tf.reverse(moved, [2]), moved)
