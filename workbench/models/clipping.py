"""Gradient clipping by global norm, ahead of any optimizer."""

from collections.abc import Iterable, Sequence

import tensorflow as tf

from workbench.models.dense import sum_rows


class ClippedOptimizer(tf.Module):
    """An optimizer that sees gradients of bounded global norm.

    g · c / max(c, ‖g‖), with ‖g‖ over all variables together (Pascanu, Mikolov & Bengio 2013).
    Keras' own `global_clipnorm` is the same function at several times the price on XLA:CPU, which
    sums the squares of a matrix one after the other; here they are summed by halves first.

    The length of the step is kept for a reason besides knowing it: it needs the old values after
    the new ones, so XLA:CPU writes these beside those. In place its loop would not be vectorised,
    and the square roots and divisions of Adam would take five times as long.

    Args:
      optimizer: is called with the clipped gradients.
      norm: c, the largest norm.

    Attributes:
      update_norm: Euclidean length of the last step over all variables, float32.
    """

    def __init__(self, optimizer: tf.keras.optimizers.Optimizer, norm: float):
        super().__init__(name="clipped")
        self.optimizer = optimizer
        self._norm = norm
        self.update_norm = tf.Variable(0.0, trainable=False, name="update_norm")

    def build(self, variables: Sequence[tf.Variable]) -> None:
        """Makes the optimizer's own variables."""
        self.optimizer.build(variables)

    def apply_gradients(
        self, grads_and_vars: Iterable[tuple[tf.Tensor, tf.Variable]]
    ) -> tf.Tensor | None:
        """Clips, then lets the optimizer apply."""
        gradients, variables = zip(*grads_and_vars, strict=True)
        scale = self._norm / tf.maximum(self._norm, global_norm(gradients))
        clipped = [gradient * scale for gradient in gradients]
        before = [variable.read_value() for variable in variables]
        iterations = self.optimizer.apply_gradients(zip(clipped, variables, strict=True))
        moved = [variable - old for variable, old in zip(variables, before, strict=True)]
        self.update_norm.assign(global_norm(moved))
        return iterations


def global_norm(tensors: Iterable[tf.Tensor]) -> tf.Tensor:
    """The Euclidean norm of all elements of all tensors, a scalar."""
    return tf.sqrt(tf.add_n([tf.reduce_sum(sum_rows(tf.square(t))) for t in tensors]))
