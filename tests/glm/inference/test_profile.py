"""Profile-likelihood intervals against closed forms and R's."""

from dataclasses import replace

import numpy as np
import pytest
from glm.inference.fits import fitted, regression
from scipy import optimize, special, stats
from statsmodels.genmod.tests.results.results_glm import Lbw

from workbench.glm.config import MleConfig
from workbench.glm.inference.fit import Fit
from workbench.glm.inference.profile import _Profile
from workbench.glm.search import Estimate


def test_linear_intervals_are_walds():
    rng = np.random.default_rng(0)
    design = np.column_stack([np.ones(30), rng.normal(size=(30, 2))])
    fit = fitted(regression(design, rng.normal(size=30)), test="t")
    np.testing.assert_allclose(fit.profile_intervals(), fit.intervals(), rtol=1e-8)


def test_one_rate_has_the_interval_of_its_likelihood():
    y = np.array([2, 0, 3, 1, 1])
    low, high = fitted(regression(np.ones((5, 1)), y, family="poisson")).profile_intervals().iloc[0]
    best = np.log(y.mean())

    def apart(eta):
        rise = 2 * (y.sum() * (best - eta) - 5 * (np.exp(best) - np.exp(eta)))
        return rise - stats.chi2.ppf(0.95, 1)

    assert low == pytest.approx(optimize.brentq(apart, best - 5, best, xtol=1e-13), abs=1e-8)
    assert high == pytest.approx(optimize.brentq(apart, best, best + 5, xtol=1e-13), abs=1e-8)


def test_intervals_of_budworms_are_rs():
    """Venables & Ripley 2002, section 7.2; confint in MASS interpolates."""
    dead = np.array([1, 4, 9, 13, 18, 20, 0, 2, 6, 10, 12, 16])
    dose = np.tile(np.arange(6.0), 2)
    male = np.repeat([1.0, 0.0], 6)
    design = np.column_stack([1 - male, male, dose])
    model = regression(
        design,
        dead / 20,
        ["female", "male", "dose"],
        rows={"weight": np.full(12, 20)},
        family="binomial",
    )
    published = [[-4.4581438, -2.613736], [-3.1728745, -1.655117], [0.8228708, 1.339058]]
    np.testing.assert_allclose(fitted(model).profile_intervals(), published, rtol=3e-4)


def test_ends_are_where_the_deviance_has_risen_enough():
    found = Lbw()
    names = [*found.exog.columns[:-1], "Intercept"]
    design = np.array(found.exog, np.float64)
    fit = fitted(regression(design, found.endog, names, family="binomial"))
    ends = fit.profile_intervals(["smoke"], level=0.9).loc["smoke"]
    others = [column for column, name in enumerate(names) if name != "smoke"]
    for end in ends:
        held = {"offset": end * design[:, names.index("smoke")]}
        model = regression(
            design[:, others], found.endog, [names[c] for c in others], rows=held, family="binomial"
        )
        rise = fitted(model).deviance - fit.deviance
        assert rise == pytest.approx(stats.chi2.ppf(0.9, 1), rel=1e-6)


def test_newton_has_the_slope_of_what_it_solves():
    y, x = np.array([2, 0, 3, 1, 1, 4]), np.arange(6.0)
    profile = _Profile(fitted(regression(np.column_stack([x**0, x]), y, family="poisson")), 1)
    slope = (profile(0.5001)[0] - profile(0.4999)[0]) / 2e-4
    assert profile(0.5)[1] == pytest.approx(slope, rel=1e-6)


def test_an_interval_without_an_end_is_infinite():
    """No event is seen under x: the likelihood never falls as its coefficient does."""
    x = np.repeat([0.0, 1.0], 10)
    y = np.where(x == 1, 0, np.tile([1, 2], 10))
    model = regression(np.column_stack([np.ones(20), x]), y, family="poisson")
    stopped = Estimate(np.array([0.4, -2.0]), np.zeros(2), 0.0, 1, False, None, "cholesky")
    fit = Fit(model, replace(stopped, deviance=0.0), MleConfig())
    low, high = fit.profile_intervals(["x1"]).loc["x1"]
    assert low == -np.inf
    assert -2 < high < 0


def test_an_interval_ends_where_means_do():
    """With a response of 0 at x = 0, an intercept of 0 is not unlikely enough, and is the last."""
    design = np.column_stack([np.ones(7), np.arange(7)])
    fit = fitted(regression(design, [0, 2, 1, 2, 3, 3, 4], family="poisson", link="identity"))
    low, high = fit.profile_intervals(["Intercept"]).loc["Intercept"]
    assert low == pytest.approx(0, abs=1e-12)
    assert fit.coefficients[0] < high < 5


def test_gamma_intervals_use_the_dispersion():
    rng = np.random.default_rng(3)
    y = rng.gamma(2, 1, 40)
    fit = fitted(regression(np.ones((40, 1)), y, family="gamma", link="log"))
    best = np.log(y.mean())

    def apart(eta):
        rise = 2 * 40 * (np.exp(best - eta) - 1 - (best - eta))
        return rise / fit.dispersion - special.ndtri(0.975) ** 2

    wanted = [optimize.brentq(apart, best - 1, best), optimize.brentq(apart, best, best + 1)]
    np.testing.assert_allclose(fit.profile_intervals().iloc[0], wanted, rtol=1e-8)
