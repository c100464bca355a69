"""Which clients take part in a round.

A kind of cohort says who is asked; what may then happen to clients is the same for all kinds: they
are too slow for a part of their work, or are never heard of again.
"""

import math
from abc import abstractmethod
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from workbench.core import replicas
from workbench.core.config import ConfigError
from workbench.core.random import Seed
from workbench.core.replay.lots import PoissonLots, ShuffledLots
from workbench.core.streams import stream_key
from workbench.federated.config import (
    AvailableConfig,
    CohortConfig,
    PoissonConfig,
    ShuffledConfig,
    UniformConfig,
)
from workbench.privacy.mechanism import FixedSize, Poisson, Shuffled

# Among so few clients, sorting all is quicker than drawing until they are distinct.
FEW = 4096
# Places in a Poisson cohort come in multiples of this, to be divided among replicas.
MULTIPLE = 8
# How improbable it is that of many clients so few are found available that a cohort is not filled.
NEVER = 1e-12


class Cohort(NamedTuple):
    """The clients of a round, of static number M.

    Attributes:
      clients: int32 `[M]`; valid numbers all, also of those that are not present.
      present: bool `[M]`, whether a client reports to the server; those that do come first.
      effort: float32 `[M]`, the share of its local steps that a client takes.
    """

    clients: tf.Tensor
    present: tf.Tensor
    effort: tf.Tensor


