"""DQN's step against plain twins, and the choices that a configuration makes."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats
from tf_agents.networks.q_network import QNetwork

from workbench.core.program import Program
from workbench.core.random import Seed
from workbench.core.replay.transitions import NStep
from workbench.core.runtime import Runtime
from workbench.dqn.agent import QAgent, action_spec, q_network
from workbench.dqn.config import DqnConfig, EvaluationConfig, ExplorationConfig
from workbench.dqn.learner import CompiledDqn
from workbench.environments.classic_control import CartPole
from workbench.models.config import MlpConfig

OBSERVATION = tf.TensorSpec([4], tf.float32)
SMALL = DqnConfig(
    replay_capacity=400,
    batch_size=16,
    learning_starts=40,
    train_every=5,
    num_envs=2,
    target_update_period=3,
    exploration=ExplorationConfig(steps=500),
    evaluation=EvaluationConfig(episodes=7),
)


@pytest.fixture(autouse=True)
def _seeded():
    tf.keras.utils.set_random_seed(1)


def network(layers=(8, 6)):
    return q_network(MlpConfig(layers=list(layers)), OBSERVATION, 2)


def learner(config=SMALL, seed=0):
    return CompiledDqn(config, network(), CartPole(), seed)


def batch(size=16):
    draw = np.random.default_rng(0)
    return NStep(
        observation=tf.constant(draw.normal(size=(size, 4)), tf.float32),
        action=tf.constant(draw.integers(2, size=size), tf.int32),
        reward=tf.constant(draw.normal(size=size), tf.float32),
        discount=tf.constant(draw.choice([0.0, 0.9, 0.81], size=size), tf.float32),
        next_observation=tf.constant(draw.normal(size=(size, 4)), tf.float32),
    )


def forward(weights, x):
    *inner, (kernel, bias) = zip(weights[::2], weights[1::2], strict=True)
    for k, b in inner:
        x = np.maximum(x @ k + b, 0)
    return x @ kernel + bias


@pytest.mark.parametrize("loss", ["squared", "huber"])
@pytest.mark.parametrize("double", [False, True])
def test_the_loss_is_the_papers(double, loss):
    net, items = network(), batch()
    agent = QAgent(replace(SMALL, double=double, loss=loss), net, OBSERVATION, 2)
    for variable in net.variables:  # online and target networks now differ
        variable.assign_add(tf.fill(variable.shape, 0.05))
    online = [v.numpy() for v in net.variables]
    target = [v.numpy() for v in agent.target_network.variables]

    next_q = forward(target, items.next_observation.numpy())
    chooser = forward(online, items.next_observation.numpy()) if double else next_q
    rows = np.arange(16)
    bootstrap = next_q[rows, chooser.argmax(-1)]
    targets = items.reward.numpy() + items.discount.numpy() * bootstrap
    error = targets - forward(online, items.observation.numpy())[rows, items.action.numpy()]
    if loss == "squared":
        expected = np.mean(error**2)
    else:
        small = np.abs(error) <= 1
        expected = np.mean(np.where(small, error**2 / 2, np.abs(error) - 0.5))

    _, measured = agent.gradients(items)
    assert float(measured) == pytest.approx(expected, rel=1e-5)


def test_gradient_clipping_bounds_the_global_norm():
    net, items = network(), batch()
    config = replace(SMALL, optimizer="sgd", learning_rate=0.5, gradient_clipping=0.01)
    agent = QAgent(config, net, OBSERVATION, 2)
    before = [v.numpy() for v in net.trainable_variables]
    agent.apply(agent.gradients(items)[0])
    moved = [v.numpy() - b for v, b in zip(net.trainable_variables, before, strict=True)]
    norm = np.sqrt(sum((m**2).sum() for m in moved))
    assert norm == pytest.approx(0.5 * 0.01, rel=1e-4)


@pytest.mark.parametrize(("period", "tau"), [(3, 1.0), (1, 0.25)])
def test_the_target_network_follows_every_period_by_tau(period, tau):
    config = replace(SMALL, target_update_period=period, target_update_tau=tau)
    net = network()
    agent = QAgent(config, net, OBSERVATION, 2)
    expected = [v.numpy() for v in net.variables]
    for update in range(1, 8):
        agent.apply(agent.gradients(batch())[0])
        if update % period == 0:
            expected = [
                (1 - tau) * e + tau * v.numpy()
                for e, v in zip(expected, net.variables, strict=True)
            ]
        for e, v in zip(expected, agent.target_network.variables, strict=True):
            np.testing.assert_allclose(v.numpy(), e, rtol=1e-5, atol=1e-7)


def test_collected_transitions_are_the_environments_own():
    made = learner()
    Program(made, Runtime(), seed=3).run(0, 30)  # 150 rows of 2 environments, of 200
    stored = [v.numpy().reshape(-1, 2, *v.shape[1:])[:150] for v in made.replay._storage]
    observation, action, reward, following, terminated, truncated = stored
    state, rewards, ended = CartPole().step(
        tf.constant(observation.reshape(-1, 4)), tf.constant(action.reshape(-1))
    )
    np.testing.assert_allclose(following.reshape(-1, 4), state, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(terminated.reshape(-1), ended)
    np.testing.assert_array_equal(reward.reshape(-1), rewards)
    goes_on = ~(terminated | truncated)[:-1]
    np.testing.assert_array_equal(observation[1:][goes_on], following[:-1][goes_on])
    fresh = observation[1:][~goes_on]
    assert len(fresh) > 0
    assert (np.abs(fresh) <= 0.05).all()
    assert set(np.unique(action)) == {0, 1}


def test_learning_starts_when_it_should_and_takes_so_many_updates():
    config = replace(SMALL, gradient_steps=4)  # a step is 10 environment steps
    made = learner(config)
    program = Program(made, Runtime(), seed=0)
    assert "loss" not in program.run(0, 4)
    assert int(made.agent.updates) == 0
    assert "loss" in program.run(4, 3)
    assert int(made.agent.updates) == 12


def test_blocks_of_any_length_give_the_same_numbers():
    whole, parts = learner(), learner()
    for ours, theirs in zip(whole.network.variables, parts.network.variables, strict=True):
        theirs.assign(ours)
    parts.agent.initialize()
    whole.agent.initialize()
    Program(whole, Runtime(), seed=5).run(0, 40)
    program = Program(parts, Runtime(), seed=5)
    for first, steps in ((0, 7), (7, 1), (8, 32)):
        program.run(first, steps)
    for a, b in zip(whole.network.variables, parts.network.variables, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    for a, b in zip(whole.episodes, parts.episodes, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_evaluation_changes_nothing_and_plays_each_episode_to_its_end():
    made = learner()
    program = Program(made, Runtime(), seed=0)
    program.run(0, 20)
    before = [v.numpy() for v in made.variables]
    metrics = program.evaluate(20)
    for value, variable in zip(before, made.variables, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    assert metrics["return"] == metrics["episode_length"]  # CartPole pays 1 a step
    assert metrics["return_min"] <= metrics["return"] <= metrics["return_max"] <= 500


def test_evaluation_equals_a_plain_loop():
    made = learner()
    Program(made, Runtime(), seed=0).run(0, 50)
    metrics = Program(made, Runtime(jit="off"), seed=0).evaluate(3)
    cartpole = CartPole()
    state = cartpole.reset(Seed(0, 3, "evaluate/")("episodes"), 7)
    returns, running = np.zeros(7), np.ones(7, bool)
    for _ in range(500):
        action = tf.argmax(made.q_values(cartpole.observe(state)), -1, tf.int32)
        state, reward, terminated = cartpole.step(state, action)
        returns += running * reward.numpy()
        running &= ~terminated.numpy()
    assert metrics["return"] == pytest.approx(returns.mean(), rel=1e-6)
    assert metrics["return_std"] == pytest.approx(returns.std(), rel=1e-4, abs=1e-4)


def test_the_q_network_computes_what_tf_agents_own_does():
    ours = network((8, 6))
    theirs = QNetwork(OBSERVATION, action_spec(2), fc_layer_params=(8, 6))
    theirs.create_variables()
    for variable, value in zip(theirs.variables, ours.variables, strict=True):
        variable.assign(value)
    observations = batch().observation
    np.testing.assert_allclose(ours(observations)[0], theirs(observations)[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_fan_in_weights_start_uniform_within_the_inverse_root_of_the_inputs(layer):
    net = q_network(MlpConfig(layers=[300, 200], initializer="fan_in"), OBSERVATION, 2)
    inputs = (4, 300, 200)[layer]
    kernel, bias = (v.numpy() for v in net.variables[2 * layer : 2 * layer + 2])
    bound = inputs**-0.5
    assert np.abs(kernel).max() <= bound
    assert np.abs(bias).max() <= bound
    assert np.abs(bias).min() > 0
    test = stats.kstest(kernel.ravel(), stats.uniform(-bound, 2 * bound).cdf)
    assert test.pvalue > 1e-6  # one false alarm in a million


@pytest.mark.parametrize("initializer", ["fan_in", "he"])
def test_every_layer_and_every_seed_starts_elsewhere(initializer):
    config = MlpConfig(layers=[4, 4], initializer=initializer)
    starts = []
    for seed in (1, 2):
        tf.keras.utils.set_random_seed(seed)
        kernels = q_network(config, OBSERVATION, 4).variables[::2]
        starts += [kernel.numpy().tobytes() for kernel in kernels]
    assert len(set(starts)) == len(starts)


def test_he_weights_start_as_tf_agents_do():
    net = q_network(MlpConfig(layers=[300], initializer="he"), OBSERVATION, 2)
    kernel, bias, last, last_bias = (v.numpy() for v in net.variables)
    assert kernel.std() == pytest.approx((2 / 4) ** 0.5, rel=0.1)
    assert (bias == 0).all()
    assert np.abs(last).max() <= 0.03
    np.testing.assert_allclose(last_bias, -0.2)
