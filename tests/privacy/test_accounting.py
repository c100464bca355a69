"""Accounting against closed forms, numerical integration, published rows and TF Privacy."""

import math
import subprocess
import sys
from dataclasses import replace

import dp_accounting as dp
import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from workbench.core.config import ConfigError
from workbench.privacy.accounting import Accountant, _interval
from workbench.privacy.mechanism import FixedSize, Mechanism, Poisson, Shuffled

PLD, RDP = Accountant("pld"), Accountant("rdp")
MNIST = Poisson(60_000, 256)

# σ, epochs, ε by RDP and PLD: dp_accounting's for the tutorials' MNIST settings, to three digits.
ROWS = [(1.3, 15, 0.955, 0.869), (1.1, 60, 2.597, 2.391), (0.7, 45, 6.373, 5.643)]


def analytic_gaussian(epsilon, mu):
    """δ of a Gaussian release with signal to noise `mu` (Balle & Wang 2018, Theorem 8)."""
    return norm.cdf(mu / 2 - epsilon / mu) - math.exp(epsilon) * norm.cdf(-mu / 2 - epsilon / mu)


def analytic_epsilon(delta, mu):
    return brentq(lambda epsilon: analytic_gaussian(epsilon, mu) - delta, 0, 200)


def divergence(p, q, epsilon):
    """The hockey-stick divergence of two densities, integrated."""
    x = np.linspace(-60, 60, 1_000_001)
    return np.trapz(np.maximum(p(x) - math.exp(epsilon) * q(x), 0), x)


def mixture(rate, noise, mean, base=0.0):
    return lambda x: (1 - rate) * norm.pdf(x, base, noise) + rate * norm.pdf(x, mean, noise)


@pytest.mark.parametrize(("noise", "epochs", "rdp", "pld"), ROWS)
def test_the_published_rows_come_out_to_the_printed_digits(noise, epochs, rdp, pld):
    mechanism, steps = Mechanism(MNIST, noise), math.ceil(epochs * 60_000 / 256)
    assert f"{RDP.epsilon(mechanism, steps, 1e-5):.3f}" == f"{rdp:.3f}"
    assert f"{PLD.epsilon(mechanism, steps, 1e-5):.3f}" == f"{pld:.3f}"


