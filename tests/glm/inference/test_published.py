"""R's and Stata's numbers, as statsmodels ships them with its own tests."""

from dataclasses import dataclass, field
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
from glm.inference.fits import learned, regression
from statsmodels.genmod.tests.results import results_glm

KINDS = ("pearson", "deviance", "anscombe", "response")


@dataclass
class Case:
    """A published fit.

    Attributes:
      rough: how far, relatively, the published coefficients and standard errors are from the
        maximum: R stopped earlier, at a deviance that is larger than ours.
      skipped: what was published with errors that statsmodels' tests allow for, too.
    """

    published: Any
    design: np.ndarray
    response: np.ndarray
    model: dict[str, Any]
    rows: dict[str, np.ndarray] = field(default_factory=dict)
    rough: tuple[float, float] = (3e-6, 3e-5)
    skipped: tuple[str, ...] = ()
    options: dict[str, str] = field(default_factory=dict)


def with_constant(data, log=None):
    design = np.array(data.load_pandas().exog, np.float64)
    if log is not None:
        design[:, log] = np.log(design[:, log])
    return sm.add_constant(design, prepend=False)


def intercept_last(published):
    published.params, published.bse = np.roll(published.params, -1), np.roll(published.bse, -1)
    return published


def longley():
    data = sm.datasets.longley
    model = {"family": "gaussian"}
    return Case(results_glm.Longley(), with_constant(data), data.load_pandas().endog, model)


def gaussian_log():
    x, rng = np.arange(100), np.random.RandomState(54321)
    design = np.c_[x, x**2, np.ones(100)]
    y = np.exp(1.0 - 0.02 * x - 0.0001 * x**2) + 0.001 * rng.randn(100)
    published = intercept_last(results_glm.GaussianLog())
    model = {"family": "gaussian", "link": "log"}
    # R's log-likelihood has φ at its maximum, and its null model is not at its own.
    skipped = ("null_deviance", "log_likelihood")
    return Case(published, design, y, model, skipped=skipped)


def gaussian_inverse():
    x, rng = np.arange(100), np.random.RandomState(54321)
    rng.randn(100)
    design = np.c_[x, x**2, np.ones(100)]
    y = 1 / (1.0 + 0.02 * x + 0.001 * x**2) + 0.001 * rng.randn(100)
    published = intercept_last(results_glm.GaussianInverse())
    model = {"family": "gaussian", "link": "inverse"}
    return Case(published, design, y, model, skipped=("log_likelihood",))


def star98():
    counts = np.array(sm.datasets.star98.load_pandas().endog, np.float64)
    trials = counts.sum(1)
    published = results_glm.Star98()
    # Of shares, rather than of counts.
    published.resids = published.resids / np.column_stack([np.ones((303, 4)), trials])
    design, shares = with_constant(sm.datasets.star98), counts[:, 0] / trials
    return Case(published, design, shares, {"family": "binomial"}, {"weight": trials})


def lbw():
    published = results_glm.Lbw()
    design = np.array(published.exog, np.float64)
    return Case(published, design, published.endog, {"family": "binomial"})


def scotland():
    data = sm.datasets.scotland
    model = {"family": "gamma"}
    return Case(results_glm.Scotvote(), with_constant(data), data.load_pandas().endog, model)


def cancer_log():
    published = results_glm.CancerLog()
    model = {"family": "gamma", "link": "log"}
    return Case(published, published.exog, published.endog, model, rough=(3e-5, 1e-5))


def cancer_identity():
    published = results_glm.CancerIdentity()
    model = {"family": "gamma", "link": "identity"}
    rough, skipped = (2e-5, 3e-5), ("residuals",)
    return Case(published, published.exog, published.endog, model, rough=rough, skipped=skipped)


def cpunish():
    data = sm.datasets.cpunish
    model = {"family": "poisson"}
    return Case(results_glm.Cpunish(), with_constant(data, 3), data.load_pandas().endog, model)


def cpunish_offset():
    case = cpunish()
    case.published = intercept_last(results_glm.Cpunish_offset())
    case.rows = {"offset": np.full(len(case.response), np.log(100))}
    case.rough = (3e-6, 5e-5)
    return case


def inverse_gaussian():
    published = results_glm.InvGauss()
    return Case(published, published.exog, published.endog, {"family": "inverse_gaussian"})


def inverse_gaussian_log():
    published = results_glm.InvGaussLog()
    model = {"family": "inverse_gaussian", "link": "log"}
    return Case(published, published.exog, published.endog, model, rough=(5e-5, 3e-5))


def inverse_gaussian_identity():
    published = results_glm.InvGaussIdentity()
    model = {"family": "inverse_gaussian", "link": "identity"}
    return Case(published, published.exog, published.endog, model, rough=(1e-4, 1.5e-4))


def committee():
    data = sm.datasets.committee
    design = with_constant(data, 2)
    design = np.insert(design, -1, design[:, 2] * design[:, 1], axis=1)
    model = {"family": "negative_binomial", "alpha": 1.0}
    # R's negative.binomial(1) has a dispersion.
    return Case(
        results_glm.Committee(),
        design,
        data.load_pandas().endog,
        model,
        rough=(3e-4, 1e-4),
        skipped=("residuals",),
        options={"dispersion": "pearson"},
    )


