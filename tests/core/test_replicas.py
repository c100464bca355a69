"""A step divided over 1, 2 and 4 replicas gives the same numbers."""

import numpy as np
import pytest
import tensorflow as tf
from learners import LEARNERS, assembled, each_learner

from workbench.core import replicas
from workbench.core.devices import mirrored_strategy
from workbench.core.learner import Learner, Mean
from workbench.core.program import Program
from workbench.core.random import Seed
from workbench.core.runtime import Runtime


def runtime(count: int) -> Runtime:
    if count == 1:
        return Runtime()
    return Runtime(strategy=mirrored_strategy("CPU", count))


class Regression(Learner):
    """Least squares by momentum on batches of drawn examples: state, sums, parts and metrics."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = tf.Variable(tf.zeros([3, 2]))
        self.velocity = tf.Variable(tf.zeros([3, 2]))
        self.share = replicas.Share(8, "batch_size")
        self.counts = replicas.Parts(tf.Variable(tf.zeros([self.share.size])))

    def train_step(self, seed: Seed) -> dict[str, tf.Tensor | Mean]:
        def descent() -> tuple[tf.Tensor, tf.Tensor]:
            x = tf.cast(tf.random.stateless_uniform([8, 3], seed("x"), -4, 5, tf.int32), tf.float32)
            x = self.share.of(x)
            y = x[:, :2] - 2 * x[:, 1:]
            error = x @ self.weight - y
            self.counts.variable.assign_add(x[:, 0])
            return tf.matmul(x, error, transpose_a=True) / 8, tf.reduce_sum(error**2)

        def move(gradient: tf.Tensor) -> tf.Tensor:
            self.velocity.assign(0.5 * self.velocity - 0.03 * gradient)
            self.weight.assign_add(self.velocity)
            return tf.reduce_sum(tf.abs(self.weight))

        gradient, loss = replicas.total(replicas.each(descent)())
        size = replicas.each(move)(gradient)
        return {"loss": replicas.first(loss) / 8, "size": replicas.first(size)}

    def evaluate(self, seed: Seed) -> dict[str, tf.Tensor]:
        del seed
        counts = self.share.gathered(replicas.each(self.counts.variable.read_value)())
        return {"weighted": tf.reduce_sum(counts * tf.range(1.0, 9.0))}


def trained(count: int, steps: int = 20) -> tuple[dict, dict, np.ndarray]:
    place = runtime(count)
    with place.scope():
        learner = Regression()
    program = Program(learner, place, seed=3)
    metrics = program.run(0, steps)
    return metrics, program.evaluate(0), learner.weight.numpy()


@pytest.mark.parametrize("count", [2, 4])
def test_numbers_do_not_depend_on_the_number_of_replicas(count):
    metrics, judged, weight = trained(count)
    expected_metrics, expected_judged, expected_weight = trained(1)
    assert metrics == pytest.approx(expected_metrics, rel=1e-5)
    assert judged == expected_judged
    np.testing.assert_allclose(weight, expected_weight, rtol=1e-5, atol=1e-6)


@each_learner
def test_every_learner_gives_the_same_numbers_on_two_replicas(overrides):
    assert numbers(overrides, 2) == pytest.approx(numbers(overrides, 1), rel=1e-4)


@pytest.mark.parametrize("learner", ["dqn", "dp-sgd", "fed-avg", "fed-krum", "glm-mle"])
def test_a_learner_of_each_kind_gives_the_same_numbers_on_four_replicas(learner):
    overrides = LEARNERS[learner]
    assert numbers(overrides, 4) == pytest.approx(numbers(overrides, 1), rel=1e-4)


def numbers(overrides: list[str], count: int) -> dict[str, float]:
    place = runtime(count)
    tf.keras.utils.set_random_seed(1)
    with place.scope():
        assembly = assembled(overrides)
    program = Program(assembly.learner, place, seed=3, feed=assembly.feed)
    trained = program.run(0, 30)
    return trained | {f"judged {k}": v for k, v in program.evaluate(30).items()}
