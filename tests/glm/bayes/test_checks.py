"""Replicated data have the family's distribution; checks and criteria find what is wrong."""

import arviz as az
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from workbench.core.config import ConfigError
from workbench.glm.bayes import checks
from workbench.glm.config import ModelConfig
from workbench.glm.families import Gaussian, NegativeBinomial, family_of
from workbench.glm.regression import Regression
from workbench.glm.rows import Rows

DRAWS = 200_000
# Error rate of each statistical claim.
LEVEL = 1e-4


@pytest.fixture
def generator():
    return np.random.default_rng(3)


def made(generator, family, eta=0.4, dispersion=1.0, weight=1.0, draws=DRAWS):
    etas = np.full([draws, 1], eta)
    phi = np.full([draws, 1], dispersion)
    return checks.replicate(family, etas, phi, np.array([weight]), generator)[:, 0]


@pytest.mark.parametrize("weight", [1.0, 3.0])
@pytest.mark.parametrize(
    ("name", "eta", "dispersion"),
    [
        ("gaussian", -1.0, 2.5),
        ("binomial", 0.4, 1.0),
        ("poisson", 0.4, 1.0),
        ("gamma", 0.4, 0.6),
        ("inverse_gaussian", 0.4, 0.3),
        ("negative_binomial", 0.4, 1.0),
        ("tweedie", 0.4, 0.7),
    ],
)
def test_replicated_responses_have_the_familys_mean_and_variance(
    generator, name, eta, dispersion, weight
):
    link = "log" if name in ("gamma", "inverse_gaussian") else None
    family = family_of(ModelConfig(family=name, link=link, alpha=0.8))
    y = made(generator, family, eta, dispersion, weight)
    mean, variance, _ = (float(value) for value in family(tf.constant(eta, tf.float64)))
    variance *= dispersion / weight
    limit = scipy.stats.norm.isf(LEVEL / 2)
    assert abs(np.mean(y) - mean) < limit * np.sqrt(variance / DRAWS)
    squares = (y - mean) ** 2
    assert abs(np.mean(squares) - variance) < limit * np.std(squares) / np.sqrt(DRAWS)


@pytest.mark.parametrize(
    ("name", "dispersion", "truth"),
    [
        ("gaussian", 4.0, scipy.stats.norm(0.4, 2.0)),
        ("gamma", 0.5, scipy.stats.gamma(2, scale=np.exp(0.4) / 2)),
        ("inverse_gaussian", 0.5, scipy.stats.invgauss(np.exp(0.4) * 0.5, scale=2.0)),
    ],
)
def test_continuous_responses_have_the_familys_distribution(generator, name, dispersion, truth):
    link = "identity" if name == "gaussian" else "log"
    family = family_of(ModelConfig(family=name, link=link))
    y = made(generator, family, 0.4, dispersion, draws=20_000)
    assert scipy.stats.kstest(y, truth.cdf).pvalue > LEVEL


def test_counts_are_as_frequent_as_their_likelihood_says(generator):
    for family in (family_of(ModelConfig(family="poisson")), NegativeBinomial(0.8)):
        y = made(generator, family)
        values = np.arange(8.0)
        eta, one = tf.constant(0.4, tf.float64), tf.constant(1.0, tf.float64)
        share = np.exp(family.log_likelihood(tf.constant(values), eta, one, one).numpy())
        found = np.array([np.mean(y == value) for value in values])
        np.testing.assert_array_less(np.abs(found - share), 5 * np.sqrt(share / DRAWS))


def test_tweedie_responses_are_zero_as_often_as_the_poisson_number_is(generator):
    y = made(generator, family_of(ModelConfig(family="tweedie", power=1.4)), 0.4, 2.0)
    rate = np.exp(0.4 * 0.6) / (2.0 * 0.6)
    assert abs(np.mean(y == 0) - np.exp(-rate)) < 4 / np.sqrt(DRAWS)


def test_tweedie_powers_without_a_sampler_are_refused(generator):
    family = family_of(ModelConfig(family="tweedie", power=2.5))
    with pytest.raises(ConfigError, match=r"glm.power=2.5: there are draws for powers between"):
        made(generator, family, draws=3)


def test_each_draw_has_its_own_dispersion(generator):
    phi = np.array([[1e-8], [100.0]])
    family = Gaussian()
    y = checks.replicate(family, np.zeros([2, 1000]), phi, np.ones(1), generator)
    assert np.std(y[0]) < 1e-3 < 5 < np.std(y[1])


def test_impossible_means_have_no_responses_and_do_not_count(generator):
    family = family_of(ModelConfig(family="gamma", link="inverse"))
    y = checks.replicate(family, np.array([[1.0, 2.0], [-1.0, 2.0]]), 0.1, np.ones(1), generator)
    np.testing.assert_array_equal(np.isnan(y), [[False, False], [True, False]])
    (mean, *_) = checks.check(np.array([50.0, 50.0]), y)
    assert mean.p == 0


def test_counts_of_endless_means_are_large_numbers(generator):
    assert made(generator, family_of(ModelConfig(family="poisson")), 700.0, draws=2)[0] > 1e17


