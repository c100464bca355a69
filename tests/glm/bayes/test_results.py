"""Draws become named parameters, tables, predictions and files; memory stays bounded."""

import arviz as az
import numpy as np
import pandas as pd
import pytest
import scipy.stats

from workbench.core.config import ConfigError
from workbench.datasets.tables.frame import FrameTable
from workbench.glm.bayes import predictive, tables
from workbench.glm.bayes.diagnostics import labels
from workbench.glm.bayes.model import Posterior
from workbench.glm.bayes.predictive import Kept
from workbench.glm.bayes.results import Draws, Results, assembled
from workbench.glm.config import BayesConfig, ModelConfig
from workbench.glm.formula import regression_of

CHAINS, DRAWS, ROWS = 4, 250, 80


@pytest.fixture(scope="module")
def data():
    generator = np.random.default_rng(11)
    frame = pd.DataFrame({"x": generator.normal(size=ROWS)})
    frame["county"] = generator.choice(["Aitkin", "Anoka", "Becker"], ROWS)
    frame["often"] = generator.integers(1, 4, ROWS)
    frame["trials"] = generator.integers(1, 20, ROWS)
    frame["y"] = 1 + 2 * frame.x + generator.normal(size=ROWS)
    frame["count"] = generator.poisson(np.exp(0.5 + 0.3 * frame.x))
    frame["share"] = generator.binomial(frame.trials, 0.4) / frame.trials
    frame.loc[4, "x"] = np.nan
    return frame


def posterior_of(data, formula="y ~ x", family="gaussian", priors=None, **model):
    config = BayesConfig(dtype="float64", priors=priors)
    model = ModelConfig(formula=formula, family=family, **model)
    return Posterior(regression_of(FrameTable(data), model), config)


def draws_of(posterior, chains=CHAINS, draws=DRAWS, spread=1.0):
    """Normal coordinates, which are near the posterior's own draws."""
    generator = np.random.default_rng(1)
    theta = spread * generator.normal(size=[chains, draws, posterior.size])
    stats = {
        "diverging": np.zeros([chains, draws], bool),
        "energy": generator.normal(size=[chains, draws]),
    }
    return Draws(theta, stats)


@pytest.fixture(scope="module")
def results(data):
    posterior = posterior_of(data, "count ~ x + (1 + x | county)", "poisson")
    return Results(posterior, draws_of(posterior, spread=0.3), seed=3)


def test_parameters_have_the_models_names(results):
    assert set(results.parameters) == {"beta", "sd_county", "b_county"}
    assert labels(results.parameters) == [
        "beta[Intercept]",
        "beta[x]",
        "sd_county[Intercept]",
        "sd_county[x]",
        *(
            f"b_county[{c}, {of}]"
            for c in ("Aitkin", "Anoka", "Becker")
            for of in ("Intercept", "x")
        ),
    ]
    theta = results.draws.theta
    np.testing.assert_array_equal(
        results.parameters["b_county"].sel(county="Anoka", county_coefficient="x"),
        results.posterior.constrained(theta)["b_county"][..., 1, 1],
    )


def test_inference_data_has_every_group_and_counts_rows_as_the_data_do(results):
    found = results.inference_data
    assert set(found.groups()) == {
        *("posterior", "sample_stats", "log_likelihood", "posterior_predictive"),
        *("observed_data", "constant_data"),
    }
    rows = [row for row in range(1, ROWS + 1) if row != 5]
    assert found.observed_data.row.values.tolist() == rows
    assert found.log_likelihood["count"].shape == (CHAINS, DRAWS, ROWS - 1)
    assert found.posterior_predictive["count"].dtype == np.int64
    assert found.attrs["formula"] == "count ~ x + (1 + x | county)"
    assert found.attrs["seed"] == 3
    assert found.attrs["verdict"] == results.verdict
    assert found.attrs["arviz_version"] == az.__version__


