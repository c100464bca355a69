"""How each kind of Keras layer shows what its variables' gradients are made of.

A rule runs a layer and taps what lies between its variables and the rest of the model. A layer
without a rule is run as it is, and differentiated again for each example.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import tensorflow as tf

from workbench.core.config import ConfigError
from workbench.privacy.gradients import recurrent
from workbench.privacy.gradients.taps import Found, Layer, Rule, Tap, anything
from workbench.privacy.gradients.uses import Lookup, Outer, Whole

keras: Any = tf.keras.layers

# Layers whose outputs for one example depend on the others.
MIXING = (keras.BatchNormalization,)


def rule_of(layer: Layer) -> Rule | None:
    """How to run a layer that has variables to train; None where its parts are seen to instead.

    Raises:
      ConfigError: for a layer that mixes the examples of a batch.
    """
    if isinstance(layer, MIXING):
        raise ConfigError(
            f"layer {layer.name} ({type(layer).__name__}) mixes the examples of a batch, so that "
            "no example's gradient can be told apart; use GroupNormalization"
        )
    for kind, fits, rule in RULES:
        if isinstance(layer, kind) and type(layer).call is kind.call and fits(layer):
            return rule
    if isinstance(layer, keras.RNN):
        return anything
    parts = [part for part in layer.submodules if isinstance(part, keras.Layer)]
    own = {id(variable) for variable in layer.trainable_variables}
    of_parts = {id(variable) for part in parts for variable in part.trainable_variables}
    return None if own <= of_parts else anything


def dense(tap: Tap, layer: Layer, call: Rule, inputs: tf.Tensor) -> tf.Tensor:
    """Dense, at every place that it is used."""

    def uses(g: tf.Tensor) -> Found:
        yield layer.kernel, Outer(tap.places(inputs), tap.places(g), layer.kernel.shape)
        yield from _bias(tap, layer, g)

    return _activated(tap, layer, call, inputs, uses)


def einsum_dense(tap: Tap, layer: Layer, call: Rule, inputs: tf.Tensor) -> tf.Tensor:
    """EinsumDense, of which attention is made: a dense layer once axes are in order."""
    given, kernel, made = _labels(layer.equation, inputs.shape.rank)
    contracted = "".join(x for x in kernel if x in given)
    produced = "".join(x for x in kernel if x in made)
    places = "".join(x for x in given if x in made)

    def matrix(tensor: tf.Tensor, labels: str, last: str) -> tf.Tensor:
        ordered = tf.einsum(f"{labels}->{places}{last}", tensor)
        size = ordered.shape[len(places) :].num_elements()
        return tap.places(tf.reshape(ordered, [-1, size]))

    def uses(g: tf.Tensor) -> Found:
        a = matrix(inputs, given, contracted)
        yield layer.kernel, Outer(a, matrix(g, made, produced), layer.kernel.shape)
        yield from _bias(tap, layer, g)

    return _activated(tap, layer, call, inputs, uses)


def convolution(tap: Tap, layer: Layer, call: Rule, inputs: tf.Tensor) -> tf.Tensor:
    """Conv1D and Conv2D: a dense layer on every patch."""

    def uses(g: tf.Tensor) -> Found:
        patches = tap.places(_patches(layer, inputs))
        yield layer.kernel, Outer(patches, tap.places(g), layer.kernel.shape)
        yield from _bias(tap, layer, g)

    return _activated(tap, layer, call, inputs, uses)


def depthwise(tap: Tap, layer: Layer, call: Rule, inputs: tf.Tensor) -> tf.Tensor:
    """DepthwiseConv1D and DepthwiseConv2D: small enough for every example's own kernel."""
    *window, channels, multiplier = layer.depthwise_kernel.shape

    def uses(g: tf.Tensor) -> Found:
        patches = tap.places(_patches(layer, inputs))
        size = [tap.examples, patches.shape[1]]
        patches = tf.reshape(patches, [*size, -1, channels])
        gradients = tf.reshape(tap.places(g), [*size, channels, multiplier])
        each = tf.einsum("bpkc,bpcm->bkcm", patches, gradients)
        shape = [tap.examples, *window, channels, multiplier]
        yield layer.depthwise_kernel, Whole(tf.reshape(each, shape))
        yield from _bias(tap, layer, g)

    return _activated(tap, layer, call, inputs, uses)


def embedding(tap: Tap, layer: Layer, call: Rule, inputs: tf.Tensor) -> tf.Tensor:
    """Embedding, without a table for each example."""

    def uses(g: tf.Tensor) -> Found:
        rows = tf.cast(tf.reshape(inputs, [tap.examples, -1]), tf.int32)
        yield layer.embeddings, Lookup(rows, tap.places(g), layer.input_dim)

    return tap(call(inputs), uses)


