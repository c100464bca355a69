"""What a chunk of examples adds to a step: gradients, clipped or as they are, and statistics."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import tensorflow as tf

from workbench.models.judge import cross_entropies
from workbench.privacy.clipping import Clipping
from workbench.privacy.gradients.per_example import PerExample


class Sums(NamedTuple):
    """Over examples, of one chunk or several.

    Attributes:
      gradients: one for each variable.
      loss: before the step.
      clipped: how many were made smaller.
      below: +1/2 for each that was not, and -1/2 for each that was.
    """

    gradients: list[tf.Tensor]
    loss: tf.Tensor
    clipped: tf.Tensor
    below: tf.Tensor


class Summing(ABC):
    """Sums over the examples of a chunk.

    Args:
      model: from features to logits.
    """

    def __init__(self, model: tf.keras.Model):
        self._model = model

    @abstractmethod
    def __call__(self, features: tf.Tensor, labels: tf.Tensor, mask: tf.Tensor) -> Sums:
        """Over the examples that a mask keeps.

        Args:
          features: `[B · copies, ...]`, the copies of an example one after the other.
          labels: int32 `[B]`.
          mask: float32 `[B]`, 1 for an example and 0 for what fills the chunk.
        """

    def zeros(self) -> Sums:
        """Sums over nothing."""
        none = tf.zeros([])
        return Sums([tf.zeros(v.shape) for v in self._model.trainable_variables], none, none, none)


class ClippedSums(Summing):
    """Every example's gradient is clipped before it is added (Abadi et al. 2016, Algorithm 1)."""

    def __init__(self, model: tf.keras.Model, clipping: Clipping):
        super().__init__(model)
        self._clipping = clipping
        self._gradients = PerExample(model)

    def __call__(self, features: tf.Tensor, labels: tf.Tensor, mask: tf.Tensor) -> Sums:
        examples = labels.shape[0]
        copies = features.shape[0] // examples

        def loss(logits: tf.Tensor) -> tf.Tensor:
            return cross_entropies(tf.repeat(labels, copies), logits) / copies

        losses, gradients = self._gradients(features, loss, examples)
        weights = self._clipping.weights(gradients.squared_norms())
        clipped = tf.reduce_any(tf.stack(weights) < 1.0, axis=0)
        return Sums(
            gradients.weighted_sums([weight * mask for weight in weights]),
            tf.reduce_sum(losses * tf.repeat(mask, copies)),
            tf.reduce_sum(tf.where(clipped, mask, 0.0)),
            tf.reduce_sum(tf.where(clipped, -0.5, 0.5) * mask),
        )


class PlainSums(Summing):
    """Gradients as they are, for training without privacy."""

    def __call__(self, features: tf.Tensor, labels: tf.Tensor, mask: tf.Tensor) -> Sums:
        copies = features.shape[0] // labels.shape[0]
        with tf.GradientTape() as tape:
            logits = self._model(features, training=True)
            losses = cross_entropies(tf.repeat(labels, copies), logits) / copies
            loss = tf.reduce_sum(losses * tf.repeat(mask, copies))
        variables = self._model.trainable_variables
        gradients = tape.gradient(loss, variables, unconnected_gradients="zero")
        return Sums(gradients, loss, tf.zeros([]), tf.zeros([]))
