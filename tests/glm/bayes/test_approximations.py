"""Approximations of Gaussians are exact where they can be; k̂ tells how far the others go."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import statsmodels.api as sm
import tensorflow as tf

from workbench.core.devices import mirrored_strategy
from workbench.core.program import Program
from workbench.core.runtime import Runtime
from workbench.datasets.tables.frame import FrameTable
from workbench.glm.bayes import mode, variational
from workbench.glm.bayes.approximations import build_approximation
from workbench.glm.bayes.gaussian import Gaussian, pareto_k
from workbench.glm.bayes.mode import Mode, expansion
from workbench.glm.bayes.model import Posterior
from workbench.glm.bayes.variational import Variational
from workbench.glm.config import BayesConfig, ModelConfig
from workbench.glm.formula import regression_of

LOCATION = np.array([1.0, -2.0, 0.5])
PRECISION = np.array([[2.0, 1.2, 0.0], [1.2, 1.0, 0.3], [0.0, 0.3, 4.0]])


def gaussian(theta):
    away = theta - tf.constant(LOCATION, theta.dtype)
    return -0.5 * tf.reduce_sum(away * (away @ tf.constant(PRECISION, theta.dtype)), -1)


def finished(learner, most=100, block=1, seed=0, place=None):
    program = Program(learner, place or Runtime(), seed)
    for first in range(0, most * block, block):
        metrics = program.run(first, block)
        assert learner.fault(metrics) is None
        if learner.done(metrics):
            return program
    return None


def covariance(q):
    return q.scale @ q.scale.T


# The mode and the curvature there.


def test_one_step_finds_the_mode_of_a_gaussian_and_its_exact_covariance():
    learner = Mode(gaussian, 3)
    assert finished(learner, most=2)
    np.testing.assert_allclose(learner.theta.numpy(), LOCATION, rtol=1e-14)
    q = Gaussian.of(learner.theta.numpy(), learner.information.numpy())
    np.testing.assert_allclose(covariance(q), np.linalg.inv(PRECISION), rtol=1e-12)


@pytest.mark.parametrize("rows", [1, 2, 32])
def test_curvature_is_that_of_finite_differences(rows, monkeypatch):
    monkeypatch.setattr(mode, "ROWS", rows)

    def density(theta):
        return -tf.exp(theta[:, 0]) - tf.exp(theta[:, 0] * theta[:, 1]) + tf.sin(theta[:, 2])

    at = np.array([0.3, -0.7, 1.1])
    value, gradient, information = expansion(density, tf.constant(at))
    steps = 1e-4 * np.eye(3)

    def of(theta):
        return float(density(tf.constant(theta[None]))[0])

    assert value == of(at)
    np.testing.assert_allclose(
        gradient, [(of(at + e) - of(at - e)) / 2e-4 for e in steps], atol=1e-6
    )
    second = [
        [(of(at + e + f) - of(at + e - f) - of(at - e + f) + of(at - e - f)) / 4e-8 for f in steps]
        for e in steps
    ]
    np.testing.assert_allclose(information, -np.array(second), atol=1e-5)


@pytest.mark.parametrize("far", [3.0, 30.0, 1000.0])
def test_a_mode_that_newton_would_step_over_is_found(far):
    """Of Student's t, whose density curves upwards away from the mode."""
    learner = Mode(lambda theta: -2 * tf.reduce_sum(tf.math.log1p((theta - far) ** 2 / 3), -1), 2)
    assert finished(learner)
    np.testing.assert_allclose(learner.theta.numpy(), far, rtol=1e-9)
    np.testing.assert_allclose(learner.information.numpy(), np.eye(2) * 4 / 3, rtol=1e-6, atol=1e-9)


def test_coordinates_of_very_different_scales_are_no_obstacle():
    scales = tf.constant([1e-6, 1.0, 1e6], tf.float64)
    learner = Mode(lambda theta: gaussian(theta / scales + 1), 3)
    assert finished(learner)
    np.testing.assert_allclose(learner.theta.numpy() / scales, LOCATION - 1, atol=1e-9)


