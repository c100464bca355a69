"""A dense layer whose gradient is quick where XLA's own choice is slow."""

from collections.abc import Callable

import tensorflow as tf

# Up to this many outputs, a product over them is cheaper written out.
FEW = 8


class Dense(tf.keras.layers.Dense):
    """Keras' dense layer, y = act(x W + b), with the same variables and the same gradient.

    Small networks spend their time in the backward pass, and XLA:CPU spends most of it on the two
    products that are hardly any work: of [B, 128] it sums the rows for db one column at a time, and
    dx = dy Wᵀ with a handful of outputs it hands to a library made for large matrices. Here db is a
    sum by halves and such a dx a sum of outer products, which it fuses into vectorised loops.
    """

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        # As tensors, for a custom gradient does not know several replicas' variables.
        kernel, bias = map(tf.convert_to_tensor, (self.kernel, self.bias))
        return self.activation(affine(inputs, kernel, bias))


@tf.custom_gradient
def affine(
    x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor
) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor, tf.Tensor]]]:
    """x W + b: `[B, I]`, `[I, O]` and `[O]` to `[B, O]`."""

    def gradient(dy: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        outputs = kernel.shape[1]
        if outputs <= FEW:
            dx = tf.add_n([dy[:, o : o + 1] * kernel[None, :, o] for o in range(outputs)])
        else:
            dx = tf.matmul(dy, kernel, transpose_b=True)
        return dx, tf.matmul(x, dy, transpose_a=True), sum_rows(dy)

    return tf.matmul(x, kernel) + bias, gradient


def sum_rows(x: tf.Tensor) -> tf.Tensor:
    """The sum over the first axis, by halves for as long as they are whole."""
    rows = x.shape[0]
    while rows and rows % 2 == 0:
        rows //= 2
        x = x[:rows] + x[rows:]
    return tf.reduce_sum(x, axis=0)
