"""MimeLite, Karimireddy et al. 2021 (NeurIPS), "Breaking the centralized barrier", Algorithm 1.

The clients' optimizer, y ← y - η U(g, s) with statistics s ← V(g, s) such as momentum, has one
state s, which the server keeps: in a round, clients use it as it is,

    y_i ← y_i - η U(∇f_i(y_i; ζ), s),

and the server then learns it from their gradients of all their data at x,

    s ← V(Σ_i p_i ∇f_i(x), s),    x ← Σ_i p_i y_i,

the latter by an optimizer of its own, which is plain SGD of learning rate 1 in the paper. TFF's
`build_weighted_mime_lite` is the same algorithm. Its momentum is s ← ρ s + g, where the paper has
ρ s + (1 - ρ) g: the paper's learning rate is η / (1 - ρ).
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from workbench.federated.algorithms.base import Client, Report, Round
from workbench.federated.algorithms.fed_avg import FedAvg
from workbench.federated.config import FederatedConfig
from workbench.federated.nests import Weights, minus
from workbench.federated.optimizers import Optimizer, State


class Sent(NamedTuple):
    """What clients get beside the model.

    Attributes:
      state: s, of the optimizer that they mimic.
      gradient: c, of the cohort at x, `[1, ...]` each; MimeLite has none.
    """

    state: State
    gradient: Weights


class MimeLite(FedAvg):
    """Clients mimic a centralised optimizer."""

    gradients = True

    def __init__(self, config: FederatedConfig, model: tf.keras.Model, clients: int):
        super().__init__(config, model, clients)
        self._base = Optimizer(self.client_optimizer, self.x)

    def sent(self, survey: Weights) -> Sent:
        return Sent(self._base.state, [c[None] for c in survey])

    def start(self, y: Weights, rate: tf.Tensor, client: Client) -> State:
        own = super().start(y, rate, client)
        flat = zip(tf.nest.flatten(own), tf.nest.flatten(client.sent.state), strict=True)
        together = [_alike(mine, common) for mine, common in flat]
        state = tf.nest.pack_sequence_as(own, together)
        return self.client_optimizer.set_hparams(state, {"learning_rate": rate})

    def step(
        self,
        y: Weights,
        state: State,
        gradient: Callable[[Weights], Weights],
        client: Client,
    ) -> tuple[Weights, State]:
        y, _ = super().step(y, state, gradient, client)
        return y, state

    def report(
        self, y: Weights, state: State, steps: tf.Tensor, rate: tf.Tensor, client: Client
    ) -> Report:
        return Report(minus(client.x, y), client.gradient)

    def update(self, found: Round) -> None:
        super().update(found)
        self.learn(found.beside)

    def learn(self, gradient: Weights) -> None:
        """s ← V(g, s)."""
        nowhere = [tf.zeros_like(g) for g in gradient]
        state, _ = self._base.optimizer.next(self._base.state, nowhere, list(gradient))
        self._base.take(state)


def _alike(mine: tf.Tensor, common: tf.Tensor) -> tf.Tensor:
    """The common state for each of the clients that are gone through together."""
    mine = tf.convert_to_tensor(mine)
    return common if mine.shape == common.shape else tf.broadcast_to(common[None], mine.shape)
