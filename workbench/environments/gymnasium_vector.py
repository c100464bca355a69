"""Any gymnasium environment with discrete actions, as N running episodes that resume exactly.

Nothing here imports TensorFlow, so that a configuration can check its environment cheaply.
"""

import inspect
import io
import os
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple, cast

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from workbench.core.config import ConfigError, nearest
from workbench.core.streams import stream_key
from workbench.environments.config import GymnasiumConfig


class Outcome(NamedTuple):
    """What happened in one step of N environments; the caller may keep its arrays.

    The first six fields are those of a replay's transitions, in their order.

    Attributes:
      observation: what was acted on, float32 `[N, ...]`.
      action: int32 `[N]`, from 0.
      reward: float32 `[N]`.
      next_observation: what the action led to, before any reset, float32 `[N, ...]`.
      terminated: bool `[N]`.
      truncated: bool `[N]`: the time limit was reached (as in gymnasium, also by a terminal state).
      episode_return: undiscounted return of the episode up to here, float32 `[N]`.
      episode_length: its steps up to here, int32 `[N]`.
    """

    observation: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    next_observation: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    episode_return: np.ndarray
    episode_length: np.ndarray


def episode_seed(root: int, stream: str, env: int, episode: int) -> int:
    """The seed of one episode of one environment.

    31 bits, because simulators in C keep theirs in an int.
    """
    return stream_key(root, f"{stream}/{env}/{episode}") >> 32


