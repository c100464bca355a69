"""DQN as one step: act, environment, replay, update and target update.

Mnih et al. 2015, Algorithm 1: with probability epsilon act at random, else by argmax_a Q(o, a);
store (o_t, a_t, r_t, o_{t+1}); every few steps descend on
(r + gamma max_a' Q'(o_{t+1}, a') - Q(o_t, a_t))^2 over a uniform batch, and copy Q to Q' now and
then. The loss and both networks are tf-agents'.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tf_agents.networks.network import Network

from workbench.core import replicas
from workbench.core.learner import Learner, Mean, Metrics
from workbench.core.random import Seed
from workbench.core.replay.packing import packed_spec, unpack
from workbench.core.replay.transitions import TransitionReplay, Transitions
from workbench.dqn.agent import QAgent
from workbench.dqn.config import DqnConfig
from workbench.dqn.exploration import epsilon, epsilon_greedy, greedy
from workbench.environments.base import Environment, Episodes, EpisodeState, Step


class DqnLearner(Learner):
    """A Q-network, its target, optimizer and replay; `learn` is the algorithm's update phase.

    Args:
      config: hyper-parameters.
      network: the Q-network, with variables.
      observation: spec of one observation.
      num_actions: A.
    """

    unit = "environment steps"

    def __init__(
        self,
        config: DqnConfig,
        network: Network,
        observation: tf.TensorSpec,
        num_actions: int,
    ):
        super().__init__(name="dqn")
        self.config = config
        self.units_per_step = config.train_every * config.num_envs
        self.network = network
        self.agent = QAgent(config, network, observation, num_actions)
        self.replay = TransitionReplay(
            observation,
            capacity=config.replay_capacity,
            num_envs=config.num_envs,
            batch_size=config.batch_size,
            n_step=config.n_step,
            gamma=config.gamma,
        )

    def q_values(self, observation: tf.Tensor) -> tf.Tensor:
        """Q(o, .) of the online network, float32 `[N, A]`."""
        return self.network(observation)[0]

    def learn(self, seed: Seed, before: Callable[[Seed], Any] = lambda seed: ()) -> tuple:
        """One training phase: `gradient_steps` updates, or none before learning starts.

        Args:
          before: what comes ahead of it on every replica; it is compiled with the first gradient,
            for where there are several replicas each part that is compiled has its price.

        Returns:
          What `before` found on each replica, and metrics.
        """
        steps = self.config.gradient_steps

        def begin(step: tf.Tensor) -> tuple:
            return before(seed.at(step)), self._look(seed.at(step * steps))

        found, first = replicas.each(begin)(seed.step)
        units = (seed.step + 1) * self.units_per_step
        started = (units > self.config.learning_starts) & (
            self.replay.size >= self.config.n_step * self.config.num_envs
        )
        updates = tf.where(started, steps, 0)

        def update(i: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            at = seed.at(seed.step * steps + tf.cast(i, tf.int64))
            looked = replicas.each(lambda step: self._look(at.at(step)))(at.step)
            return i + 1, total + self._move(looked, started)

        loss = self._move(first, started)
        if steps > 1:
            _, loss = tf.while_loop(lambda i, _: i < updates, update, (1, loss))
        return found, {"loss": Mean(loss, tf.cast(updates, tf.float32))}

    def _look(self, seed: Seed) -> Any:
        """This replica's gradients on its share of a batch, or what it has of all shares."""
        draw = seed("replay")
        if self.replay.divided:
            return self.replay.offer(draw)
        return self.agent.gradients(self.replay.sample(draw))

    def _move(self, looked: Any, started: tf.Tensor) -> tf.Tensor:
        """Updates by what all replicas found, if learning has started; the loss."""
        if self.replay.divided:
            batch = self.replay.batch
            looked = replicas.each(lambda offers: self.agent.gradients(batch.of(offers)))(
                replicas.total(looked)
            )
        gradients, loss = replicas.total(looked)
        replicas.each(self.agent.apply)(gradients, started)
        return tf.where(started, replicas.first(loss), 0.0)


