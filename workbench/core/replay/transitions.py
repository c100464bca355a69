"""Uniform replay of transitions, with n-step windows that respect episodes."""

from functools import partial
from typing import Any, NamedTuple

import tensorflow as tf

from workbench.core.replicas import Parts, Share


class Transitions(NamedTuple):
    """What happened in one step of N environments; every field is `[N, ...]`.

    Attributes:
      observation: what was acted on.
      action: int32 `[N]`.
      reward: float32 `[N]`.
      next_observation: what the action led to, before any reset: also where an episode was
        truncated, for its value is what a bootstrap needs.
      terminated: bool `[N]`; the environment's own end, after which nothing is worth anything.
      truncated: bool `[N]`; cut off from outside, as by a time limit.
    """

    observation: Any
    action: tf.Tensor
    reward: tf.Tensor
    next_observation: Any
    terminated: tf.Tensor
    truncated: tf.Tensor


class NStep(NamedTuple):
    """A batch of n-step transitions (o_t, a_t, R, gamma_n, o_{t+k}), k <= n.

    The one-step or n-step target is `reward + discount * V(next_observation)`.

    Attributes:
      reward: sum over j < k of gamma^j r_{t+j}, float32 `[B]`.
      discount: gamma^k, or 0 where the window ends in a terminal state, float32 `[B]`.
      next_observation: the observation after the window's last step.
    """

    observation: Any
    action: tf.Tensor
    reward: tf.Tensor
    discount: tf.Tensor
    next_observation: Any


