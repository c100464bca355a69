"""Compiled environments: batched dynamics in TensorFlow ops, and what every one of them shares."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import tensorflow as tf

from workbench.core.replicas import Parts, Share


class Environment(ABC):
    """The dynamics of one kind of environment, over a batch of N states.

    Pure functions of tensors, XLA-compilable; episodes, time limits and resets are `Episodes`'
    business. Names and numbers follow the gymnasium environment of the same id, which is also the
    oracle that the tests compare with.

    Attributes:
      id: gymnasium's id.
      observation: spec of one observation.
      num_actions: actions are 0 … num_actions - 1.
      state_size: length of a state vector.
      max_episode_steps: gymnasium's time limit for this id.
      dtype: of states; float32 by default, float64 makes the dynamics equal gymnasium's.
    """

    id: str
    observation: tf.TensorSpec
    num_actions: int
    state_size: int
    max_episode_steps: int

    def __init__(self, dtype: tf.DType = tf.float32):
        self.dtype = dtype

    @abstractmethod
    def reset(self, seed: tf.Tensor, num: int) -> tf.Tensor:
        """Initial states `[num, state_size]`, drawn as gymnasium's `reset` draws them."""

    @abstractmethod
    def step(self, state: tf.Tensor, action: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """One step.

        Args:
          state: `[N, state_size]`.
          action: int32 `[N]`.

        Returns:
          The next state `[N, state_size]`, reward float32 `[N]`, terminated bool `[N]`.
        """

    @abstractmethod
    def observe(self, state: tf.Tensor) -> tf.Tensor:
        """What an agent sees of states: `[N, *observation.shape]`."""


class Step(NamedTuple):
    """The outcome of a step of N environments that reset themselves in the same step.

    Attributes:
      observation: what to act on next: a new episode's first one where the last has ended.
      final_observation: what the action led to, before any reset.
      reward: float32 `[N]`.
      terminated: bool `[N]`.
      truncated: bool `[N]`: the time limit was reached (as in gymnasium, also by a terminal state).
      episode_return: undiscounted return of the episode up to here, float32 `[N]`.
      episode_length: its steps up to here, int32 `[N]`.
    """

    observation: tf.Tensor
    final_observation: tf.Tensor
    reward: tf.Tensor
    terminated: tf.Tensor
    truncated: tf.Tensor
    episode_return: tf.Tensor
    episode_length: tf.Tensor


class EpisodeState(NamedTuple):
    """Where N running episodes stand: states, steps taken int32 `[N]`, returns float32 `[N]`."""

    state: tf.Tensor
    length: tf.Tensor
    total: tf.Tensor


class Episodes:
    """N copies of an environment under its time limit, each reset in the step that ends it.

    With several replicas, each has its share of the N where they divide, and else all of them.

    Attributes:
      share: the environments that a replica has, n of them.
    """

    def __init__(self, environment: Environment, num_envs: int):
        self.environment = environment
        self.share = Share(num_envs, whole=True)

    def reset(self, seed: tf.Tensor) -> EpisodeState:
        """This replica's n new episodes."""
        return EpisodeState(
            self.share.of(self.environment.reset(seed, self.share.total)),
            tf.zeros([self.share.size], tf.int32),
            tf.zeros([self.share.size], tf.float32),
        )

    def begin(self, seed: tf.Tensor) -> list[Parts]:
        """Every replica's n first episodes, to keep: the fields of an `EpisodeState`."""
        size = self.share.size
        states = self.environment.reset(seed, self.share.total)
        first = (states[:size], tf.zeros([size], tf.int32), tf.zeros([size], tf.float32))
        parts = [Parts(tf.Variable(value, trainable=False)) for value in first]
        parts[0].assign(states, self.share)
        return parts

    def observe(self, episodes: EpisodeState) -> tf.Tensor:
        """What to act on: `[n, *observation.shape]`."""
        return self.environment.observe(episodes.state)

    def step(
        self, episodes: EpisodeState, action: tf.Tensor, seed: tf.Tensor
    ) -> tuple[EpisodeState, Step]:
        """One step of all n; `seed` draws the new episodes' initial states."""
        environment = self.environment
        state, reward, terminated = environment.step(episodes.state, action)
        length = episodes.length + 1
        total = episodes.total + reward
        truncated = length >= environment.max_episode_steps
        ended = terminated | truncated
        fresh = self.reset(seed)
        following = EpisodeState(
            tf.where(ended[:, None], fresh.state, state),
            tf.where(ended, fresh.length, length),
            tf.where(ended, fresh.total, total),
        )
        step = Step(
            observation=environment.observe(following.state),
            final_observation=environment.observe(state),
            reward=reward,
            terminated=terminated,
            truncated=truncated,
            episode_return=total,
            episode_length=length,
        )
        return following, step
