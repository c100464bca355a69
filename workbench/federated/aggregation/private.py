"""Sums of clipped updates with noise: differential privacy for clients.

McMahan et al. 2018, "Learning Differentially Private Recurrent Language Models" (ICLR): updates are
clipped to a norm S, count alike, and the noised sum is divided by how many are expected,

    Δ = (Σ_k Δ_k min(1, S/‖Δ_k‖) + N(0, z² S² I)) / M.
"""

from contextlib import AbstractContextManager

import tensorflow as tf

from workbench.core.learner import Mean as MeanOf
from workbench.core.random import Seed, normal
from workbench.federated.aggregation.mean import Encoded, Mean
from workbench.federated.aggregation.slots import by_slot
from workbench.federated.nests import Weights, flat, like, plus, times, unflattened
from workbench.privacy.clipping import Clipping
from workbench.privacy.release import Release


def clipped(clipping: Clipping, delta: Weights) -> tuple[Weights, tf.Tensor]:
    """Updates of a bounded norm, and which were longer, bool `[G]`."""
    squares = [tf.reduce_sum(tf.square(u), range(1, u.shape.rank)) for u in delta]
    factors = clipping.weights(squares)
    short = [like(factor, u) * u for factor, u in zip(factors, delta, strict=True)]
    return short, tf.reduce_any(tf.stack(factors) < 1.0, axis=0)


class Central(Mean):
    """The server clips and adds the noise, of which a `Release` says how much.

    Args:
      release: of the sum, and of the count of short updates where the norm adapts.
      clipping: that bounds an update.
      expected: M.
    """

    def __init__(self, release: Release, clipping: Clipping, expected: int):
        super().__init__(name="aggregator")
        self._release = release
        self._clipping = clipping
        self._expected = float(expected)

    def read(self) -> AbstractContextManager[None]:
        return self._clipping.read()

    def encoded(
        self, delta: Weights, weight: tf.Tensor, slots: tf.Tensor, seed: tf.Tensor
    ) -> Encoded:
        short, long = clipped(self._clipping, delta)
        facts = {"clipped": tf.cast(long, tf.float32), "below": tf.where(long, -0.5, 0.5)}
        return Encoded(short, weight, facts)

    def combined(
        self, delta: Weights, weight: tf.Tensor, facts: dict[str, tf.Tensor], seed: Seed
    ) -> tuple[Weights, dict[str, tf.Tensor]]:
        noised, below = self._release.of(delta, facts["below"], seed)
        return [total / self._expected for total in noised], facts | {"below": below}

    def adapt(self, facts: dict[str, tf.Tensor]) -> None:
        self._release.adapt(facts["below"] / self._expected + 0.5)

    def metrics(self, facts: dict[str, tf.Tensor], clients: tf.Tensor) -> dict:
        return {"clipped": MeanOf(facts["clipped"], clients), "norm": self._release.norm}


class Local(Mean):
    """Every client clips, and adds noise that is its own.

    Args:
      noise: z, in units of the norm.
      clipping: that bounds an update by a norm that stays.
    """

    def __init__(self, noise: float, clipping: Clipping):
        super().__init__(name="aggregator")
        self._deviation = noise * clipping.norm
        self._clipping = clipping

    def encoded(
        self, delta: Weights, weight: tf.Tensor, slots: tf.Tensor, seed: tf.Tensor
    ) -> Encoded:
        short, long = clipped(self._clipping, delta)
        length = flat(delta).shape[1]
        drawn = by_slot(lambda _, seed: normal([length], seed), slots, slots, seed)
        noise = unflattened(drawn, [u.shape[1:] for u in delta])
        noised = plus(short, times(self._deviation, noise))
        return Encoded(noised, weight, {"clipped": tf.cast(long, tf.float32)})

    def metrics(self, facts: dict[str, tf.Tensor], clients: tf.Tensor) -> dict:
        return {"clipped": MeanOf(facts["clipped"], clients)}
