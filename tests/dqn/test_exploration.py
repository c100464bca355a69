import numpy as np
import pytest
import tensorflow as tf

from workbench.core.config import ConfigError
from workbench.core.replicas import Share
from workbench.dqn.config import ExplorationConfig
from workbench.dqn.exploration import epsilon, epsilon_greedy, greedy

LINEAR = ExplorationConfig(schedule="linear", start=1.0, end=0.1, steps=100)
EXPONENTIAL = ExplorationConfig(schedule="exponential", start=1.0, end=0.01, steps=100)


@pytest.mark.parametrize(
    ("config", "step", "rate"),
    [
        (LINEAR, 0, 1.0),
        (LINEAR, 50, 0.55),
        (LINEAR, 100, 0.1),
        (LINEAR, 10_000, 0.1),
        (EXPONENTIAL, 0, 1.0),
        (EXPONENTIAL, 50, 0.1),
        (EXPONENTIAL, 100, 0.01),
        (EXPONENTIAL, 10_000, 0.01),
    ],
)
def test_epsilon_follows_its_schedule_on_device_and_host(config, step, rate):
    assert float(epsilon(config, tf.constant(step, tf.int64))) == pytest.approx(rate, rel=1e-6)
    assert epsilon(config, np.array([step]))[0] == pytest.approx(rate, rel=1e-6)


def test_an_exponential_schedule_cannot_reach_zero():
    with pytest.raises(ConfigError, match="use linear"):
        ExplorationConfig(schedule="exponential", end=0.0)


def test_greedy_takes_the_first_best_action():
    assert greedy(tf.constant([[1.0, 3.0, 3.0], [2.0, 0.0, 1.0]])).numpy().tolist() == [1, 0]


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
def test_epsilon_greedy_explores_uniformly_with_probability_epsilon(rate):
    count, actions, best = 60_000, 5, 2
    q_values = tf.tile(tf.one_hot([best], actions), [count, 1])
    chosen = epsilon_greedy(
        q_values, tf.constant(rate), tf.constant([3, 4], tf.int64), Share(count)
    ).numpy()
    observed = np.bincount(chosen, minlength=actions)
    expected = np.full(actions, count * rate / actions)
    expected[best] += count * (1 - rate)
    if rate == 0:
        assert observed.tolist() == expected.tolist()
        return
    chi_squared = ((observed - expected) ** 2 / expected).sum()
    assert chi_squared < 33.4  # 4 degrees of freedom: passed by all but one in a million


def test_exploration_is_a_function_of_its_seed():
    q_values = tf.zeros([1000, 4])

    def draw(seed):
        return epsilon_greedy(
            q_values, tf.constant(1.0), tf.constant(seed, tf.int64), Share(len(q_values))
        ).numpy()

    assert (draw([1, 2]) == draw([1, 2])).all()
    assert (draw([1, 2]) != draw([1, 3])).any()
