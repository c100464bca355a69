"""Tweedie's likelihood, whose density is a series."""

import numpy as np
import pytest
import statsmodels.api as sm
import tensorflow as tf

from workbench.core.config import ConfigError
from workbench.glm import links
from workbench.glm.families import Tweedie


def likelihood(y, mean, dispersion, power, weight=1.0):
    y = np.atleast_1d(np.asarray(y, np.float64))
    eta = tf.constant(np.broadcast_to(np.log(mean), y.shape))
    return Tweedie(power, links.log).log_likelihood(y, eta, dispersion, np.full(1, weight)).numpy()


@pytest.mark.parametrize("power", [1.05, 1.3, 1.5, 1.8, 1.95])
def test_log_likelihood_is_that_of_wrights_bessel_function(power):
    rng = np.random.default_rng(0)
    y = np.concatenate([[0.0], rng.gamma(1, 3, 30)])
    peer = sm.families.Tweedie(sm.families.links.Log(), var_power=power)
    wanted = peer.loglike_obs(y, np.full(31, 2.0), 1.7, scale=0.6)
    found, known = likelihood(y, 2.0, 0.6, power, 1.7), np.isfinite(wanted)
    assert known.sum() > 25, "theirs overflows"
    np.testing.assert_allclose(found[known], wanted[known], rtol=1e-8)


@pytest.mark.parametrize("dispersion", [1e-3, 0.02, 0.3, 5.0])
def test_density_adds_up_to_one(dispersion):
    """From one gamma number to hundreds of them, where terms of the series are far apart."""
    log_y = np.linspace(-25, 6, 20_000)
    y = np.exp(log_y)
    density = np.exp(likelihood(y, 2.0, dispersion, 1.6)) * y
    total = density.sum() * (log_y[1] - log_y[0]) + np.exp(likelihood(0.0, 2.0, dispersion, 1.6)[0])
    assert total == pytest.approx(1, abs=1e-6)


def test_gradients_are_those_of_small_steps():
    y = np.array([0.0, 0.3, 2.0, 9.0])
    phi = tf.constant(0.4, tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(phi)
        eta = tf.constant(np.log([1.0, 1.0, 3.0, 3.0]))
        values = Tweedie(1.4, links.log).log_likelihood(y, eta, phi, np.ones(1))
    slope = tape.gradient(values, phi).numpy()
    mean = np.array([1.0, 1.0, 3.0, 3.0])
    up, down = (likelihood(y, mean, value, 1.4).sum() for value in (0.4 + 1e-6, 0.4 - 1e-6))
    assert slope == pytest.approx((up - down) / 2e-6, rel=1e-7)


def test_other_powers_have_no_likelihood():
    with pytest.raises(ConfigError, match=r"power=2\.5, only between 1 and 2"):
        likelihood([1.0], 1.0, 1.0, 2.5)