def test_a_direction_without_a_fall_is_found():
    learner = Mode(lambda theta: -((theta[:, 0] + theta[:, 1] - 1) ** 2) - theta[:, 2] ** 2, 3)
    assert finished(learner)
    np.testing.assert_allclose(np.abs(learner.flat), [[0.5**0.5, 0.5**0.5, 0]], atol=1e-9)


def test_a_density_without_a_mode_is_a_fault():
    learner = Mode(lambda theta: tf.reduce_sum(tf.math.softplus(theta), -1), 2)
    metrics = Program(learner, Runtime(), 0).run(0, 100)
    assert not learner.converged
    assert learner.fault(metrics)


def test_steps_after_the_end_change_nothing():
    learner = Mode(gaussian, 3)
    program = finished(learner)
    theta = learner.theta.numpy()
    program.run(10, 5)
    np.testing.assert_array_equal(learner.theta.numpy(), theta)


# The nearest Gaussian.


@pytest.mark.parametrize("dtype", [tf.float64, tf.float32])
def test_full_rank_recovers_a_gaussian(dtype):
    learner = Variational(gaussian, 3, 32, full=True, dtype=dtype)
    program = finished(learner, block=variational.ROUND)
    np.testing.assert_allclose(learner.found.location, LOCATION, atol=1e-4)
    np.testing.assert_allclose(covariance(learner.found), np.linalg.inv(PRECISION), atol=1e-3)
    # The bound is the evidence itself: log of the integral of exp(-x'Px/2).
    evidence = 1.5 * np.log(2 * np.pi) - 0.5 * np.linalg.slogdet(PRECISION)[1]
    assert program.evaluate(0)["elbo"] == pytest.approx(evidence, abs=1e-3)


def test_mean_field_has_the_precisions_diagonal_and_so_too_small_variances():
    learner = Variational(gaussian, 3, 64, full=False)
    assert finished(learner, block=variational.ROUND)
    found = np.diag(covariance(learner.found))
    np.testing.assert_allclose(learner.found.location, LOCATION, atol=0.03)
    np.testing.assert_allclose(found, 1 / np.diag(PRECISION), rtol=0.05)
    assert np.all(found[:2] < 0.5 * np.diag(np.linalg.inv(PRECISION))[:2])
    assert np.count_nonzero(learner.found.scale) == 3


def test_a_gamma_posterior_on_the_logarithm_has_the_known_nearest_gaussian():
    """For x ~ Gamma(a, 1), t = log x: KL is least at s² = 1/a and m = log a - s²/2."""
    shape = 4.0
    learner = Variational(lambda t: tf.reduce_sum(shape * t - tf.exp(t), -1), 1, 64, full=True)
    assert finished(learner, block=variational.ROUND)
    assert learner.found.location[0] == pytest.approx(np.log(shape) - 1 / (2 * shape), abs=0.02)
    assert covariance(learner.found)[0, 0] == pytest.approx(1 / shape, rel=0.05)


