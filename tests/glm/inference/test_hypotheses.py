"""Tests of coefficients against R's, statsmodels' and closed forms."""

import numpy as np
import pytest
import statsmodels.api as sm
from glm.inference.fits import fitted, regression
from scipy import stats
from statsmodels.genmod.tests.results.results_glm import Lbw

from workbench.core.config import ConfigError


def lbw(columns=None):
    found = Lbw()
    design = np.array(found.exog, np.float64)
    names = [*found.exog.columns[:-1], "Intercept"]
    chosen = list(range(len(names))) if columns is None else columns
    chosen_names = [names[column] for column in chosen]
    return fitted(regression(design[:, chosen], found.endog, chosen_names, family="binomial"))


@pytest.mark.parametrize(
    ("column", "published"), [(1, 0.2837680293459376), (0, 0.6713492821514992)]
)
def test_score_test_of_a_square_is_rs(column, published):
    """statmod's glm.scoretest."""
    fit = lbw()
    test = fit.score_test(fit.rows.design[:, column] ** 2)
    assert test.statistic == pytest.approx(published, rel=1e-4)


def test_score_test_of_a_column_is_rs_rao():
    """The last row of anova(test="Rao")."""
    full = lbw()
    without = lbw([0, 1, 2, 3, 4, 5, 6, 8])
    test = without.score_test(full.rows.design[:, 7])
    assert test.statistic == pytest.approx(2.7864148487452, rel=1e-4)
    assert test.p_value == pytest.approx(0.0950667, rel=1e-4)


def test_score_test_of_a_linear_model_is_its_closed_form():
    rng = np.random.default_rng(0)
    design = np.column_stack([np.ones(50), rng.normal(size=50)])
    y, added = rng.normal(size=50), rng.normal(size=(50, 2))
    test = fitted(regression(design, y), test="t").score_test(added)
    small, large = (
        sm.OLS(y, columns).fit() for columns in (design, np.column_stack([design, added]))
    )
    explained = (small.ssr - large.ssr) / (small.ssr / small.df_resid)
    assert test.statistic == pytest.approx(explained / 2, rel=1e-9)
    assert (test.freedom, test.residual_freedom) == (2, 48)


def test_likelihood_ratio_is_the_difference_of_log_likelihoods():
    full, small = lbw(), lbw([0, 1, 4, 5, 6, 7, 8])
    test = full.likelihood_ratio_test(small)
    wanted = 2 * (full.log_likelihood - small.log_likelihood)
    assert test.statistic == pytest.approx(wanted, rel=1e-10)
    assert test.p_value == pytest.approx(stats.chi2.sf(wanted, 2))
    assert str(test).startswith("χ²(2) = ")


def test_models_that_are_not_nested_are_refused():
    with pytest.raises(ConfigError, match="ui is not in this one"):
        lbw([0, 1, 8]).likelihood_ratio_test(lbw([0, 7, 8]))


def test_f_test_of_linear_models_is_statsmodels():
    rng = np.random.default_rng(1)
    design = np.column_stack([np.ones(60), rng.normal(size=(60, 3))])
    y = design @ [1, 0.2, 0, 0.1] + rng.normal(size=60)
    large = fitted(regression(design, y), test="t")
    small = fitted(regression(design[:, :2], y), test="t")
    statistic, chance, _ = sm.OLS(y, design).fit().compare_f_test(sm.OLS(y, design[:, :2]).fit())
    for test in (large.likelihood_ratio_test(small), large.wald_test(["x2", "x3"])):
        assert test.statistic == pytest.approx(statistic, rel=1e-8)
        assert test.p_value == pytest.approx(chance, rel=1e-8)


def test_wald_test_of_combinations_is_statsmodels():
    found = Lbw()
    theirs = sm.GLM(found.endog, found.exog, family=sm.families.Binomial()).fit(tol=1e-13)
    matrix = np.zeros((2, 9))
    matrix[0, [2, 3]], matrix[1, 4] = [1, -1], 1
    values = np.array([0.1, 0.5])
    wanted = theirs.wald_test((matrix, values), scalar=True)
    test = lbw().wald_test(matrix, values)
    assert test.statistic == pytest.approx(wanted.statistic, rel=1e-7)
    assert test.p_value == pytest.approx(wanted.pvalue, rel=1e-7)


def test_each_term_is_dropped_in_turn():
    fit = lbw()
    frame = fit.drop_one()
    names = fit.regression.names
    for column, term in enumerate(names[:-1]):
        kept = [place for place in range(9) if place != column]
        small = lbw(kept)
        assert frame.loc[term, "deviance"] == pytest.approx(small.deviance, rel=1e-10)
        test = fit.likelihood_ratio_test(small)
        assert frame.loc[term, "p_value"] == pytest.approx(test.p_value, rel=1e-6)
    squared = fit.statistics[:-1] ** 2
    np.testing.assert_allclose(fit.drop_one("wald")["chi2"], squared, rtol=1e-9)


def test_a_dropped_term_has_its_own_alpha():
    rng = np.random.default_rng(2)
    design = np.column_stack([np.ones(300), rng.normal(size=(300, 2))])
    y = rng.poisson(np.exp(design @ [0.5, 0.4, 0.0]) * rng.gamma(2, 0.5, 300))
    large, small = (
        fitted(regression(design[:, :columns], y, family="negative_binomial")) for columns in (3, 2)
    )
    wanted = 2 * (large.log_likelihood - small.log_likelihood)
    assert large.likelihood_ratio_test(small).statistic == pytest.approx(wanted)
    assert large.drop_one().loc["x2", "chi2"] == pytest.approx(wanted, rel=1e-6)


def test_a_misspelt_coefficient_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean smoke"):
        lbw().wald_test(["smok"])
