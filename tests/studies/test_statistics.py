"""Statistics against rliable's numbers, closed forms and simulated truths."""

import math

import numpy as np
import pytest
import scipy.stats
from rliable import library, metrics

from workbench.studies.statistics import (
    estimate,
    interquartile_mean,
    learning_curve,
    mean,
    median,
    normalise,
    optimality_gap,
    performance_profile,
    probabilities_of_improvement,
)

RLIABLE = {
    "mean": metrics.aggregate_mean,
    "median": metrics.aggregate_median,
    "iqm": metrics.aggregate_iqm,
    "gap": metrics.aggregate_optimality_gap,
}


def matrix(seed, runs, tasks):
    return np.random.default_rng(seed).normal(0.8, 0.5, size=(runs, tasks))


def vectors(scores):
    """rliable's (runs, tasks) as a vector a task."""
    return list(scores.T)


@pytest.mark.parametrize("runs", [1, 2, 3, 4, 5, 10, 33])
@pytest.mark.parametrize("tasks", [2, 3, 7])
def test_aggregates_are_rliables(runs, tasks):
    scores = matrix(runs * tasks, runs, tasks)
    ours = estimate(vectors(scores), target=1.0, mode="max", repetitions=10, seed=0)
    for name, theirs in RLIABLE.items():
        assert ours[name].value == pytest.approx(theirs(scores), abs=1e-12), name


def test_interquartile_mean_by_hand():
    assert interquartile_mean([np.array([100.0, 1, 2, 3, 4, 5, 6, -100])]) == 3.5
    assert interquartile_mean([np.array([0.0, 10, 20, 30, 1000])]) == 20  # 5 / 4 is cut to 1
    assert interquartile_mean([np.array([1.0, 2, 6])]) == 3  # 3 / 4 is cut to 0


def test_of_one_task_the_median_is_over_runs():
    assert median([np.array([1.0, 2.0, 9.0])]) == 2.0


def test_tasks_may_have_different_numbers_of_runs():
    scores = [np.array([0.0, 2.0]), np.array([5.0])]
    assert mean(scores) == 3.0
    assert interquartile_mean(scores) == pytest.approx(7 / 3)


def test_a_gap_is_behind_the_target_whichever_side_that_is():
    scores = [np.array([8.0, 12.0])]
    assert optimality_gap(scores, 10.0, "max") == 1.0
    assert optimality_gap(scores, 9.0, "min") == 1.5
    assert "gap" not in estimate(scores, None, "max", 10, 0)


@pytest.mark.parametrize("tasks", [2, 5])
def test_intervals_are_rliables(tasks):
    scores = matrix(tasks, 10, tasks)
    ours = estimate(vectors(scores), 1.0, "max", 20_000, seed=0)
    for name, theirs in RLIABLE.items():
        statistic = theirs
        _, intervals = library.get_interval_estimates(
            {"a": scores}, lambda s, f=statistic: np.array([f(s)]), reps=2000
        )
        low, high = intervals["a"][:, 0]
        # The ends of 2,000 resamples vary by some 5% of the interval's width.
        tolerance = 0.15 * (high - low)
        assert ours[name].low == pytest.approx(low, abs=tolerance), name
        assert ours[name].high == pytest.approx(high, abs=tolerance), name


@pytest.mark.parametrize(("n", "width"), [(5, 0.8455), (20, 0.9287)])
def test_the_interval_covers_the_truth_as_often_as_it_should(n, width):
    """Of normal scores, the interval of the mean is x̄ ± 1.96 s/√n, with n in s: a t's coverage."""
    expected = 1 - 2 * scipy.stats.t.sf(1.96 * math.sqrt((n - 1) / n), n - 1)
    assert expected == pytest.approx(width, abs=1e-4)
    rng = np.random.default_rng(0)
    trials = 1500
    covered = 0
    for seed in range(trials):
        interval = estimate([rng.normal(3.0, 2.0, n)], None, "max", 500, seed)["mean"]
        covered += interval.low <= 3.0 <= interval.high
    # 4 standard errors, which fails one time in 15,000, and what a bootstrap of n points is off by.
    tolerance = 4 * math.sqrt(expected * (1 - expected) / trials) + 0.01
    assert covered / trials == pytest.approx(expected, abs=tolerance)


def test_runs_are_resampled_within_their_tasks_only():
    scores = [np.full(5, 0.0), np.full(5, 100.0)]
    interval = estimate(scores, None, "max", 1000, 0)["mean"]
    assert (interval.low, interval.value, interval.high) == (50.0, 50.0, 50.0)


def test_one_run_has_no_interval():
    for scores in ([np.array([3.0])], [np.array([3.0]), np.array([4.0])]):
        for interval in estimate(scores, 5.0, "max", 100, 0).values():
            assert (interval.low, interval.high) == (None, None)


def test_the_same_seed_gives_the_same_interval_however_much_is_drawn_at_once(monkeypatch):
    scores = [matrix(0, 9, 1)[:, 0]]
    first, again, other = (estimate(scores, None, "max", 5000, seed) for seed in (0, 0, 1))
    assert first == again
    assert first != other
    monkeypatch.setattr("workbench.studies.statistics.AT_ONCE", 1000)
    assert estimate(scores, None, "max", 5000, 0) == first


