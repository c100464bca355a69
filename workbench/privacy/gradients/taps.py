"""Taps: tensors inside a model whose gradients tell what each example adds to its variables'."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import tensorflow as tf

from workbench.core.config import ConfigError
from workbench.privacy.gradients.uses import Use, Whole

Layer = Any  # of Keras, which has no types
Found = Iterable[tuple[tf.Variable, Use]]
Rule = Callable[..., Any]


class Tap:
    """Marks tensors whose gradients are wanted, and what is to be made of them.

    Args:
      examples: B. Tensors have B·k in their first dimension, k for each example in turn: copies of
        it, or places in it that a wrapper has put there.
      tape: that is recording.
    """

    def __init__(self, examples: int, tape: tf.GradientTape):
        self.examples = examples
        self.tensors: list[tf.Tensor] = []
        self.uses: list[Callable[[tf.Tensor], Found]] = []
        self._tape = tape

    def __call__(self, tensor: tf.Tensor, uses: Callable[[tf.Tensor], Found]) -> tf.Tensor:
        """The tensor, to go on with; `uses` gets its gradient."""
        self._tape.watch(tensor)
        self.tensors.append(tensor)
        self.uses.append(uses)
        return tensor

    def places(self, tensor: tf.Tensor) -> tf.Tensor:
        """`[N, ..., C]` as float32 `[B, P, C]`."""
        tensor = tf.reshape(tensor, [self.examples, -1, tensor.shape[-1]])
        return tf.cast(tensor, tf.float32)

    def summed(self, tensor: tf.Tensor, shape: Sequence[int]) -> Whole:
        """Each example's part of `[N, ...]`, summed over what a variable was broadcast along."""
        rank = tensor.shape.rank - 1
        aligned = [1] * (rank - len(shape)) + list(shape)
        grouped = tf.reshape(tensor, [self.examples, -1, *tensor.shape[1:]])
        grouped = tf.cast(grouped, tf.float32)
        axes = [1, *(2 + axis for axis, size in enumerate(aligned) if size == 1)]
        return Whole(tf.reshape(tf.reduce_sum(grouped, axes), [self.examples, *shape]))


def anything(tap: Tap, layer: Layer, call: Rule, *args: Any, **kwargs: Any) -> tf.Tensor:
    """Any layer that keeps examples apart: one more backward pass through it for each of them."""
    outputs = call(*args, **kwargs)
    if not tf.is_tensor(outputs):
        raise ConfigError(
            f"layer {layer.name} ({type(layer).__name__}) gives several tensors; per-example "
            "gradients of layers without a rule need a single one"
        )
    variables = layer.trainable_variables
    structure = (args, kwargs)
    flat = tf.nest.flatten(structure)
    tensors = [value for value in flat if tf.is_tensor(value) and value.shape.rank]

    def of_one(pair: tuple[list[tf.Tensor], tf.Tensor]) -> list[tf.Tensor]:
        own, g = pair
        rest = iter(own)
        values = [next(rest)[None] if any(v is t for t in tensors) else v for v in flat]
        own_args, own_kwargs = tf.nest.pack_sequence_as(structure, values)
        with tf.GradientTape() as tape:
            output = call(*own_args, **own_kwargs)
        return tape.gradient(output, variables, g[None], tf.UnconnectedGradients.ZERO)

    def uses(g: tf.Tensor) -> Found:
        found = tf.vectorized_map(of_one, (tensors, g))
        for variable, each in zip(variables, found, strict=True):
            each = tf.cast(each, tf.float32)
            grouped = tf.reshape(each, [tap.examples, -1, *variable.shape])
            yield variable, Whole(tf.reduce_sum(grouped, 1))

    return tap(outputs, uses)