def test_tf_privacy_says_the_same_of_poisson_sampling():
    script = (
        "from tensorflow_privacy.privacy.analysis import compute_dp_sgd_privacy_lib as lib\n"
        "for noise, epochs in ((1.3, 15), (1.1, 60), (0.7, 45)):\n"
        "    print(lib.compute_dp_sgd_privacy(60000, 256, noise, epochs, 1e-5)[0])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    theirs = [float(line) for line in done.stdout.split()]
    ours = [
        RDP.epsilon(Mechanism(MNIST, noise), math.ceil(epochs * 60_000 / 256), 1e-5)
        for noise, epochs, *_ in ROWS
    ]
    assert ours == pytest.approx(theirs, rel=1e-9)


@pytest.mark.parametrize("noise", [0.8, 3.0, 20.0])
@pytest.mark.parametrize("steps", [1, 30])
def test_of_everybody_in_every_step_it_is_the_analytic_gaussian(noise, steps):
    whole = Mechanism(Poisson(100, 100), noise)
    truth = analytic_epsilon(1e-5, math.sqrt(steps) / noise)
    assert truth <= PLD.epsilon(whole, steps, 1e-5) <= truth * 1.002 + 1e-4
    assert truth <= RDP.epsilon(whole, steps, 1e-5)
    replaced = Accountant("pld", "replace_one").epsilon(whole, steps, 1e-5)
    truth = analytic_epsilon(1e-5, 2 * math.sqrt(steps) / noise)
    assert truth <= replaced <= truth * 1.002 + 1e-4


@pytest.mark.parametrize(("rate", "noise"), [(0.1, 1.0), (0.03, 0.7), (0.5, 2.0)])
@pytest.mark.parametrize("epsilon", [0.0, 0.1, 1.0, 2.0])
def test_one_step_is_the_integrated_divergence(rate, noise, epsilon):
    mechanism = Mechanism(Poisson(100, round(100 * rate)), noise)
    base, more, less = (mixture(rate, noise, mean) for mean in (0.0, 1.0, -1.0))
    truth = max(divergence(more, base, epsilon), divergence(base, more, epsilon))
    assert PLD.delta(mechanism, 1, epsilon) == pytest.approx(truth, rel=1e-3, abs=1e-9)
    assert PLD.delta(mechanism, 1, epsilon) >= truth * (1 - 1e-6)
    assert RDP.delta(mechanism, 1, epsilon) >= truth * (1 - 1e-6)

    replaced = Accountant("pld", "replace_one")
    truth = divergence(more, less, epsilon)
    assert replaced.delta(mechanism, 1, epsilon) == pytest.approx(truth, rel=1e-3, abs=1e-9)

    cohort = Mechanism(FixedSize(100, round(100 * rate)), noise)
    base, far = mixture(0, noise, 0.0), mixture(rate, noise, 2.0)
    truth = divergence(far, base, epsilon)
    assert replaced.delta(cohort, 1, epsilon) == pytest.approx(truth, rel=1e-3, abs=1e-9)
    assert Accountant("rdp", "replace_one").delta(cohort, 1, epsilon) >= truth * (1 - 1e-6)


@pytest.mark.parametrize("rate", [1e-4, 0.0043, 0.2, 0.9])
@pytest.mark.parametrize("noise", [0.4, 1.0, 5.0])
@pytest.mark.parametrize("steps", [1, 300])
def test_poisson_sampling_is_dp_accountings_at_the_same_rounding(rate, noise, steps):
    mechanism = Mechanism(Poisson(100_000, round(100_000 * rate)), noise)
    event = mechanism.event(steps)
    interval = _interval(tuple((part.event, part.count) for part in event.events))
    library = dp.pld.PLDAccountant(value_discretization_interval=interval).compose(event)
    for epsilon in (0.0, 0.01, 1.0, 5.0):
        theirs = library.get_delta(epsilon)
        assert PLD.delta(mechanism, steps, epsilon) == pytest.approx(theirs, rel=1e-6, abs=1e-13)


def test_two_replaced_steps_are_the_divergence_integrated_over_a_plane():
    rate, noise = 0.3, 1.0
    x = np.linspace(-12, 12, 2401)
    p, q = (mixture(rate, noise, mean)(x) for mean in (1.0, -1.0))
    for epsilon in (0.0, 0.5, 1.5):
        gap = np.maximum(np.outer(p, p) - math.exp(epsilon) * np.outer(q, q), 0)
        truth = gap.sum() * (x[1] - x[0]) ** 2
        mechanism = Mechanism(Poisson(100, 30), noise)
        ours = Accountant("pld", "replace_one").delta(mechanism, 2, epsilon)
        assert ours == pytest.approx(truth, rel=1e-3)


def test_two_steps_of_a_cohort_cover_every_pair_that_one_step_may_be():
    """A step may be N(0) against a mixture, and the next a mixture against N(0)."""
    rate, noise = 0.3, 1.5
    x = np.linspace(-16, 16, 1601)
    base, far = mixture(0, noise, 0.0)(x), mixture(rate, noise, 2.0)(x)
    accountant, mechanism = Accountant("pld", "replace_one"), Mechanism(FixedSize(100, 30), noise)
    below = divergence(mixture(0, noise, 0.0), mixture(rate, noise, 2.0), -0.5)
    assert accountant.delta(mechanism, 1, -0.5) == pytest.approx(below, rel=1e-4)
    for epsilon in (0.0, 0.5, 1.5):
        ours = accountant.delta(mechanism, 2, epsilon)
        for first, second in ((1, 1), (1, -1), (-1, -1)):
            p, q = (far, base)[::first], (far, base)[::second]
            gap = np.outer(p[0], q[0]) - math.exp(epsilon) * np.outer(p[1], q[1])
            assert np.maximum(gap, 0).sum() * (x[1] - x[0]) ** 2 <= ours * (1 + 1e-4)


def test_no_other_replacement_in_the_plane_is_worse_than_the_opposite():
    """The claim that one dimension and opposite contributions dominate."""
    rate, noise = 0.3, 1.0
    x = np.linspace(-8, 8, 321)
    one, two = np.meshgrid(x, x, indexing="ij")

    def density(mean):
        def at(a, b):
            return np.exp(-((one - a) ** 2 + (two - b) ** 2) / 2 / noise**2)

        return ((1 - rate) * at(0, 0) + rate * at(*mean)) / (2 * math.pi * noise**2)

    for ratio in (0.5, 1.0, 1.3, 3.0):
        worst = divergence(mixture(rate, noise, 1.0), mixture(rate, noise, -1.0), math.log(ratio))
        for angle in np.linspace(0, math.pi, 7):
            for length in (0.5, 1.0):
                other = length * math.cos(angle), length * math.sin(angle)
                gap = np.maximum(density((1, 0)) - ratio * density(other), 0).sum()
                assert gap * (x[1] - x[0]) ** 2 <= worst * (1 + 1e-3)


def test_zero_out_is_as_private_as_add_remove_under_poisson_sampling():
    mechanism = Mechanism(MNIST, 1.1)
    for kind in ("pld", "rdp"):
        absent = Accountant(kind, "add_remove").epsilon(mechanism, 500, 1e-5)
        assert Accountant(kind, "zero_out").epsilon(mechanism, 500, 1e-5) == absent


@pytest.mark.parametrize("kind", ["pld", "rdp"])
def test_shuffled_epochs_are_gaussian_releases_without_amplification(kind):
    mechanism = Mechanism(Shuffled(1000, 100), 4.0)
    ours = Accountant(kind, "zero_out").epsilon(mechanism, 25, 1e-5)  # two epochs and a half
    truth = analytic_epsilon(1e-5, math.sqrt(3) / 4.0)
    assert truth <= ours <= truth * (1.002 if kind == "pld" else 1.2)
    assert Accountant(kind, "replace_one").epsilon(mechanism, 25, 1e-5) == pytest.approx(
        Accountant(kind, "zero_out").epsilon(replace(mechanism, noise=2.0), 25, 1e-5)
    )


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 10, 17, 20])
def test_trees_cost_what_dp_accounting_says(steps):
    mechanism = Mechanism(Shuffled(1000, 100), 6.0, tree=True)
    library = dp.rdp.RdpAccountant(
        [*np.arange(1.25, 5, 0.25), *range(5, 64)], dp.NeighboringRelation.REPLACE_SPECIAL
    )
    theirs = library.compose(mechanism.event(steps)).get_epsilon(1e-5)
    assert Accountant("rdp", "zero_out").epsilon(mechanism, steps, 1e-5) == pytest.approx(
        theirs, rel=5e-3
    )
    assert Accountant("pld", "zero_out").epsilon(mechanism, steps, 1e-5) < theirs