class CompiledDqn(DqnLearner):
    """DQN whose environments are compiled too: a step touches no Python."""

    def __init__(self, config: DqnConfig, network: Network, environment: Environment, seed: int):
        super().__init__(config, network, environment.observation, environment.num_actions)
        self._training = Episodes(environment, config.num_envs)
        self._judging = Episodes(environment, config.evaluation.episodes)
        self._episodes = self._training.begin(Seed(seed)("first episodes"))

    @property
    def episodes(self) -> EpisodeState:
        """Where the training episodes stand, as variables."""
        return EpisodeState(*(part.variable for part in self._episodes))

    def train_step(self, seed: Seed) -> Metrics:
        collected, metrics = self.learn(seed, before=self._collect)
        sums = self._training.share.sum(collected)
        rates, steps, ended, returns, lengths = tf.unstack(sums)
        return {
            "epsilon": Mean(rates, steps),
            "return": Mean(returns, ended),
            "episode_length": Mean(lengths, ended),
            **metrics,
        }

    def _collect(self, seed: Seed) -> tf.Tensor:
        """`train_every` steps of every environment, epsilon-greedily, into the replay.

        Returns:
          Sums over the steps: epsilon, 1, episodes that ended, their returns and lengths.
        """
        steps = self.config.train_every

        def collect(j: tf.Tensor, state: EpisodeState, sums: tf.Tensor) -> tuple:
            at = seed.at(seed.step * steps + tf.cast(j, tf.int64))
            observation = self._training.observe(state)
            rate = epsilon(self.config.exploration, at.step * self.config.num_envs)
            q_values = self.q_values(observation)
            action = epsilon_greedy(q_values, rate, at("act"), self._training.share)
            state, step = self._training.step(state, action, at("reset"))
            self.replay.insert(_one_row(observation, action, step))
            return j + 1, state, sums + tf.stack([rate, 1.0, *_finished(step)])

        start = EpisodeState(*(variable.read_value() for variable in self.episodes))
        _, state, sums = tf.while_loop(lambda j, *_: j < steps, collect, (0, start, tf.zeros([5])))
        for variable, value in zip(self.episodes, state, strict=True):
            variable.assign(value)
        return sums

    def evaluate(self, seed: Seed) -> Metrics:
        """One greedy episode in each of `evaluation.episodes` environments."""
        played = replicas.each(lambda step: self._play(seed.at(step)))(seed.step)
        returns, lengths = self._judging.share.gathered(played)
        return {
            "return": tf.reduce_mean(returns),
            "return_std": tf.math.reduce_std(returns),
            "return_min": tf.reduce_min(returns),
            "return_max": tf.reduce_max(returns),
            "episode_length": tf.reduce_mean(lengths),
        }

    def _play(self, seed: Seed) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns and lengths of greedy episodes, float32 `[n]`."""
        episodes = self._judging
        count = episodes.share.size

        def act(t: tf.Tensor, state: EpisodeState, done: tf.Tensor, *results: tf.Tensor) -> tuple:
            returns, lengths = results
            action = greedy(self.q_values(episodes.observe(state)))
            state, step = episodes.step(state, action, seed.at(tf.cast(t, tf.int64))("unused"))
            ends = (step.terminated | step.truncated) & ~done
            returns = tf.where(ends, step.episode_return, returns)
            lengths = tf.where(ends, tf.cast(step.episode_length, tf.float32), lengths)
            return t + 1, state, done | ends, returns, lengths

        start = (0, episodes.reset(seed("episodes")), tf.fill([count], False))
        *_, returns, lengths = tf.while_loop(
            lambda t, _, done, *__: ~tf.reduce_all(done),
            act,
            (*start, tf.zeros([count]), tf.zeros([count])),
        )
        return returns, lengths


class FedDqn(DqnLearner):
    """DQN whose transitions come from the host, packed."""

    def __init__(
        self, config: DqnConfig, network: Network, observation: tf.TensorSpec, num_actions: int
    ):
        super().__init__(config, network, observation, num_actions)
        self._observation = observation
        self.chunk_spec = packed_spec(observation, config.train_every, config.num_envs)

    def absorb(self, chunk: tf.Tensor) -> None:
        def insert(chunk: tf.Tensor) -> None:
            own = self.replay.environments.of(chunk, axis=1)
            self.replay.insert(unpack(own, self._observation))

        replicas.each(insert)(chunk)

    def train_step(self, seed: Seed) -> Metrics:
        return self.learn(seed)[1]

    def publish(self) -> list[tf.Tensor]:
        """The Q-network's kernels and biases in turn."""
        return [variable.read_value() for variable in self.network.trainable_variables]

    def evaluate(self, seed: Seed) -> Metrics:
        raise NotImplementedError("the feed evaluates: its environments are on the host")


def _one_row(observation: tf.Tensor, action: tf.Tensor, step: Step) -> Transitions:
    row = Transitions(
        observation, action, step.reward, step.final_observation, step.terminated, step.truncated
    )
    return Transitions(*(value[None] for value in row))


def _finished(step: Step) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Episodes that ended in this step: how many, and the sums of their returns and lengths."""
    ended = tf.cast(step.terminated | step.truncated, tf.float32)
    lengths = tf.cast(step.episode_length, tf.float32)
    return (
        tf.reduce_sum(ended),
        tf.reduce_sum(ended * step.episode_return),
        tf.reduce_sum(ended * lengths),
    )
