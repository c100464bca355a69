"""The weighted mean, which other aggregators are variations of."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import tensorflow as tf

from workbench.core.random import Seed
from workbench.federated.nests import Weights, like

# Of a number as the model has it.
BYTES = 4


class Encoded(NamedTuple):
    """What leaves a group of G clients.

    Attributes:
      delta: their updates, `[G, ...]` each.
      weight: how much they count, `[G]`.
      facts: numbers `[G]` by name, which are summed over the cohort.
    """

    delta: Weights
    weight: tf.Tensor
    facts: dict[str, tf.Tensor]


class Mean(tf.Module):
    """Σ_k p_k Δ_k / Σ_k p_k.

    Attributes:
      stacked: whether `combined` needs each client's update; if not, it gets their sum.
    """

    stacked = False

    def read(self) -> AbstractContextManager[None]:
        """Inside, `encoded` reads no variables, so that clients can run side by side."""
        return nullcontext()

    def encoded(
        self, delta: Weights, weight: tf.Tensor, slots: tf.Tensor, seed: tf.Tensor
    ) -> Encoded:
        """What clients make of their updates before they send them; inside of `each`.

        Args:
          delta: `[G, ...]` each; those that are not finite are 0 and have no weight.
          weight: float32 `[G]`.
          slots: the clients' places in the cohort, int32 `[G]`; draws have to be for a slot (see
            `by_slot`), so that they do not depend on which clients are gone through together.
          seed: of the round, int64 `[2]`: a key, and the round times M.
        """
        return Encoded(delta, weight, {})

    def combined(
        self, delta: Weights, weight: tf.Tensor, facts: dict[str, tf.Tensor], seed: Seed
    ) -> tuple[Weights, dict[str, tf.Tensor]]:
        """The aggregated update, and what is known of the facts; above replicas.

        Args:
          delta: Σ_k p_k Δ_k; of stacked aggregators all Δ_k, `[M, ...]`.
          weight: Σ_k p_k; of stacked aggregators all p_k, `[M]`, 0 for those that did not report.
          facts: sums over the cohort.
          seed: of the round.
        """
        return [tf.math.divide_no_nan(total, weight) for total in delta], facts

    def adapt(self, facts: dict[str, tf.Tensor]) -> None:
        """Changes what it keeps, by what `combined` says of the facts; inside of `each`."""

    def metrics(self, facts: dict[str, tf.Tensor], clients: tf.Tensor) -> dict[str, Any]:
        """What a user should see of a round, by what `combined` says of the facts.

        Args:
          clients: how many count.
        """
        return {}

    def bytes(self, shapes: Sequence[tf.TensorShape]) -> float:
        """What a client's update takes on its way, if the model has variables of these shapes."""
        return float(BYTES * numbers(shapes))


def weighted(delta: Weights, weight: tf.Tensor) -> Weights:
    """Sums over clients of updates times weights; integers stay integers."""
    return [tf.reduce_sum(tf.cast(like(weight, u), u.dtype) * u, 0) for u in delta]


def numbers(shapes: Sequence[tf.TensorShape]) -> int:
    """In tensors of these shapes."""
    return sum(shape.num_elements() for shape in shapes)
