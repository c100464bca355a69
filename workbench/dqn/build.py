"""From a DQN configuration to a running learner."""

from functools import partial
from typing import Any

import tensorflow as tf

from workbench.core.assembly import Assembly
from workbench.core.config import ConfigError
from workbench.core.config import build as build_component
from workbench.dqn.actor import GymnasiumFeed
from workbench.dqn.agent import q_network
from workbench.dqn.config import DqnConfig
from workbench.dqn.learner import CompiledDqn, FedDqn
from workbench.dqn.policy import GreedyPolicy, write_gif
from workbench.environments.base import Environment
from workbench.models.config import MlpConfig


def build(config: DqnConfig, *, environment: Any, network: MlpConfig, seed: int) -> Assembly:
    """A DQN on compiled environments where they are ours, on a feed of gymnasium's elsewhere."""
    if not isinstance(network, MlpConfig):
        raise ConfigError("network: Q-networks are multilayer perceptrons; choose network=mlp")
    made = build_component(environment)
    if isinstance(made, Environment):
        q_values = q_network(network, made.observation, made.num_actions)
        assembly = Assembly(CompiledDqn(config, q_values, made, seed))
    else:
        observation = tf.TensorSpec(made.observation_shape, tf.float32)
        q_values = q_network(network, observation, made.num_actions)
        learner = FedDqn(config, q_values, observation, made.num_actions)
        feed = GymnasiumFeed(learner, network.activation, made, seed)
        assembly = Assembly(learner, feed)
    assembly.policy = GreedyPolicy(q_values, made)
    if config.evaluation.gif:
        assembly.artifacts.append(partial(write_gif, assembly.policy, seed))
    return assembly