@pytest.mark.parametrize(
    ("accountant", "sampling", "said"),
    [
        (Accountant("pld", "add_remove"), Shuffled(100, 10), "choose adjacency=zero_out"),
        (Accountant("pld", "add_remove"), FixedSize(100, 10), "choose adjacency=replace_one"),
        (Accountant("rdp", "replace_one"), Poisson(100, 10), "choose accountant=pld"),
    ],
)
def test_what_is_not_proven_is_refused_with_what_is(accountant, sampling, said):
    mechanism = Mechanism(sampling, 1.0)
    for ask in (
        lambda: accountant.epsilon(mechanism, 10, 1e-5),
        lambda: accountant.delta(mechanism, 10, 1.0),
        lambda: accountant.noise_for(mechanism, 10, 1e-5, 1.0),
        lambda: accountant.steps_for(mechanism, 1e-5, 1.0),
    ):
        with pytest.raises(ConfigError, match=said):
            ask()


@pytest.mark.parametrize("kind", ["pld", "rdp"])
def test_epsilon_grows_with_steps_and_batches_and_falls_with_noise_and_delta(kind):
    accountant = Accountant(kind)

    def epsilon(noise=1.0, batch=256, steps=1000, delta=1e-5):
        return accountant.epsilon(Mechanism(Poisson(60_000, batch), noise), steps, delta)

    for many in (
        [epsilon(steps=steps) for steps in (1, 10, 100, 1000, 10_000)],
        [epsilon(batch=batch) for batch in (64, 256, 1024)],
        [epsilon(noise=noise) for noise in (4.0, 2.0, 1.0, 0.7)],
        [epsilon(delta=delta) for delta in (1e-4, 1e-5, 1e-7, 1e-9)],
    ):
        assert many == sorted(many)
        assert len(set(many)) == len(many)


