"""A Keras model as a function of its weights, for many sets of weights at once."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import tensorflow as tf

from workbench.core.config import ConfigError
from workbench.models import recurrence

keras: Any = tf.keras.layers
Layer = Any  # of Keras, which has no types
RandomLayer: Any = tf.keras.__internal__.layers.BaseRandomLayer

# Layers that keep statistics of what they have seen, and mix the examples of a batch.
MIXING = (keras.BatchNormalization,)
# What says that a layer of Keras draws numbers, by a state of its own.
CHANCES = ("rate", "stddev", "dropout", "recurrent_dropout")

Places = list[tuple[Layer, str]]


class Functional:
    """f(w, x) of a Keras model, whose own variables are left alone.

    Weights come in sets, as clients have them: `[G, ...]` for each variable, and set g is for
    features `[g]`. Layers that `RULES` knows go through all sets in one operation; others are
    vectorised as they are.

    Args:
      model: with its variables.

    Raises:
      ConfigError: for a model that mixes examples, draws numbers, or has variables outside of its
        layers.
    """

    def __init__(self, model: tf.keras.Model):
        self._model = model
        self.variables: list[tf.Variable] = list(model.trainable_variables)
        layers = [part for part in model.submodules if isinstance(part, keras.Layer)]
        for layer in layers:
            _require_repeatable(layer)
        self._places = [_places(variable, layers) for variable in self.variables]
        self._units = _units(layers, [place for places in self._places for place in places])

    def __call__(self, weights: Sequence[tf.Tensor], features: tf.Tensor) -> tf.Tensor:
        """Outputs of every set for its features.

        Args:
          weights: one `[G, ...]` for each variable.
          features: `[G, B, ...]`.

        Returns:
          `[G, B, ...]`.
        """
        sets = weights[0].shape[0]
        if sets == 1:
            weights = [tf.squeeze(weight, 0) for weight in weights]
        merged = tf.reshape(features, [-1, *features.shape[2:]])
        with self._placed(weights), self._ruled(sets):
            outputs = self._model(merged, training=True)
        batch = -1 if features.shape[1] is None else features.shape[1]
        return tf.reshape(outputs, [sets, batch, *outputs.shape[1:]])

    @contextmanager
    def _placed(self, weights: Sequence[tf.Tensor]) -> Iterator[None]:
        """Tensors where the model's layers have their variables."""
        try:
            for places, weight in zip(self._places, weights, strict=True):
                for layer, name in places:
                    layer.__dict__[name] = tf.cast(weight, layer.compute_dtype)
            yield
        finally:
            for places, variable in zip(self._places, self.variables, strict=True):
                for layer, name in places:
                    layer.__dict__[name] = variable

    @contextmanager
    def _ruled(self, sets: int) -> Iterator[None]:
        """Layers run by their rules."""
        try:
            for layer, places in self._units:
                whole = layer.call if sets == 1 else partial(_vectorised, sets, places, layer.call)
                rule = _rule_of(layer, sets)
                layer.__dict__["call"] = partial(rule, sets, layer, whole) if rule else whole
            yield
        finally:
            for layer, _ in self._units:
                layer.__dict__.pop("call", None)


def _require_repeatable(layer: Layer) -> None:
    if isinstance(layer, MIXING):
        raise ConfigError(
            f"layer {layer.name} ({type(layer).__name__}) keeps statistics of batches, "
            "which clients cannot share; use GroupNormalization"
        )
    for name in CHANCES:
        if isinstance(layer, RandomLayer) and getattr(layer, name, False):
            raise ConfigError(
                f"layer {layer.name} ({type(layer).__name__}) draws numbers that no seed of a run "
                f"repeats; leave its {name} out"
            )


def _places(variable: tf.Variable, layers: Sequence[Layer]) -> Places:
    """Where layers keep a variable."""
    places = [
        (layer, name)
        for layer in layers
        for name, value in vars(layer).items()
        if value is variable
    ]
    if not places:
        raise ConfigError(f"{variable.name} is no attribute of a layer, so it cannot be replaced")
    return places


