"""Families and links against TFP's, statsmodels' and numerical derivatives."""

import numpy as np
import pytest
import statsmodels.api as sm
import tensorflow as tf
import tensorflow_probability as tfp
from glm.fits import numbers

from workbench.core.config import ConfigError
from workbench.glm import links
from workbench.glm.config import LINKS, ModelConfig
from workbench.glm.families import (
    FAMILIES,
    Binomial,
    Gamma,
    Gaussian,
    InverseGaussian,
    NegativeBinomial,
    Poisson,
    Tweedie,
    family_of,
)

ETA = np.linspace(0.05, 0.9, 12)
PEERS = {
    "gaussian": sm.families.Gaussian,
    "binomial": sm.families.Binomial,
    "poisson": sm.families.Poisson,
    "gamma": sm.families.Gamma,
    "inverse_gaussian": sm.families.InverseGaussian,
    "negative_binomial": sm.families.NegativeBinomial,
    "tweedie": lambda link: sm.families.Tweedie(link, var_power=1.5),
}
PEERS_LINKS = {
    "identity": sm.families.links.Identity,
    "log": sm.families.links.Log,
    "logit": sm.families.links.Logit,
    "probit": sm.families.links.Probit,
    "cloglog": sm.families.links.CLogLog,
    "cauchit": sm.families.links.Cauchy,
    "inverse": sm.families.links.InversePower,
    "inverse_squared": sm.families.links.InverseSquared,
    "sqrt": sm.families.links.Sqrt,
}
PAIRS = [(family, link) for family, choices in LINKS.items() for link in choices]
RESPONSES = {
    "binomial": np.tile([0.0, 0.25, 1.0], 4),
    "poisson": np.tile([0.0, 1.0, 5.0], 4),
    "negative_binomial": np.tile([0.0, 1.0, 5.0], 4),
    "tweedie": np.tile([0.0, 0.5, 3.0], 4),
}


def made(family: str, link: str):
    return family_of(ModelConfig(formula="y ~ x", family=family, link=link))


def predictors(family: str, link: str) -> np.ndarray:
    return -ETA - 0.1 if family == "binomial" and link == "log" else ETA


@pytest.mark.parametrize("link", [*links.LINKS, "power(0.7)", "power(-1.5)"])
def test_a_link_undoes_itself_and_has_its_derivative(link):
    found = links.link(link)
    eta = tf.constant(-ETA if link == "log" else ETA)
    with tf.GradientTape() as tape:
        tape.watch(eta)
        mean = found.mean(eta)
    np.testing.assert_allclose(found.of(mean), eta, rtol=1e-12)
    np.testing.assert_allclose(found.slope(eta), tape.gradient(mean, eta), rtol=1e-12)
    if found.logs:
        mean = numbers(mean)
        np.testing.assert_allclose(found.logs(eta)[0], np.log(mean), rtol=1e-12)
        np.testing.assert_allclose(found.logs(eta)[1], np.log1p(-mean), rtol=1e-12)


@pytest.mark.parametrize(("family", "link"), PAIRS)
def test_means_variances_and_deviances_are_statsmodels(family, link):
    ours, peer = made(family, link), PEERS[family](link=PEERS_LINKS[link]())
    eta, y = predictors(family, link), RESPONSES.get(family, np.tile([0.1, 1.0, 4.0], 4))
    mean, variance, slope = map(numbers, ours(tf.constant(eta)))
    np.testing.assert_allclose(mean, peer.fitted(eta), rtol=1e-10)
    np.testing.assert_allclose(variance, peer.variance(mean), rtol=1e-10)
    np.testing.assert_allclose(slope, 1 / peer.link.deriv(mean), rtol=1e-9)
    deviances = numbers(ours.deviance(tf.constant(y), tf.constant(eta)))
    peers = [peer.deviance(y[i : i + 1], mean[i : i + 1]) for i in range(len(y))]
    np.testing.assert_allclose(deviances, peers, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "tweedie"])
def test_log_likelihoods_with_dispersion_and_weights_are_statsmodels(family):
    ours = made(family, LINKS[family][0])
    peer = PEERS[family](link=PEERS_LINKS[LINKS[family][0]]())
    y, weight = RESPONSES.get(family, np.tile([0.1, 1.0, 4.0], 4)), np.linspace(1, 3, 12)
    if family == "binomial":
        weight = np.tile([4.0, 8.0, 12.0], 4)
        peer.initialize(np.column_stack([y * weight, (1 - y) * weight]), np.ones(12))
    scale = 1.7 if ours.dispersed else 1.0
    mean = peer.fitted(ETA)
    found = ours.log_likelihood(
        tf.constant(y), tf.constant(ETA), tf.constant(scale, tf.float64), tf.constant(weight)
    )
    weights = np.ones(12) if family == "binomial" else weight
    expected = peer.loglike_obs(y, mean, var_weights=weights, scale=scale)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("ours", "tfps"),
    [
        (Binomial(), tfp.glm.Bernoulli()),
        (Poisson(), tfp.glm.Poisson()),
        (Gaussian(), tfp.glm.Normal()),
        (Gamma(links.log), tfp.glm.GammaExp()),
        (NegativeBinomial(0.5), tfp.glm.NegativeBinomial(total_count=2.0)),
    ],
    ids=["bernoulli", "poisson", "normal", "gamma-exp", "negative-binomial"],
)
def test_families_are_tfps(ours, tfps):
    eta, y = tf.constant(ETA), tf.constant(np.tile([0.0, 1.0, 1.0], 4))
    for found, expected in zip(ours(eta), tfps(eta), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    if not ours.dispersed:
        np.testing.assert_allclose(ours.log_prob(y, eta), tfps.log_prob(y, eta), rtol=1e-6)


@pytest.mark.parametrize("link", ["logit", "probit", "cloglog"])
@pytest.mark.parametrize("eta", [-30.0, -6.0, 6.0])
def test_nothing_cancels_where_a_probability_is_near_its_end(link, eta):
    from mpmath import exp, log, mp, mpf, ncdf

    mp.dps = 400
    mean = {
        "logit": lambda x: 1 / (1 + exp(-x)),
        "probit": ncdf,
        "cloglog": lambda x: 1 - exp(-exp(x)),
    }[link](mpf(eta))
    found = links.link(link).logs(tf.constant([eta], tf.float64))
    assert float(found[0][0]) == pytest.approx(float(log(mean)), rel=1e-9, abs=1e-16)
    assert float(found[1][0]) == pytest.approx(float(log(1 - mean)), rel=1e-9, abs=1e-13)


@pytest.mark.parametrize(
    ("family", "y", "said"),
    [
        (Poisson(), [1, -2], "not negative"),
        (Poisson(), [1, 2.5], "whole"),
        (NegativeBinomial(), [0.5], "whole"),
        (Binomial(), [0.0, 1.2], "[0, 1]"),
        (Gamma(), [1.0, 0.0], "above 0"),
        (InverseGaussian(), [-1.0], "above 0"),
        (Tweedie(1.5), [-1.0], "not negative"),
    ],
)
def test_responses_that_a_family_has_not_are_refused_by_row(family, y, said):
    with pytest.raises(ConfigError) as refused:
        family.refuse(np.array(y, float), "claims", np.arange(len(y)))
    assert said in str(refused.value)
    assert f"row {len(y)}" in str(refused.value)


def test_links_that_do_not_exist_are_refused():
    with pytest.raises(ConfigError, match="power"):
        links.link("power(two)")
    with pytest.raises(ConfigError, match="log"):
        links.link("power(0)")
    with pytest.raises(ConfigError, match="cauchit"):
        Binomial(links.sqrt)
