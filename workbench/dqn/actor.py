"""Acting on the host, for environments that cannot be compiled.

A compiled call costs some 100 µs before it computes anything, more than an environment's step; a
small perceptron in NumPy takes under 10. So the feed gets the weights once a training phase and
acts with them until the next, between which they do not change.
"""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from workbench.core.learner import Feed
from workbench.core.replay.packing import pack
from workbench.core.replay.transitions import Transitions
from workbench.core.streams import stream_key
from workbench.dqn.exploration import epsilon
from workbench.dqn.learner import FedDqn
from workbench.environments.gymnasium_vector import GymnasiumEnvironment, Outcome

ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "relu": lambda x: np.maximum(x, 0.0),
    "tanh": np.tanh,
}


class HostMlp:
    """The NumPy twin of a Q-network that is a multilayer perceptron.

    Args:
      weights: kernels and biases in turn, first layer to last.
      activation: of the hidden layers, "relu" or "tanh".
    """

    def __init__(self, weights: Sequence[tf.Tensor], activation: str):
        arrays = [weight.numpy() for weight in weights]
        self._layers = list(zip(arrays[::2], arrays[1::2], strict=True))
        self._activation = ACTIVATIONS[activation]

    def __call__(self, observation: np.ndarray) -> np.ndarray:
        """Q-values float32 `[N, A]` of observations `[N, ...]`."""
        hidden = observation.reshape(len(observation), -1)
        *inner, (kernel, bias) = self._layers
        for inner_kernel, inner_bias in inner:
            hidden = self._activation(hidden @ inner_kernel + inner_bias)
        return hidden @ kernel + bias


class GymnasiumFeed(Feed):
    """Transitions of gymnasium environments, acted epsilon-greedily on the host.

    Args:
      learner: whose policy acts; its configuration says how much and how.
      activation: of the Q-network's hidden layers.
      environment: where it acts.
      seed: the run's root seed.
    """

    def __init__(
        self, learner: FedDqn, activation: str, environment: GymnasiumEnvironment, seed: int
    ):
        self._config = learner.config
        self._activation = activation
        self._environment = environment
        self._seed = seed
        self._training = environment.episodes(self._config.num_envs, seed, "train")
        self._key = stream_key(seed, "train/act")
        self.spec = learner.chunk_spec
        self._finished: list[tuple[float, int]] = []
        self._rates: list[float] = []

    def next(self, step: int) -> np.ndarray:
        """`train_every` steps of every environment in order, packed."""
        config, training = self._config, self._training
        first = step * config.train_every
        times = (first + np.arange(config.train_every)) * config.num_envs
        rates = epsilon(config.exploration, times)
        draws = np.random.Generator(np.random.Philox(key=[self._key, step]))
        explore = draws.random((config.train_every, config.num_envs)) < rates[:, None]
        actions = draws.integers(training.num_actions, size=explore.shape, dtype=np.int32)
        outcomes = []
        for row, exploring in zip(actions, explore, strict=True):
            if not exploring.all():
                greedy = self._network(training.observations).argmax(axis=-1)
                row = np.where(exploring, row, greedy).astype(np.int32)
            outcomes.append(training.step(row))
        self._rates.append(float(rates.mean()))
        self._finished += finished(outcomes)
        return pack([Transitions(*outcome[:6]) for outcome in outcomes])

    def receive(self, published: Sequence[tf.Tensor]) -> None:
        """The Q-network's weights of now on."""
        self._network = HostMlp(published, self._activation)

    def metrics(self) -> dict[str, float]:
        """Mean epsilon, and mean return and length of the episodes that ended."""
        metrics = {"epsilon": float(np.mean(self._rates))}
        if self._finished:
            returns, lengths = np.mean(self._finished, axis=0)
            metrics |= {"return": float(returns), "episode_length": float(lengths)}
        self._finished, self._rates = [], []
        return metrics

    def evaluate(self, index: int) -> dict[str, float]:
        """One greedy episode in each of `evaluation.episodes` environments."""
        count = self._config.evaluation.episodes
        episodes = self._environment.episodes(count, self._seed, f"evaluate/{index}")
        returns, lengths = np.zeros(count), np.zeros(count)
        running = np.ones(count, bool)
        try:
            while running.any():
                outcome = episodes.step(self._network(episodes.observations).argmax(axis=-1))
                ends = running & (outcome.terminated | outcome.truncated)
                returns[ends] = outcome.episode_return[ends]
                lengths[ends] = outcome.episode_length[ends]
                running &= ~ends
        finally:
            episodes.close()
        return {
            "return": returns.mean(),
            "return_std": returns.std(),
            "return_min": returns.min(),
            "return_max": returns.max(),
            "episode_length": lengths.mean(),
        }

    def state(self) -> bytes:
        return self._training.state()

    def restore(self, state: bytes) -> None:
        self._training.restore(state)

    def close(self) -> None:
        self._training.close()


def finished(outcomes: list[Outcome]) -> list[tuple[float, int]]:
    """Return and length of every episode that ended in these steps."""
    results = []
    for outcome in outcomes:
        for env in np.flatnonzero(outcome.terminated | outcome.truncated):
            results.append((outcome.episode_return[env], outcome.episode_length[env]))
    return results