class SeededEpisodes(gym.Wrapper[np.ndarray, int, Any, Any]):
    """One environment whose every episode has a seed of its own and can be replayed.

    Observations become float32 arrays of their own, actions count from 0, infos are dropped.

    Args:
      env: has Discrete actions and Box observations.
      seed_of: the seed of the episode with this index.

    Attributes:
      episode: index of the running episode.
      actions: what was done in it so far.
      num_actions: actions are 0 … num_actions - 1.
    """

    def __init__(self, env: gym.Env, seed_of: Callable[[int], int]):
        super().__init__(env)
        space: Any = env.action_space
        self.num_actions, self._first_action = int(space.n), int(space.start)
        self._seed_of = seed_of
        self.action_space = Discrete(self.num_actions)
        self.observation_space = Box(-np.inf, np.inf, env.observation_space.shape, np.float32)
        self.episode = -1
        self.actions: list[int] = []

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begins the next episode; its seed is its own, whatever `seed` says."""
        self.episode += 1
        self.actions = []
        observation, _ = self.env.reset(seed=self._seed_of(self.episode), options=options)
        return np.array(observation, np.float32), {}

    def step(self, action: int) -> tuple[np.ndarray, Any, bool, bool, dict[str, Any]]:
        """One step; `action` counts from 0."""
        self.actions.append(action)
        observation, reward, terminated, truncated, _ = self.env.step(action + self._first_action)
        # A copy: some environments write the next observation into the same array.
        return np.array(observation, np.float32), reward, terminated, truncated, {}

    def replay(self, episode: int, actions: Iterable[int]) -> tuple[np.ndarray, float, bool]:
        """Begins an episode and repeats its actions, for as long as it lasts.

        Returns:
          The last observation, the return so far, and whether the episode is still running.
        """
        self.episode = episode - 1
        observation, _ = self.reset()
        total = 0.0
        for action in actions:
            observation, reward, terminated, truncated, _ = self.step(action)
            total += float(reward)
            if terminated or truncated:
                return observation, total, False
        return observation, total, True


class GymnasiumEpisodes:
    """N copies of a gymnasium environment, each reset in the step that ends its episode.

    Episode e of environment i is seeded by (seed, stream, i, e) alone.

    Args:
      id: gymnasium's id; Discrete actions and Box observations.
      num_envs: N.
      seed: the run's root seed.
      stream: names this use of the environment, e.g. "train"; other streams, other episodes.
      kwargs: for the environment's constructor.
      max_episode_steps: time limit in steps; None keeps the one of the id.

    Attributes:
      observations: what to act on, float32 `[N, ...]`.
      observation_shape: of one observation.
      observation_dtype: float32, whatever the environment's own.
      num_actions: actions are 0 … num_actions - 1.
      max_episode_steps: the time limit in steps, None where there is none.
      reward_threshold: the return at which the environment counts as solved, or None.
      notes: one line for everything that a reader of the results should know.

    Raises:
      ConfigError: when the environment cannot be made or is of another kind.
    """

    observation_dtype = np.dtype(np.float32)

    def __init__(
        self,
        id: str,
        num_envs: int,
        seed: int,
        stream: str,
        kwargs: Mapping[str, Any] | None = None,
        max_episode_steps: int | None = None,
    ):
        def copy(env: int) -> SeededEpisodes:
            seed_of = partial(episode_seed, seed, stream, env)
            return SeededEpisodes(_open(id, kwargs, max_episode_steps), seed_of)

        vector = SyncVectorEnv(
            [partial(copy, env) for env in range(num_envs)],
            copy=False,  # `step` copies, once
            autoreset_mode=AutoresetMode.SAME_STEP,
        )
        self._id = id
        self._vector = cast(VectorEnv[np.ndarray, list[int], np.ndarray], vector)
        self._envs = cast(list[SeededEpisodes], vector.envs)
        spec = self._envs[0].env.spec
        assert spec is not None  # gym.make sets it
        self.num_actions = self._envs[0].num_actions
        self.max_episode_steps: int | None = spec.max_episode_steps
        self.reward_threshold: float | None = spec.reward_threshold
        self.notes: list[str] = []
        self.observations = self._vector.reset()[0].copy()
        self.observation_shape: tuple[int, ...] = self.observations.shape[1:]
        self._returns = np.zeros(num_envs, np.float64)
        self._lengths = np.zeros(num_envs, np.int32)

    def step(self, actions: np.ndarray) -> Outcome:
        """One step of all N; where an episode ends, `observations` begins the next one.

        Args:
          actions: integers `[N]`.
        """
        actions = np.array(actions, np.int32)
        following, reward, terminated, truncated, info = self._vector.step(actions.tolist())
        acted_on, self.observations = self.observations, following.copy()
        final = self.observations
        returns = self._returns = self._returns + reward
        lengths = self._lengths = self._lengths + 1
        if "final_obs" in info:
            ended = info["_final_obs"]
            final = final.copy()
            final[ended] = np.stack(info["final_obs"][ended])
            self._returns = np.where(ended, 0.0, returns)
            self._lengths = np.where(ended, np.int32(0), lengths)
        return Outcome(
            observation=acted_on,
            action=actions,
            reward=reward.astype(np.float32),
            next_observation=final,
            terminated=terminated,
            truncated=truncated,
            episode_return=returns.astype(np.float32),
            episode_length=lengths,
        )

    def state(self) -> bytes:
        """What `restore` needs: the actions of the running episodes, and what they led to."""
        stream = io.BytesIO()
        np.savez(
            stream,
            episodes=np.array([env.episode for env in self._envs], np.int64),
            actions=np.array([a for env in self._envs for a in env.actions], np.int32),
            lengths=self._lengths,
            returns=self._returns,
            observations=self.observations,
        )
        return stream.getvalue()

    def restore(self, state: bytes) -> None:
        """Goes back to where `state` was taken, by repeating the running episodes' actions.

        Where this leads elsewhere, the environment is not a function of its seed: the running
        episodes start anew and `notes` says so.

        Raises:
          ConfigError: when the state is of another number of environments.
        """
        with np.load(io.BytesIO(state), allow_pickle=False) as saved:
            episodes, actions, lengths, returns, observations = (
                saved[name]
                for name in ("episodes", "actions", "lengths", "returns", "observations")
            )
        if len(episodes) != len(self._envs):
            raise ConfigError(
                f"the state is of {len(episodes)} environments, not {len(self._envs)}"
            )
        anew = 0
        # Arrays of their own: the present ones may be in an outcome that the caller keeps.
        self.observations = np.empty_like(self.observations)
        self._returns, self._lengths = np.empty_like(returns), np.empty_like(lengths)
        parts = np.split(actions, np.cumsum(lengths)[:-1])
        for i, env in enumerate(self._envs):
            episode = int(episodes[i])
            observation, total, running = env.replay(episode, parts[i].tolist())
            same = np.array_equal(observation, observations[i], equal_nan=True)
            if not (running and same and total == returns[i]):
                observation, total, _ = env.replay(episode, [])
                anew += 1
            self.observations[i] = observation
            self._returns[i], self._lengths[i] = total, len(env.actions)
        if anew:
            self.notes.append(
                f"environment {self._id} is not deterministic: "
                f"{anew} of {len(self._envs)} running episodes were started anew"
            )

    def close(self) -> None:
        """Closes the environments; more than once is fine."""
        self._vector.close()


class GymnasiumEnvironment:
    """A gymnasium environment by id: what it is, and how to get episodes of it.

    Attributes:
      id: gymnasium's id.
      observation_shape: of one observation, always float32.
      num_actions: actions are 0 … num_actions - 1.
    """

    def __init__(self, id: str, kwargs: Mapping[str, Any], max_episode_steps: int | None):
        self.id = id
        self._kwargs = kwargs
        self._max_episode_steps = max_episode_steps
        env = _open(id, kwargs, max_episode_steps)
        assert isinstance(env.action_space, Discrete)
        self.observation_shape = tuple(env.observation_space.shape or ())
        self.num_actions = int(cast(int, env.action_space.n))
        env.close()

    def episodes(self, num_envs: int, seed: int, stream: str) -> GymnasiumEpisodes:
        """`num_envs` running episodes under a stream's name."""
        return GymnasiumEpisodes(
            self.id, num_envs, seed, stream, self._kwargs, self._max_episode_steps
        )

    def play(
        self, policy: Callable[[np.ndarray], int], seed: int
    ) -> tuple[list[np.ndarray], float]:
        """One episode in pictures, see `play`."""
        return play(self.id, policy, seed, self._kwargs, self._max_episode_steps)