def test_data_of_the_model_pass_and_ill_specified_ones_do_not(generator):
    replicated = generator.poisson(2.0, [2000, 300])
    found = checks.check(generator.poisson(2.0, 300), replicated, counts=True)
    assert [each.statistic for each in found] == ["mean", "sd", "min", "max", "zeros"]
    assert not any(each.odd for each in found)
    assert checks.check_words(found) == (
        "data that the model makes are like the response in mean, sd, min, max, zeros"
    )
    # As many counts, half of them zero beside the distribution's own.
    inflated = np.where(generator.random(300) < 0.5, 0, generator.poisson(4.0, 300))
    odd = {each.statistic: each for each in checks.check(inflated, replicated, counts=True)}
    assert odd["zeros"].odd
    assert odd["zeros"].p < 0.001
    assert odd["sd"].odd
    words = checks.check_words(list(odd.values()))
    assert "the model does not make such data" in words
    assert f"zeros is {np.mean(inflated == 0):.4g}, larger than" in words


def test_a_p_value_is_the_share_of_larger_replicates_and_half_of_the_ties():
    replicated = np.array([[0.0], [1.0], [1.0], [2.0]])
    (mean, *_) = checks.check(np.array([1.0]), replicated)
    assert mean.p == pytest.approx(1 / 4 + 2 / 8)


def inference_data(generator, rows=20, outlier=0.0):
    """Draws of the mean μ of normal responses with variance 1 under a flat prior."""
    y = generator.normal(size=rows)
    y[3] += outlier
    mu = generator.normal(np.mean(y), 1 / np.sqrt(rows), [4, 1000])
    likelihood = scipy.stats.norm.logpdf(y, mu[..., None])
    return y, az.from_dict({"mu": mu}, log_likelihood={"y": likelihood})


def exact(y):
    """Log densities of each row given the others: N(mean of them, 1 + 1/(n - 1))."""
    n = len(y)
    others = (np.sum(y) - y) / (n - 1)
    return scipy.stats.norm.logpdf(y, others, np.sqrt(1 + 1 / (n - 1)))


def regression(y, source=None):
    return Regression(
        ModelConfig(), Gaussian(), Rows.of(np.ones([len(y), 1]), y), ["Intercept"], {},
        "y", source=source,
    )  # fmt: skip


def test_leaving_one_out_is_near_the_exact_answer_of_a_conjugate_model(generator):
    y, data = inference_data(generator)
    found = checks.leave_one_out(data, np.ones(len(y)))
    np.testing.assert_allclose(found.loo_i.values, exact(y), atol=0.02)
    assert found.elpd_loo == pytest.approx(np.sum(exact(y)), abs=0.1)
    assert checks.waic(data, np.ones(len(y))).elpd_waic == pytest.approx(np.sum(exact(y)), abs=0.3)
    words = checks.leave_one_out_words(found, regression(y))
    assert f"density {found.elpd_loo:.1f} ± {found.se:.1f}" in words
    assert "vouches for it" in words


def test_a_row_that_the_posterior_hangs_on_is_named(generator):
    y, data = inference_data(generator, outlier=25.0)
    found = checks.leave_one_out(data, np.ones(len(y)))
    assert found.pareto_k[3] > found.good_k
    words = checks.leave_one_out_words(found, regression(y, np.arange(20) + 100))
    assert "not to be relied on" in words
    assert f"(row 104 with {float(found.pareto_k[3]):.2f})" in words


@pytest.mark.parametrize("criterion", ["loo", "waic"])
def test_rows_count_as_often_as_they_were_seen(generator, criterion):
    _, data = inference_data(generator)
    often = np.tile([1, 2, 3, 0], 5)
    function = {"loo": checks.leave_one_out, "waic": checks.waic}[criterion]
    once = function(data, often)
    likelihood = data.log_likelihood["y"].values[..., np.repeat(np.arange(20), often)]
    repeated = az.InferenceData(
        posterior=data.posterior,
        log_likelihood=az.convert_to_dataset({"y": likelihood}),
    )
    all_of_them = function(repeated, np.ones(30))
    for name in (f"elpd_{criterion}", "se", f"p_{criterion}", "n_data_points"):
        assert once[name] == pytest.approx(all_of_them[name], rel=1e-9)


def test_draws_that_were_not_kept_do_not_count(generator):
    _, data = inference_data(generator)
    thinned = data.copy()
    thinned.log_likelihood = data.log_likelihood.isel(draw=slice(0, None, 10))
    found = checks.leave_one_out(thinned, np.ones(20))
    assert found.n_samples == 400
    every = data.isel(draw=slice(0, None, 10))
    assert found.elpd_loo == az.loo(every).elpd_loo


def test_without_likelihoods_there_is_nothing_to_leave_out(generator):
    _, data = inference_data(generator)
    with pytest.raises(ConfigError, match="no draw's log likelihoods were kept"):
        checks.waic(az.InferenceData(posterior=data.posterior), np.ones(20))