def _units(layers: Sequence[Layer], places: Places) -> list[tuple[Layer, Places]]:
    """The outermost layers that use variables themselves, and where these are in them."""
    using = {id(layer) for layer, _ in places}
    users = [layer for layer in layers if id(layer) in using or isinstance(layer, keras.RNN)]
    parts = {id(layer): {id(layer), *map(id, layer.submodules)} for layer in users}
    outermost = [
        layer
        for layer in users
        if not any(id(layer) in parts[id(other)] for other in users if other is not layer)
    ]
    return [
        (layer, [place for place in places if id(place[0]) in parts[id(layer)]])
        for layer in outermost
    ]


def _rule_of(layer: Layer, sets: int) -> Callable[..., tf.Tensor] | None:
    """How to run a layer better than as it is, set by set."""
    for kind, fits, rule in RULES:
        if isinstance(layer, kind) and type(layer).call is kind.call and fits(layer):
            return rule if sets > 1 or kind in QUICKER else None
    return None


def _dense(sets: int, layer: Layer, call: Any, inputs: tf.Tensor) -> tf.Tensor:
    outputs = _product(sets, tf.cast(inputs, layer.compute_dtype), layer.kernel)
    return _finished(sets, layer, outputs)


def _convolution(sets: int, layer: Layer, call: Any, inputs: tf.Tensor) -> tf.Tensor:
    """A dense layer on every patch: there is no convolution with a kernel for each example."""
    patches = tf.image.extract_patches(
        inputs,
        [1, *layer.kernel_size, 1],
        [1, *layer.strides, 1],
        [1, *layer.dilation_rate, 1],
        layer.padding.upper(),
    )
    kernel = tf.reshape(layer.kernel, [sets, -1, layer.filters])
    return _finished(sets, layer, _product(sets, patches, kernel))


def _embedding(sets: int, layer: Layer, call: Any, inputs: tf.Tensor) -> tf.Tensor:
    """One table for all sets, in which each has its rows."""
    table = tf.reshape(layer.embeddings, [-1, layer.output_dim])
    rows = tf.reshape(tf.cast(inputs, tf.int32), [sets, -1])
    rows += layer.input_dim * tf.range(sets)[:, None]
    return tf.gather(table, tf.reshape(rows, tf.shape(inputs)))


def _normalization(sets: int, layer: Layer, call: Any, inputs: tf.Tensor) -> tf.Tensor:
    """LayerNormalization and GroupNormalization: scale and offset come last."""
    kept = {name: vars(layer)[name] for name in ("gamma", "beta", "scale", "center")}
    kept = {name: value for name, value in kept.items() if name in vars(layer)}
    layer.__dict__.update(gamma=None, beta=None, scale=False, center=False)
    try:
        outputs = type(layer).call(layer, inputs)
    finally:
        layer.__dict__.update(kept)
    outputs = _split(sets, outputs)
    if layer.gamma is not None:
        outputs *= _beside(layer.gamma, outputs)
    if layer.beta is not None:
        outputs += _beside(layer.beta, outputs)
    return _merged(outputs)


def _lstm(
    sets: int, layer: Layer, call: Any, inputs: tf.Tensor, mask: Any = None, **kwargs: Any
) -> tf.Tensor:
    if mask is not None or kwargs.get("initial_state") is not None:
        return call(inputs, mask=mask, **kwargs)
    cell = layer.cell
    x = tf.reverse(inputs, [1]) if layer.go_backwards else inputs
    if sets == 1:
        z = tf.matmul(x, cell.kernel)
        z = z if cell.bias is None else z + cell.bias
        z = tf.transpose(z, [1, 0, 2])
        h = tf.transpose(recurrence.lstm(z, cell.recurrent_kernel), [1, 0, 2])
    else:
        z = _split(sets, _product(sets, x, cell.kernel))
        z = z if cell.bias is None else z + _beside(cell.bias, z)
        z = tf.transpose(z, [2, 0, 1, 3])
        h = tf.transpose(recurrence.lstm(z, cell.recurrent_kernel), [1, 2, 0, 3])
        h = _merged(h)
    return h if layer.return_sequences else h[:, -1]