def test_pld_is_the_tighter_accountant_down_to_small_delta():
    mechanism = Mechanism(MNIST, 1.1)
    for delta in (1e-4, 1e-6, 1e-8, 1e-10):
        assert PLD.epsilon(mechanism, 2000, delta) < RDP.epsilon(mechanism, 2000, delta)


def test_rounding_of_losses_costs_little_even_where_a_step_loses_little():
    """Against a grid ten times as fine as a step's loss."""
    event = dp.SelfComposedDpEvent(dp.PoissonSampledDpEvent(1e-4, dp.GaussianDpEvent(1.0)), 10_000)
    fine = dp.pld.PLDAccountant(value_discretization_interval=1e-5).compose(event)
    ours = PLD.epsilon(Mechanism(Poisson(1_000_000, 100), 1.0), 10_000, 1e-5)
    assert ours == pytest.approx(fine.get_epsilon(1e-5), rel=0.02)


def test_delta_is_the_inverse_of_epsilon():
    mechanism = Mechanism(Poisson(1437, 64, capacity=120), 1.2)
    for accountant in (PLD, RDP):
        epsilon = accountant.epsilon(mechanism, 300, 1e-4)
        assert accountant.delta(mechanism, 300, epsilon) == pytest.approx(1e-4, rel=1e-4)


def test_overflow_enters_delta_by_one_plus_exp_epsilon():
    never, sometimes = (Mechanism(Poisson(1437, 64, c), 1.2) for c in (None, 110))
    failure = sometimes.failure(300)
    assert 1e-7 < failure < 1e-5
    extra = PLD.delta(sometimes, 300, 2.0) - PLD.delta(never, 300, 2.0)
    assert extra == pytest.approx((1 + math.exp(2.0)) * failure, rel=1e-6)
    assert PLD.epsilon(sometimes, 300, 1e-4) > PLD.epsilon(never, 300, 1e-4)
    assert PLD.epsilon(sometimes, 300, failure) == math.inf


def test_the_bound_for_overflow_is_reached_by_a_mechanism_that_leaks_all_then():
    """Two outcomes; an overflow says which data set it was, instead of an outcome."""
    tau, epsilon = 0.01, 0.7
    p, q = np.array([0.8, 0.2]), np.array([0.3, 0.7])
    delta = np.maximum(p - math.exp(epsilon) * q, 0).sum()
    truncated_p = np.array([0.8, 0.2 - tau, tau, 0.0])
    truncated_q = np.array([0.3 - tau, 0.7, 0.0, tau])
    leaked = np.maximum(truncated_p - math.exp(epsilon) * truncated_q, 0).sum()
    assert leaked == pytest.approx(delta + (1 + math.exp(epsilon)) * tau, rel=1e-12)


def test_private_preprocessing_is_composed_in():
    whole = Mechanism(Poisson(100, 100), 5.0)
    before = [dp.GaussianDpEvent(8.0), dp.SelfComposedDpEvent(dp.GaussianDpEvent(16.0), 2)]
    truth = analytic_epsilon(1e-5, math.sqrt(1 / 25 + 1 / 64 + 2 / 256))
    assert truth <= PLD.epsilon(whole, 1, 1e-5, before) <= truth * 1.002
    assert PLD.epsilon(whole, 0, 1e-5, before) < PLD.epsilon(whole, 1, 1e-5, before)
    assert PLD.epsilon(whole, 0, 1e-5) == 0
    with pytest.raises(ValueError, match="not accounted for"):
        PLD.epsilon(whole, 1, 1e-5, [dp.NonPrivateDpEvent()])


