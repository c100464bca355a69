"""Residuals and influence against statsmodels, closed forms and what they promise."""

import numpy as np
import pytest
import statsmodels.api as sm
from glm.inference.fits import fitted, regression
from scipy import stats

from workbench.core.config import ConfigError

families, links = sm.families, sm.families.links
PEERS = {
    ("gaussian", "identity"): families.Gaussian(),
    ("gaussian", "log"): families.Gaussian(links.Log()),
    ("binomial", "logit"): families.Binomial(),
    ("binomial", "cloglog"): families.Binomial(links.CLogLog()),
    ("poisson", "log"): families.Poisson(),
    ("poisson", "sqrt"): families.Poisson(links.Sqrt()),
    ("gamma", "inverse"): families.Gamma(),
    ("gamma", "log"): families.Gamma(links.Log()),
    ("inverse_gaussian", "inverse_squared"): families.InverseGaussian(),
    ("negative_binomial", "log"): families.NegativeBinomial(alpha=0.7),
    ("tweedie", "log"): families.Tweedie(links.Log(), var_power=1.5),
    ("tweedie", "power(0.5)"): families.Tweedie(links.Power(0.5), var_power=1.5),
}
ROWS = 120


def case(family, link, rows=ROWS, seed=0, trials=8):
    """Responses drawn from the model itself."""
    rng = np.random.default_rng(seed)
    design = np.column_stack([np.ones(rows), rng.uniform(size=(rows, 2))])
    eta = design @ [1.0, 0.5, 0.3]
    weight = np.ones(rows)
    if family == "binomial":
        eta = eta - 1.3
        share = {
            "logit": lambda: 1 / (1 + np.exp(-eta)),
            "cloglog": lambda: -np.expm1(-np.exp(eta)),
        }
        weight = np.full(rows, float(trials))
        y = rng.binomial(trials, share[link]()) / trials
    else:
        invert = {
            "identity": lambda: eta,
            "log": lambda: np.exp(eta),
            "sqrt": lambda: eta**2,
            "power(0.5)": lambda: eta**2,
            "inverse": lambda: 1 / eta,
            "inverse_squared": lambda: eta**-0.5,
        }
        mean = invert[link]()
        draw = {
            "gaussian": lambda: rng.normal(mean, 0.4),
            "poisson": lambda: rng.poisson(mean),
            "gamma": lambda: rng.gamma(3, mean / 3),
            "inverse_gaussian": lambda: rng.wald(mean, 2.0),
            "negative_binomial": lambda: rng.poisson(mean * rng.gamma(1 / 0.7, 0.7, rows)),
            "tweedie": lambda: compound(rng, mean, 1.5, 0.8),
        }
        y = draw[family]()
    options = {"tweedie": {"power": 1.5}, "negative_binomial": {"alpha": 0.7}}.get(family, {})
    return regression(design, y, rows={"weight": weight}, family=family, link=link, **options)


def compound(rng, mean, power, dispersion):
    number = rng.poisson(mean ** (2 - power) / (dispersion * (2 - power)))
    scale = dispersion * (power - 1) * mean ** (power - 1)
    return rng.gamma(np.maximum(number, 1e-300) * (2 - power) / (power - 1), scale) * (number > 0)


def peer(model):
    family = PEERS[model.family.key, model.family.link.name]
    weight = None if model.family.key != "binomial" else model.rows.weight
    found = sm.GLM(model.rows.response, model.rows.design, family=family, var_weights=weight)
    return found.fit(tol=1e-13, tol_criterion="params", maxiter=300)


every_family = pytest.mark.parametrize(("family", "link"), PEERS)


@every_family
def test_residuals_and_sums_are_statsmodels(family, link):
    model = case(family, link)
    fit, theirs = fitted(model), peer(model)
    np.testing.assert_allclose(fit.coefficients, theirs.params, rtol=1e-6, atol=1e-9)
    for kind in ("response", "working", "pearson", "deviance"):
        wanted = getattr(theirs, f"resid_{kind}")
        np.testing.assert_allclose(fit.residuals(kind), wanted, rtol=1e-5, atol=1e-7, err_msg=kind)
    wanted = theirs.resid_anscombe_unscaled
    np.testing.assert_allclose(fit.residuals("anscombe"), wanted, rtol=1e-5, atol=1e-7)
    assert fit.null_deviance == pytest.approx(theirs.null_deviance, rel=1e-8)
    if family != "binomial":  # theirs counts no trials among weights
        assert fit.log_likelihood == pytest.approx(theirs.llf, rel=1e-8)
        assert fit.null_log_likelihood == pytest.approx(theirs.llnull, rel=1e-8)
        assert fit.aic == pytest.approx(theirs.aic, rel=1e-8)
        assert fit.bic == pytest.approx(theirs.bic_llf, rel=1e-8)
        cox_snell = theirs.pseudo_rsquared("cs")
        assert fit.pseudo_r2["cox_snell"] == pytest.approx(cox_snell, rel=1e-6)
        assert fit.pseudo_r2["mcfadden"] == pytest.approx(theirs.pseudo_rsquared("mcf"), rel=1e-6)


