"""Mime, Karimireddy et al. 2021 (NeurIPS), "Breaking the centralized barrier", Algorithm 1.

MimeLite with a correction of SVRG: the cohort first finds c = Σ_i p_i ∇f_i(x), and a local step
replaces what its batch says of x by it,

    g_i = ∇f_i(y_i; ζ) - ∇f_i(x; ζ) + c,    y_i ← y_i - η U(g_i, s).
"""

from collections.abc import Callable

import tensorflow as tf

from workbench.federated.algorithms.base import Client, Report, Round
from workbench.federated.algorithms.fed_avg import FedAvg
from workbench.federated.algorithms.mime_lite import MimeLite
from workbench.federated.nests import Weights, minus, plus
from workbench.federated.optimizers import State


class Mime(MimeLite):
    """Clients mimic a centralised optimizer, and its gradient."""

    surveys = True
    gradients = False

    def step(
        self,
        y: Weights,
        state: State,
        gradient: Callable[[Weights], Weights],
        client: Client,
    ) -> tuple[Weights, State]:
        def corrected(y: Weights) -> Weights:
            here = gradient(y)
            at_x = gradient(self.begin(client, y[0].shape[0]))
            return plus(minus(here, at_x), client.sent.gradient)

        return super().step(y, state, corrected, client)

    def report(
        self, y: Weights, state: State, steps: tf.Tensor, rate: tf.Tensor, client: Client
    ) -> Report:
        return Report(minus(client.x, y))

    def update(self, found: Round) -> None:
        FedAvg.update(self, found)
        self.learn(found.survey)