def build(config: GymnasiumConfig) -> GymnasiumEnvironment:
    """The environment that a configuration names."""
    return GymnasiumEnvironment(config.id, config.kwargs, config.max_episode_steps)


def check(
    id: str, kwargs: Mapping[str, Any] | None = None, max_episode_steps: int | None = None
) -> None:
    """Makes sure that `GymnasiumEpisodes` can run an environment; quick and silent.

    Raises:
      ConfigError: saying in one line why it cannot, and the remedy.
    """
    _open(id, kwargs, max_episode_steps).close()


def play(
    id: str,
    policy: Callable[[np.ndarray], int],
    seed: int,
    kwargs: Mapping[str, Any] | None = None,
    max_episode_steps: int | None = None,
) -> tuple[list[np.ndarray], float]:
    """One episode in pictures; needs no display.

    Args:
      policy: from one observation, float32 `[...]`, to an action from 0.
      seed: of the episode.

    Returns:
      The frames, one before each step and one at the end, uint8 `[height, width, 3]`; and the
      undiscounted return.

    Raises:
      ConfigError: as `check`, or when the environment draws no pictures.
    """
    draw_without_display()
    env = _open(id, {**(kwargs or {}), "render_mode": "rgb_array"}, max_episode_steps)
    try:
        if "rgb_array" not in env.metadata.get("render_modes", ()):
            raise ConfigError(f"environment {id} draws no pictures (no rgb_array render mode)")
        episode = SeededEpisodes(env, lambda _: seed)
        observation, _ = episode.reset()
        frames, total, ended = [cast(np.ndarray, env.render())], 0.0, False
        while not ended:
            action = int(policy(observation))
            observation, reward, terminated, truncated, _ = episode.step(action)
            frames.append(cast(np.ndarray, env.render()))
            total += float(reward)
            ended = terminated or truncated
        return frames, total
    finally:
        env.close()


def draw_without_display() -> None:
    """Lets pygame, which gymnasium draws with, do without a screen and a sound card."""
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    os.environ.setdefault("SDL_AUDIODRIVER", "dummy")  # pygame opens it, and ALSA prints


def _open(id: str, kwargs: Mapping[str, Any] | None, max_episode_steps: int | None) -> gym.Env:
    # The registry alone, not gym.make's "module:id": no configuration may import a module.
    if id not in gym.registry:
        raise ConfigError(f"gymnasium has no environment {id}{nearest(id, gym.registry)}")
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            env = gym.make(id, max_episode_steps, disable_env_checker=True, **(kwargs or {}))
        except Exception as error:  # whatever the environment's own code raises
            raise ConfigError(f"environment {id} cannot be made: {_reason(error)}") from error
    unsupported = _unsupported(env)
    if unsupported:
        env.close()
        raise ConfigError(f"environment {id} {unsupported}")
    return env


def _reason(error: Exception) -> str:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    extra = re.search(r"gymnasium\[([\w-]+)\]", str(error))
    if extra:
        owner = "workbench" if extra[1] == "box2d" else "gymnasium"
        return f"its dependencies are missing; pip install '{owner}[{extra[1]}]'"
    # gymnasium appends where a TypeError came from, which the id already says
    return reason.split(" was raised from the environment creator")[0]


def _unsupported(env: gym.Env) -> str:
    """What keeps an environment from being run here, with the remedy; "" for nothing."""
    if not isinstance(env.action_space, Discrete):
        if "continuous" in inspect.signature(type(env.unwrapped)).parameters:
            remedy = "set its argument continuous=false"
        else:
            remedy = "choose another, or register one that maps 0 … n-1 to its actions"
        return f"has actions {env.action_space}, but only Discrete ones are supported; {remedy}"
    if not isinstance(env.observation_space, Box):
        return (
            f"has observations {env.observation_space}, but only Box ones are supported; "
            "register one that wraps it in gymnasium.wrappers.FlattenObservation"
        )
    return ""
