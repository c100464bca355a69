"""Covariances: sandwiches, clusters, α, penalties, and bad condition."""

from fractions import Fraction

import numpy as np
import pytest
import statsmodels.api as sm
from glm.inference.fits import fitted, learned, regression

from workbench.core.config import ConfigError

KINDS = ("model", "hc0", "hc1", "hc2", "hc3")


def drawn(rows=200, columns=4, seed=0):
    rng = np.random.default_rng(seed)
    design = np.column_stack([np.ones(rows), rng.normal(size=(rows, columns - 1))])
    return rng, design, design @ (0.3 * rng.normal(size=columns))


@pytest.mark.parametrize("kind", KINDS)
def test_linear_covariances_are_those_of_ols(kind):
    rng, design, eta = drawn()
    y = eta + rng.normal(size=200) * (1 + design[:, 1] ** 2)
    fit = fitted(regression(design, y), covariance=kind, test="t")
    theirs = sm.OLS(y, design).fit(use_t=True)
    if kind != "model":
        theirs = theirs.get_robustcov_results(kind.upper(), use_t=True)
    np.testing.assert_allclose(fit.covariance, theirs.cov_params(), rtol=1e-9)
    np.testing.assert_allclose(fit.p_values, theirs.pvalues, rtol=1e-8)
    np.testing.assert_allclose(fit.intervals(), theirs.conf_int(), rtol=1e-9)


@pytest.mark.parametrize(
    ("family", "link", "theirs"),
    [
        ("poisson", "log", sm.families.Poisson()),
        ("gamma", "log", sm.families.Gamma(sm.families.links.Log())),
        ("binomial", "probit", sm.families.Binomial(sm.families.links.Probit())),
    ],
)
def test_hc0_is_statsmodels(family, link, theirs):
    rng, design, eta = drawn()
    y = {
        "poisson": lambda: rng.poisson(np.exp(eta)),
        "gamma": lambda: rng.gamma(2, np.exp(eta) / 2),
        "binomial": lambda: rng.uniform(size=200) < 0.5 + 0.1 * eta,
    }[family]()
    fit = fitted(regression(design, y, family=family, link=link), covariance="hc0")
    wanted = sm.GLM(y * 1.0, design, family=theirs).fit(cov_type="HC0", tol=1e-13)
    np.testing.assert_allclose(fit.standard_errors, wanted.bse, rtol=1e-7)


def test_hc3_divides_scores_by_what_leverage_leaves():
    rng, design, eta = drawn()
    y = rng.poisson(np.exp(eta))
    fit = fitted(regression(design, y, family="poisson"), covariance="hc3")
    mean = fit.fitted
    bread = np.linalg.inv(design.T @ (mean[:, None] * design))
    leverage = mean * np.einsum("ij,jk,ik->i", design, bread, design)
    scores = ((y - mean) / (1 - leverage))[:, None] * design
    np.testing.assert_allclose(fit.covariance, bread @ scores.T @ scores @ bread, rtol=1e-9)


def test_clusters_are_statsmodels():
    rng, design, eta = drawn()
    groups = rng.integers(0, 20, 200)
    y = rng.poisson(np.exp(eta + 0.4 * rng.normal(size=20)[groups]))
    model = regression(design, y, clusters=groups.astype(np.int32), family="poisson")
    fit = fitted(model, covariance="cluster", clusters="g", test="t")
    wanted = sm.GLM(y, design, family=sm.families.Poisson()).fit(
        cov_type="cluster", cov_kwds={"groups": groups}, tol=1e-13
    )
    np.testing.assert_allclose(fit.standard_errors, wanted.bse, rtol=1e-8)
    assert fit.test_freedom == 19


@pytest.mark.parametrize("kind", [*KINDS, "cluster"])
def test_a_row_seen_thrice_is_three_rows(kind):
    rng, design, eta = drawn(60)
    y, times = rng.gamma(2, np.exp(eta) / 2), rng.integers(0, 4, 60)
    groups = rng.integers(0, 8, 60).astype(np.int32)
    options = {"covariance": kind, "clusters": "g" if kind == "cluster" else None}
    model = {"family": "gamma", "link": "log"}
    short = regression(design, y, clusters=groups, rows={"frequency": times}, **model)
    copied = np.repeat(np.arange(60), times)
    long = regression(design[copied], y[copied], clusters=groups[copied], **model)
    one, other = fitted(short, **options), fitted(long, **options)
    np.testing.assert_allclose(one.standard_errors, other.standard_errors, rtol=1e-9)
    for name in ("deviance", "null_deviance", "log_likelihood", "aic", "bic", "dispersion"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-9), name