class TransitionReplay(tf.Module):
    """The last `capacity` transitions of N environments, sampled uniformly with replacement.

    Rows of N transitions, one row after the other in a ring. A window of n steps starts in any
    row that has n - 1 rows after it, and ends early where its episode does: at a terminal state
    the bootstrap is dropped, at a truncation it is made from the final observation.

    With several replicas, each stores the transitions of its share of the environments where
    they divide, and else all of them; in a batch it has its share always. Indices are drawn for
    the whole batch, the same on every replica.

    Args:
      observation: spec of one observation.
      capacity: transitions kept, over all environments together.
      num_envs: N, the transitions in a row.
      batch_size: B.
      n_step: n, the longest window (Sutton & Barto 2018, eq. 7.1).
      gamma: discount factor.

    Attributes:
      environments: the share of a replica, n of the N.
      batch: the share of a replica, b of the B.
    """

    def __init__(
        self,
        observation: tf.TensorSpec,
        *,
        capacity: int,
        num_envs: int,
        batch_size: int,
        n_step: int,
        gamma: float,
    ):
        super().__init__(name="transition_replay")
        self._rows = capacity // num_envs
        self._num_envs = num_envs
        self.environments = Share(num_envs, whole=True)
        self.batch = Share(batch_size, "batch_size")
        self._n_step = n_step
        self._gamma = gamma
        scalar = partial(tf.TensorSpec, [])
        fields = (observation, scalar(tf.int32), scalar(tf.float32), observation)
        flags = (scalar(tf.bool), scalar(tf.bool))
        self._parts = [self._zeros(spec) for spec in (*fields, *flags)]
        self._inserted = tf.Variable(0, trainable=False, dtype=tf.int64, name="inserted_rows")

    def _zeros(self, spec: tf.TensorSpec) -> Parts:
        # One dimension for both, rows and environments: that is what a variable gathers from in
        # place, with XLA and without; of any other shape a sample would copy all that is stored.
        shape = [self._rows * self.environments.size, *spec.shape]
        return Parts(tf.Variable(tf.zeros(shape, spec.dtype), trainable=False))

    @property
    def _storage(self) -> Transitions:
        return Transitions(*(part.variable for part in self._parts))

    @property
    def size(self) -> tf.Tensor:
        """Transitions stored, int64."""
        return tf.minimum(self._inserted, self._rows) * self._num_envs

    @property
    def divided(self) -> bool:
        """Whether a batch has to be brought together from the replicas."""
        return self.environments.divided

    def insert(self, items: Transitions) -> None:
        """Appends rows of this replica's environments, over the oldest ones when full.

        Args:
          items: fields `[T, n, ...]`: T steps in order, T no more than the rows of the ring.
        """
        steps, row = items.reward.shape[0], self.environments.size
        places = self._places(self._inserted * row + tf.range(steps * row, dtype=tf.int64))
        for variable, values in zip(self._storage, items, strict=True):
            transitions = tf.reshape(values, [-1, *variable.shape[1:]])
            variable.scatter_update(tf.IndexedSlices(transitions, places))
        self._inserted.assign_add(steps)

    def sample(self, seed: tf.Tensor) -> NStep:
        """This replica's share of a batch of windows; at least n rows must have been inserted.

        For a replay that is not `divided`.
        """
        return self._windows(self.batch.of(self._drawn(seed)))

    def offer(self, seed: tf.Tensor) -> NStep:
        """The whole batch, with zeros for what other replicas store; to be summed over all."""
        drawn = self._drawn(seed)
        row, environment = drawn // self._num_envs, drawn % self._num_envs
        own = environment - tf.cast(self.environments.first, tf.int64)
        mine = (own >= 0) & (own < self.environments.size)
        windows = self._windows(row * self.environments.size + tf.where(mine, own, 0))

        def masked(values: tf.Tensor) -> tf.Tensor:
            mask = tf.reshape(mine, [-1, *[1] * (values.shape.rank - 1)])
            return tf.where(mask, values, tf.zeros([], values.dtype))

        return NStep(*map(masked, windows))

    def _drawn(self, seed: tf.Tensor) -> tf.Tensor:
        """First transitions of windows, counted over all N from the oldest that is stored."""
        starts = tf.maximum(tf.minimum(self._inserted, self._rows) - self._n_step + 1, 1)
        return tf.random.stateless_uniform(
            [self.batch.total], seed, minval=0, maxval=starts * self._num_envs, dtype=tf.int64
        )

    def _windows(self, start: tf.Tensor) -> NStep:
        """The windows from given transitions on, counted over the n from the oldest stored."""
        count, row = start.shape[0], self.environments.size
        first = (self._inserted - tf.minimum(self._inserted, self._rows)) * row + start
        later = tf.range(self._n_step, dtype=tf.int64) * row
        window = self._places(first[:, None] + later)  # [count, n_step]

        terminated = tf.gather(self._storage.terminated, window)
        ended = terminated | tf.gather(self._storage.truncated, window)
        # alive[j]: the episode had not ended before step j of the window.
        alive = [tf.ones([count])]
        for j in range(self._n_step - 1):
            alive.append(alive[-1] * (1.0 - tf.cast(ended[:, j], tf.float32)))
        alive = tf.stack(alive, axis=1)
        powers = tf.constant([self._gamma**j for j in range(self._n_step)], tf.float32)
        length = tf.cast(tf.reduce_sum(alive, axis=1), tf.int32)
        last = tf.gather(window, length - 1, axis=1, batch_dims=1)
        ends_here = tf.gather(self._storage.terminated, last)
        bootstrap = tf.where(ends_here, 0.0, tf.gather(powers * self._gamma, length - 1))
        return NStep(
            observation=tf.gather(self._storage.observation, window[:, 0]),
            action=tf.gather(self._storage.action, window[:, 0]),
            reward=tf.reduce_sum(tf.gather(self._storage.reward, window) * alive * powers, axis=1),
            discount=bootstrap,
            next_observation=tf.gather(self._storage.next_observation, last),
        )

    def _places(self, transitions: tf.Tensor) -> tf.Tensor:
        """Where transitions stand, counted from the first one that was ever inserted."""
        return tf.cast(transitions % (self._rows * self.environments.size), tf.int32)
