"""Frequencies, variance weights and sandwiches against Stata's and R's numbers."""

import numpy as np
import pytest
import statsmodels.api as sm
from glm.inference.fits import fitted, regression
from statsmodels.genmod.tests.results import res_R_var_weight as of_r
from statsmodels.genmod.tests.results import results_glm
from statsmodels.genmod.tests.results import results_glm_poisson_weights as of_stata

TIMES = np.array([1, 1, 1, 2, 2, 2, 3, 3, 3, 1, 1, 1, 2, 2, 2, 3, 3])
SHARES = TIMES / TIMES.sum() * len(TIMES)
HALVES = np.arange(1, 18) // 2
KINDS = ("response", "pearson", "deviance", "working")


def cpunish(rows=None, clusters=None):
    data = sm.datasets.cpunish.load_pandas()
    design = np.array(data.exog, np.float64)
    design[:, 3] = np.log(design[:, 3])
    design = sm.add_constant(design, prepend=False)
    names = [*data.exog.columns, "Intercept"]
    return regression(design, data.endog, names, clusters, rows, family="poisson")


@pytest.mark.parametrize(
    ("published", "rows", "scaled"),
    [
        (of_stata.results_poisson_none_nonrobust, {}, 1.0),
        (of_stata.results_poisson_fweight_nonrobust, {"frequency": TIMES}, 1.0),
        (of_stata.results_poisson_aweight_nonrobust, {"weight": SHARES}, np.sqrt(SHARES)),
    ],
    ids=["none", "frequency", "variance"],
)
def test_weighted_poisson_fit_is_statas(published, rows, scaled):
    fit = fitted(cpunish(rows))
    np.testing.assert_allclose(fit.coefficients, published.params, rtol=3e-6)
    np.testing.assert_allclose(fit.standard_errors, published.bse, rtol=3e-6)
    assert fit.log_likelihood == pytest.approx(published.ll, rel=1e-7)
    assert fit.deviance == pytest.approx(published.deviance, rel=1e-7)
    assert fit.pearson_chi2 == pytest.approx(published.deviance_p, rel=2e-7)
    theirs = dict(zip(published.resids_colnames, published.resids.T, strict=True))
    for kind, name in (("pearson", "pearson"), ("deviance", "deviance"), ("anscombe", "anscombe")):
        column = theirs[f"resid_{name}"] * scaled
        np.testing.assert_allclose(fit.residuals(kind), column, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(fit.residuals("response"), theirs["resid_response"], atol=1e-5)


@pytest.mark.parametrize(
    ("published", "rows"),
    [
        (of_stata.results_poisson_none_hc1, {}),
        (of_stata.results_poisson_fweight_hc1, {"frequency": TIMES}),
    ],
    ids=["none", "frequency"],
)
def test_sandwich_is_statas_but_for_its_correction(published, rows):
    fit = fitted(cpunish(rows), covariance="hc0")
    n = fit.observations
    np.testing.assert_allclose(fit.standard_errors * np.sqrt(n / (n - 1)), published.bse, rtol=2e-6)


@pytest.mark.parametrize(
    ("published", "rows"),
    [
        (of_stata.results_poisson_none_clu1, {}),
        (of_stata.results_poisson_fweight_clu1, {"frequency": TIMES}),
    ],
    ids=["none", "frequency"],
)
def test_clustered_errors_are_statas_but_for_its_correction(published, rows):
    fit = fitted(cpunish(rows, HALVES), covariance="cluster", clusters="half")
    n, p = fit.observations, len(fit.coefficients)
    theirs = fit.standard_errors * np.sqrt((n - p) / (n - 1))
    np.testing.assert_allclose(theirs, published.bse, rtol=2e-6)


def r_gamma():
    case = results_glm.CancerLog()
    weight = np.ones(len(case.endog))
    weight[::5], weight[::13] = 5, 3
    design = sm.add_constant(case.exog[:, :-1], prepend=True)
    model = regression(design, case.endog, rows={"weight": weight}, family="gamma", link="log")
    return model, of_r.results_gamma_aweights_nonrobust


def r_gaussian():
    data = sm.datasets.cpunish.load_pandas()
    design = data.exog[["INCOME", "SOUTH"]] / [1000, 1]
    weight = np.array([1, 2, 3, 4, 5, 4, 3, 2, 1, 2, 3, 4, 5, 4, 3, 2, 1])
    names = ["INCOME", "SOUTH"]
    model = regression(design, data.endog, names, rows={"weight": weight}, link="log")
    return model, of_r.results_gaussian_aweights_nonrobust


def r_tweedie():
    data = sm.datasets.fair.load_pandas()
    weight = np.ones(len(data.endog))
    weight[::5], weight[::13] = 5, 3
    design = sm.add_constant(data.exog[["age", "yrs_married"]].to_numpy(), prepend=True)
    model = {"family": "tweedie", "power": 1.55, "link": "log"}
    found = regression(design, data.endog, rows={"weight": weight}, **model)
    return found, of_r.results_tweedie_aweights_nonrobust


@pytest.mark.parametrize("case", [r_gamma, r_gaussian, r_tweedie])
def test_variance_weights_are_rs(case):
    model, published = case()
    fit = fitted(model)
    np.testing.assert_allclose(fit.coefficients, published.params, rtol=2e-6)
    np.testing.assert_allclose(fit.standard_errors, published.bse, rtol=2e-6)
    assert fit.deviance == pytest.approx(published.deviance, rel=1e-7)
    shown = len(published.resids)
    for kind in KINDS:
        theirs = published.resids[:, published.resids_colnames.index(f"resid_{kind}")]
        np.testing.assert_allclose(fit.residuals(kind)[:shown], theirs, atol=2e-5, err_msg=kind)


def test_tweedie_log_likelihood_is_the_series_of_statsmodels():
    model, published = r_tweedie()
    assert fitted(model).log_likelihood == pytest.approx(published.ll, rel=1e-7)