@pytest.mark.parametrize("kind", ["pld", "rdp"])
@pytest.mark.parametrize("target", [0.2, 1.0, 3.0, 8.0])
def test_noise_for_a_budget_is_enough_and_hardly_more(kind, target):
    accountant, mechanism = Accountant(kind), Mechanism(MNIST, 1.0)
    noise = accountant.noise_for(mechanism, 2000, 1e-5, target)
    assert accountant.epsilon(replace(mechanism, noise=noise), 2000, 1e-5) <= target
    less = replace(mechanism, noise=noise * (1 - 2e-3))
    assert accountant.epsilon(less, 2000, 1e-5) > target


@pytest.mark.parametrize(
    ("accountant", "sampling"),
    [
        (Accountant("pld", "replace_one"), Poisson(1437, 64)),
        (Accountant("pld", "zero_out"), Shuffled(1437, 64)),
        (Accountant("pld", "replace_one"), FixedSize(1437, 64)),
        (PLD, Poisson(1437, 64, capacity=130)),
    ],
)
def test_noise_is_found_for_every_sampling(accountant, sampling):
    mechanism = Mechanism(sampling, 1.0)
    noise = accountant.noise_for(mechanism, 100, 1e-4, 2.0)
    spent = accountant.epsilon(replace(mechanism, noise=noise), 100, 1e-4)
    assert 1.99 < spent <= 2.0


@pytest.mark.parametrize(
    ("accountant", "mechanism"),
    [
        (PLD, Mechanism(MNIST, 1.1)),
        (RDP, Mechanism(MNIST, 1.1)),
        (Accountant("pld", "zero_out"), Mechanism(Shuffled(1437, 64), 5.0)),
        (PLD, Mechanism(Poisson(1437, 64), 2.0, ((0, 1.0), (50, 0.8), (100, 0.6)))),
    ],
)
def test_steps_for_a_budget_are_the_most(accountant, mechanism):
    steps = accountant.steps_for(mechanism, 1e-5, 1.5)
    assert accountant.epsilon(mechanism, steps, 1e-5) <= 1.5
    assert accountant.epsilon(mechanism, steps + 1, 1e-5) > 1.5
    assert accountant.steps_for(mechanism, 1e-5, 1.5, at_most=steps - 1) == steps - 1


def test_steps_are_the_most_wherever_the_search_ends():
    mechanism = Mechanism(MNIST, 1.1)
    for epsilon in np.linspace(0.4, 3, 40):
        steps = RDP.steps_for(mechanism, 1e-5, epsilon)
        costs = [RDP.epsilon(mechanism, count, 1e-5) for count in (steps, steps + 1)]
        assert costs[0] <= epsilon < costs[1]


def test_a_budget_that_pays_for_no_step_buys_none():
    assert PLD.steps_for(Mechanism(Poisson(100, 100), 0.5), 1e-5, 0.1) == 0


def test_an_epsilon_that_cannot_be_reached_is_refused_with_the_smallest():
    mechanism, before = Mechanism(MNIST, 1.0), [dp.GaussianDpEvent(8.0)]
    least = PLD.epsilon(mechanism, 0, 1e-5, before)
    said = f"private preprocessing alone takes {least:.4g}; that is the smallest"
    with pytest.raises(ConfigError, match=said):
        PLD.noise_for(mechanism, 100, 1e-5, 0.3, before)
    with pytest.raises(ConfigError, match=r"exceeds its capacity of 260 .* raise the capacity"):
        PLD.noise_for(Mechanism(Poisson(60_000, 256, 260), 1.0), 100, 1e-5, 3.0)
