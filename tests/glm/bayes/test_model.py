"""The posterior's density is that of the model in words, by SciPy, for every family and prior."""

import numpy as np
import pytest
import scipy.stats as st
import tensorflow as tf

from workbench.glm import links
from workbench.glm.bayes.model import Posterior
from workbench.glm.config import BayesConfig, ModelConfig
from workbench.glm.families import (
    Binomial,
    Gamma,
    Gaussian,
    InverseGaussian,
    NegativeBinomial,
    Poisson,
)
from workbench.glm.regression import Grouping, Regression
from workbench.glm.rows import Rows

RANDOM = np.random.default_rng(0)
N = 60
X = np.column_stack([np.ones(N), RANDOM.normal(size=(N, 2)) * [1, 30] + [0, 1000]])
ETA = 0.4 * X[:, 1] - 0.01 * (X[:, 2] - 1000)
MEAN = np.exp(ETA)
NAMES = ["Intercept", "x", "z"]
SEED = tf.constant([3, 4], tf.int64)
NORMAL = {"default": {"scale": 2.0}}


def regression(family, response, groupings=(), **rows):
    said = ModelConfig(formula="y ~ x + z", family=family.key)
    terms = {name: [i] for i, name in enumerate(NAMES)}
    return Regression(
        said, family, Rows.of(X, response, **rows), NAMES, terms, "y", groupings=list(groupings)
    )


def posterior(given, **settings):
    return Posterior(given, BayesConfig(**{"dtype": "float64", "priors": NORMAL} | settings))


def offsets(given, log_density, **settings):
    """How much densities at some points differ from what they should be, less what all share."""
    found = posterior(given, **settings)
    theta = found.initial(6, SEED)
    values = found.constrained(theta)
    difference = found.log_density(theta).numpy() - log_density(values)
    return difference - difference[0]


def predictor(values):
    return values["beta"] @ X.T


def normal_prior(values):
    return st.norm(0, 2).logpdf(values["beta"]).sum(1)


WHOLE = RANDOM.poisson(MEAN).astype(float)
POSITIVE = RANDOM.gamma(3, MEAN / 3)
SUCCESS = (RANDOM.random(N) < 1 / (1 + np.exp(-ETA))).astype(float)
TRIALS = RANDOM.integers(1, 9, N).astype(float)
SHARES = RANDOM.binomial(TRIALS.astype(int), 0.4) / TRIALS


def scale(values, name):
    return values[name][:, None]


CASES = {
    "gaussian": (
        Gaussian(),
        ETA + RANDOM.normal(size=N),
        {},
        lambda y, eta, v: st.norm(eta, scale(v, "sigma")).logpdf(y),
    ),
    "gaussian-weights": (
        Gaussian(),
        ETA,
        {"weight": TRIALS},
        lambda y, eta, v: st.norm(eta, scale(v, "sigma") / np.sqrt(TRIALS)).logpdf(y),
    ),
    "gaussian-frequencies": (
        Gaussian(),
        ETA,
        {"frequency": TRIALS},
        lambda y, eta, v: TRIALS * st.norm(eta, scale(v, "sigma")).logpdf(y),
    ),
    "gaussian-log": (
        Gaussian(links.log),
        MEAN,
        {},
        lambda y, eta, v: st.norm(np.exp(eta), scale(v, "sigma")).logpdf(y),
    ),
    "binomial": (Binomial(), SUCCESS, {}, lambda y, eta, v: _logistic(y, eta)),
    "binomial-trials": (
        Binomial(),
        SHARES,
        {"weight": TRIALS},
        lambda y, eta, v: st.binom.logpmf(y * TRIALS, TRIALS, _expit(eta)),
    ),
    "binomial-probit": (
        Binomial(links.probit),
        SUCCESS,
        {},
        lambda y, eta, v: st.bernoulli.logpmf(y, st.norm.cdf(eta)),
    ),
    "poisson": (Poisson(), WHOLE, {}, lambda y, eta, v: st.poisson.logpmf(y, np.exp(eta))),
    "poisson-offset": (
        Poisson(),
        WHOLE,
        {"offset": ETA},
        lambda y, eta, v: st.poisson.logpmf(y, np.exp(eta + ETA)),
    ),
    "gamma": (
        Gamma(links.log),
        POSITIVE,
        {},
        lambda y, eta, v: st.gamma.logpdf(
            y, scale(v, "shape"), scale=np.exp(eta) / scale(v, "shape")
        ),
    ),
    "inverse_gaussian": (
        InverseGaussian(links.log),
        POSITIVE,
        {},
        lambda y, eta, v: st.invgauss.logpdf(
            y, np.exp(eta) * scale(v, "dispersion"), scale=1 / scale(v, "dispersion")
        ),
    ),
    "negative_binomial": (
        NegativeBinomial(),
        WHOLE,
        {},
        lambda y, eta, v: st.nbinom.logpmf(
            y, 1 / scale(v, "alpha"), 1 / (1 + scale(v, "alpha") * np.exp(eta))
        ),
    ),
}


