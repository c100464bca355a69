"""A round of federated learning as one step: ask a cohort, train where the data are, average.

McMahan et al. 2017, Algorithm 1. Replicas share the cohort: each trains a part of it.
"""

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from workbench.core import replicas
from workbench.core.learner import Mean, Metrics
from workbench.core.random import Seed
from workbench.datasets.population import Population
from workbench.federated import nests
from workbench.federated.aggregation.mean import BYTES, numbers, weighted
from workbench.federated.aggregation.mean import Mean as Aggregator
from workbench.federated.algorithms.base import Algorithm, Client, Report, Round
from workbench.federated.clients import Batch, Clients
from workbench.federated.cohorts import Cohort, Cohorts
from workbench.federated.config import CompiledConfig, FederatedConfig
from workbench.federated.execution import Execution
from workbench.federated.nests import Weights
from workbench.federated.optimizers import State
from workbench.federated.personal import Personal
from workbench.federated.rounds import FAILED, Rounds
from workbench.federated.schedule import learning_rate
from workbench.models.functional import Functional
from workbench.models.judge import counts, judged
from workbench.privacy.ledger import Ledger

# What those who report send, and what all who were asked are sent.
TRAFFIC = ("bytes_up", "bytes_down")


class Sums(NamedTuple):
    """Over clients of a cohort.

    Attributes:
      delta: of updates times weights, unless the aggregator takes each by itself.
      weight: of weights, as the aggregator has them.
      counted: of weights, as clients count.
      beside: of what else was sent, times how much clients count.
      facts: the aggregator's.
      clients: how many count.
      loss: before each local step, over `labels` labels, of which `right` were predicted.
    """

    delta: Weights
    weight: tf.Tensor
    counted: tf.Tensor
    beside: Any
    facts: dict[str, tf.Tensor]
    clients: tf.Tensor
    loss: tf.Tensor
    right: tf.Tensor
    labels: tf.Tensor


class Rows(NamedTuple):
    """Of each client.

    Attributes:
      delta: its update, where the aggregator takes each by itself.
      weight: how much it counts there.
      kept: what the algorithm keeps for it.
      finite: whether it counts at all.
    """

    delta: Weights
    weight: Any
    kept: Any
    finite: tf.Tensor


