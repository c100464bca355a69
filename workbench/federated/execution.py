"""How the clients of a cohort are gone through: together, or one after the other."""

import os
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from workbench.core.devices import accelerated
from workbench.federated.config import CompiledConfig

# Clients that may run side by side when they are mapped.
SIDE_BY_SIDE = os.cpu_count() or 1
# From how many parameters on a CPU does more with clients side by side than with all in each
# operation: then these are so large that what starting them costs does not count.
LARGE = 100_000


class Execution:
    """Calls a function for groups of G clients.

    Args:
      config: of the engine.
      model: whose layers decide, where the configuration leaves it open.
      clients: that a replica has in a round, at most.
      expected: how many it usually has; None is all of them.
    """

    def __init__(
        self,
        config: CompiledConfig,
        model: tf.keras.Model,
        clients: int,
        expected: int | None = None,
    ):
        kind = config.execution
        if kind == "auto":
            large = not accelerated() and model.count_params() >= LARGE
            kind = "mapped" if large or _convolutional(model) else "batched"
        self.kind = kind
        self.together = _divisor(clients, expected or clients) if kind == "batched" else 1
        self._clients = clients
        self._side_by_side = 1 if kind == "sequential" else SIDE_BY_SIDE

    def run(
        self,
        function: Callable[..., tuple[Any, Any]],
        inputs: Any,
        count: tf.Tensor,
    ) -> tuple[Any, Any]:
        """Sums and rows of what the function returns for each group.

        Args:
          function: from a group's inputs, `[G, ...]` each, to a nest that is added up over groups
            and one of `[G, ...]`. One that reads variables keeps groups from running side by side.
          inputs: a nest of `[clients, ...]`.
          count: how many come first that are of interest, int32; groups beyond are left out, and
            their rows are 0.

        Returns:
          The sums, and the rows, `[clients, ...]`.
        """
        if self.together == self._clients:
            return function(inputs)

        def group(number: tf.Tensor) -> tuple[Any, Any]:
            rows = number * self.together + tf.range(self.together)
            return function(tf.nest.map_structure(lambda value: tf.gather(value, rows), inputs))

        traced = tf.function(group, autograph=False)
        traced = traced.get_concrete_function(tf.TensorSpec([], tf.int32))
        sums, rows = traced.structured_outputs
        zeros = tf.nest.map_structure(lambda spec: tf.zeros(spec.shape, spec.dtype), sums)
        arrays = tf.nest.map_structure(self._array, rows)

        def add(number: tf.Tensor, sums: Any, arrays: Any) -> tuple[tf.Tensor, Any, Any]:
            more, found = traced(number)
            sums = tf.nest.map_structure(tf.add, sums, more)
            flat = zip(tf.nest.flatten(arrays), tf.nest.flatten(found), strict=True)
            written = [array.write(number, row) for array, row in flat]
            return number + 1, sums, tf.nest.pack_sequence_as(arrays, written)

        groups = -(-count // self.together)
        _, sums, arrays = tf.while_loop(
            lambda number, *_: number < groups,
            add,
            (tf.constant(0), zeros, arrays),
            parallel_iterations=self._side_by_side,
        )
        return sums, tf.nest.map_structure(lambda array: _flat(array.stack()), arrays)

    def _array(self, spec: tf.TensorSpec) -> tf.TensorArray:
        groups = self._clients // self.together
        return tf.TensorArray(spec.dtype, groups, element_shape=spec.shape)


def _divisor(number: int, most: int) -> int:
    """The largest divisor of a number up to the most."""
    return max(size for size in range(1, min(number, most) + 1) if number % size == 0)


def _flat(stacked: tf.Tensor) -> tf.Tensor:
    groups, together, *rest = stacked.shape
    return tf.reshape(stacked, [groups * together, *rest])


def _convolutional(model: tf.keras.Model) -> bool:
    kinds = (tf.keras.layers.Conv1D, tf.keras.layers.Conv2D, tf.keras.layers.Conv3D)
    return any(isinstance(layer, kinds) for layer in model.submodules)
