"""Keras' optimizers as a step's last part: the same update on every replica, clipped or not."""

from collections.abc import Iterable, Sequence

import tensorflow as tf

from workbench.models.dense import sum_rows


class Optimizer(tf.Module):
    """A Keras optimizer for gradients that are summed over replicas already.

    Keras' `apply_gradients` would sum them again, between two parts that are compiled as one.

    Args:
      optimizer: new, with all of Keras' own clipping off.
      variables: what it will move.
    """

    def __init__(self, optimizer: tf.keras.optimizers.Optimizer, variables: Sequence[tf.Variable]):
        super().__init__(name="optimizer")
        self.optimizer = optimizer
        # Keras' own counter asks all replicas to agree on every step.
        optimizer.iterations = tf.Variable(0, trainable=False, dtype=tf.int64, name="iterations")
        optimizer.build(variables)
        self._variables = list(variables)

    def apply(self, gradients: Sequence[tf.Tensor], counts: tf.Tensor | bool = True) -> None:
        """Moves the variables by their gradients; inside of `each`.

        Args:
          counts: whether this is a step; if not, gradients have to be zero, and all before them.
        """
        for gradient, variable in zip(gradients, self._variables, strict=True):
            self.optimizer.update_step(gradient, variable)
        self.optimizer.iterations.assign_add(tf.cast(counts, tf.int64))


class ClippedOptimizer(Optimizer):
    """An optimizer that sees gradients of bounded global norm.

    g · c / max(c, ‖g‖), with ‖g‖ over all variables together (Pascanu, Mikolov & Bengio 2013).
    Keras' own `global_clipnorm` is the same function at several times the price on XLA:CPU, which
    sums the squares of a matrix one after the other; here they are summed by halves first.

    The length of the step is kept for a reason besides knowing it: it needs the old values after
    the new ones, so XLA:CPU writes these beside those. In place its loop would not be vectorised,
    and the square roots and divisions of Adam would take five times as long.

    Args:
      optimizer: is called with the clipped gradients.
      variables: what it will move.
      norm: c, the largest norm.

    Attributes:
      update_norm: Euclidean length of the last step over all variables, float32.
    """

    def __init__(
        self,
        optimizer: tf.keras.optimizers.Optimizer,
        variables: Sequence[tf.Variable],
        norm: float,
    ):
        super().__init__(optimizer, variables)
        self._norm = norm
        self.update_norm = tf.Variable(0.0, trainable=False, name="update_norm")

    def apply(self, gradients: Sequence[tf.Tensor], counts: tf.Tensor | bool = True) -> None:
        scale = self._norm / tf.maximum(self._norm, global_norm(gradients))
        before = [variable.read_value() for variable in self._variables]
        super().apply([gradient * scale for gradient in gradients], counts)
        moved = [new - old for new, old in zip(self._variables, before, strict=True)]
        self.update_norm.assign(global_norm(moved))


def global_norm(tensors: Iterable[tf.Tensor]) -> tf.Tensor:
    """The Euclidean norm of all elements of all tensors, a scalar."""
    return tf.sqrt(tf.add_n([tf.reduce_sum(sum_rows(tf.square(t))) for t in tensors]))