def _logistic(y, eta):
    return -np.logaddexp(0, (1 - 2 * y) * eta)


def _expit(eta):
    return 1 / (1 + np.exp(-eta))


@pytest.mark.parametrize(("family", "response", "rows", "likelihood"), CASES.values(), ids=CASES)
def test_density_is_likelihood_times_prior(family, response, rows, likelihood):
    given = regression(family, response, **rows)

    def log_density(values):
        total = likelihood(response, predictor(values), values).sum(1) + normal_prior(values)
        for name in set(values) - {"beta"}:  # exponential, and flat on the logarithm
            mean = np.std(response) if name == "sigma" else 1.0
            total += st.expon(scale=mean).logpdf(values[name]) + np.log(values[name])
        return total

    np.testing.assert_allclose(offsets(given, log_density), 0, atol=1e-6)


@pytest.mark.parametrize(("family", "response", "rows", "likelihood"), CASES.values(), ids=CASES)
def test_log_likelihood_of_each_row_has_all_of_its_constants(family, response, rows, likelihood):
    found = posterior(regression(family, response, **rows))
    theta = found.initial(3, SEED)
    values = found.constrained(theta)
    expected = likelihood(response, predictor(values), values)
    expected = expected / rows.get("frequency", 1.0)
    np.testing.assert_allclose(found.log_likelihood(theta), expected, rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(
        found.predictor(theta), predictor(values) + rows.get("offset", 0.0), atol=1e-9
    )


PRIORS = {
    "normal": ({"kind": "normal", "location": 1, "scale": 2}, st.norm(1, 2)),
    "student_t": ({"kind": "student_t", "location": 1, "scale": 2, "freedom": 4}, st.t(4, 1, 2)),
    "cauchy": ({"kind": "cauchy", "scale": 3}, st.cauchy(0, 3)),
    "laplace": ({"kind": "laplace", "scale": 0.3}, st.laplace(0, 0.3)),
}


@pytest.mark.parametrize(("said", "known"), PRIORS.values(), ids=PRIORS)
def test_each_coefficient_has_the_prior_that_was_said(said, known):
    def log_density(values):
        eta, beta = predictor(values), values["beta"]
        return _logistic(SUCCESS, eta).sum(1) + known.logpdf(beta[:, 1])

    priors = {"default": {"kind": "flat"}, "x": said}
    given = regression(Binomial(), SUCCESS)
    np.testing.assert_allclose(offsets(given, log_density, priors=priors), 0, atol=1e-7)


SCALES = {
    "half-normal": ({"kind": "normal", "scale": 2}, st.halfnorm(0, 2).logpdf),
    "half-t": ({"kind": "student_t", "scale": 2, "freedom": 4}, st.t(4, 0, 2).logpdf),
    "half-cauchy": ({"kind": "cauchy", "scale": 2}, st.halfcauchy(0, 2).logpdf),
    "exponential": ({"kind": "exponential", "scale": 2}, st.expon(scale=2).logpdf),
    "flat": ({"kind": "flat"}, np.zeros_like),
    "jeffreys": ({"kind": "jeffreys"}, lambda s: -np.log(s)),
}


@pytest.mark.parametrize(("said", "known"), SCALES.values(), ids=SCALES)
def test_sigma_has_the_prior_that_was_said(said, known):
    def log_density(values):
        sigma = values["sigma"]
        rows = st.norm(predictor(values), sigma[:, None]).logpdf(WHOLE).sum(1)
        return rows + known(sigma) + np.log(sigma)

    priors = {"default": {"kind": "flat"}, "sigma": said}
    given = regression(Gaussian(), WHOLE)
    np.testing.assert_allclose(offsets(given, log_density, priors=priors), 0, atol=1e-6)


def test_an_intercept_s_prior_may_be_of_the_mean_of_the_columns():
    def log_density(values):
        rows = _logistic(SUCCESS, predictor(values)).sum(1)
        return rows + st.norm(1, 0.5).logpdf(values["beta"] @ X.mean(0))

    middle = {"location": 1, "scale": 0.5, "at_means": True}
    priors = {"default": {"kind": "flat"}, "Intercept": middle}
    given = regression(Binomial(), SUCCESS)
    np.testing.assert_allclose(offsets(given, log_density, priors=priors), 0, atol=1e-7)


def test_horseshoe_is_a_normal_of_two_half_cauchy_scales():
    def log_density(values):
        beta, local, wide = values["beta"], values["local_scale"], values["global_scale"]
        rows = _logistic(SUCCESS, predictor(values)).sum(1)
        spread = local * wide[:, None]
        scales = st.halfcauchy(0, 1).logpdf(local).sum(1) + st.halfcauchy(0, 0.1).logpdf(wide)
        # The coordinates are multiples of the spread, and logarithms of scales.
        jacobian = np.log(spread).sum(1) + np.log(local).sum(1) + np.log(wide)
        return rows + st.norm(0, spread).logpdf(beta[:, 1:]).sum(1) + scales + jacobian

    priors = {"default": {"kind": "horseshoe", "scale": 0.1}, "Intercept": {"kind": "flat"}}
    given = regression(Binomial(), SUCCESS)
    np.testing.assert_allclose(offsets(given, log_density, priors=priors), 0, atol=1e-7)


def schools():
    codes = RANDOM.integers(0, 4, N).astype(np.int32)
    return Grouping("school", list("ABCD"), codes, ["Intercept", "x"], X[:, :2])


@pytest.mark.parametrize("centred", [False, True])
def test_groups_have_coefficients_of_their_own(centred):
    grouping = schools()

    def log_density(values):
        spread, effects = values["sd_school"], values["b_school"]
        own = (effects[:, grouping.codes] * grouping.design).sum(-1)
        rows = st.poisson.logpmf(WHOLE, np.exp(predictor(values) + own)).sum(1)
        total = rows + normal_prior(values)
        total += st.norm(0, spread[:, None]).logpdf(effects).sum((1, 2))
        total += st.halfnorm(0, 3).logpdf(spread).sum(1) + np.log(spread).sum(1)
        if not centred:  # the coordinates are multiples of the spread
            total += 4 * np.log(spread).sum(1)
        return total

    given = regression(Poisson(), WHOLE, [grouping])
    priors = NORMAL | {"sd": {"kind": "normal", "scale": 3}}
    found = offsets(given, log_density, priors=priors, centred=centred)
    np.testing.assert_allclose(found, 0, atol=1e-6)


def test_parameters_have_names_and_shapes():
    found = posterior(regression(Gaussian(), WHOLE, [schools()]))
    values = found.constrained(np.zeros([5, 7, found.size], np.float32))
    shapes = {name: value.shape for name, value in values.items()}
    assert shapes == {
        "beta": (5, 7, 3),
        "sigma": (5, 7),
        "sd_school": (5, 7, 2),
        "b_school": (5, 7, 4, 2),
    }
    assert [parameter.name for parameter in found.parameters] == list(values)
    for parameter in found.parameters:
        sizes = tuple(len(found.coordinates[name]) for name in parameter.dimensions)
        assert shapes[parameter.name][2:] == sizes
    assert found.coordinates["coefficient"] == NAMES
    assert found.coordinates["school"] == list("ABCD")


def test_float32_is_as_good_as_float64_for_columns_far_from_0():
    given = regression(Gaussian(), 1e4 + 3 * X[:, 2] + RANDOM.normal(size=N))
    exact = posterior(given)
    theta = exact.initial(20, SEED)
    rough = posterior(given, dtype="float32").log_density(tf.cast(theta, tf.float32))
    np.testing.assert_allclose(rough, exact.log_density(theta), rtol=1e-5, atol=1e-3)


def test_coordinates_are_of_the_posterior_s_own_scale():
    found = posterior(regression(Binomial(), SUCCESS))
    theta = tf.zeros([1, found.size], tf.float64)
    with tf.GradientTape() as outer:
        outer.watch(theta)
        with tf.GradientTape() as inner:
            inner.watch(theta)
            density = found.log_density(theta)
        gradient = inner.gradient(density, theta)
    curvature = outer.batch_jacobian(gradient, theta)[0]
    np.testing.assert_allclose(gradient, 0, atol=0.05)
    np.testing.assert_allclose(-curvature, np.eye(found.size), atol=0.05)


def test_points_to_start_from_are_possible_and_apart():
    bounded = Binomial(links.log)
    found = posterior(regression(bounded, (RANDOM.random(N) < 0.5).astype(float)))
    theta = found.initial(16, SEED)
    assert np.isfinite(found.log_density(theta)).all()
    assert np.std(theta, axis=0).min() > 1e-3


def test_separated_responses_have_a_posterior_under_a_prior():
    found = posterior(regression(Binomial(), (X[:, 1] > 0).astype(float)))
    assert np.isfinite(found.constrained(np.zeros([1, found.size]))["beta"]).all()
    assert np.isfinite(found.log_density(found.initial(8, SEED))).all()