class Cohorts(tf.Module):
    """Asks clients, and takes the first M that report.

    Args:
      config: of any kind.
      sizes: examples of each client, `[K]`; clients without any are never asked.

    Attributes:
      size: M.
      expected: how many are asked on average, at most M.
      even: whether all of a cohort always do all their steps.
      sampling: what an account of privacy may suppose of who takes part; None where nothing is
        proven. That clients drop out by themselves takes nothing from it.
    """

    sampling: FixedSize | Poisson | Shuffled | None = None

    def __init__(self, config: CohortConfig, sizes: np.ndarray):
        super().__init__(name="cohorts")
        self.size = self.expected = config.size
        self._dropout = config.dropout
        self._stragglers = config.stragglers
        self.even = not config.stragglers.share or config.stragglers.work == "drop"
        holders = np.flatnonzero(sizes).astype(np.int32)
        self._holders = len(holders)
        self._clients = None if self._holders == len(sizes) else replicas.Given(holders)

    def sample(self, seed: Seed) -> Cohort:
        """The cohort of a round."""
        asked, present = self._asked(seed)
        clients = asked if self._clients is None else tf.gather(self._clients.values[0], asked)
        count, effort = clients.shape[0], tf.ones_like(present, tf.float32)
        if self._stragglers.share:
            late = self._late(present, seed("stragglers"))
            if self._stragglers.work == "drop":
                present &= ~late
            else:
                effort = tf.where(late, self._part(count, seed("efforts")), effort)
        if self._dropout:
            present &= fractions(count, seed("dropout")) >= self._dropout
        clients, effort = _first(self.size, present, clients, effort)
        reported = tf.reduce_sum(tf.cast(present, tf.int32))
        return Cohort(clients, tf.range(self.size) < reported, effort)

    def asked(self, seed: Seed) -> tf.Tensor:
        """How many are asked in a round, also those that never report; float32."""
        return tf.reduce_sum(tf.cast(self._asked(seed)[1], tf.float32))

    def metrics(self, seed: Seed) -> dict[str, tf.Tensor]:
        """What a user should see of how the cohort of a round was drawn."""
        return {}

    @property
    def holders(self) -> int:
        """How many clients hold examples."""
        return self._holders

    @abstractmethod
    def _asked(self, seed: Seed) -> tuple[tf.Tensor, tf.Tensor]:
        """Numbers among the clients with examples, int32 `[N]`, and which were asked, `[N]`.

        N is at least M; those that were asked are in random order where they exceed M.
        """

    def _require_enough(self) -> None:
        if self.size > self._holders:
            raise ConfigError(
                f"cohort.size={self.size} exceeds the {self._holders} clients with examples; "
                "lower it"
            )

    def _late(self, asked: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """A random set of those that were asked, the same share in each round."""
        keys = tf.random.stateless_uniform(asked.shape, seed, 0, tf.int32.max, tf.int32)
        order = tf.argsort(tf.where(asked, keys, tf.int32.max), stable=True)
        number = tf.reduce_sum(tf.cast(asked, tf.float32)) * self._stragglers.share
        return tf.argsort(order) < tf.cast(tf.round(number), tf.int32)

    def _part(self, count: int, seed: tf.Tensor) -> tf.Tensor:
        """Of their work that stragglers do, in (0, 1]."""
        parts = self._stragglers.parts
        if parts is None:
            return 1.0 - fractions(count, seed)
        done = tf.random.stateless_uniform([count], seed, 1, parts + 1, tf.int32)
        return tf.cast(done, tf.float32) / parts


class UniformCohorts(Cohorts):
    """M clients, each set of them being as probable."""

    def __init__(self, config: UniformConfig, sizes: np.ndarray):
        super().__init__(config, sizes)
        self._replacement = config.replacement
        self._count = _over_selected(config)
        if not config.replacement:
            self._require_enough()
            self._count = min(self._count, self._holders)
            self.sampling = FixedSize(self._holders, self.size)

    def _asked(self, seed: Seed) -> tuple[tf.Tensor, tf.Tensor]:
        draw = with_replacement if self._replacement else without_replacement
        return draw(self._holders, self._count, seed("cohort")), tf.ones([self._count], tf.bool)


class PoissonCohorts(Cohorts):
    """Every client by itself, with one probability; M is how many there is room for."""

    def __init__(self, config: PoissonConfig, sizes: np.ndarray):
        super().__init__(config, sizes)
        self._require_enough()
        self.sampling = Poisson(self._holders, config.size, config.capacity)
        self.size = self.sampling.size
        if config.capacity is None:
            self.size = -(-self.size // MULTIPLE) * MULTIPLE
        self._lots = PoissonLots(self._holders, self.sampling.rate, self.size)

    def _asked(self, seed: Seed) -> tuple[tf.Tensor, tf.Tensor]:
        lot = self._lots.sample(seed("cohort"))
        return lot.indices, tf.range(self.size) < lot.count

    def metrics(self, seed: Seed) -> dict[str, tf.Tensor]:
        """The share of rounds in which there was no room for all that were drawn."""
        return {"overflows": tf.cast(self._lots.sample(seed("cohort")).overflowed, tf.float32)}


class ShuffledCohorts(Cohorts):
    """Every client once an epoch, in a new order each time; what fills no cohort is left out."""

    def __init__(self, config: ShuffledConfig, sizes: np.ndarray):
        super().__init__(config, sizes)
        self._require_enough()
        self.sampling = Shuffled(self._holders, config.size)
        self._lots = ShuffledLots(self._holders, config.size)

    def _asked(self, seed: Seed) -> tuple[tf.Tensor, tf.Tensor]:
        return self._lots.sample(seed("cohort")).indices, tf.ones([self.size], tf.bool)


class AvailableCohorts(Cohorts):
    """M of the clients that are available, each set of them being as probable.

    Client k is available in round t with probability

        p_k(t) = q_k (1 - a (1 - cos 2π(t/T - φ_k)) / 2),

    by itself: q_k at its best hour φ_k, and (1 - a) q_k half a day of T rounds later (diurnal
    patterns: Bonawitz et al. 2019, section 9; Eichner et al. 2019). Where fewer than M are
    available, all of them take part.
    """

    def __init__(self, config: AvailableConfig, sizes: np.ndarray, seed: int):
        super().__init__(config, sizes)
        self._require_enough()
        self._config = config
        draw = np.random.default_rng(stream_key(seed, "availability"))
        low, high = config.probability
        best = draw.uniform(low, high, self._holders)
        hours = draw.uniform(0, config.zones, self._holders)
        self._habits = replicas.Given(best.astype(np.float32), hours.astype(np.float32))
        # Of all clients in random order, the available ones are in random order: as many are
        # looked at as hold enough of them in the hour when the fewest are.
        half = config.amplitude / 2
        together = np.abs((best * np.exp(2j * np.pi * hours)).mean())
        fewest = max(0.0, best.mean() * (1 - half) - half * together)
        self._count = min(_over_selected(config), self._holders)
        self._looked_at = _enough(self._count, fewest, self._holders)

    def _asked(self, seed: Seed) -> tuple[tf.Tensor, tf.Tensor]:
        clients = without_replacement(self._holders, self._looked_at, seed("cohort"))
        chance = fractions(self._looked_at, seed("availability"))
        available = chance < self.probability(clients, seed.step)
        (clients,) = _first(self._count, available, clients)
        number = tf.reduce_sum(tf.cast(available, tf.int32))
        return clients, tf.range(self._count) < number

    def probability(self, clients: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        """p_k(t), float32.

        Args:
          clients: numbers among those that have examples, int32.
          step: t, int64.
        """
        best, hours = (tf.gather(habit, clients) for habit in self._habits.values)
        day = self._config.period
        hour = tf.cast(step % day, tf.float32) / day
        way = 0.5 - 0.5 * tf.cos(2 * math.pi * (hour - hours))
        return best * (1 - self._config.amplitude * way)


def uniform(config: UniformConfig, sizes: np.ndarray, seed: int) -> Cohorts:
    """The builder of `cohort=uniform`."""
    return UniformCohorts(config, sizes)


def poisson(config: PoissonConfig, sizes: np.ndarray, seed: int) -> Cohorts:
    """The builder of `cohort=poisson`."""
    return PoissonCohorts(config, sizes)


def shuffled(config: ShuffledConfig, sizes: np.ndarray, seed: int) -> Cohorts:
    """The builder of `cohort=shuffled`."""
    return ShuffledCohorts(config, sizes)


def available(config: AvailableConfig, sizes: np.ndarray, seed: int) -> Cohorts:
    """The builder of `cohort=available`."""
    return AvailableCohorts(config, sizes, seed)


def with_replacement(total: int, count: int, seed: tf.Tensor) -> tf.Tensor:
    """Independent draws of 0 … total - 1, int32 `[count]`."""
    drawn = tf.random.stateless_uniform([count], seed, 0, total, tf.int64)
    return tf.cast(drawn, tf.int32)


def without_replacement(total: int, count: int, seed: tf.Tensor) -> tf.Tensor:
    """A random subset of 0 … total - 1 in random order, int32 `[count]`.

    Of many, the first `count` different ones in a row of independent draws: its price does not
    grow with `total`.
    """
    if total <= max(FEW, 16 * count):
        keys = tf.random.stateless_uniform([total], seed, None, None, tf.int64)
        return tf.argsort(keys)[:count]
    # Of so many draws from 16 times the number, enough are different in all of the universe's time.
    drawn = with_replacement(total, 2 * count + 64, seed)
    order = tf.argsort(drawn, stable=True)
    ordered = tf.gather(drawn, order)
    again = tf.concat([[False], ordered[1:] == ordered[:-1]], 0)
    places = tf.where(again, tf.int32.max, order)
    return tf.gather(drawn, tf.sort(places)[:count])


def fractions(count: int, seed: tf.Tensor) -> tf.Tensor:
    """Uniform in [0, 1), float32 `[count]`, the same whether XLA draws them or not."""
    bits = tf.random.stateless_uniform([count], seed, 0, 2**24, tf.int32)
    return tf.cast(bits, tf.float32) * 2.0**-24


def _first(size: int, flags: tf.Tensor, *values: tf.Tensor) -> list[tf.Tensor]:
    """`size` of each of the values: of those that are flagged, and then of others."""
    order = tf.argsort(tf.cast(~flags, tf.int32), stable=True)[:size]
    return [tf.gather(value, order) for value in values]


def _over_selected(config: UniformConfig | AvailableConfig) -> int:
    """(1 + f) M, rounded up."""
    return math.ceil(round(config.size * (1 + config.over_selection), 6))


def _enough(count: int, probability: float, total: int) -> int:
    """How many to look at for `count` that are each available with a probability."""
    from scipy.stats import nbinom

    if not probability:
        return total
    return min(total, count + math.ceil(nbinom.isf(NEVER, count, probability)))