def test_likelihoods_are_those_of_the_distribution(results, data):
    clean = data.dropna()
    codes = clean.county.map({"Aitkin": 0, "Anoka": 1, "Becker": 2})
    value = {name: array.values[2, 7] for name, array in results.parameters.items()}
    effects = value["b_county"][codes]
    eta = value["beta"][0] + effects[:, 0] + (value["beta"][1] + effects[:, 1]) * clean.x
    expected = scipy.stats.poisson.logpmf(clean["count"], np.exp(eta))
    found = results.inference_data.log_likelihood["count"][2, 7]
    np.testing.assert_allclose(found, expected, rtol=1e-8)
    np.testing.assert_allclose(results.predictive.mean()[2 * DRAWS + 7], np.exp(eta), rtol=1e-8)


def test_the_table_is_arvizs(results):
    table = results.to_frame()
    truth = az.summary(results.parameters, round_to="none")
    assert list(table.columns) == [
        *("mean", "sd", "hdi_3%", "hdi_97%"),
        *("mcse_mean", "mcse_sd", "ess_bulk", "ess_tail", "r_hat"),
    ]
    np.testing.assert_array_equal(table.to_numpy(), truth.to_numpy())
    assert table.index[1] == "beta[x]"


def test_a_run_writes_files_that_read_back_as_they_were(results, tmp_path):
    paths = results.write(tmp_path)
    assert {path.relative_to(tmp_path).as_posix() for path in paths} == {
        *("posterior.nc", "summary.csv", "summary.txt"),
        *(f"plots/{name}.png" for name in ("trace", "rank", "forest", "energy")),
        "plots/posterior_predictive.png",
    }
    assert all(path.stat().st_size for path in paths)
    back = az.from_netcdf(tmp_path / "posterior.nc")
    for group in results.inference_data.groups():
        ours, theirs = results.inference_data[group], back[group]
        assert set(ours) == set(theirs)
        for name in ours:
            assert ours[name].equals(theirs[name]), name
    assert back.attrs["verdict"] == results.verdict
    table = pd.read_csv(tmp_path / "summary.csv", index_col="parameter")
    np.testing.assert_allclose(table.to_numpy(), results.to_frame().to_numpy(), rtol=1e-12)
    text = (tmp_path / "summary.txt").read_text()
    assert text.endswith(f"{results.verdict}\n")
    assert "beta[x]" in text


def test_names_with_slashes_are_written(data, tmp_path):
    posterior = posterior_of(data.rename(columns={"y": "y/n"}), "`y/n` ~ x")
    results = Results(posterior, draws_of(posterior), seed=0)
    results.inference_data.to_netcdf(str(tmp_path / "posterior.nc"), engine="h5netcdf")
    (name,) = az.from_netcdf(tmp_path / "posterior.nc").observed_data
    assert "/" not in name


def test_new_data_are_predicted_by_the_same_columns_and_groups(results):
    new = {"x": [0.0, 1.0], "county": ["Becker", "Aitkin"]}
    beta = results.parameters["beta"].values.reshape([-1, 2])
    effects = results.parameters["b_county"].values.reshape([-1, 3, 2])
    expected = np.exp([beta[:, 0] + effects[:, 2, 0], np.sum(beta + effects[:, 0], 1)])
    table = results.predict(new, level=0.8)
    np.testing.assert_allclose(table["mean"], np.mean(expected, 1), rtol=1e-9)
    np.testing.assert_allclose(table["low"], np.quantile(expected, 0.1, axis=1), rtol=1e-9)
    np.testing.assert_allclose(table["high"], np.quantile(expected, 0.9, axis=1), rtol=1e-9)
    drawn = results.sample(new)
    assert drawn.shape == (CHAINS * DRAWS, 2)
    error = np.std(drawn - expected.T, axis=0) / np.sqrt(len(drawn))
    np.testing.assert_array_less(np.abs(np.mean(drawn - expected.T, 0)), 4.5 * error)