@pytest.mark.parametrize("runs", [(10, 10), (4, 9), (1, 6)])
@pytest.mark.parametrize("tasks", [1, 3])
def test_probability_of_improvement_is_rliables(runs, tasks):
    ours, theirs = (np.round(matrix(seed, n, tasks), 1) for seed, n in enumerate(runs))  # ties
    found = probabilities_of_improvement([vectors(ours), vectors(theirs)], "max", 4000, 0)
    expected = metrics.probability_of_improvement(ours, theirs)
    assert found[0, 1].value == pytest.approx(expected)
    # Scores tie, so quantiles jump: ours of 2.5% must lie between rliable's of 1% and 5%, which
    # 2,000 resamplings miss by four standard errors or more.
    wide, narrow = (
        library.get_interval_estimates(
            {"a": [ours, theirs]},
            lambda x, y: np.array([metrics.probability_of_improvement(x, y)]),
            reps=2000,
            confidence_interval_size=size,
        )[1]["a"][:, 0]
        for size in (0.98, 0.90)
    )
    assert wide[0] - 1e-9 <= found[0, 1].low <= narrow[0] + 1e-9
    assert narrow[1] - 1e-9 <= found[0, 1].high <= wide[1] + 1e-9


def test_improvement_of_one_over_the_other_is_the_others_complement():
    groups = [[np.array([1.0, 4.0, 5.0])], [np.array([2.0, 3.0])]]
    larger = probabilities_of_improvement(groups, "max", 500, 0)
    assert larger[0, 1].value == pytest.approx(2 / 3)
    assert larger[1, 0].value == pytest.approx(1 / 3)
    assert larger[1, 0].low == pytest.approx(1 - larger[0, 1].high)
    smaller = probabilities_of_improvement(groups, "min", 500, 0)
    assert smaller[0, 1].value == pytest.approx(1 / 3)


def test_one_run_each_is_compared_without_an_interval():
    chance = probabilities_of_improvement([[np.array([2.0])], [np.array([1.0])]], "max", 10, 0)
    assert (chance[0, 1].value, chance[0, 1].low) == (1.0, None)


@pytest.mark.parametrize("tasks", [1, 4])
def test_profiles_are_rliables(tasks):
    scores = matrix(1, 12, tasks)
    thresholds = np.linspace(-0.5, 2.0, 26)
    ours = performance_profile(vectors(scores), thresholds, "max", 5000, 0)
    profiles, intervals = library.create_performance_profile({"a": scores}, thresholds, reps=1000)
    np.testing.assert_allclose(ours.value, profiles["a"], atol=1e-12)
    np.testing.assert_allclose(ours.low, intervals["a"][0], atol=1.5 / scores.size + 0.02)
    np.testing.assert_allclose(ours.high, intervals["a"][1], atol=1.5 / scores.size + 0.02)


def test_a_profile_of_what_should_be_small_counts_the_runs_below():
    band = performance_profile([np.array([1.0, 3.0])], np.array([0.0, 2.0, 4.0]), "min", 10, 0)
    assert band.value.tolist() == [0.0, 0.5, 1.0]


def test_a_learning_curve_has_the_steps_that_all_have_trained():
    short = np.array([10.0, 20.0, 30.0]), np.array([1.0, 2.0, 3.0])
    long = np.array([20.0, 30.0, 40.0]), np.array([4.0, 5.0, 6.0])
    band = learning_curve([short, long], points=100, repetitions=200, seed=0)
    assert band.x.tolist() == [20.0, 30.0]
    assert band.value.tolist() == [3.0, 4.0]
    assert band.low.tolist() == [2.0, 3.0]
    assert band.high.tolist() == [4.0, 5.0]


def test_between_its_records_a_run_moves_in_a_straight_line():
    coarse = np.array([0.0, 10.0]), np.array([0.0, 10.0])
    fine = np.array([0.0, 5.0, 10.0]), np.array([0.0, 1.0, 2.0])
    band = learning_curve([coarse, fine], points=100, repetitions=10, seed=0)
    assert band.value.tolist() == [0.0, 3.0, 6.0]


def test_runs_without_a_common_step_have_no_curve():
    early, late = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    assert learning_curve([(early, early), (late, late)], 100, 10, 0) is None


def test_long_curves_are_thinned_from_end_to_end():
    steps = np.arange(1000.0)
    band = learning_curve([(steps, steps)], points=50, repetitions=10, seed=0)
    assert len(band.x) == 50
    assert band.x[0] == 0
    assert band.x[-1] == 999
    assert band.low is None


@pytest.mark.parametrize(
    ("value", "published", "mode", "score"),
    [
        (110.0, 100.0, "max", 1.1),
        (-90.0, -100.0, "max", 1.1),
        (0.9, 1.0, "min", 1.1),
        (-2.0, -1.0, "min", 2.0),
        (7.0, 7.0, "min", 1.0),
    ],
)
def test_a_score_of_one_is_the_published_value_and_more_is_better(value, published, mode, score):
    assert normalise(np.array([value]), published, mode) == pytest.approx([score])