def normalization(tap: Tap, layer: Layer, call: Rule, inputs: tf.Tensor) -> tf.Tensor:
    """LayerNormalization and GroupNormalization: scale and offset come last."""
    off = {"gamma": None, "beta": None, "scale": False, "center": False}
    with _set(layer, **{name: value for name, value in off.items() if name in vars(layer)}):
        normalized = call(inputs)

    def uses(g: tf.Tensor) -> Found:
        if layer.gamma is not None:
            yield layer.gamma, tap.summed(g * normalized, layer.gamma.shape)
        if layer.beta is not None:
            yield layer.beta, tap.summed(g, layer.beta.shape)

    outputs = normalized if layer.gamma is None else normalized * layer.gamma
    return tap(outputs if layer.beta is None else outputs + layer.beta, uses)


def _activated(
    tap: Tap, layer: Layer, call: Rule, inputs: tf.Tensor, uses: Callable[[tf.Tensor], Found]
) -> tf.Tensor:
    """The layer's output; its tap is before the activation."""
    with _set(layer, activation=None):
        z = call(inputs)
    z = tap(z, uses)
    return z if layer.activation is None else layer.activation(z)


@contextmanager
def _set(layer: Layer, **values: Any) -> Iterator[None]:
    """Attributes of a layer, for the time being; past Keras, which would keep account of them."""
    before = {name: layer.__dict__[name] for name in values}
    layer.__dict__.update(values)
    try:
        yield
    finally:
        layer.__dict__.update(before)


def _bias(tap: Tap, layer: Layer, g: tf.Tensor) -> Found:
    if layer.bias is not None:
        yield layer.bias, tap.summed(g, layer.bias.shape)


def _patches(layer: Layer, inputs: tf.Tensor) -> tf.Tensor:
    """What each output of a convolution saw, `[N, ..., window · channels]`."""
    sizes, strides, rates = layer.kernel_size, layer.strides, layer.dilation_rate
    padding = layer.padding.upper()
    if inputs.shape.rank == 3:
        inputs = inputs[:, :, None]
        sizes, strides, rates = ((values[0], 1) for values in (sizes, strides, rates))
        if padding == "CAUSAL":
            inputs = tf.pad(inputs, [[0, 0], [rates[0] * (sizes[0] - 1), 0], [0, 0], [0, 0]])
            padding = "VALID"
    channels = inputs.shape[3]
    if channels < FEW_CHANNELS and tuple(rates) == (1, 1):
        # With short runs to copy, a product with the identity is several times quicker.
        window = sizes[0] * sizes[1] * channels
        identity = tf.reshape(tf.eye(window, dtype=inputs.dtype), [*sizes, channels, window])
        return tf.nn.conv2d(inputs, identity, strides, padding)
    return tf.image.extract_patches(
        inputs, [1, *sizes, 1], [1, *strides, 1], [1, *rates, 1], padding
    )


FEW_CHANNELS = 8


def _labels(equation: str, rank: int) -> tuple[str, str, str]:
    """The labels of input, kernel and output, with letters for an ellipsis."""
    given, kernel, made = equation.replace("->", ",").split(",")
    spare = "".join(
        chr(code) for code in range(ord("A"), ord("Z") + 1) if chr(code) not in equation
    )
    letters = spare[: rank - len(given.replace("...", ""))]
    return given.replace("...", letters), kernel, made.replace("...", letters)


def _plain_einsum(layer: Layer) -> bool:
    """Whether every label of the kernel is either summed over or made, those first."""
    given, kernel, made = layer.equation.replace("->", ",").split(",")
    kinds = ["made" if x in made else "given" for x in kernel]
    shared = any(x in given and x in made for x in kernel)
    return not shared and kinds == sorted(kinds)


def _plain_convolution(layer: Layer) -> bool:
    return layer.data_format == "channels_last" and getattr(layer, "groups", 1) == 1


def _last_axis(layer: Layer) -> bool:
    axes = [layer.axis] if isinstance(layer.axis, int) else list(layer.axis)
    return axes in ([-1], [layer.input_spec.ndim - 1] if layer.input_spec else [-1])


def _always(layer: Layer) -> bool:
    return True


RULES: list[tuple[Any, Callable[[Layer], bool], Rule]] = [
    (keras.Dense, _always, dense),
    (keras.EinsumDense, _plain_einsum, einsum_dense),
    (keras.Conv1D, _plain_convolution, convolution),
    (keras.Conv2D, _plain_convolution, convolution),
    (keras.DepthwiseConv1D, _plain_convolution, depthwise),
    (keras.DepthwiseConv2D, _plain_convolution, depthwise),
    (keras.Embedding, _always, embedding),
    (keras.LayerNormalization, _last_axis, normalization),
    (keras.GroupNormalization, _last_axis, normalization),
    (keras.LSTM, recurrent.lstm_fits, recurrent.lstm),
    (keras.GRU, recurrent.gru_fits, recurrent.gru),
]
