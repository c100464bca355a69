"""LSTM and GRU layers, run so that every step's pre-activations can be tapped.

With z_t = W x_t + U h_{t-1} + b, the gradient by W is that of a dense layer used at T places whose
outputs' gradients are those of z_t, and the gradient by U likewise with h_{t-1} for its inputs.
"""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from workbench.privacy.gradients.taps import Found, Layer, Rule, Tap, anything
from workbench.privacy.gradients.uses import Outer, Whole


def lstm_fits(layer: Layer) -> bool:
    """Whether the rule covers a layer's options."""
    cell = layer.cell
    return not (
        layer.stateful
        or layer.return_state
        or layer.time_major
        or cell.dropout
        or cell.recurrent_dropout
    )


def lstm(
    tap: Tap, layer: Layer, call: Rule, inputs: tf.Tensor, mask: Any = None, **kwargs: Any
) -> tf.Tensor:
    """Hochreiter & Schmidhuber 1997, with Keras' gates in its order: i, f, c, o."""
    if kwargs.get("initial_state") is not None:
        return anything(tap, layer, call, inputs, mask=mask, **kwargs)
    cell = layer.cell
    x, mask = _in_order(layer, inputs, mask)

    def uses(g: tf.Tensor) -> Found:
        g = tap.places(g)
        yield cell.kernel, Outer(tap.places(x), g, cell.kernel.shape)
        yield cell.recurrent_kernel, Outer(tap.places(_before(h)), g, cell.recurrent_kernel.shape)
        if cell.bias is not None:
            yield cell.bias, Whole(tf.reduce_sum(g, 1))

    z_x = x @ cell.kernel
    z_x = tap(z_x if cell.bias is None else z_x + cell.bias, uses)
    recurrent_kernel = tf.convert_to_tensor(cell.recurrent_kernel)

    def step(z_x: tf.Tensor, h: tf.Tensor, c: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        i, f, candidate, o = tf.split(z_x + h @ recurrent_kernel, 4, axis=1)
        c = layer.recurrent_activation(f) * c
        c += layer.recurrent_activation(i) * layer.activation(candidate)
        return layer.recurrent_activation(o) * layer.activation(c), c

    h = _scan(step, z_x, mask, layer, states=2)
    return _output(layer, h, mask)


def gru_fits(layer: Layer) -> bool:
    """Whether the rule covers a layer's options."""
    return lstm_fits(layer) and layer.reset_after


def gru(
    tap: Tap, layer: Layer, call: Rule, inputs: tf.Tensor, mask: Any = None, **kwargs: Any
) -> tf.Tensor:
    """Cho et al. 2014, as Keras has it: the reset gate after the product, gates z, r, h."""
    if kwargs.get("initial_state") is not None:
        return anything(tap, layer, call, inputs, mask=mask, **kwargs)
    cell = layer.cell
    x, mask = _in_order(layer, inputs, mask)

    def uses_of(
        kernel: tf.Variable, inputs: Callable[[], tf.Tensor], row: int
    ) -> Callable[[tf.Tensor], Found]:
        """Of a kernel and its row of the bias."""

        def uses(g: tf.Tensor) -> Found:
            g = tap.places(g)
            yield kernel, Outer(tap.places(inputs()), g, kernel.shape)
            if cell.bias is not None:
                total = tf.reduce_sum(g, 1)[:, None]
                yield cell.bias, Whole(tf.pad(total, [[0, 0], [row, 1 - row], [0, 0]]))

        return uses

    bias = (0.0, 0.0) if cell.bias is None else tf.unstack(tf.convert_to_tensor(cell.bias))
    z_x = tap(x @ cell.kernel + bias[0], uses_of(cell.kernel, lambda: x, 0))
    # What the products with the state are before they are known: their gradient is all it is for.
    uses_h = uses_of(cell.recurrent_kernel, lambda: _before(h), 1)
    z_h = tap(tf.zeros_like(z_x) + bias[1], uses_h)
    recurrent_kernel = tf.convert_to_tensor(cell.recurrent_kernel)

    def step(z: tf.Tensor, h: tf.Tensor) -> tuple[tf.Tensor]:
        z_x, z_h = tf.split(z, 2, axis=1)
        x_z, x_r, x_c = tf.split(z_x, 3, axis=1)
        h_z, h_r, h_c = tf.split(z_h + h @ recurrent_kernel, 3, axis=1)
        update = layer.recurrent_activation(x_z + h_z)
        reset = layer.recurrent_activation(x_r + h_r)
        candidate = layer.activation(x_c + reset * h_c)
        return (update * h + (1 - update) * candidate,)

    h = _scan(step, tf.concat([z_x, z_h], 2), mask, layer, states=1)
    return _output(layer, h, mask)


def _output(layer: Layer, h: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    if not layer.return_sequences:
        return h[:, -1]
    return tf.where(mask[:, :, None], h, 0.0) if layer.zero_output_for_mask else h


def _before(h: tf.Tensor) -> tf.Tensor:
    """The state that each step began with: zeros, then that of the step before."""
    return tf.pad(h[:, :-1], [[0, 0], [1, 0], [0, 0]])


def _in_order(layer: Layer, inputs: tf.Tensor, mask: Any) -> tuple[tf.Tensor, tf.Tensor]:
    """`[N, T, C]` as the layer goes through it, and bool `[N, T]` where it looks."""
    if mask is None:
        mask = tf.ones(inputs.shape[:2], tf.bool)
    both = (inputs, tf.nest.flatten(mask)[0])
    return tuple(tf.reverse(tensor, [1]) for tensor in both) if layer.go_backwards else both


def _scan(
    step: Callable[..., tuple[tf.Tensor, ...]],
    sequence: tf.Tensor,
    mask: tf.Tensor,
    layer: Layer,
    states: int,
) -> tf.Tensor:
    """The first state after each of T steps from zeros, `[N, T, units]`.

    Args:
      step: from `[N, C]`, what stands at its place of the sequence, and states to new states.
      sequence: `[N, T, C]`.
      mask: bool `[N, T]`; where it is false, states stay.
    """
    examples, length, _ = sequence.shape
    dtype, size = sequence.dtype, [examples, layer.units]

    def go_on(z: tf.Tensor, look: tf.Tensor, state: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        return [tf.where(look, *pair) for pair in zip(step(z, *state), state, strict=True)]

    start = [tf.zeros(size, dtype)] * states
    if layer.unroll:
        passed = [start]
        for z, look in zip(tf.unstack(sequence, axis=1), tf.unstack(mask, axis=1), strict=True):
            passed.append(go_on(z, look[:, None], passed[-1]))
        return tf.stack([first for first, *_ in passed[1:]], axis=1)

    places = tf.TensorArray(dtype, length).unstack(tf.transpose(sequence, [1, 0, 2]))
    looks = tf.TensorArray(tf.bool, length).unstack(tf.transpose(mask)[:, :, None])

    def body(t: tf.Tensor, made: tf.TensorArray, *state: tf.Tensor) -> tuple:
        kept = go_on(places.read(t), looks.read(t), state)
        return (t + 1, made.write(t, kept[0]), *kept)

    made = tf.TensorArray(dtype, length, element_shape=size)
    _, made, *_ = tf.while_loop(
        lambda t, *_: t < length, body, (0, made, *start), maximum_iterations=length
    )
    return tf.transpose(made.stack(), [1, 0, 2])