def _lstm_fits(layer: Layer) -> bool:
    cell = layer.cell
    usual = layer.activation is tf.keras.activations.tanh
    usual &= layer.recurrent_activation is tf.keras.activations.sigmoid
    odd = layer.stateful or layer.return_state or layer.time_major
    return usual and not (odd or cell.dropout or cell.recurrent_dropout)


def _vectorised(sets: int, places: Places, call: Any, *args: Any, **kwargs: Any) -> Any:
    """Any layer, once for each set of the weights in its places."""
    flat = tf.nest.flatten((args, kwargs))
    batches = [value for value in flat if tf.is_tensor(value) and value.shape.rank]

    def of_one(values: tuple[list[tf.Tensor], list[tf.Tensor]]) -> Any:
        own, weights = map(iter, values)
        kept = [vars(layer)[name] for layer, name in places]
        inputs = [next(own) if tf.is_tensor(v) and v.shape.rank else v for v in flat]
        args_of_one, kwargs_of_one = tf.nest.pack_sequence_as((args, kwargs), inputs)
        try:
            for layer, name in places:
                layer.__dict__[name] = next(weights)
            return call(*args_of_one, **kwargs_of_one)
        finally:
            for (layer, name), value in zip(places, kept, strict=True):
                layer.__dict__[name] = value

    weights = [vars(layer)[name] for layer, name in places]
    outputs = tf.vectorized_map(of_one, ([_split(sets, value) for value in batches], weights))
    return tf.nest.map_structure(_merged, outputs)


def _product(sets: int, inputs: tf.Tensor, kernels: tf.Tensor) -> tf.Tensor:
    """`[G·B, ..., I]` by `[G, I, O]`."""
    rows = tf.reshape(inputs, [sets, -1, kernels.shape[1]])
    outputs = tf.matmul(rows, kernels)
    batch = [-1 if size is None else size for size in inputs.shape[:-1]]
    return tf.reshape(outputs, [*batch, kernels.shape[2]])


def _finished(sets: int, layer: Layer, outputs: tf.Tensor) -> tf.Tensor:
    """With bias and activation."""
    if layer.use_bias:
        outputs = _split(sets, outputs)
        outputs = _merged(outputs + _beside(layer.bias, outputs))
    return outputs if layer.activation is None else layer.activation(outputs)


def _beside(weight: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    """`[G, C]` to broadcast with `[G, B, ..., C]`."""
    sets, channels = weight.shape
    return tf.reshape(weight, [sets, *[1] * (outputs.shape.rank - 2), channels])


def _split(sets: int, tensor: tf.Tensor) -> tf.Tensor:
    rows = tensor.shape[0]
    batch = -1 if rows is None else rows // sets
    return tf.reshape(tensor, [sets, batch, *tensor.shape[1:]])


def _merged(tensor: tf.Tensor) -> tf.Tensor:
    batch = -1 if tensor.shape[1] is None else tensor.shape[0] * tensor.shape[1]
    return tf.reshape(tensor, [batch, *tensor.shape[2:]])


def _always(layer: Layer) -> bool:
    return True


def _plain_convolution(layer: Layer) -> bool:
    return layer.data_format == "channels_last" and layer.groups == 1


def _last_axis(layer: Layer) -> bool:
    axes = [layer.axis] if isinstance(layer.axis, int) else list(layer.axis)
    return axes in ([-1], [layer.input_spec.ndim - 1] if layer.input_spec else [-1])


# Layers whose rule is quicker than Keras' own way for a single set, too.
QUICKER = (keras.LSTM,)
RULES: list[tuple[Any, Callable[[Layer], bool], Callable[..., tf.Tensor]]] = [
    (keras.Dense, _always, _dense),
    (keras.Conv2D, _plain_convolution, _convolution),
    (keras.Embedding, _always, _embedding),
    (keras.LayerNormalization, _last_axis, _normalization),
    (keras.GroupNormalization, _last_axis, _normalization),
    (keras.LSTM, _lstm_fits, _lstm),
]
