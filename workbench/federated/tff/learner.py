"""A round of TFF's as a learner's step: the host plays it, and the step takes what came of it."""

import io
from collections.abc import Iterable
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from workbench.core.learner import Feed, Mean, Metrics
from workbench.core.random import Seed
from workbench.datasets.population import Population
from workbench.federated.clients import Batch, Clients
from workbench.federated.cohorts import Cohorts
from workbench.federated.config import FederatedConfig
from workbench.federated.rounds import FAILED, Rounds
from workbench.federated.tff.learning import SUMS
from workbench.federated.tff.pool import Pool


class Played(NamedTuple):
    """What came of a round.

    Attributes:
      weights: the server's, one for each variable of the model.
      seen: numbers by name: sums over local steps, clients that were asked and that count, and
        what the cohort has to say.
    """

    weights: list[Any]
    seen: dict[str, Any]


class TffLearner(Rounds):
    """The rounds that a `TffFeed` plays.

    Args:
      config: of the algorithm.
      model: takes the server's weights.
      population: clients and their examples.
      seen: names of what is known of a round.
    """

    def __init__(
        self,
        config: FederatedConfig,
        model: tf.keras.Model,
        population: Population,
        seen: Iterable[str],
    ):
        super().__init__(config, model, population)
        self._seen = {name: tf.Variable(0.0, trainable=False) for name in seen}

    def absorb(self, chunk: Played) -> None:
        for variable, value in zip(self.model.trainable_variables, chunk.weights, strict=True):
            variable.assign(value)
        for name, variable in self._seen.items():
            variable.assign(chunk.seen[name])

    def train_step(self, seed: Seed) -> Metrics:
        seen = {name: variable.read_value() for name, variable in self._seen.items()}
        loss, right, labels = (seen.pop(name) for name in SUMS)
        asked = seen.pop("asked")
        rejected = asked - seen["clients"]
        return {
            "loss": Mean(loss, labels),
            "accuracy": Mean(right, labels),
            "rejected": rejected,
            FAILED: tf.cast(rejected > self.config.rejected * asked, tf.float32),
            **seen,
        }


class TffFeed(Feed):
    """Plays rounds with the cohorts and the batches that the compiled engine has.

    Args:
      process: TFF's.
      pool: where it runs.
      cohorts: who takes part in a round.
      clients: what they hold.
      variables: of the model, which are like the server's weights.
      seed: of the run.
    """

    def __init__(
        self,
        process: Any,
        pool: Pool,
        cohorts: Cohorts,
        clients: Clients,
        variables: list[tf.Variable],
        seed: int,
    ):
        self._process = process
        self._pool = pool
        self._cohorts = cohorts
        self._clients = clients
        self._seed = seed
        self._server: Any = None
        told = (*SUMS, "asked", "clients", *cohorts.metrics(self._at(0)))
        self.spec = Played(
            [tf.TensorSpec(v.shape, v.dtype) for v in variables],
            {name: tf.TensorSpec([], tf.float32) for name in told},
        )

    def next(self, step: int) -> Played:
        seed = self._at(step)
        cohort = self._cohorts.sample(seed)
        present = int(np.count_nonzero(cohort.present))
        orders = self._clients.orders(cohort.clients, seed)
        steps = self._clients.steps(cohort.clients, cohort.effort).numpy()
        last = max(steps[:present], default=0)
        plan = self._clients.plan(cohort.clients, orders, last)
        batches = [self._clients.batch(plan, local) for local in range(last)]
        batches = [Batch(*(part.numpy() for part in batch)) for batch in batches]
        parts = [_sequence(batches[: steps[k]], k) for k in range(present)]
        server = self._state()
        with self._pool.installed():
            output = self._process.next(server, parts)
        self._server = output.state
        seen = output.metrics["client_work"]["train"] | {
            "asked": present,
            "clients": output.metrics["aggregator"]["mean_weight"],
            **self._cohorts.metrics(seed),
        }
        weights = list(output.state.global_model_weights.trainable)
        return Played(weights, {name: np.float32(value) for name, value in seen.items()})

    def metrics(self) -> dict[str, float]:
        return {"workers": float(len(self._pool))} if self._pool.shared else {}

    def state(self) -> bytes:
        arrays = tf.nest.flatten(self._state())
        file = io.BytesIO()
        np.savez(file, *arrays)
        return file.getvalue()

    def restore(self, state: bytes) -> None:
        with np.load(io.BytesIO(state), allow_pickle=False) as file:
            arrays = [file[name][()] for name in file.files]
        self._server = tf.nest.pack_sequence_as(self._state(), arrays)

    def close(self) -> None:
        self._pool.close()

    def _state(self) -> Any:
        """The server's, which TFF makes first."""
        if self._server is None:
            with self._pool.installed():
                self._server = self._process.initialize()
        return self._server

    def _at(self, step: int) -> Seed:
        return Seed(self._seed, step, "train/")


def _sequence(batches: list[Batch], client: int) -> tf.data.Dataset:
    """The batches of a client, without what fills them up."""
    found = []
    for examples, alike in groupby(batches, lambda batch: int(batch.mask[client].sum())):
        parts = [(b.features[client, :examples], b.labels[client, :examples]) for b in alike]
        arrays = tuple(np.stack(values) for values in zip(*parts, strict=True))
        found.append(tf.data.Dataset.from_tensor_slices(arrays))
    sequence = found[0]
    for more in found[1:]:
        sequence = sequence.concatenate(more)
    return sequence
