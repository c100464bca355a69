"""Samplers draw from what they are to draw from, and adapt as the papers and TFP do."""

import arviz as az
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from workbench.core.devices import mirrored_strategy
from workbench.core.program import Program
from workbench.core.runtime import Runtime
from workbench.glm.bayes.adaptation import Shape, StepSize, windows
from workbench.glm.bayes.chees import Chees, halton
from workbench.glm.bayes.kernel import Stage
from workbench.glm.bayes.learner import Sampler
from workbench.glm.config import BayesConfig

tfd = tfp.distributions
NEITHER = Stage(tf.constant(False), tf.constant(False))


class Known:
    """A distribution in a posterior's place."""

    def __init__(self, size, log_density, dtype=tf.float32):
        self.size, self.log_density, self.data, self.dtype = size, log_density, None, dtype

    def initial(self, chains, seed):
        return tf.random.stateless_uniform([chains, self.size], seed, -2, 2, self.dtype)


SCALE = np.array([[3.0, 0.0, 0.0], [2.7, 0.5, 0.0], [-0.1, 0.0, 0.01]], np.float32)
MEAN = np.array([1.0, 2.0, 0.0], np.float32)


def correlated(dtype=tf.float32):
    """Of scales from 3 to 0.01, and a correlation of 0.98."""
    normal = tfd.MultivariateNormalTriL(tf.cast(MEAN, dtype), tf.cast(SCALE, dtype))
    return Known(3, normal.log_prob, dtype)


def drawn(target, runtime=None, seed=0, **settings):
    place = runtime or Runtime()
    config = BayesConfig(**{"chains": 16, "warm_up": 400, "draws": 500} | settings)
    with place.scope():
        learner = Sampler(target, config, seed)
    Program(learner, place, seed).run(0, config.warm_up + config.draws)
    return learner


@pytest.mark.parametrize("sampler", ["chees", "nuts"])
def test_draws_have_the_moments_of_what_they_are_drawn_from(sampler):
    learner = drawn(correlated(), sampler=sampler)
    flat = learner.draws.reshape(-1, 3)
    covariance = SCALE @ SCALE.T
    np.testing.assert_allclose(flat.mean(0), MEAN, atol=4 * 3 / np.sqrt(4000))
    np.testing.assert_allclose(np.cov(flat.T), covariance, rtol=0.1, atol=2e-3)
    assert az.rhat(az.convert_to_dataset({"theta": learner.draws}))["theta"].max() < 1.01
    assert not learner.stats["diverging"].any()


@pytest.mark.parametrize("sampler", ["chees", "nuts"])
def test_draws_of_a_skewed_distribution_have_its_quantiles(sampler):
    gamma = tfd.Gamma(2.0, 1.0)
    target = Known(2, lambda x: tf.reduce_sum(gamma.log_prob(tf.exp(x)) + x, 1))
    draws = np.exp(drawn(target, sampler=sampler, draws=1000).draws).ravel()
    shares = [0.05, 0.25, 0.5, 0.75, 0.95]
    below = [np.mean(draws < gamma.quantile(share).numpy()) for share in shares]
    np.testing.assert_allclose(below, shares, atol=0.015)


def test_chains_that_start_far_away_are_not_left_behind():
    far = correlated()
    far.initial = lambda chains, seed: tf.linspace(-50.0, 50.0, chains)[:, None] * tf.ones([1, 3])
    learner = drawn(far)
    assert az.rhat(az.convert_to_dataset({"theta": learner.draws}))["theta"].max() < 1.01


def test_a_funnel_makes_draws_diverge():
    def funnel(x):
        width = x[:, :1]
        inner = tfd.Normal(0.0, tf.exp(width * 2)).log_prob(x[:, 1:])
        return tf.reduce_sum(inner, 1) + tfd.Normal(0.0, 3.0).log_prob(x[:, 0])

    stats = drawn(Known(9, funnel)).stats
    assert stats["diverging"].any()


def test_energies_vary_as_much_as_from_draw_to_draw_where_momenta_explore_them():
    energy = drawn(correlated(), draws=1000).stats["energy"]
    assert energy.mean() - energy.min() == pytest.approx(3, rel=1)
    bfmi = np.square(np.diff(energy, axis=1)).mean() / energy.var()
    assert 0.5 < bfmi < 2


def test_slope_of_chees_is_that_of_tfp():
    kernel = Chees(correlated().log_density, 3, 0.8, tf.float32)
    generator = np.random.default_rng(0)
    start, end, momentum = generator.normal(size=(3, 50, 3)).astype("float32")
    start, end = start - start.mean(0), end - end.mean(0)
    kernel.shape.learn(kernel.shape.moments(tf.constant(np.concatenate([start, end]))))
    time = tf.zeros([50])
    with tf.GradientTape() as tape:
        tape.watch(time)
        moved = end + time[:, None] * momentum
        value = tfp.experimental.mcmc.chees_criterion(start, moved, tf.ones([50]), 1.0)
    expected = tape.gradient(value, time)
    np.testing.assert_allclose(kernel._slope(start, end, momentum), expected, rtol=1e-4, atol=1e-3)