def test_offsets_of_the_data_and_of_new_rows_count(data):
    posterior = posterior_of(data, "count ~ x", "poisson", exposure="trials")
    results = Results(posterior, draws_of(posterior))
    once, thrice = results.predict({"x": [0.5, 0.5], "trials": [1.0, 3.0]})["mean"]
    assert thrice == pytest.approx(3 * once)
    eta = posterior.predictor(results.draws.theta.reshape([-1, posterior.size])).numpy()
    np.testing.assert_allclose(results.predictive.mean(), np.exp(eta), rtol=1e-9)


def test_groups_and_columns_that_were_not_seen_are_refused(results):
    with pytest.raises(ConfigError, match=r"county has groups .* not seen \(Cass\)"):
        results.predict({"x": [0.0], "county": ["Cass"]})
    with pytest.raises(ConfigError, match="x"):
        results.predict({"county": ["Anoka"]})


def test_draws_repeat_with_the_runs_seed_and_differ_with_another(results):
    same = Results(results.posterior, results.draws, seed=3)
    other = Results(results.posterior, results.draws, seed=4)
    np.testing.assert_array_equal(results.sample(), same.sample())
    assert np.any(results.sample() != other.sample())


def test_shares_are_drawn_with_the_trials_of_their_rows(data):
    posterior = posterior_of(data, "share ~ x", "binomial", variance_weights="trials")
    results = Results(posterior, draws_of(posterior), seed=0)
    trials = posterior.regression.rows.weight
    successes = results.sample() * trials
    np.testing.assert_allclose(successes, np.round(successes), atol=1e-9)
    assert np.all(successes <= trials)
    tens = results.sample({"x": [0.0]}, weight=10) * 10
    np.testing.assert_allclose(tens, np.round(tens), atol=1e-9)
    assert 2 < np.max(tens) <= 10


def test_rows_that_were_seen_often_count_as_often(data):
    clean = data.dropna()
    weighted = posterior_of(clean, "count ~ x", "poisson", frequency_weights="often")
    repeated = posterior_of(clean.loc[clean.index.repeat(clean.often)], "count ~ x", "poisson")
    one, two = (Results(posterior, draws_of(posterior)) for posterior in (weighted, repeated))
    np.testing.assert_array_equal(
        [check.observed for check in one.checks], [check.observed for check in two.checks]
    )
    for ours, theirs in zip(one.checks[:2], two.checks[:2], strict=True):
        assert ours.replicated == pytest.approx(theirs.replicated, rel=0.02)
        assert ours.high - ours.low == pytest.approx(theirs.high - theirs.low, rel=0.15)
    assert one.leave_one_out.elpd_loo == pytest.approx(two.leave_one_out.elpd_loo, rel=1e-3)
    assert one.leave_one_out.n_data_points == clean.often.sum()


# Conjugate truth.


def conjugate(data, scale=1.0):
    """Independent draws of β under known variance and flat priors, and the exact posterior."""
    priors = {
        "default": {"kind": "flat"},
        "sigma": {"kind": "fixed", "location": scale},
    }
    posterior = posterior_of(data.dropna(), priors=priors)
    return Results(posterior, draws_of(posterior, draws=1000)), posterior.regression.rows


def test_leaving_one_out_is_the_conjugate_models(data):
    results, rows = conjugate(data)
    x, y = rows.design, rows.response
    hat = np.diag(x @ np.linalg.solve(x.T @ x, x.T))
    residual = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    exact = scipy.stats.norm.logpdf(residual / (1 - hat), scale=np.sqrt(1 / (1 - hat)))
    found = results.leave_one_out
    np.testing.assert_allclose(found.loo_i.values, exact, atol=0.05)
    assert found.elpd_loo == pytest.approx(np.sum(exact), abs=0.3)
    assert any("PSIS-LOO" in note and "vouches" in note for note in results.notes)


def test_checks_pass_where_the_variance_is_right_and_fail_where_it_is_not(data):
    right, _ = conjugate(data)
    assert not any(check.odd for check in right.checks)
    wrong, _ = conjugate(data, scale=0.3)
    assert {check.statistic for check in wrong.checks if check.odd} >= {"sd"}
    assert any("does not make such data" in note for note in wrong.notes)


# Approximations, points, bounds.


