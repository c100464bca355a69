"""Draws are judged by ArviZ's numbers, and in words that say what to do."""

import arviz as az
import numpy as np
import pytest
import xarray as xr

from workbench.glm.bayes.diagnostics import Diagnosis, diagnose, labels

CHAINS, DRAWS = 4, 1000


@pytest.fixture
def generator():
    return np.random.default_rng(7)


def calm(generator, chains=CHAINS, draws=DRAWS):
    """Energies of a sampler in good order."""
    return generator.normal(size=[chains, draws])


def good(generator):
    return {"x": generator.normal(size=[CHAINS, DRAWS]), "u": generator.normal(size=[4, DRAWS, 2])}


def test_numbers_are_those_of_arviz(generator):
    slow = np.cumsum(generator.normal(size=[CHAINS, DRAWS]), axis=1) * 0.1
    draws = good(generator) | {"slow": slow + generator.normal(size=[CHAINS, DRAWS])}
    energy = np.cumsum(calm(generator), axis=1)
    diagnosis = diagnose(draws, {"energy": energy})
    for name in ("x", "slow"):
        assert diagnosis.r_hat[name] == az.rhat(draws[name])
        assert diagnosis.ess_bulk[name] == az.ess(draws[name], method="bulk")
        assert diagnosis.ess_tail[name] == az.ess(draws[name], method="tail")
    assert diagnosis.r_hat["u[1]"] == az.rhat(draws["u"][..., 1])
    np.testing.assert_array_equal(diagnosis.e_fmi, az.bfmi(energy))
    assert diagnosis.metrics == {
        "r_hat": max(diagnosis.r_hat.values()),
        "ess_bulk": min(diagnosis.ess_bulk.values()),
        "ess_tail": min(diagnosis.ess_tail.values()),
        "e_fmi": min(diagnosis.e_fmi),
        "divergences": 0.0,
    }


def test_independent_draws_are_trusted(generator):
    diagnosis = diagnose(good(generator), {"energy": calm(generator)})
    assert diagnosis.trusted
    assert diagnosis.verdict.startswith("the posterior may be trusted: R-hat is at most 1.00")
    assert diagnosis.verdict.endswith("of 4,000, and there were no divergences")


def test_chains_that_differ_are_named_and_are_to_run_longer(generator):
    draws = good(generator)
    draws["x"][0] += 0.5
    diagnosis = diagnose(draws, {})
    assert not diagnosis.trusted
    value = az.rhat(draws["x"])
    assert f"R-hat of x is {value:.3g}: run longer" in diagnosis.verdict
    assert "u[" not in diagnosis.verdict.split("effective")[0]


def test_chains_of_one_mean_and_different_spread_are_found(generator):
    draws = good(generator)
    draws["x"][0] *= 3
    assert "R-hat of x" in diagnose(draws, {}).verdict


def test_of_many_bad_coordinates_the_worst_are_named(generator):
    draws = {"u": generator.normal(size=[CHAINS, DRAWS, 8])}
    draws["u"][0] += 0.2 * np.arange(8)
    verdict = diagnose(draws, {}).verdict
    assert "R-hat of u[7] is" in verdict
    assert verdict.index("u[7]") < verdict.index("u[6]") < verdict.index("u[5]")
    assert "u[4]" not in verdict.split(";")[0]
    assert "(and 3 more)" in verdict


def test_divergences_ask_for_smaller_steps(generator):
    diverging = np.zeros([CHAINS, DRAWS], bool)
    diverging[0, :37] = True
    diagnosis = diagnose(good(generator), {"diverging": diverging})
    assert diagnosis.metrics["divergences"] == 37
    assert "37 divergences: raise method.acceptance" in diagnosis.verdict
    assert "centred" not in diagnosis.verdict


@pytest.mark.parametrize(("centred", "other"), [(True, "false"), (False, "true")])
def test_divergences_of_groups_ask_for_the_other_form(generator, centred, other):
    diagnosis = diagnose(good(generator), {"diverging": np.ones([1, 1])}, True, centred)
    assert f"1 divergence: raise method.acceptance or set method.centred={other}" in (
        diagnosis.verdict
    )


def test_energies_that_creep_are_told(generator):
    energy = calm(generator)
    energy[1] = np.cumsum(energy[1])
    verdict = diagnose(good(generator), {"energy": energy}).verdict
    assert "(below 0.3 in 1 chain)" in verdict
    assert "E-FMI is 0.0" in verdict


def test_few_effective_draws_ask_for_more(generator):
    draws = {"x": generator.normal(size=[CHAINS, 50])}
    verdict = diagnose(draws, {}).verdict
    assert "effective draws of x: more draws (method.draws) or chains (method.chains)" in verdict


def test_a_coordinate_that_never_moved_is_named_and_spoils_no_metric(generator):
    draws = good(generator) | {"stuck": np.ones([CHAINS, DRAWS])}
    diagnosis = diagnose(draws, {})
    assert "stuck did not move, or went out of bounds: raise method.acceptance" in diagnosis.verdict
    assert all(np.isfinite(value) for value in diagnosis.metrics.values())


@pytest.mark.parametrize("draws", [0, 1, 3])
def test_of_hardly_any_draws_nothing_is_said_but_that(generator, draws):
    diagnosis = diagnose({"x": generator.normal(size=[CHAINS, draws])}, {})
    assert diagnosis.metrics == {"divergences": 0.0}
    assert f"{4 * draws} draws say nothing" in diagnosis.verdict


def test_coordinates_have_the_names_of_a_data_set():
    data = xr.Dataset(
        {"b": (["chain", "draw", "county", "of"], np.zeros([1, 4, 2, 2])), "sd": 1.0},
        {"county": ["Aitkin", "Anoka"], "of": ["Intercept", "floor"]},
    )
    assert labels(data) == [
        "b[Aitkin, Intercept]",
        "b[Aitkin, floor]",
        "b[Anoka, Intercept]",
        "b[Anoka, floor]",
        "sd",
    ]


def test_every_complaint_stands_in_the_verdict():
    diagnosis = Diagnosis(
        {"x": 1.2, "y": np.nan},
        {"x": 9, "y": np.nan},
        {"x": 8, "y": np.nan},
        np.array([0.1]),
        2,
        99,
    )
    assert len(diagnosis.complaints) == 5
    assert diagnosis.verdict == (
        f"the posterior is not to be trusted: {'; '.join(diagnosis.complaints)}"
    )