class FederatedLearner(Rounds):
    """Rounds of a federated algorithm.

    Args:
      config: of the algorithm.
      engine: how a cohort is gone through.
      model: the server's, from features to logits.
      population: clients and their examples.
      cohorts: who takes part in a round.
      algorithm: over the model's variables.
      aggregator: of the cohort's updates.
      ledger: of what the aggregates cost, where they are private.
    """

    def __init__(
        self,
        config: FederatedConfig,
        engine: CompiledConfig,
        model: tf.keras.Model,
        population: Population,
        cohorts: Cohorts,
        algorithm: Algorithm,
        aggregator: Aggregator,
        ledger: Ledger | None = None,
    ):
        super().__init__(config, model, population)
        self._cohorts = cohorts
        self._algorithm = algorithm
        self._aggregator = aggregator
        self._ledger = ledger
        if ledger:
            self.limit, self.limited_by = ledger.limit, "privacy budget"
        self._taken = tf.Variable(0, trainable=False, dtype=tf.int64)
        self._traffic = tf.Variable([0.0, 0.0], trainable=False, dtype=tf.float64)
        self._functional = Functional(model)
        self._clients = Clients(population, config.client, cohorts.size)
        self._share = replicas.Share(cohorts.size, "cohort.size")
        self._execution = Execution(engine, model, self._share.size, cohorts.expected)
        self._personal = None
        if config.personalisation.clients:
            self._personal = Personal(
                config,
                engine,
                model,
                population,
                self._clients,
                algorithm,
                self._gradient,
                self._judge,
            )
        held = population.sizes[population.sizes > 0].astype(np.float32)
        self._everyone = float(np.sum(algorithm.weight(tf.constant(held)), dtype=float))
        # Whether clients that are gone through together take their last step together.
        self._together = self._execution.together == 1 or (self._clients.even and cohorts.even)

    def train_step(self, seed: Seed) -> Metrics:
        cohort = self._cohorts.sample(seed)
        orders = self._clients.orders(cohort.clients, seed)
        survey = self._surveyed(cohort, orders) if self._algorithm.surveys else []
        slots = seed.at(seed.step * self._cohorts.size)("slots")
        found, rows, sizes = replicas.each(self._trained)(cohort, orders, survey, seed.step, slots)
        sums = self._share.sum(found)
        kept, finite, deltas, weights = self._share.gathered(
            (rows.kept, rows.finite, rows.delta, rows.weight)
        )
        if not self._aggregator.stacked:
            deltas, weights = sums.delta, sums.weight
        delta, facts = self._aggregator.combined(deltas, weights, sums.facts, seed)
        update = Round(
            delta=delta,
            beside=_divided(sums.beside, sums.counted),
            survey=survey,
            share=sums.counted / self._everyone,
        )
        reported = tf.reduce_sum(tf.cast(cohort.present, tf.float32))
        failed = reported - sums.clients > self.config.rejected * reported
        traffic = replicas.first(sizes) * tf.stack([reported, self._cohorts.asked(seed)])
        replicas.each(self._update)(update, kept, finite, cohort.clients, facts, traffic)
        return {
            "loss": Mean(sums.loss, sums.labels),
            "accuracy": Mean(sums.right, sums.labels),
            "clients": sums.clients,
            "rejected": reported - sums.clients,
            FAILED: tf.cast(failed, tf.float32),
            **self._cohorts.metrics(seed),
            **{name: traffic[place] for place, name in enumerate(TRAFFIC)},
            **self._aggregator.metrics(facts, sums.clients),
        }

    def _surveyed(self, cohort: Cohort, orders: tf.Tensor) -> Weights:
        """The cohort's mean gradient at x, by how much clients count."""
        total, weight = self._share.sum(replicas.each(self._survey)(cohort, orders))
        return _divided(total, weight)

    def _survey(self, cohort: Cohort, orders: tf.Tensor) -> tuple[Weights, tf.Tensor]:
        """A replica's part of it: sum and weights."""

        x = self._algorithm.shared()

        def group(part: tuple[Cohort, tf.Tensor]) -> tuple[Any, Any]:
            (clients, present, _), orders = part
            gradient, _ = self._full_gradient(x, clients, orders)
            report, weight, _ = self._counted(Report(gradient), clients, present)
            return (weighted(report.delta, weight), tf.reduce_sum(weight)), ()

        part = self._share.of((cohort, orders))
        with replicas.read_data(self):
            return self._execution.run(group, part, _count(part[0]))[0]

    def _trained(
        self,
        cohort: Cohort,
        orders: tf.Tensor,
        survey: Weights,
        step: tf.Tensor,
        seed: tf.Tensor,
    ) -> tuple[Sums, Rows, tf.Tensor]:
        """What a replica's part of the cohort has learned, and how many bytes went for a client."""
        sent = self._algorithm.sent(survey)
        rate = learning_rate(self.config, step)
        x = self._algorithm.shared()

        def group(part: tuple[Cohort, tf.Tensor, tf.Tensor, Any]) -> tuple[Sums, Rows]:
            cohort, orders, slots, kept = part
            clients = cohort.clients
            report, seen = self._work(cohort, orders, Client(x, sent, kept, []), rate)
            report, weight, finite = self._counted(report, clients, cohort.present)
            encoded = self._aggregator.encoded(report.delta, weight, slots, seed)
            counted = tf.cast(finite, tf.float32)
            sums = Sums(
                delta=[] if self._aggregator.stacked else weighted(encoded.delta, encoded.weight),
                weight=tf.reduce_sum(encoded.weight),
                counted=tf.reduce_sum(weight),
                beside=tf.nest.map_structure(lambda u: weighted([u], weight)[0], report.beside),
                facts={name: tf.reduce_sum(v * counted) for name, v in encoded.facts.items()},
                clients=tf.reduce_sum(counted),
                **{name: tf.reduce_sum(tf.where(finite, v, 0.0)) for name, v in seen.items()},
            )
            stacked = (encoded.delta, encoded.weight) if self._aggregator.stacked else ([], [])
            return sums, Rows(*stacked, report.kept, finite)

        part = self._share.of((cohort, orders, tf.range(self._cohorts.size)))
        kept = self._algorithm.kept_for(part[0].clients)
        with replicas.read_data(self), self._aggregator.read():
            sums, rows = self._execution.run(group, (*part, kept), _count(part[0]))
        return sums, rows, self._traffic_of(sums.beside, sent)

    def _work(
        self, cohort: Cohort, orders: tf.Tensor, client: Client, rate: tf.Tensor
    ) -> tuple[Report, dict[str, tf.Tensor]]:
        """What a group of clients reports, and what it saw on the way."""
        y = self._algorithm.begin(client, orders.shape[0])
        looked = _nothing(y)
        if self._algorithm.gradients:
            gradient, looked = self._full_gradient(client.x, cohort.clients, orders)
            client = client._replace(gradient=gradient)
        state = self._algorithm.start(y, rate, client)
        steps = self._clients.steps(cohort.clients, cohort.effort)
        taken = tf.cast(steps, tf.float32)
        if not self._algorithm.trains:
            return self._algorithm.report(y, state, taken, rate, client), looked

        last = tf.reduce_max(steps)
        plan = self._clients.plan(cohort.clients, orders, last)

        def move(step: tf.Tensor, y: Weights, state: State, seen: Any) -> tuple[Any, ...]:
            batch = self._clients.batch(plan, step)
            looks: list[dict[str, tf.Tensor]] = []

            def gradient(weights: Weights) -> Weights:
                found, look = self._gradient(weights, batch)
                looks.append(look)
                return found

            moved = self._algorithm.step(y, state, gradient, client)
            look = tf.nest.map_structure(tf.add, seen, looks[0])
            if not self._together:
                going = step < steps
                moved = nests.where(going, moved[0], y), _where(going, moved[1], state)
                look = nests.where(going, look, seen)
            return step + 1, *moved, look

        start = (tf.constant(0), y, tf.nest.map_structure(tf.convert_to_tensor, state))
        _, y, state, seen = tf.while_loop(lambda step, *_: step < last, move, (*start, _nothing(y)))
        return self._algorithm.report(y, state, taken, rate, client), seen

    def _full_gradient(
        self, x: Weights, clients: tf.Tensor, orders: tf.Tensor
    ) -> tuple[Weights, dict[str, tf.Tensor]]:
        """Of the mean loss over all that each client has, at x: `[G, ...]`."""
        batches, together = self._clients.batches(clients), orders.shape[0]
        x = [tf.repeat(u, together, 0) for u in x]
        last = tf.reduce_max(batches)
        plan = self._clients.plan(clients, orders, last, once=True)

        def add(step: tf.Tensor, total: Weights, labels: Any, seen: Any) -> tuple[Any, ...]:
            batch = self._clients.batch(plan, step)
            going = tf.cast(step < batches, tf.float32)
            gradient, look = self._gradient(x, batch)
            number = going * look["labels"]
            look = {name: going * value for name, value in look.items()}
            total = nests.plus(total, nests.times(number, gradient))
            return step + 1, total, labels + number, tf.nest.map_structure(tf.add, seen, look)

        zeros = [tf.zeros_like(u) for u in x]
        none = tf.zeros([together])
        _, total, labels, seen = tf.while_loop(
            lambda step, *_: step < last, add, (tf.constant(0), zeros, none, _nothing(x))
        )
        return nests.times(tf.math.divide_no_nan(1.0, labels), total), seen

    def _gradient(self, weights: Weights, batch: Batch) -> tuple[Weights, dict[str, tf.Tensor]]:
        """Of each client's mean loss over a batch, and sums over it, `[G]`."""
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(weights)
            logits = self._functional(weights, batch.features)
            right, losses = judged(batch.labels, logits)
        counted = counts(batch.labels, batch.mask)
        axes = range(1, counted.shape.rank)
        labels = tf.reduce_sum(counted, axes)
        shares = tf.math.divide_no_nan(counted, nests.like(labels, counted))
        found = tape.gradient(losses, weights, shares, unconnected_gradients="zero")
        loss = tf.reduce_sum(losses * counted, axes)
        look = {"loss": loss, "right": tf.reduce_sum(right * counted, axes), "labels": labels}
        return [tf.convert_to_tensor(g) for g in found], look

    def _counted(
        self, report: Report, clients: tf.Tensor, present: tf.Tensor
    ) -> tuple[Report, tf.Tensor, tf.Tensor]:
        """Reports that count, 0 for the others; how much they do; and which, `[G]`."""
        finite = present
        for u in tf.nest.flatten(report):
            finite &= tf.reduce_all(tf.math.is_finite(u), range(1, u.shape.rank))
        report = nests.where(finite, report, tf.nest.map_structure(tf.zeros_like, report))
        weight = self._algorithm.weight(tf.cast(self._clients.sizes(clients), tf.float32))
        return report, tf.where(finite, weight, 0.0), finite

    def _traffic_of(self, beside: Any, sent: Any) -> tf.Tensor:
        """Bytes that a client sends in a round, and is sent: float32 `[2]`.

        Args:
          beside: what it sends beside its update, or a sum of it.
          sent: what it is sent beside the model.
        """
        x = [v.shape for v in self._algorithm.x]
        model = BYTES * numbers(x)
        more = numbers([u.shape for u in tf.nest.flatten(beside)])
        up = self._aggregator.bytes(x) + BYTES * more + model * self._algorithm.surveys
        arrays = [u.shape for u in tf.nest.flatten(sent) if u.shape.rank]  # not an optimizer's η
        return tf.constant([up, model + BYTES * numbers(arrays)], tf.float32)

    def _update(
        self,
        update: Round,
        kept: Any,
        finite: tf.Tensor,
        clients: tf.Tensor,
        facts: dict[str, tf.Tensor],
        traffic: tf.Tensor,
    ) -> None:
        """Moves the server's model, on every replica alike."""
        counts, last = _last(clients, finite)
        for variable, new in zip(
            tf.nest.flatten(self._algorithm.kept), tf.nest.flatten(kept), strict=True
        ):
            new, before = tf.gather(new, last), tf.gather(variable, clients)
            variable.scatter_update(tf.IndexedSlices(nests.where(counts, new, before), clients))
        self._algorithm.update(update)
        self._aggregator.adapt(facts)
        self._taken.assign_add(1)
        self._traffic.assign_add(tf.cast(traffic, tf.float64))

    def evaluate(self, seed: Seed) -> Metrics:
        """Of the server's model on the central test set, and of clients by themselves."""
        personal = dict(self._personal(seed)) if self._personal else {}
        if self._algorithm.whole:
            return {**super().evaluate(seed), **personal}
        return {name: personal[f"personal_{name}"] for name in ("accuracy", "loss")} | personal

    @property
    def taken(self) -> int:
        """How many rounds the model has been through."""
        return int(self._taken.numpy())

    def account(self, step: int) -> dict[str, float]:
        """ε so far."""
        return self._ledger.spent(step) if self._ledger else {}

    def examine(self) -> dict[str, float]:
        """Bytes since training began."""
        return dict(zip(TRAFFIC, map(float, self._traffic.numpy()), strict=True))


def _count(cohort: Cohort) -> tf.Tensor:
    """How many are present; they come first."""
    return tf.reduce_sum(tf.cast(cohort.present, tf.int32))


def _last(clients: tf.Tensor, finite: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """For each place in a cohort, whether its client counts in any, and the last one where it does.

    One client may have several places: in a cohort with replacement, or where nobody is present.
    """
    alike = (clients[:, None] == clients) & finite
    last = tf.argmax(tf.where(alike, tf.range(clients.shape[0]) + 1, 0), 1, tf.int32)
    return tf.reduce_any(alike, 1), last


def _divided(total: Any, weight: tf.Tensor) -> Any:
    return tf.nest.map_structure(lambda value: tf.math.divide_no_nan(value, weight), total)


def _nothing(weights: Weights) -> dict[str, tf.Tensor]:
    return {name: tf.zeros([weights[0].shape[0]]) for name in ("loss", "right", "labels")}


def _where(going: tf.Tensor, new: State, old: State) -> State:
    """The state of an optimizer, in which what is no client's own stays common."""
    clients = going.shape[0]

    def chosen(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
        return nests.where(going, a, b) if a.shape.rank and a.shape[0] == clients else a

    return tf.nest.map_structure(chosen, new, old)
