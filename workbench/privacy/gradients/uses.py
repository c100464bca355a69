"""What one use of a variable adds to each example's gradient, in as small a form as it has.

Of B examples, a variable's gradients are B arrays of its size, and DP-SGD needs two things of them:
their norms, and one weighted sum. Most layers give both without the arrays. A dense layer used at
P positions (of a sequence, an image, or copies of an example) has, for each example,

    G = sum_p a_p (x) g_p        a_p: what it was given, g_p: the gradient of what it made of it

with |G|^2 = sum_pq <a_p, a_q> <g_p, g_q> (Goodfellow 2015 for P = 1; Li et al. 2022 and Bu et al.
2022, "ghost norm", for sequences and convolutions).
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property, reduce

import tensorflow as tf

# What passing over an array once more costs, in multiplications for each of its numbers.
PASS = 16


class Use(ABC):
    """The gradients of B examples by one variable, as far as some of its uses go."""

    @abstractmethod
    def squared_norms(self) -> tf.Tensor:
        """Of each example, float `[B]`."""

    @abstractmethod
    def weighted_sum(self, weights: tf.Tensor) -> tf.Tensor:
        """The sum over examples of weight times gradient, of the variable's shape.

        Args:
          weights: float `[B]`.
        """

    @abstractmethod
    def each(self) -> tf.Tensor:
        """Every example's gradient, `[B, *shape]`."""

    def joined(self, other: "Use") -> "Use":
        """Both uses of the same variable as one."""
        return Whole(self.each() + other.each())


def join(uses: Sequence[Use]) -> Use:
    """All uses of a variable as one; their gradients add up before a norm is taken."""
    return reduce(lambda one, other: one.joined(other), uses)


class Whole(Use):
    """Gradients as they are, for variables with few numbers, or when nothing else is known.

    Args:
      gradients: `[B, *shape]`.
    """

    def __init__(self, gradients: tf.Tensor):
        self._gradients = gradients

    def squared_norms(self) -> tf.Tensor:
        return tf.reduce_sum(tf.square(_rows(self._gradients)), axis=1)

    def weighted_sum(self, weights: tf.Tensor) -> tf.Tensor:
        total = tf.linalg.matvec(_rows(self._gradients), weights, transpose_a=True)
        return tf.reshape(total, self._gradients.shape[1:])

    def each(self) -> tf.Tensor:
        return self._gradients


class Outer(Use):
    """Sums of outer products over positions.

    Args:
      inputs: a, `[B, P, I]`.
      gradients: g, `[B, P, O]`.
      shape: of the variable, whose numbers in order are those of `[I, O]`.
    """

    def __init__(self, inputs: tf.Tensor, gradients: tf.Tensor, shape: Sequence[int]):
        self._a, self._g = inputs, gradients
        self._shape = list(shape)

    @property
    def _narrow(self) -> bool:
        """Whether norms by inner products, and the sum then, take less than the arrays would."""
        (p, i), o = self._a.shape[1:], self._g.shape[2]
        return p * p * (i + o) < PASS * i * o

    @cached_property
    def _products(self) -> tf.Tensor:
        # The wider side first: such a product is quicker by half.
        if self._a.shape[2] >= self._g.shape[2]:
            return tf.matmul(self._g, self._a, transpose_a=True)  # [B, O, I]
        return tf.matmul(self._a, self._g, transpose_a=True)  # [B, I, O]

    def _in_shape(self, product: tf.Tensor) -> tf.Tensor:
        """Products, or a sum of them, in the variable's shape."""
        if self._a.shape[2] >= self._g.shape[2]:
            product = tf.linalg.matrix_transpose(product)
        return tf.reshape(product, [*product.shape[:-2], *self._shape])

    def squared_norms(self) -> tf.Tensor:
        a, g = self._a, self._g
        if a.shape[1] == 1:
            return tf.reduce_sum(tf.square(a), [1, 2]) * tf.reduce_sum(tf.square(g), [1, 2])
        if self._narrow:
            products = tf.matmul(a, a, transpose_b=True) * tf.matmul(g, g, transpose_b=True)
            # Rounding must not make a norm of zero negative.
            return tf.maximum(tf.reduce_sum(products, [1, 2]), 0.0)
        return tf.reduce_sum(tf.square(_rows(self._products)), axis=1)

    def weighted_sum(self, weights: tf.Tensor) -> tf.Tensor:
        if self._narrow:
            a = tf.reshape(self._a, [-1, self._a.shape[2]])
            g = tf.reshape(self._g * weights[:, None, None], [-1, self._g.shape[2]])
            return tf.reshape(tf.matmul(a, g, transpose_a=True), self._shape)
        total = tf.linalg.matvec(_rows(self._products), weights, transpose_a=True)
        return self._in_shape(tf.reshape(total, self._products.shape[1:]))

    def each(self) -> tf.Tensor:
        return self._in_shape(self._products)

    def joined(self, other: Use) -> Use:
        if not isinstance(other, Outer):
            return super().joined(other)
        a, g = (tf.concat(pair, 1) for pair in ((self._a, other._a), (self._g, other._g)))
        return Outer(a, g, self._shape)


class Lookup(Use):
    """Rows of a table that were looked up: an outer product whose inputs are one-hot.

    Args:
      rows: int `[B, P]`.
      gradients: `[B, P, O]`.
      size: of the table.
    """

    def __init__(self, rows: tf.Tensor, gradients: tf.Tensor, size: int):
        self._rows, self._g = rows, gradients
        self._size = size

    def squared_norms(self) -> tf.Tensor:
        same = tf.cast(self._rows[:, :, None] == self._rows[:, None, :], self._g.dtype)
        products = same * tf.matmul(self._g, self._g, transpose_b=True)
        return tf.maximum(tf.reduce_sum(products, [1, 2]), 0.0)

    def weighted_sum(self, weights: tf.Tensor) -> tf.Tensor:
        g = tf.reshape(self._g * weights[:, None, None], [-1, self._g.shape[2]])
        return tf.math.unsorted_segment_sum(g, tf.reshape(self._rows, [-1]), self._size)

    def each(self) -> tf.Tensor:
        return tf.matmul(tf.one_hot(self._rows, self._size, axis=1, dtype=self._g.dtype), self._g)

    def joined(self, other: Use) -> Use:
        if not isinstance(other, Lookup):
            return super().joined(other)
        rows, g = (tf.concat(pair, 1) for pair in ((self._rows, other._rows), (self._g, other._g)))
        return Lookup(rows, g, self._size)


def _rows(gradients: tf.Tensor) -> tf.Tensor:
    return tf.reshape(gradients, [gradients.shape[0], -1])
