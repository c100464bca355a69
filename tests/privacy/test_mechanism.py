"""Mechanisms: how often a draw overflows, what noise a step gets, and what an event says."""

import itertools
import math
from fractions import Fraction

import dp_accounting as dp
import numpy as np
import pytest

from workbench.core.config import ConfigError
from workbench.privacy.config import (
    ClippingConfig,
    NoiseConfig,
    PrivacyConfig,
    SamplingConfig,
)
from workbench.privacy.mechanism import (
    FixedSize,
    Mechanism,
    Poisson,
    Shuffled,
    mechanism_of,
    split,
    stages_of,
)


def tail(size, examples, expected):
    """P[Binomial > size], exactly."""
    rate = Fraction(expected, examples)
    return sum(
        math.comb(examples, k) * rate**k * (1 - rate) ** (examples - k)
        for k in range(size + 1, examples + 1)
    )


@pytest.mark.parametrize(("examples", "expected"), [(1437, 64), (300, 150), (200, 1), (97, 97)])
def test_the_size_nobody_chose_is_the_smallest_that_is_never_exceeded(examples, expected):
    size = Poisson(examples, expected).size
    assert tail(size, examples, expected) <= Fraction(1, 10**60)
    assert tail(size - 1, examples, expected) > Fraction(1, 10**60)


@pytest.mark.parametrize("capacity", [64, 80, 100, 130])
def test_failure_is_the_probability_that_any_draw_overflows(capacity):
    once = tail(capacity, 1437, 64)
    failure = Poisson(1437, 64, capacity).failure(50)
    assert failure == pytest.approx(float(1 - (1 - once) ** 50), rel=1e-9)


def test_failure_is_what_draws_show():
    sampling = Poisson(200, 40, capacity=48)
    draws = np.random.default_rng(0).binomial(200, 0.2, size=(40_000, 3))
    shown = (draws > 48).any(axis=1).mean()
    # Three standard deviations: wrong once in 370 seeds, and this seed is fixed.
    assert sampling.failure(3) == pytest.approx(shown, abs=3 * math.sqrt(0.25 / 40_000))


def test_a_lot_larger_than_the_data_is_refused():
    for sampling in (Poisson, Shuffled):
        with pytest.raises(ConfigError, match=r"batch_size=700 exceeds the 600 examples"):
            sampling(600, 700)
    with pytest.raises(ConfigError, match="cohort=700 exceeds the 600"):
        FixedSize(600, 700)


def test_a_capacity_below_what_is_expected_is_refused():
    with pytest.raises(ConfigError, match="capacity=100 is below the 256 examples"):
        Poisson(60_000, 256, capacity=100)


def poisson(noise, count, rate=0.1):
    event = dp.PoissonSampledDpEvent(rate, dp.GaussianDpEvent(noise))
    return dp.SelfComposedDpEvent(event, count)


def test_each_stage_of_a_schedule_is_its_own_event():
    stages = stages_of(NoiseConfig(schedule="linear", end=0.5, stages=3), steps=30)
    assert stages == ((0, 1.0), (10, 0.75), (20, 0.5))
    mechanism = Mechanism(Poisson(100, 10), 2.0, stages)
    assert mechanism.event(25) == dp.ComposedDpEvent(
        [poisson(2.0, 10), poisson(1.5, 10), poisson(1.0, 5)]
    )
    assert mechanism.event(10) == dp.ComposedDpEvent([poisson(2.0, 10)])
    assert mechanism.event(100).events[-1] == poisson(1.0, 80)  # beyond: as it ended
    assert mechanism.event(0) == dp.ComposedDpEvent([])


@pytest.mark.parametrize("schedule", ["constant", "linear", "exponential"])
@pytest.mark.parametrize("steps", [1, 7, 100])
def test_the_event_counts_the_noise_that_each_step_gets(schedule, steps):
    stages = stages_of(NoiseConfig(schedule=schedule, end=3.0, stages=8), steps)
    mechanism = Mechanism(Poisson(100, 10), 0.7, stages)
    counted = [
        part.event.event.noise_multiplier
        for part in mechanism.event(steps).events
        for _ in range(part.count)
    ]
    assert counted == [mechanism.multiplier(step) for step in range(steps)]
    assert counted[0] == 0.7
    if schedule != "constant" and steps > 1:
        assert counted[-1] == pytest.approx(2.1)