CASES = {
    case.__name__: case
    for case in (
        longley,
        gaussian_log,
        gaussian_inverse,
        star98,
        lbw,
        scotland,
        cancer_log,
        cancer_identity,
        cpunish,
        cpunish_offset,
        inverse_gaussian,
        inverse_gaussian_log,
        inverse_gaussian_identity,
        committee,
    )
}


@cache
def found(name):
    case = CASES[name]()
    names = [*(f"x{column}" for column in range(case.design.shape[1] - 1)), "Intercept"]
    model = regression(case.design, case.response, names, rows=case.rows, **case.model)
    return SimpleNamespace(case=case, fit=learned(model, **case.options))


def near(measured, published, rough):
    """Within so much, relatively, or half a unit of the seventh decimal, where numbers end."""
    np.testing.assert_allclose(measured, published, rtol=rough, atol=6e-8)


every_case = pytest.mark.parametrize("name", CASES)


def cases_with(what):
    """Those whose published numbers are sound."""
    names = [name for name, case in CASES.items() if what not in case().skipped]
    return pytest.mark.parametrize("name", names)


@every_case
def test_coefficients_and_standard_errors_are_the_published_ones(name):
    fit, case = found(name).fit, found(name).case
    near(fit.coefficients, case.published.params, case.rough[0])
    near(fit.standard_errors, case.published.bse, case.rough[1])


@every_case
def test_deviance_is_the_published_one_or_a_hair_below(name):
    fit, published = found(name).fit, found(name).case.published
    assert fit.deviance == pytest.approx(published.deviance, rel=1e-8)
    assert fit.deviance < published.deviance + 1e-9 * max(1, published.deviance)
    assert fit.residual_freedom == published.df_resid
    assert fit.dispersion == pytest.approx(published.scale, rel=5e-5)


@cases_with("null_deviance")
def test_null_deviance_is_the_published_one(name):
    fit, published = found(name).fit, found(name).case.published
    assert fit.null_deviance == pytest.approx(published.null_deviance, rel=3e-7)


@cases_with("log_likelihood")
def test_log_likelihood_is_the_published_one(name):
    """Stata's of gamma, inverse Gaussian and negative binomial ones, for φ = 1."""
    fit, published = found(name).fit, found(name).case.published
    value = fit.log_likelihood
    if fit.family.key in ("gamma", "inverse_gaussian"):
        value = fit.log_likelihood_at(fit.family, fit.rowwise.eta, 1.0)
    assert value == pytest.approx(published.llf, rel=1e-7)
    aic = (2 * fit.model_freedom - 2 * value) / fit.observations
    assert aic == pytest.approx(published.aic_Stata, rel=2e-7)


@every_case
def test_means_are_the_published_ones(name):
    fit, published = found(name).fit, found(name).case.published
    np.testing.assert_allclose(fit.fitted, published.fittedvalues, rtol=2e-4)


@cases_with("residuals")
def test_residuals_are_the_published_ones(name):
    fit, case = found(name).fit, found(name).case
    columns = np.column_stack([fit.residuals(kind) for kind in KINDS])
    published = np.asarray(case.published.resids)[:, [0, 1, 3, 4]]
    np.testing.assert_allclose(columns, published, rtol=1e-5, atol=3e-5)


def test_pearson_chi2_is_the_published_one():
    for name in ("star98", "lbw", "cpunish", "scotland", "inverse_gaussian"):
        published = found(name).case.published.pearson_chi2
        assert found(name).fit.pearson_chi2 == pytest.approx(published, rel=2e-7), name


def cpunish_tweedie(published, model):
    data = sm.datasets.cpunish.load_pandas()
    return Case(published, data.exog[["INCOME", "SOUTH"]].to_numpy(), data.endog, model)


def fair_tweedie():
    data = sm.datasets.fair.load_pandas()
    design = data.exog[["rate_marriage", "age", "yrs_married"]].to_numpy()
    model = {"family": "tweedie", "power": 1.5, "link": "log"}
    return Case(results_glm.FairTweedieLog15(), design, data.endog, model)


TWEEDIE = {
    "power 1.5": lambda: cpunish_tweedie(
        results_glm.CpunishTweediePower15(),
        {"family": "tweedie", "power": 1.5, "link": "identity"},
    ),
    "power 2": lambda: cpunish_tweedie(
        results_glm.CpunishTweediePower2(), {"family": "gamma", "link": "identity"}
    ),
    "power 1": lambda: cpunish_tweedie(results_glm.CpunishTweedieLog1(), {"family": "poisson"}),
    "fair": fair_tweedie,
}


@pytest.mark.parametrize("name", TWEEDIE)
def test_tweedie_fits_are_those_of_r(name):
    case = TWEEDIE[name]()
    published = case.published
    names = [f"x{column}" for column in range(case.design.shape[1])]
    model = regression(case.design, case.response, names, **case.model)
    fit = learned(model, dispersion="pearson")
    near(fit.coefficients, published.params, 2e-5)
    near(fit.standard_errors, published.bse, 1e-4)
    assert fit.deviance == pytest.approx(published.deviance, rel=3e-7)
    assert fit.residual_freedom == published.df_resid
    shown = np.r_[0:17, -1]
    for kind in ("response", "pearson", "deviance", "working"):
        theirs = np.asarray(getattr(published, f"resid_{kind}"))[shown]
        np.testing.assert_allclose(fit.residuals(kind)[shown], theirs, atol=2e-4, err_msg=kind)