def overdispersed():
    rng, design, eta = drawn(400)
    return design, rng.poisson(np.exp(eta) * rng.gamma(1.5, 1 / 1.5, 400))


def test_estimated_alpha_counts_as_in_statsmodels():
    design, y = overdispersed()
    fit = learned(regression(design, y, family="negative_binomial"))
    wanted = sm.NegativeBinomial(y, design).fit(disp=0, method="newton", maxiter=100, tol=1e-12)
    np.testing.assert_allclose(fit.parameters, wanted.params, rtol=1e-5)
    np.testing.assert_allclose(fit.standard_errors, wanted.bse, rtol=1e-5)
    assert fit.names[-1] == "alpha"
    assert fit.log_likelihood == pytest.approx(wanted.llf, rel=1e-10)
    assert fit.aic == pytest.approx(wanted.aic, rel=1e-10)
    assert fit.null_log_likelihood == pytest.approx(wanted.llnull, rel=1e-7)
    assert fit.pseudo_r2["mcfadden"] == pytest.approx(wanted.prsquared, rel=1e-4)


def test_sandwich_with_estimated_alpha_is_statsmodels():
    design, y = overdispersed()
    fit = fitted(regression(design, y, family="negative_binomial"), covariance="hc0")
    wanted = sm.NegativeBinomial(y, design).fit(
        disp=0, method="newton", maxiter=100, tol=1e-12, cov_type="HC0"
    )
    np.testing.assert_allclose(fit.standard_errors, wanted.bse, rtol=1e-5)


def exact_errors(design):
    """√diag((X'X)⁻¹) of whole numbers, without rounding until the end."""
    size = design.shape[1]
    rows = [[Fraction(int(value)) for value in row] for row in design.T @ design]
    for place, row in enumerate(rows):
        row += [Fraction(int(place == other)) for other in range(size)]
    for place in range(size):
        pivot = rows[place][place]
        rows[place] = [value / pivot for value in rows[place]]
        for other in range(size):
            if other != place:
                factor = rows[other][place]
                above = rows[place]
                rows[other] = [a - factor * b for a, b in zip(rows[other], above, strict=True)]
    return np.array([float(rows[place][size + place]) for place in range(size)]) ** 0.5


@pytest.mark.parametrize(("degree", "digits"), [(5, 10), (7, 8), (10, 6)])
def test_errors_of_polynomials_keep_their_digits(degree, digits):
    """The last is like NIST's Filip, whose normal equations have no digit left."""
    whole = np.arange(-90, -31).astype(object)[:, None] ** np.arange(degree + 1)
    design = whole.astype(np.float64)
    y = design.sum(1) / design.max() + np.random.default_rng(0).normal(size=59)
    fit = fitted(regression(design, y))
    errors = fit.standard_errors / np.sqrt(fit.dispersion)
    np.testing.assert_allclose(errors, exact_errors(whole), rtol=10.0**-digits)
    assert any("combinations of other columns" in warning for warning in fit.warnings)


def test_ridge_errors_are_those_of_the_posterior():
    rng, design, eta = drawn()
    y = eta + rng.normal(size=200)
    fit = fitted(regression(design, y), ridge=30.0)
    posterior = np.linalg.inv(design.T @ design + 30 * np.eye(4))
    np.testing.assert_allclose(fit.covariance, fit.dispersion * posterior, rtol=1e-10)
    assert fit.model_freedom == pytest.approx(np.trace(posterior @ design.T @ design))
    assert fit.penalised


def test_clusters_must_be_known():
    _, design, eta = drawn()
    with pytest.raises(ConfigError, match="clusters=COLUMN"):
        fitted(regression(design, eta), covariance="cluster", clusters="g").covariance  # noqa: B018