@every_family
def test_influence_is_statsmodels(family, link):
    model = case(family, link)
    fit, theirs = fitted(model), peer(model).get_influence(observed=False)
    frame = fit.influence()
    np.testing.assert_allclose(frame["leverage"], theirs.hat_matrix_diag, rtol=1e-6)
    np.testing.assert_allclose(
        frame["standardised_pearson"], theirs.resid_studentized, rtol=1e-5, atol=1e-7
    )
    np.testing.assert_allclose(
        frame["cooks_distance"], theirs.cooks_distance[0], rtol=1e-5, atol=1e-9
    )
    # Theirs have the wrong sign where a link falls.
    wanted = theirs.dfbetas * np.sign(fit.rowwise.slope)[:, None]
    np.testing.assert_allclose(fit.dfbetas(), wanted, rtol=1e-4, atol=1e-7)


def test_linear_influence_is_leaving_out():
    model = case("gaussian", "identity", rows=25)
    fit = fitted(model)
    outer = sm.OLS(model.rows.response, model.rows.design).fit().get_influence()
    wanted = outer.resid_studentized_external
    np.testing.assert_allclose(fit.influence()["studentised"], wanted, rtol=1e-7)
    kept = np.arange(1, 25)
    without = fitted(regression(model.rows.design[kept], model.rows.response[kept]))
    moved = (fit.coefficients - without.coefficients) / fit.standard_errors
    np.testing.assert_allclose(fit.dfbetas()[0], moved, rtol=1e-8)


def test_moves_of_a_falling_link_point_where_leaving_out_goes():
    model = case("gamma", "inverse")
    fit = fitted(model)
    row = int(np.argmax(np.abs(fit.dfbetas()[:, 1])))
    kept = np.delete(np.arange(ROWS), row)
    design, y = model.rows.design[kept], model.rows.response[kept]
    without = fitted(regression(design, y, family="gamma", link="inverse"))
    moved = (fit.coefficients - without.coefficients) / fit.standard_errors
    np.testing.assert_allclose(fit.dfbetas()[row], moved, rtol=0.3)


@every_family
def test_quantile_residuals_are_normal_where_the_model_is_true(family, link):
    """One test in 10,000 fails by chance."""
    fit = fitted(case(family, link, rows=4000, seed=5))
    residuals = fit.residuals("quantile", seed=1)
    assert stats.kstest(residuals, "norm").pvalue > 1e-4
    assert np.var(residuals) == pytest.approx(1, abs=0.1)


def test_quantile_residuals_keep_far_tails():
    fit = fitted(case("gaussian", "identity"))
    assert fit.dispersion < 1
    far = fit.rowwise._replace(mean=fit.rowwise.mean + np.where(np.arange(ROWS) < 60, 12, -12))
    fit.rowwise = far
    wanted = fit.residuals("response") / np.sqrt(fit.dispersion)
    assert np.max(np.abs(wanted)) > 25
    np.testing.assert_allclose(fit.residuals("quantile"), wanted, rtol=1e-6)


def test_quantile_residuals_follow_their_seed():
    fit = fitted(case("poisson", "log"))
    one, same, other = (fit.residuals("quantile", seed) for seed in (3, 3, 4))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_tweedie_zeros_are_spread_over_their_probability():
    y = np.repeat([0.0, 1.5], [30, 20])
    model = regression(np.ones((50, 1)), y, family="tweedie", power=1.5, link="log")
    fit = fitted(model)
    none = np.exp(-2 * np.sqrt(0.6) / fit.dispersion)
    shares = stats.norm.cdf(fit.residuals("quantile"))
    assert shares[:30].max() < none < shares[30:].min()
    assert shares[:30].min() < 0.2 * none


def test_weighted_counts_are_counts_of_an_exposure():
    """w y of w μ: the same residuals as of counts with an offset."""
    rng = np.random.default_rng(0)
    exposure = rng.integers(1, 9, 50).astype(float)
    counts = rng.poisson(2 * exposure)
    ones = np.ones((50, 1))
    shares = regression(ones, counts / exposure, rows={"weight": exposure}, family="poisson")
    whole = regression(ones, counts, rows={"offset": np.log(exposure)}, family="poisson")
    one, other = (fitted(model).residuals("quantile", 0) for model in (shares, whole))
    np.testing.assert_allclose(one, other, rtol=1e-9)


def test_unknown_residuals_name_the_known_ones():
    with pytest.raises(ConfigError, match="choose from response"):
        fitted(case("poisson", "log")).residuals("person")
