"""tf-agents' networks and agents, from our configuration."""

from typing import Any

import tensorflow as tf
from tf_agents.agents.dqn.dqn_agent import DdqnAgent, DqnAgent
from tf_agents.networks.network import Network
from tf_agents.networks.sequential import Sequential
from tf_agents.specs.tensor_spec import BoundedTensorSpec
from tf_agents.trajectories.policy_step import PolicyStep
from tf_agents.trajectories.time_step import StepType, TimeStep, time_step_spec
from tf_agents.trajectories.trajectory import Transition
from tf_agents.utils import common

from workbench.core.replay.transitions import NStep
from workbench.dqn.config import DqnConfig
from workbench.models.clipping import ClippedOptimizer
from workbench.models.config import MlpConfig
from workbench.models.dense import Dense

LOSSES = {
    "squared": common.element_wise_squared_loss,
    "huber": common.element_wise_huber_loss,
}


def action_spec(num_actions: int) -> BoundedTensorSpec:
    """Actions 0 … num_actions - 1, int32 scalars."""
    return BoundedTensorSpec([], tf.int32, 0, num_actions - 1, name="action")


def q_network(config: MlpConfig, observation: tf.TensorSpec, num_actions: int) -> Sequential:
    """A Q-network `[B, *observation] -> [B, num_actions]` with its variables made.

    The function of tf-agents' `QNetwork`, in layers of ours.
    """
    inputs, layers = observation.shape.num_elements(), [tf.keras.layers.Flatten()]
    for units in config.layers:
        start = fan_in(inputs) if config.initializer == "fan_in" else he()
        layers.append(Dense(units, activation=config.activation, **start))
        inputs = units
    start = fan_in(inputs) if config.initializer == "fan_in" else near_zero()
    network = Sequential(
        [*layers, Dense(num_actions, **start)], input_spec=observation, name="q_network"
    )
    network.create_variables()
    return network


# An initializer draws the same values whenever it is used: each layer needs one of its own.


def fan_in(inputs: int) -> dict[str, tf.keras.initializers.Initializer]:
    """Kernel and bias uniform within 1/√inputs: where PyTorch's layers start."""
    bound = inputs**-0.5
    uniform = tf.keras.initializers.RandomUniform
    return {
        "kernel_initializer": uniform(-bound, bound),
        "bias_initializer": uniform(-bound, bound),
    }


def he() -> dict[str, tf.keras.initializers.Initializer]:
    """Kernel normal with variance 2/inputs: where tf-agents' hidden layers start."""
    return {
        "kernel_initializer": tf.keras.initializers.VarianceScaling(
            2.0, mode="fan_in", distribution="truncated_normal"
        )
    }


def near_zero() -> dict[str, tf.keras.initializers.Initializer]:
    """Kernel within 0.03 of zero, bias -0.2: where tf-agents' last layer starts."""
    return {
        "kernel_initializer": tf.keras.initializers.RandomUniform(-0.03, 0.03),
        "bias_initializer": tf.keras.initializers.Constant(-0.2),
    }


def q_agent(
    config: DqnConfig, network: Network, observation: tf.TensorSpec, num_actions: int
) -> DqnAgent:
    """A DQN or double DQN agent, ready to train.

    Its own gamma is 1: the replay's discount holds gamma to the power of the window's length. Its
    own gradient clipping stays off, for it clips each variable alone; ours clips the global norm.
    """
    optimizer = _optimizer(config)
    agent = (DdqnAgent if config.double else DqnAgent)(
        time_step_spec(observation),
        action_spec(num_actions),
        q_network=network,
        optimizer=optimizer,
        gamma=1.0,
        td_errors_loss_fn=LOSSES[config.loss],
        target_update_period=config.target_update_period,
        target_update_tau=config.target_update_tau,
        train_step_counter=tf.Variable(0, trainable=False, dtype=tf.int64, name="updates"),
    )
    agent.initialize()
    optimizer.build(network.trainable_variables)
    return agent


def as_transition(batch: NStep) -> Transition:
    """An n-step batch in tf-agents' words: o_t and a_t, then R, discount and o_{t+k}."""
    size = batch.reward.shape[0]
    middle = tf.fill([size], StepType.MID)
    unused = tf.zeros([size])
    return Transition(
        time_step=TimeStep(middle, unused, unused, batch.observation),
        action_step=PolicyStep(batch.action, (), ()),
        next_time_step=TimeStep(middle, batch.reward, batch.discount, batch.next_observation),
    )


def _optimizer(config: DqnConfig) -> Any:
    rate, epsilon = config.learning_rate, config.optimizer_epsilon
    if config.optimizer == "adam":
        optimizer = tf.keras.optimizers.Adam(rate, jit_compile=False, epsilon=epsilon)
    elif config.optimizer == "rmsprop":
        optimizer = tf.keras.optimizers.RMSprop(
            rate, rho=0.95, centered=True, jit_compile=False, epsilon=epsilon
        )
    else:
        optimizer = tf.keras.optimizers.SGD(rate, jit_compile=False)
    if config.gradient_clipping is None:
        return optimizer
    return ClippedOptimizer(optimizer, config.gradient_clipping)
