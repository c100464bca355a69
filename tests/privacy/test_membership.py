"""Membership inference: what attacks achieve is measured rightly, and they do find members."""

import json
import math

import numpy as np
import pytest
from learners import SMALL_DP_SGD, assembled
from scipy import stats
from sklearn.metrics import roc_auc_score

from workbench.core.config import ConfigError
from workbench.core.program import Program
from workbench.core.runtime import Runtime
from workbench.privacy.config import MembershipConfig
from workbench.privacy.membership import (
    RATES,
    attack,
    halves,
    implied_epsilon,
    likelihood_ratios,
)


def test_an_attack_on_gaussians_achieves_what_is_known_of_them():
    """Scores N(d, 1) against N(0, 1): AUC Φ(d/√2), advantage 2 Φ(d/2) - 1, TPR Φ(d - z)."""
    rng = np.random.default_rng(0)
    d = 1.5
    members, others = rng.normal(d, 1, 20_000), rng.normal(0, 1, 20_000)
    found = attack("known", members, others, delta=1e-5)
    phi = stats.norm.cdf
    assert found.auc.value == pytest.approx(phi(d / math.sqrt(2)), abs=0.01)
    assert found.advantage.value == pytest.approx(2 * phi(d / 2) - 1, abs=0.02)
    for rate in RATES:
        expected = phi(d - stats.norm.isf(rate))
        assert found.rates[rate].value == pytest.approx(expected, rel=0.15)
        assert found.rates[rate].low < found.rates[rate].value < found.rates[rate].high
    truth = np.repeat([1, 0], 20_000)
    both = np.concatenate([members, others])
    assert found.auc.value == pytest.approx(roc_auc_score(truth, both), abs=1e-12)


def test_rates_are_those_at_no_more_false_positives_than_said():
    """Of 100 others numbered from 0, one is above half of the members, 49 above the other half."""
    found = attack("known", np.repeat([98.5, 50.5], 10), np.arange(100.0), delta=1e-5)
    assert {rate: estimate.value for rate, estimate in found.rates.items()} == {
        0.1: 0.5,
        0.01: 0.5,
        0.001: 0.0,
    }
    assert found.auc.value == pytest.approx(0.75)
    assert found.advantage.value == pytest.approx(0.51)


def test_the_intervals_cover_what_guessing_is_worth():
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(20):
        found = attack("guessing", rng.random(300), rng.random(300), delta=1e-5).auc
        covered += found.low <= 0.5 <= found.high
    # One in 10,000 correct ones covers fewer of 20.
    assert covered >= stats.binom.ppf(1e-4, 20, 0.95)


@pytest.mark.parametrize("epsilon", [0.5, 2.0])
def test_the_implied_epsilon_is_below_that_of_a_mechanism_where_it_is_known(epsilon):
    """Scores of density 1 against e^ε below and e^-ε above, so that likelihood ratios are e^±ε."""
    rng = np.random.default_rng(2)
    truth = 1 / (1 + math.exp(-epsilon))
    implied = []
    for _ in range(200):
        shown = [(rng.random(2000) < p) + rng.random(2000) for p in (truth, 1 - truth)]
        implied.append(implied_epsilon(*shown, delta=0.0))
    # One in 10,000 valid bounds fails more often than that in 200.
    assert np.sum(np.array(implied) > epsilon) <= stats.binom.isf(1e-4, 200, 0.05)
    assert np.median(implied) > 0.3 * epsilon


def test_the_ratio_is_of_gaussians_of_those_in_and_those_out():
    rng = np.random.default_rng(3)
    margins, shadows, included = rng.normal(size=6), rng.normal(size=(8, 6)), halves(8, 6, 0)
    found = likelihood_ratios(margins, shadows, included)
    expected = np.zeros(6)
    for sign, chosen in ((1, included), (-1, ~included)):
        means = [shadows[chosen[:, i], i].mean() for i in range(6)]
        squares = [(shadows[chosen[:, i], i] - means[i]) ** 2 for i in range(6)]
        expected += sign * stats.norm.logpdf(margins, means, math.sqrt(np.mean(squares)))
    np.testing.assert_allclose(found, expected)


def test_each_shadow_has_half_of_the_examples_and_each_example_half_of_the_shadows():
    rows = halves(8, 100, 0)
    assert (rows.sum(axis=1) == 50).all()
    assert (rows.sum(axis=0) == 4).all()
    assert len({row.tobytes() for row in rows}) == 8


OVERFITTED = [
    *SMALL_DP_SGD,
    "network.layers=[64]",
    "dataset.limit=150",
    "dataset.test_fraction=0.4",
    "algorithm.steps=2000",
    "privacy.membership.enabled=true",
]


def attacked(*overrides, steps=2000):
    """The assembly after training."""
    assembly = assembled([*OVERFITTED, *overrides])
    Program(assembly.learner, Runtime(), seed=0).run(0, steps)
    return assembly


def report(assembly, folder):
    for artifact in assembly.artifacts:
        artifact(folder)
    return {found["name"]: found for found in json.loads((folder / "membership.json").read_text())}


def test_a_model_that_knows_its_examples_by_heart_gives_them_away(tmp_path):
    assembly = attacked("privacy.enabled=false", "privacy.membership.shadows=8")
    found = report(assembly, tmp_path)
    assert found["loss"]["auc"]["low"] > 0.5
    assert found["likelihood ratio"]["auc"]["low"] > 0.6
    assert found["likelihood ratio"]["epsilon"] > 0.5
    assert (tmp_path / "plots" / "membership.png").stat().st_size > 10_000
    (verdict,) = (verdict() for verdict in assembly.verdicts)
    assert [line.split(":")[0] for line in verdict.splitlines()] == [
        "membership by loss",
        "membership by likelihood ratio",
    ]


def test_a_private_model_gives_nothing_away(tmp_path):
    strong = ["privacy.noise_multiplier=20", "privacy.membership.shadows=4"]
    for found in report(attacked(*strong), tmp_path).values():
        assert found["auc"]["low"] < 0.5 < found["auc"]["high"]
        assert found["epsilon"] == 0


def test_what_shadows_cannot_be_is_refused():
    with pytest.raises(ConfigError, match="shadows=3 must be even"):
        MembershipConfig(shadows=3)
    with pytest.raises(ConfigError, match=r"half of all examples, 90, less than .*batch_size=120"):
        assembled(
            [
                *OVERFITTED,
                "dataset.limit=130",
                "dataset.test_fraction=0.028",
                "algorithm.batch_size=120",
                "privacy.membership.shadows=4",
            ]
        )