def test_the_sequence_of_trajectories_is_halton_s():
    found = [float(halton(tf.constant(i, tf.int64), tf.float32)) for i in range(7)]
    assert found == [1 / 2, 1 / 4, 3 / 4, 1 / 8, 5 / 8, 3 / 8, 7 / 8]


def test_trajectories_that_keep_energy_are_reversed_by_a_reversed_momentum():
    kernel = Chees(correlated().log_density, 3, 0.8, tf.float32)
    points = kernel.at(tf.constant([[0.5, 1.0, 0.01]]))
    momentum = tf.constant([[0.3, -0.2, 0.1]])
    there, speed = kernel._trajectory(points, momentum, tf.constant(0.003), tf.constant(20))
    back, speed = kernel._trajectory(there, -speed, tf.constant(0.003), tf.constant(20))
    np.testing.assert_allclose(back.theta, points.theta, atol=1e-4)
    np.testing.assert_allclose(-speed, momentum, atol=1e-3)


def test_steps_become_as_long_as_acceptance_allows():
    step_size = StepSize(1, 0.8, tf.float32)
    for _ in range(500):
        accepted = tf.exp(-step_size.value(tf.constant(False)))
        step_size.learn(accepted)
    assert float(step_size.value(tf.constant(True))) == pytest.approx(-np.log(0.8), rel=0.1)


def test_the_shape_that_was_seen_is_the_covariance_root():
    shape = Shape(3, tf.float32)
    points = MEAN + np.random.default_rng(0).normal(size=(20_000, 3)) @ SCALE.T
    shape.learn(shape.moments(tf.constant(points, tf.float32)))
    shape.take()
    factor = shape.stretched(tf.eye(3)).numpy().T
    np.testing.assert_allclose(factor @ factor.T, SCALE @ SCALE.T, rtol=0.1, atol=2e-3)
    np.testing.assert_array_equal(shape.pulled_back(tf.eye(3)), factor)


def test_points_that_have_no_shape_change_none():
    shape = Shape(2, tf.float32)
    shape.learn(shape.moments(tf.constant([[np.nan, 1.0], [2.0, 3.0]])))
    shape.take()
    np.testing.assert_array_equal(shape.stretched(tf.eye(2)), np.eye(2))


def test_the_worst_chain_sets_the_step_while_chains_settle():
    def learned(settling):
        kernel = Chees(correlated().log_density, 3, 0.8, tf.float32)
        accepted = tf.constant([1.0] * 15 + [0.0])
        seen = kernel._seen(tf.zeros([16, 3]), accepted)
        kernel._learn(seen, Stage(tf.constant(settling), tf.constant(False)))
        return float(kernel.step_size.value(tf.constant(False)))

    assert learned(True) < learned(False)


def test_nothing_is_learned_after_the_warm_up():
    learner = drawn(correlated(), warm_up=50, draws=50)
    assert len(np.unique(learner.stats["step_size"])) == 1


def test_a_warm_up_of_a_few_draws_is_one():
    assert windows(1) == []
    assert windows(10) == [1, 3, 6]
    assert drawn(correlated(), warm_up=1, draws=4).draws.shape == (16, 4, 3)


@pytest.mark.parametrize("sampler", ["chees", "nuts"])
def test_draws_in_parts_are_those_in_one_go(sampler):
    config = BayesConfig(sampler=sampler, chains=4, warm_up=20, draws=20)
    found = []
    for cuts in ([40], [7, 13, 20]):
        learner = Sampler(correlated(), config, 1)
        program, at = Program(learner, Runtime(), 1), 0
        for cut in cuts:
            program.run(at, cut)
            at += cut
        found.append(learner.draws)
    np.testing.assert_array_equal(*found)


def test_chains_on_two_replicas_are_those_on_one():
    two = Runtime(strategy=mirrored_strategy("CPU", 2))
    settings = {"chains": 8, "warm_up": 20, "draws": 10}
    np.testing.assert_allclose(
        drawn(correlated(tf.float64), two, **settings).draws,
        drawn(correlated(tf.float64), **settings).draws,
        rtol=1e-3,
        atol=1e-3,
    )


def test_chains_of_nuts_on_two_replicas_draw_from_the_same():
    two = Runtime(strategy=mirrored_strategy("CPU", 2))
    draws = drawn(correlated(), two, sampler="nuts", chains=4, draws=300).draws
    assert draws.shape == (4, 300, 3)
    assert not np.array_equal(draws[:2], draws[2:])
    np.testing.assert_allclose(draws.mean((0, 1)), MEAN, atol=0.5)


def test_draws_far_outside_give_the_run_up():
    learner = drawn(correlated(), warm_up=5, draws=5)
    assert learner.fault({"lp": np.nan}) == "lp is not finite"
    assert learner.fault({"lp": 1.0, "r_hat": np.inf}) is None


def test_rhat_of_chains_that_disagree_is_large():
    apart = Known(1, lambda x: tf.reduce_logsumexp(-0.5 * tf.square(x - [-50.0, 50.0]), 1))
    apart.initial = lambda chains, seed: tf.repeat([[-50.0], [50.0]], chains // 2, 0)
    assert drawn(apart, warm_up=50, draws=50).examine()["r_hat"] > 1.5
    assert drawn(correlated(), draws=3, warm_up=5).examine()["r_hat"] == np.inf
