"""What the common model is to a client: each is judged on its own, after it has made it its own.

Clients take the model with the layers that are theirs (FedPer), or fine-tune it by local steps on
what they hold (Wang et al. 2019, "Federated Evaluation of On-device Personalization"; Yu et al.
2020), and are judged by test examples as they would see them: their own, where test examples are
by client, or else all of them, weighted so that labels are distributed as in what the client holds.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from workbench.core import replicas
from workbench.core.config import ConfigError
from workbench.core.learner import Metrics
from workbench.core.random import Seed
from workbench.datasets.population import Population
from workbench.federated.algorithms.base import Algorithm, Client
from workbench.federated.clients import Batch, Clients
from workbench.federated.cohorts import without_replacement
from workbench.federated.config import CompiledConfig, FederatedConfig
from workbench.federated.evaluation import spread
from workbench.federated.execution import Execution
from workbench.federated.nests import Weights
from workbench.models.functional import Functional
from workbench.models.judge import PADDING, Judge, counts, judged

# A client's test examples that are looked at together.
AT_ONCE = 100

Gradient = Callable[[Weights, Batch], tuple[Weights, dict[str, tf.Tensor]]]


class Personal(tf.Module):
    """Judges clients by themselves.

    Args:
      config: of the algorithm.
      engine: how clients are gone through.
      model: the server's.
      population: clients and their examples.
      clients: the same, as they train.
      algorithm: that trains the model.
      gradient: of each client's loss over a batch.
      judge: which has the test examples at hand.

    Raises:
      ConfigError: for test examples that are nobody's and of which no labels could be weighted.
    """

    def __init__(
        self,
        config: FederatedConfig,
        engine: CompiledConfig,
        model: tf.keras.Model,
        population: Population,
        clients: Clients,
        algorithm: Algorithm,
        gradient: Gradient,
        judge: Judge,
    ):
        super().__init__(name="personal")
        self._config = config
        self._clients = clients
        self._algorithm = algorithm
        self._gradient = gradient
        self._functional = Functional(model)
        self._test = judge.data
        self._classes = population.classes
        self._offsets = None
        if population.test_offsets is not None:
            self._offsets = replicas.Given(population.test_offsets)
        elif population.train.labels.ndim > 1:
            raise ConfigError(
                "algorithm.personalisation needs test examples by client where labels are "
                "sequences; take partition=natural, or algorithm.personalisation.clients=0"
            )
        holders = np.flatnonzero(_able(population)).astype(np.int32)
        self._holders = replicas.Given(holders)
        self._count = min(config.personalisation.clients, len(holders))
        self._share = replicas.Share(self._count, "algorithm.personalisation.clients", whole=True)
        self._execution = Execution(engine, model, self._share.size)

    def __call__(self, seed: Seed) -> Metrics:
        """Accuracy and loss over what clients see, and how they are spread over clients.

        Where clients fine-tune, also the accuracy that they gain by it.
        """
        (holders,) = self._holders.values
        drawn = without_replacement(holders.shape[0], self._count, seed("personal"))
        clients = tf.gather(holders, drawn)
        orders = self._clients.orders(clients, seed)
        right, loss, seen, before = self._share.gathered(
            replicas.each(self._found)(clients, orders)
        )
        total = tf.reduce_sum(seen)
        metrics = {
            "personal_accuracy": tf.reduce_sum(right) / total,
            **spread("personal_accuracy", right / seen, worst_first=True),
            "personal_loss": tf.reduce_sum(loss) / total,
            **spread("personal_loss", loss / seen, worst_first=False),
        }
        if self._config.personalisation.steps:
            metrics["personal_gain"] = tf.reduce_sum(right - before) / total
        return metrics

    def _found(self, clients: tf.Tensor, orders: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Of a replica's part of the clients: see `_judged`, and what was right before tuning."""

        x = self._algorithm.shared()

        def group(part: tuple[tf.Tensor, tf.Tensor, Any]) -> tuple[Any, tuple[tf.Tensor, ...]]:
            clients, orders, kept = part
            y = self._algorithm.begin(Client(x, (), kept, []), orders.shape[0])
            before = self._judged(y, clients)
            if not self._config.personalisation.steps:
                return (), (*before, before[0])
            return (), (*self._judged(self._tuned(y, clients, orders), clients), before[0])

        part = self._share.of((clients, orders))
        kept = self._algorithm.kept_for(part[0])
        with replicas.read_data(self):
            return self._execution.run(group, (*part, kept), tf.constant(self._share.size))[1]

    def _tuned(self, y: Weights, clients: tf.Tensor, orders: tf.Tensor) -> Weights:
        """The model after local steps."""
        optimizer, personalisation = self._algorithm.client_optimizer, self._config.personalisation
        state = optimizer.initialize([tf.TensorSpec(u.shape, u.dtype) for u in y])
        rate = personalisation.learning_rate
        if rate is not None:
            state = optimizer.set_hparams(state, {"learning_rate": rate})

        plan = self._clients.plan(clients, orders, personalisation.steps)

        def move(step: tf.Tensor, y: Weights, state: Any) -> tuple[Any, ...]:
            gradient, _ = self._gradient(y, self._clients.batch(plan, step))
            state, y = optimizer.next(state, y, gradient)
            return step + 1, y, state

        start = (tf.constant(0), y, tf.nest.map_structure(tf.convert_to_tensor, state))
        return tf.while_loop(lambda step, *_: step < personalisation.steps, move, start)[1]

    def _judged(self, y: Weights, clients: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Of what each client sees: how much its model has right, loss, and how much it is."""
        features, labels = self._test.values
        total = labels.shape[0]
        if self._offsets is None:
            begin = tf.zeros_like(clients)
            end = begin + total
            share = self._shares(clients)
        else:
            (offsets,) = self._offsets.values
            begin = tf.cast(tf.gather(offsets, clients), tf.int32)
            end = tf.cast(tf.gather(offsets, clients + 1), tf.int32)

        def add(first: tf.Tensor, *sums: tf.Tensor) -> tuple[tf.Tensor, ...]:
            places = begin[:, None] + first + tf.range(AT_ONCE)
            rows = tf.minimum(places, total - 1)
            truth = tf.gather(labels, rows)
            counted = counts(truth, tf.cast(places < end[:, None], tf.float32))
            if self._offsets is None:
                counted *= tf.gather(share, truth, batch_dims=1)
            right, losses = judged(truth, self._functional(y, tf.gather(features, rows)))
            axes = range(1, counted.shape.rank)
            more = (right * counted, losses * counted, counted)
            return first + AT_ONCE, *(
                s + tf.reduce_sum(m, axes) for s, m in zip(sums, more, strict=True)
            )

        zeros = tf.zeros([clients.shape[0]])
        last = tf.reduce_max(end - begin)
        start = (tf.constant(0), zeros, zeros, zeros)
        return tf.while_loop(lambda first, *_: first < last, add, start)[1:]

    def _shares(self, clients: tf.Tensor) -> tf.Tensor:
        """How much a test example counts by its label, `[G, classes]`."""
        held = self._clients.labels(clients, self._classes)
        tested = tf.math.bincount(self._test.values[1], minlength=self._classes)
        return tf.math.divide_no_nan(held, tf.cast(tested, tf.float32))


def _able(population: Population) -> np.ndarray:
    """Which clients have something to learn from and something to be judged by, bool `[K]`."""
    labels = population.test.labels
    if population.test_offsets is None:
        useful = np.isin(population.train.labels, labels)
        sizes = population.sizes
    else:
        useful = (labels != PADDING).any(1) if labels.ndim > 1 else np.ones(len(labels), bool)
        sizes = np.diff(population.test_offsets)
    owners = np.repeat(np.arange(population.clients), sizes)
    judged_by = np.bincount(owners[useful], minlength=population.clients)
    return (population.sizes > 0) & (judged_by > 0)