def test_approximations_have_no_chains_to_diagnose(data, tmp_path):
    posterior = posterior_of(data)
    theta = draws_of(posterior).theta[:1]
    results = Results(posterior, Draws(theta, verdict="an approximation"))
    assert list(results.to_frame().columns) == ["mean", "sd", "hdi_3%", "hdi_97%"]
    assert results.verdict == "an approximation"
    with pytest.raises(ConfigError, match="no chains to diagnose"):
        _ = results.diagnosis
    names = {path.name for path in results.write(tmp_path)}
    assert "forest.png" in names
    assert not names & {"trace.png", "rank.png", "energy.png"}


def test_a_point_has_a_table_of_its_own(data, tmp_path):
    posterior = posterior_of(data)
    results = Results(posterior, Draws(np.zeros([1, 1, posterior.size]), verdict="a point"))
    assert list(results.to_frame().columns) == ["mode"]
    assert [path.name for path in results.write(tmp_path)] == [
        *("posterior.nc", "summary.csv", "summary.txt")
    ]


@pytest.mark.parametrize(
    ("chains", "draws", "rows"),
    [(4, 1000, 10), (64, 500, 1000), (64, 500, 2**18), (1, 32_000, 5000), (64, 10, 2**22)],
)
def test_what_is_kept_fits_into_memory_and_is_spread_evenly(chains, draws, rows):
    kept = Kept.of(chains, draws, rows)
    assert 0 < kept.count <= predictive.KEPT
    assert kept.count * rows <= predictive.NUMBERS
    assert kept.count >= min(chains * draws, predictive.KEPT, predictive.NUMBERS // rows) / 4
    for numbers in (kept.chains, kept.draws):
        assert len(set(np.diff(numbers))) <= 1
    theta = np.arange(chains * draws, dtype=float).reshape([chains, draws, 1])
    np.testing.assert_array_equal(
        kept.of_all(theta)[:, 0],
        (kept.chains[:, None] * draws + kept.draws).ravel(),
    )


def test_thinned_draws_are_told_of(data, monkeypatch):
    posterior = posterior_of(data)
    monkeypatch.setattr(predictive, "KEPT", 200)
    results = Results(posterior, draws_of(posterior))
    found = results.inference_data
    assert found.log_likelihood.sizes["draw"] == 50
    assert found.log_likelihood.draw.values.tolist() == list(range(0, DRAWS, 5))
    assert found.posterior.sizes["draw"] == DRAWS
    assert "for likelihoods and predictions, 200 of the draws were looked at" in results.notes
    assert results.leave_one_out.n_samples == 200


def test_too_many_rows_leave_out_likelihoods_and_say_so(data, monkeypatch, tmp_path):
    posterior = posterior_of(data)
    monkeypatch.setattr(predictive, "NUMBERS", 50)
    results = Results(posterior, draws_of(posterior))
    assert "log_likelihood" not in results.inference_data.groups()
    assert results.notes == ["79 rows are too many to keep likelihoods and predictions of"]
    assert "posterior.nc" in {path.name for path in results.write(tmp_path)}
    with pytest.raises(ConfigError, match="too many"):
        results.predict()


def test_an_assembly_makes_its_results_once(results, tmp_path):
    made = []

    def found():
        made.append(results)
        return results

    assembly = assembled(None, found)
    assert not made
    assert assembly.verdicts[0]() == results.verdict
    assembly.artifacts[0](tmp_path)
    assert assembly.result() is results
    assert len(made) == 1


def test_tables_are_aligned_and_keep_brackets():
    summary = pd.DataFrame({"mean": [1.0, -20.5], "r_hat": [1.0, 1.25]}, ["b[x]", "[bold]"])
    lines = tables.parameters(summary).splitlines()
    assert [line.split() for line in (lines[0], *lines[2:4])] == [
        ["parameter", "mean", "r_hat"],
        ["b[x]", "1", "1.000"],
        ["[bold]", "-20.5", "1.250"],
    ]
    assert lines[2].index("1.000") == lines[3].index("1.250")
