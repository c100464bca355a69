"""What clients hold, and the order in which they go through it."""

from typing import NamedTuple

import tensorflow as tf

from workbench.core import replicas
from workbench.core.devices import accelerated
from workbench.core.random import Seed
from workbench.datasets.population import Population
from workbench.federated.config import ClientConfig

# Up to so many places for what a cohort goes through, the largest client's number decides for all
# rounds, so that shapes are static; of larger ones, that of the round's cohort: the more clients
# there are, the larger is the largest, and the rarer. Static shapes are worth more on accelerators.
STATIC = 2**14
STATIC_ON_ACCELERATORS = 2**22


class Batch(NamedTuple):
    """A step's examples of G clients.

    Attributes:
      features: `[G, B, ...]`.
      labels: int32 `[G, B, ...]`.
      mask: float32 `[G, B]`: 0 where there is no example.
    """

    features: tf.Tensor
    labels: tf.Tensor
    mask: tf.Tensor


class Plan(NamedTuple):
    """Which examples G clients go through in S local steps; one stands for all if it is of all.

    Attributes:
      rows: where they are, int32 `[G, S, B]`.
      mask: float32 `[G, S, B]`: 0 where there is no example.
    """

    rows: tf.Tensor
    mask: tf.Tensor


class Clients(tf.Module):
    """The clients' examples, one after the other: memory grows with their number alone.

    Args:
      population: who holds what.
      config: how a client goes through it.
      cohort: M, clients in a round.

    Attributes:
      even: whether all clients take the same number of steps.
    """

    def __init__(self, population: Population, config: ClientConfig, cohort: int):
        super().__init__(name="clients")
        self._data = replicas.Given(population.train.features, population.train.labels)
        self._offsets = replicas.Given(population.offsets)
        sizes = population.sizes
        self.even = bool((sizes == sizes[0]).all())
        self._config = config
        held = tf.constant(sizes[sizes > 0], tf.int32)
        epochs = self._epochs(held)
        longest, largest = int(tf.reduce_max(epochs * held)), int(tf.reduce_max(held))
        few = cohort * longest <= (STATIC_ON_ACCELERATORS if accelerated() else STATIC)
        static = few or self.even
        # Where shapes are static: the most that any client holds, that it goes through, and its
        # local steps, in a round and in an epoch.
        self._largest = largest if static else None
        self._longest = longest if static else None
        batches = self._batches(held)
        self._batches_at_most = int(tf.reduce_max(batches))
        self._steps_at_most = config.steps or int(tf.reduce_max(epochs * batches))
        self._bits = 31 - int(tf.reduce_max(epochs)).bit_length()

    def sizes(self, clients: tf.Tensor) -> tf.Tensor:
        """How many examples they hold, int32."""
        (offsets,) = self._offsets.values
        return tf.cast(tf.gather(offsets, clients + 1) - tf.gather(offsets, clients), tf.int32)

    def labels(self, clients: tf.Tensor, classes: int) -> tf.Tensor:
        """How many examples of each label they hold, float32 `[G, classes]`."""
        (offsets,) = self._offsets.values
        _, labels = self._data.values
        sizes = self.sizes(clients)
        places = tf.range(self._width(sizes))
        rows = tf.cast(tf.gather(offsets, clients), tf.int32)[:, None] + places
        held = tf.gather(labels, tf.minimum(rows, labels.shape[0] - 1))
        real = tf.cast(places < sizes[:, None], tf.float32)
        return tf.reduce_sum(real[..., None] * tf.one_hot(held, classes), 1)

    def batches(self, clients: tf.Tensor) -> tf.Tensor:
        """Local steps in an epoch, int32."""
        return self._batches(self.sizes(clients))

    def steps(self, clients: tf.Tensor, effort: tf.Tensor) -> tf.Tensor:
        """Local steps in a round, int32; at least one of those who hold anything.

        Args:
          effort: the share of its steps that a client takes, float32.
        """
        batches = self.batches(clients)
        if self._config.steps is not None:
            steps = tf.minimum(batches, 1) * self._config.steps
        else:
            steps = batches * self._config.epochs
        # A product that should be whole may have come out a little larger.
        done = tf.cast(tf.math.ceil(tf.cast(steps, tf.float32) * effort - 1e-3), tf.int32)
        return tf.minimum(steps, tf.maximum(done, 1))

    def orders(self, clients: tf.Tensor, seed: Seed) -> tf.Tensor:
        """Each client's examples in the order in which it goes through them, int32 `[M, N]`.

        One epoch comes after the other, each in a new order. N is at least as many as any of them
        goes through; what exceeds a client's own is void.
        """
        sizes = self.sizes(clients)
        if self._config.batch_size is None:
            return tf.tile(tf.range(self._width(sizes))[None], [clients.shape[0], 1])
        through = self._epochs(sizes) * sizes
        longest = tf.reduce_max(through) if self._longest is None else self._longest
        places, own = tf.range(longest), tf.maximum(sizes, 1)[:, None]
        shape = [clients.shape[0], tf.size(places)]
        keys = tf.random.stateless_uniform(shape, seed("order"), 0, 2**self._bits, tf.int32)
        keys += places // own * 2**self._bits
        void = places >= through[:, None]
        return tf.argsort(tf.where(void, tf.int32.max, keys), stable=True) % own

    def plan(
        self, clients: tf.Tensor, orders: tf.Tensor, steps: tf.Tensor | int, once: bool = False
    ) -> Plan:
        """The examples of each local step; beyond the last epoch, it is gone through again.

        Args:
          clients: int32 `[G]`.
          orders: theirs, `[G, N]`.
          steps: S, or a tensor of how many are needed, int32: where shapes are static, S is the
            largest client's.
          once: whether these are the steps of one epoch, and not of a round.
        """
        if tf.is_tensor(steps) and self._largest is not None:
            steps = self._batches_at_most if once else self._steps_at_most
        sizes = self.sizes(clients)[:, None]
        if self._config.batch_size is None:
            places = chosen = orders[:, None]
        else:
            held, batches = tf.maximum(sizes, 1), tf.maximum(self._batches(sizes), 1)
            step = tf.range(steps)
            first = step % batches * self._config.batch_size
            places = first[..., None] + tf.range(self._config.batch_size)
            epoch = tf.minimum(step // batches, self._epochs(sizes) - 1)
            at = (epoch * held)[..., None] + tf.minimum(places, held[..., None] - 1)
            chosen = tf.gather(orders, at, batch_dims=1)
        real = places < sizes[..., None]
        (offsets,) = self._offsets.values
        starts = tf.cast(tf.gather(offsets, clients), tf.int32)[:, None, None]
        # What fills a batch up is the client's own: nobody else's may have to do with its update.
        own = tf.minimum(starts, self._data.values[1].shape[0] - 1)
        return Plan(tf.where(real, starts + chosen, own), tf.cast(real, tf.float32))

    def batch(self, plan: Plan, step: tf.Tensor | int) -> Batch:
        """The examples of one local step, int32 from 0."""
        place = step if self._config.batch_size else 0
        rows, mask = (tf.gather(values, place, axis=1) for values in plan)
        features, labels = (tf.gather(values, rows) for values in self._data.values)
        return Batch(features, labels, mask)

    def _width(self, sizes: tf.Tensor) -> tf.Tensor | int:
        return tf.reduce_max(sizes) if self._largest is None else self._largest

    def _batches(self, sizes: tf.Tensor) -> tf.Tensor:
        """In an epoch of clients that hold so many examples, int32."""
        size = self._config.batch_size
        return tf.minimum(sizes, 1) if size is None else -(-sizes // size)

    def _epochs(self, sizes: tf.Tensor) -> tf.Tensor:
        """Epochs in a round of clients that hold so many examples, begun ones too; at least 1."""
        if self._config.steps is None:
            return tf.fill(tf.shape(sizes), self._config.epochs)
        return -(-self._config.steps // tf.maximum(self._batches(sizes), 1))
