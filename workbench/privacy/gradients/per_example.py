"""Every example's own gradient, as far as DP-SGD needs it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import tensorflow as tf

from workbench.core.config import ConfigError
from workbench.privacy.gradients.layers import rule_of
from workbench.privacy.gradients.taps import Layer, Rule, Tap
from workbench.privacy.gradients.uses import Use, join


class PerExample:
    """A Keras model's gradients, one for each example: norms of all, and weighted sums.

    Runs the model once and goes back through it once, whatever is asked then. The model is any
    whose layers keep examples apart; see `layers.RULES` for those that need no array of the size
    of a variable for each example.

    Args:
      model: with its variables.

    Raises:
      ConfigError: for a model that mixes examples, or has variables outside of its layers.
    """

    def __init__(self, model: tf.keras.Model):
        self._model = model
        self.variables: list[tf.Variable] = list(model.trainable_variables)
        self._rules = dict(_rules(model))
        covered = {id(v) for layer in self._rules for v in layer.trainable_variables}
        for variable in self.variables:
            if id(variable) not in covered:
                raise ConfigError(f"{variable.name} belongs to no layer of {model.name}")

    def __call__(
        self,
        features: Any,
        loss: Callable[[tf.Tensor], tf.Tensor],
        examples: int | None = None,
    ) -> tuple[tf.Tensor, "Gradients"]:
        """Losses of all rows, and the gradients of what each example's rows add up to.

        Args:
          features: the model's input, `[N, ...]`.
          loss: from the model's output to losses `[N]`.
          examples: B, where examples have several rows; N is a multiple of it, and an example's
            rows are one after the other.

        Returns:
          `[N]`, and the gradients.
        """
        rows = tf.nest.flatten(features)[0].shape[0]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tap = Tap(examples or rows, tape)
            with self._tapped(tap):
                outputs = self._model(features, training=True)
            losses = loss(outputs)
            total = tf.reduce_sum(losses)
        tensors = tape.gradient(total, tap.tensors, unconnected_gradients="zero")
        found: dict[int, list[Use]] = {id(variable): [] for variable in self.variables}
        for uses, gradient in zip(tap.uses, tensors, strict=True):
            for variable, use in uses(gradient):
                if id(variable) in found:  # it may be held fixed
                    found[id(variable)].append(use)
        return losses, Gradients(self.variables, list(found.values()), tap.examples)

    @contextmanager
    def _tapped(self, tap: Tap) -> Iterator[None]:
        """Runs layers by their rules, wherever the model calls them from."""
        try:
            for layer, rule in self._rules.items():
                layer.__dict__["call"] = partial(rule, tap, layer, layer.call)
            yield
        finally:
            for layer in self._rules:
                layer.__dict__.pop("call", None)


class Gradients:
    """The gradients of B examples by a model's variables."""

    def __init__(self, variables: Sequence[tf.Variable], uses: Sequence[list[Use]], examples: int):
        self._variables = variables
        self._uses = [join(own) if own else None for own in uses]
        self._examples = examples

    def squared_norms(self) -> list[tf.Tensor]:
        """Of each example's gradient by each variable, `[B]` each."""
        none = tf.zeros([self._examples])
        return [use.squared_norms() if use else none for use in self._uses]

    def weighted_sums(self, weights: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Sums over examples of weight times gradient, in the variables' shapes.

        Args:
          weights: `[B]` for each variable.
        """
        return [
            use.weighted_sum(weight) if use else tf.zeros(variable.shape)
            for use, weight, variable in zip(self._uses, weights, self._variables, strict=True)
        ]


def _rules(layer: Layer) -> Iterator[tuple[Layer, Rule]]:
    """The layers of a model that are run by a rule, each once."""
    seen: set[int] = set()
    waiting = [layer]
    while waiting:
        layer = waiting.pop()
        if id(layer) in seen:
            continue
        seen.add(id(layer))
        rule = rule_of(layer)
        if rule is not None and layer.trainable_variables:
            yield layer, rule
        elif rule is None:
            waiting.extend(layer._flatten_layers(recursive=False, include_self=False))