def test_an_exponential_schedule_falls_by_equal_factors():
    stages = stages_of(NoiseConfig(schedule="exponential", end=0.1, stages=5), 500)
    ratios = [b / a for (_, a), (_, b) in itertools.pairwise(stages)]
    assert ratios == pytest.approx([0.1**0.25] * 4)


def test_a_schedule_needs_the_steps_of_the_training():
    with pytest.raises(ConfigError, match="needs the steps of the whole training"):
        stages_of(NoiseConfig(schedule="linear", end=0.5), None)


@pytest.mark.parametrize(("steps", "epochs"), [(1, 1), (7, 1), (8, 2), (14, 2), (15, 3)])
def test_an_epoch_that_was_begun_is_one_release(steps, epochs):
    event = Mechanism(Shuffled(23, 3), 1.5).event(steps)  # 7 steps an epoch, 2 examples left out
    assert event == dp.ComposedDpEvent([dp.SelfComposedDpEvent(dp.GaussianDpEvent(1.5), epochs)])


def test_an_epoch_in_which_noise_changes_counts_with_the_least():
    for factors in [(1.0, 0.5, 0.25), (1.0, 2.0, 4.0)]:
        stages = tuple(zip((0, 13, 30), factors, strict=True))
        mechanism = Mechanism(Shuffled(40, 4), 1.0, stages)  # 10 steps an epoch
        counted = [
            part.event.noise_multiplier
            for part in mechanism.event(35).events
            for _ in range(part.count)
        ]
        epochs = [range(0, 10), range(10, 20), range(20, 30), range(30, 35)]
        assert counted == [min(map(mechanism.multiplier, epoch)) for epoch in epochs]


def test_a_tree_is_restarted_every_epoch():
    mechanism = Mechanism(Shuffled(40, 4), 2.0, tree=True)
    tree = dp.SingleEpochTreeAggregationDpEvent
    assert mechanism.event(25) == dp.ComposedDpEvent(
        [dp.SelfComposedDpEvent(tree(2.0, 10), 2), dp.SelfComposedDpEvent(tree(2.0, 5), 1)]
    )


def test_the_split_is_one_gaussian_of_the_joint_multiplier():
    """Sum and count, moved by (1, 1/2) at worst, are as far apart as one Gaussian's 1 / z."""
    z, count_noise = 1.3, 12.8
    both = math.hypot(1 / split(z, count_noise), 0.5 / count_noise)
    assert both == pytest.approx(1 / z, rel=1e-12)


def test_a_count_that_leaves_nothing_for_the_sum_is_refused():
    with pytest.raises(ConfigError, match=r"count_noise=0\.6 is too small .* above 0\.65"):
        split(1.3, 0.6)
    config = PrivacyConfig(
        noise_multiplier=1.3, clipping=ClippingConfig("quantile", count_noise=0.6)
    )
    with pytest.raises(ConfigError, match="too small"):
        mechanism_of(config, 100, 10)


def test_a_configuration_is_one_mechanism():
    config = PrivacyConfig(
        noise_multiplier=1.1,
        sampling=SamplingConfig("truncated", 300),
        clipping=ClippingConfig("quantile"),
        noise=NoiseConfig(schedule="linear", end=2.0, stages=2),
    )
    assert mechanism_of(config, 60_000, 256, 1000) == Mechanism(
        Poisson(60_000, 256, 300), 1.1, ((0, 1.0), (500, 2.0)), count_noise=12.8
    )
    config = PrivacyConfig(
        sampling=SamplingConfig("shuffled"), noise=NoiseConfig("tree"), noise_multiplier=3.0
    )
    assert mechanism_of(config, 100, 10) == Mechanism(Shuffled(100, 10), 3.0, tree=True)


def test_a_tree_needs_every_example_once_an_epoch_and_one_clipping_norm():
    with pytest.raises(ConfigError, match=r"choose sampling.kind=shuffled"):
        mechanism_of(PrivacyConfig(noise=NoiseConfig("tree")), 100, 10)
    config = PrivacyConfig(
        sampling=SamplingConfig("shuffled"),
        noise=NoiseConfig("tree"),
        clipping=ClippingConfig("quantile"),
    )
    with pytest.raises(ConfigError, match=r"choose clipping.kind=flat"):
        mechanism_of(config, 100, 10)
