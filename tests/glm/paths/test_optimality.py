"""Whatever the family, estimates are where the penalised likelihood is highest."""

import numpy as np
import pytest
import tensorflow as tf
from glm.paths.small import regression, walked
from sklearn.linear_model import ElasticNet, LogisticRegression, PoissonRegressor, TweedieRegressor

from workbench.glm.config import ModelConfig

CASES = {
    "gaussian": ModelConfig(family="gaussian"),
    "gaussian-log": ModelConfig(family="gaussian", link="log"),
    "binomial": ModelConfig(family="binomial"),
    "binomial-cauchit": ModelConfig(family="binomial", link="cauchit"),
    "poisson": ModelConfig(family="poisson"),
    "gamma": ModelConfig(family="gamma"),
    "inverse-gaussian-log": ModelConfig(family="inverse_gaussian", link="log"),
    "negative-binomial": ModelConfig(family="negative_binomial", alpha=0.5),
    "tweedie": ModelConfig(family="tweedie", power=1.5),
}


def sample(model, seed=0, n=150, p=6):
    """Correlated columns of different scales, an offset, and both kinds of weights."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, p)) + rng.normal(size=(n, 1))
    signal = 0.3 * x[:, 0] - 0.2 * x[:, 1]
    mean = np.exp(signal)
    x = x * np.geomspace(0.1, 10, p) + 2
    trials = rng.integers(1, 5, n).astype(float)
    y = {
        "gaussian": mean + 0.3 * rng.normal(size=n),
        "binomial": rng.binomial(trials.astype(int), mean / (1 + mean)) / trials,
        "gamma": rng.gamma(3, mean / 3),
        "inverse_gaussian": rng.wald(mean, 2.0),
    }.get(model.family, rng.poisson(mean).astype(float))
    offset = rng.normal(size=n) * 0.05
    frequency = rng.integers(0, 3, n).astype(float)
    return x, y, {"offset": offset, "frequency": frequency, "weight": trials}


def gradient(found, beta):
    """Of half the mean deviance, by differentiating it."""
    rows = found.rows
    precision = np.broadcast_to(rows.precision, rows.response.shape)
    point = tf.constant(beta)
    with tf.GradientTape() as tape:
        tape.watch(point)
        eta = tf.linalg.matvec(tf.constant(rows.design), point) + rows.offset
        deviance = found.family.deviance(tf.constant(rows.response), eta)
        loss = tf.reduce_sum(precision * deviance) / precision.sum() / 2
    return tape.gradient(loss, point).numpy()


def spreads(found):
    precision = np.broadcast_to(found.rows.precision, found.rows.response.shape)
    mean = np.average(found.rows.design, axis=0, weights=precision)
    return np.sqrt(np.average((found.rows.design - mean) ** 2, axis=0, weights=precision))


@pytest.mark.parametrize("model", CASES.values(), ids=CASES)
def test_gradients_are_the_penaltys(model):
    x, y, weights = sample(model)
    standardise = model.link is None
    found = regression(x, y, model, **weights)
    factors, mix = {"x1": 0, "x3": 2.5}, 0.7
    fit = walked(
        found,
        mix=mix,
        standardise=standardise,
        factors=factors,
        lambdas=12,
        ratio=1e-3,
        folds=0,
        tolerance=1e-16,
    )
    scale = spreads(found) if standardise else np.ones(7)
    scale[0] = 1
    factor = np.array([0, 0, 1, 2.5, 1, 1, 1])
    assert fit.sizes[0] == 0
    assert fit.sizes[-1] == 5
    for strength, beta in zip(fit.lambdas, fit.coefficients, strict=True):
        slope = -gradient(found, beta) / scale
        soft = strength * factor * (1 - mix) * beta * scale
        hard = strength * factor * mix
        inside = (beta != 0) | (factor == 0)
        np.testing.assert_allclose(
            (slope - soft)[inside], (hard * np.sign(beta))[inside], atol=1e-6 * fit.lambdas[0]
        )
        assert np.all(np.abs(slope[~inside]) <= hard[~inside] * (1 + 1e-6))
    # The largest λ is the least one that leaves nothing in.
    null = -gradient(found, fit.coefficients[0]) / scale
    assert np.max(np.abs(null[2:]) / factor[2:]) / mix == pytest.approx(fit.lambdas[0], rel=1e-5)


@pytest.mark.parametrize("mix", [0.0, 0.4, 1.0])
def test_linear_coefficients_are_scikit_learns(mix):
    x, y, _ = sample(CASES["gaussian"])
    found = regression(x, y, CASES["gaussian"])
    fit = walked(found, mix=mix, lambdas=5, folds=0, standardise=False, tolerance=1e-16)
    for strength, beta in zip(fit.lambdas[1:], fit.coefficients[1:], strict=True):
        theirs = ElasticNet(alpha=strength, l1_ratio=mix, tol=1e-12, max_iter=10**6).fit(x, y)
        np.testing.assert_allclose(beta[1:], theirs.coef_, atol=1e-6)
        np.testing.assert_allclose(beta[0], theirs.intercept_, atol=1e-5)


@pytest.mark.parametrize("mix", [0.0, 1.0])
def test_logistic_coefficients_are_scikit_learns(mix):
    x, y, _ = sample(CASES["binomial"])
    x, y = (x - x.mean(0)) / x.std(0), np.round(y)
    fit = walked(regression(x, y, CASES["binomial"]), mix=mix, values=[0.02], folds=0)
    theirs = LogisticRegression(
        C=1 / (len(y) * 0.02),
        penalty="l1" if mix else "l2",
        solver="saga" if mix else "newton-cholesky",
        tol=1e-10,
        max_iter=10**5,
    ).fit(x, y)
    np.testing.assert_allclose(fit.at()[1:], theirs.coef_[0], atol=1e-6)


@pytest.mark.parametrize("power", [1, 1.5])
def test_ridge_coefficients_of_counts_are_scikit_learns(power):
    model = CASES["poisson"] if power == 1 else CASES["tweedie"]
    x, y, weights = sample(model)
    weight = weights["frequency"] * weights["weight"]
    fit = walked(
        regression(x, y, model, weight=weight),
        mix=0.0,
        values=[0.1],
        standardise=False,
        folds=0,
        tolerance=1e-15,
    )
    settings = {"alpha": 0.1, "tol": 1e-9, "max_iter": 10**4, "solver": "newton-cholesky"}
    theirs = PoissonRegressor(**settings)
    if power != 1:
        theirs = TweedieRegressor(power=power, link="log", **settings)
    theirs.fit(x, y, sample_weight=weight)
    np.testing.assert_allclose(fit.at()[1:], theirs.coef_, atol=1e-6)


def test_frequencies_count_as_repeated_rows():
    model = CASES["poisson"]
    x, y, weights = sample(model)
    times = weights["frequency"].astype(int)
    offset = weights["offset"]
    settings = {"lambdas": 6, "folds": 0, "tolerance": 1e-16}
    once = walked(regression(x, y, model, offset=offset, frequency=times), **settings)
    repeated = (np.repeat(value, times, axis=0) for value in (x, y))
    more = walked(regression(*repeated, model, offset=np.repeat(offset, times)), **settings)
    np.testing.assert_allclose(once.lambdas, more.lambdas, rtol=1e-10)
    np.testing.assert_allclose(once.coefficients, more.coefficients, atol=1e-8)


def test_standardised_coefficients_do_not_depend_on_units():
    x, y, weights = sample(CASES["binomial"])
    scale, shift = np.array([1e3, 1e-3, 1, 60, 1, 2.5]), np.array([0, 5, 1e4, -3, 0, 100.0])
    settings = {"mix": 0.5, "lambdas": 8, "folds": 4, "tolerance": 1e-15}
    here = walked(regression(x, y, CASES["binomial"], **weights), **settings)
    there = walked(regression(x * scale + shift, y, CASES["binomial"], **weights), **settings)
    np.testing.assert_allclose(here.lambdas, there.lambdas, rtol=1e-8)
    slopes = there.coefficients[:, 1:] * scale
    np.testing.assert_allclose(here.coefficients[:, 1:], slopes, atol=1e-7)
    np.testing.assert_allclose(here.held_mean, there.held_mean, rtol=1e-8)
    np.testing.assert_allclose(
        here.predict(offset=0.0), there.predict(offset=0.0), rtol=1e-6, atol=1e-8
    )


@pytest.mark.parametrize("family", ["gaussian", "poisson"])
def test_more_columns_than_rows(family):
    rng = np.random.default_rng(4)
    x = rng.normal(size=(40, 90)) * rng.uniform(0.5, 2, 90) + 1
    y = rng.poisson(np.exp(0.5 * x[:, 0] - 0.5 * x[:, 1])).astype(float)
    found = regression(x, y, ModelConfig(family=family))
    fit = walked(found, mix=0.9, lambdas=15, ratio=0.05, folds=0, tolerance=1e-14)
    scale = spreads(found)
    for strength, beta in zip(fit.lambdas, fit.coefficients, strict=True):
        slope = -gradient(found, beta)[1:] / scale[1:]
        pull = slope - strength * 0.1 * beta[1:] * scale[1:]
        inside = beta[1:] != 0
        np.testing.assert_allclose(
            pull[inside], 0.9 * strength * np.sign(beta[1:][inside]), rtol=1e-5
        )
        assert np.all(np.abs(pull[~inside]) <= 0.9 * strength * (1 + 1e-6))
    assert fit.sizes[-1] > 5