def test_a_run_that_is_taken_up_again_goes_on_as_it_would_have(tmp_path):
    whole, begun, resumed = (Variational(gaussian, 3, 8, full=True) for _ in range(3))
    Program(whole, Runtime(), 5).run(0, 250)
    Program(begun, Runtime(), 5).run(0, 130)
    path = tf.train.Checkpoint(learner=begun).write(str(tmp_path / "state"))
    tf.train.Checkpoint(learner=resumed).read(path).assert_consumed()
    Program(resumed, Runtime(), 5).run(130, 120)
    for ours, theirs in zip(resumed.variables, whole.variables, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


@pytest.mark.parametrize("count", [2, 4])
def test_the_number_of_replicas_does_not_matter(count):
    def found(replicas):
        place = Runtime() if replicas == 1 else Runtime(strategy=mirrored_strategy("CPU", replicas))
        with place.scope():
            learners = Variational(gaussian, 3, 8, full=True), Mode(gaussian, 3)
        metrics = [Program(learner, place, 1).run(0, 120) for learner in learners]
        return metrics, learners[0].found

    metrics, q = found(count)
    expected, p = found(1)
    for ours, theirs in zip(metrics, expected, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-6, abs=1e-12)
    np.testing.assert_allclose(covariance(q), covariance(p), rtol=1e-6)


def test_draws_without_a_density_are_left_out_and_counted():
    def half(theta):
        inside = gaussian(theta)
        return tf.where(theta[:, 0] > 0, inside, tf.constant(-np.inf, theta.dtype))

    metrics = Program(Variational(half, 3, 64, full=True), Runtime(), 0).run(0, 1)
    assert 0.2 < metrics["lost"] < 0.8
    assert np.isfinite(metrics["loss"])


def test_a_density_of_nothing_is_a_fault():
    learner = Variational(lambda theta: theta[:, 0] * np.nan, 2, 8, full=True)
    metrics = Program(learner, Runtime(), 0).run(0, 2)
    assert "no draw of the approximation has a finite density" in learner.fault(metrics)


# How good they are.


def test_draws_of_an_approximation_have_its_distribution():
    q = Gaussian.of(LOCATION, PRECISION)
    theta = q.draw(20_000, np.random.default_rng(0))
    np.testing.assert_allclose(np.cov(theta.T), np.linalg.inv(PRECISION), atol=0.15)
    truth = scipy.stats.multivariate_normal(LOCATION, np.linalg.inv(PRECISION))
    gap = truth.logpdf(theta) - q.log_density(theta)
    np.testing.assert_allclose(gap, gap[0], rtol=1e-9)


def student(theta, freedom):
    return np.sum(scipy.stats.t.logpdf(theta, freedom), -1)


def test_pareto_k_tells_good_from_bad():
    q = Gaussian(np.zeros(2), np.eye(2))
    theta = q.draw(2000, np.random.default_rng(1))
    assert pareto_k(q.log_density, theta, q) == -np.inf
    assert pareto_k(lambda x: student(x, 50), theta, q) < 0.5
    assert pareto_k(lambda x: q.log_density(x / 5), theta, q) > 0.7


# Of a regression.


def regression(formula="y ~ x + z", rows=60):
    generator = np.random.default_rng(2)
    data = pd.DataFrame(generator.normal(size=[rows, 2]), columns=["x", "z"])
    data["y"] = 1 + 2 * data.x - data.z + generator.normal(size=rows)
    model = ModelConfig(formula=formula, family="gaussian")
    return regression_of(FrameTable(data), model)


def conjugate(found, sigma, scale):
    """Mean and covariance of β for known σ and priors N(0, scale²)."""
    x, y = found.rows.design, found.rows.response
    inside = np.linalg.inv(x.T @ x / sigma**2 + np.eye(x.shape[1]) / scale**2)
    return inside @ x.T @ y / sigma**2, inside


def results(sampler, found, dtype="float64", **priors):
    config = BayesConfig(sampler=sampler, chains=32, draws=500, dtype=dtype, priors=priors)
    assembly = build_approximation(config, Posterior(found, config), seed=0)
    block = variational.ROUND if "advi" in sampler else 1
    assert finished(assembly.learner, block=block)
    return assembly


@pytest.mark.parametrize("sampler", ["map", "laplace", "advi_full", "advi_mean"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_linear_regression_with_known_variance_has_the_conjugate_posterior(sampler, dtype):
    found = regression()
    priors = {
        "default": {"kind": "normal", "scale": 0.7},
        "sigma": {"kind": "fixed", "location": 1.5},
    }
    assembly = results(sampler, found, dtype, **priors)
    mean, covariance = conjugate(found, 1.5, 0.7)
    beta = assembly.result().parameters["beta"].values[0]
    digits = 1e-3 if dtype == "float32" else 1e-9
    if sampler == "map":
        np.testing.assert_allclose(beta[0], mean, rtol=digits)
        assert "single point" in assembly.verdicts[0]()
        return
    error = np.sqrt(np.diag(covariance) / len(beta))
    np.testing.assert_array_less(np.abs(np.mean(beta, 0) - mean), 4.5 * error)
    np.testing.assert_allclose(np.cov(beta.T), covariance, atol=0.05 * np.max(covariance))
    assert assembly.verdicts[0]().startswith("an approximation that may stand for the posterior")


def test_the_mode_of_the_parameters_is_not_that_of_their_logarithms():
    """For y ~ N(0, σ) and a prior 1/σ: σ² is Σy²/(n + 1), and Σy²/n on the logarithm."""
    found = regression("y ~ 0 + x")
    priors = {"x": {"kind": "normal", "scale": 1e-6}, "sigma": {"kind": "jeffreys"}}
    assembly = results("map", found, **priors)
    sigma = float(assembly.result().parameters["sigma"].values[0, 0])
    squares = np.sum(found.rows.response**2)
    assert sigma**2 == pytest.approx(squares / (len(found.rows.response) + 1), rel=1e-6)
    logarithm = results("laplace", found, **priors).learner
    posterior_sigma = Posterior(found, BayesConfig(dtype="float64", priors=priors)).constrained(
        logarithm.theta.numpy()
    )["sigma"]
    assert posterior_sigma**2 == pytest.approx(squares / len(found.rows.response), rel=1e-6)


def test_coefficients_that_nothing_holds_are_named():
    found = regression()
    rows = found.rows
    twice = rows._replace(design=np.column_stack([rows.design, rows.design[:, 1]]))
    terms = found.terms | {"w": [3]}
    found = dataclasses.replace(found, rows=twice, names=[*found.names, "w"], terms=terms)
    flat = {"default": {"kind": "flat"}, "sigma": {"kind": "fixed", "location": 1.0}}
    assembly = results("laplace", found, **flat)
    assert "nothing holds beta[x] and beta[w] in place: give priors (method.priors)" in (
        assembly.verdicts[0]()
    )


def test_an_approximation_that_is_far_off_is_told_and_says_nothing_of_rows():
    """A few groups hardly say how much they differ: a posterior like a funnel."""
    generator = np.random.default_rng(4)
    data = pd.DataFrame({"group": np.repeat(list("abcd"), 20), "y": generator.normal(size=80)})
    model = ModelConfig(formula="y ~ 1 + (1 | group)", family="gaussian")
    assembly = results("laplace", regression_of(FrameTable(data), model))
    verdict = assembly.verdicts[0]()
    assert verdict.startswith("the approximation is not to be trusted: Pareto k̂ of its importance")
    assert verdict.endswith("above 0.7: take method.sampler=chees")
    assert not any("PSIS-LOO" in note for note in assembly.result().notes)


def test_an_approximation_that_was_ended_early_is_not_trusted():
    found = regression()
    config = BayesConfig(sampler="advi_full", chains=8)
    assembly = build_approximation(config, Posterior(found, config), seed=0)
    Program(assembly.learner, Runtime(), 0).run(0, 5)
    assert "it has not converged: more steps (train.budget)" in assembly.verdicts[0]()


@pytest.mark.parametrize("family", ["binomial", "poisson"])
def test_under_flat_priors_mode_and_curvature_are_statsmodels_estimate(family):
    spector = sm.datasets.spector.load_pandas().data
    found = regression_of(
        FrameTable(spector), ModelConfig(formula="GRADE ~ GPA + TUCE + PSI", family=family)
    )
    learner = results("laplace", found, default={"kind": "flat"}).learner
    posterior = Posterior(found, BayesConfig(dtype="float64", priors={"default": {"kind": "flat"}}))
    points = learner.theta.numpy() + np.vstack([np.zeros(4), np.eye(4)])
    beta, *moved = posterior.constrained(points)["beta"]
    slope = (np.array(moved) - beta).T
    truth = sm.GLM(
        spector.GRADE,
        sm.add_constant(spector[["GPA", "TUCE", "PSI"]]),
        family={"binomial": sm.families.Binomial(), "poisson": sm.families.Poisson()}[family],
    ).fit(tol=1e-14)
    np.testing.assert_allclose(beta, truth.params, rtol=1e-7)
    inside = slope @ np.linalg.solve(learner.information.numpy(), slope.T)
    np.testing.assert_allclose(inside, truth.cov_params(), rtol=1e-6)
