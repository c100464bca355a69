"""Aggregate statistics with intervals, as Agarwal et al. (2021, arXiv:2108.13264) define them.

Scores are one vector a task, of the final values of its runs; numbers of runs may differ. Means,
medians, interquartile means, optimality gaps, performance profiles and probabilities of improvement
are those of the paper's library, rliable, on scores of a full matrix.

Intervals are percentiles of a stratified bootstrap: runs are drawn again, with replacement, within
each task. Here all resamples are drawn at once, and the same seed gives the same interval.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

Scores = Sequence[np.ndarray]  # a task each, (…, runs): leading axes are resamples

LEVEL = (2.5, 97.5)
AT_ONCE = 2**21  # numbers drawn in one go, which bounds memory


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95% interval; no interval where there is nothing to resample."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Band:
    """A curve of estimates, each with its own 95% interval; shapes (points,)."""

    x: np.ndarray
    value: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None


def mean(scores: Scores) -> np.ndarray:
    """The mean over tasks of the mean over runs."""
    return np.mean([task.mean(-1) for task in scores], axis=0)


def median(scores: Scores) -> np.ndarray:
    """The median over tasks of the mean over runs; of a single task, the median over its runs."""
    if len(scores) == 1:
        return np.median(scores[0], axis=-1)
    return np.median([task.mean(-1) for task in scores], axis=0)


def interquartile_mean(scores: Scores) -> np.ndarray:
    """The mean of all runs of all tasks without the lowest and the highest quarter.

    Of n scores, the integer part of n / 4 is cut at either end.
    """
    pooled = np.sort(np.concatenate(scores, axis=-1), axis=-1)
    cut = pooled.shape[-1] // 4
    return pooled[..., cut : pooled.shape[-1] - cut].mean(-1)


def optimality_gap(scores: Scores, target: float, mode: str = "max") -> np.ndarray:
    """How far scores stay behind a target on average; those beyond it count as reaching it."""
    pooled = np.concatenate(scores, axis=-1)
    behind = target - pooled if mode == "max" else pooled - target
    return np.maximum(behind, 0).mean(-1)


def estimate(
    scores: Scores, target: float | None, mode: str, repetitions: int, seed: int
) -> dict[str, Interval]:
    """Mean, median, interquartile mean and optimality gap.

    Args:
      scores: at least one run a task.
      target: of the optimality gap, which is left out without one.
      mode: whether larger scores are better ("max") or smaller ones ("min").
      repetitions: resamples that the intervals are made of.
      seed: of the resampling.

    Returns:
      By "mean", "median", "iqm" and "gap".
    """
    statistics: dict[str, Callable[[Scores], np.ndarray]]
    statistics = {"iqm": interquartile_mean, "mean": mean, "median": median}
    if target is not None:
        statistics["gap"] = lambda s: optimality_gap(s, target, mode)
    drawn: dict[str, list[np.ndarray]] = {name: [] for name in statistics}
    if _resamplable(scores):
        for resample in _resamples(scores, repetitions, np.random.default_rng(seed)):
            for name, statistic in statistics.items():
                drawn[name].append(statistic(resample))
    return {
        name: _interval(float(statistic(scores)), drawn[name])
        for name, statistic in statistics.items()
    }


def probabilities_of_improvement(
    groups: Sequence[Scores], mode: str, repetitions: int, seed: int
) -> dict[tuple[int, int], Interval]:
    """How probable a run of one group is better than one of another; ties count half, tasks alike.

    Every group is resampled independently of the others.

    Args:
      groups: of the same tasks, with at least one run a task.
      mode: whether larger scores are better ("max") or smaller ones ("min").
      repetitions: resamples that intervals are made of.
      seed: of the resampling.

    Returns:
      By the places of the two groups.
    """
    rng = np.random.default_rng(seed)
    wins = {
        (i, j): [_wins(x, y, mode) for x, y in zip(groups[i], groups[j], strict=True)]
        for i, j in itertools.combinations(range(len(groups)), 2)
    }
    chances: dict[tuple[int, int], list[np.ndarray]] = {pair: [] for pair in wins}
    for rows in _portions(repetitions, sum(task.size for own in groups for task in own)):
        # How often each run was drawn says as much as which were, and makes it a matrix product.
        drawn = [[_counts(task.size, rows, rng) / task.size for task in own] for own in groups]
        for (i, j), tasks in wins.items():
            means = [
                ((x @ won) * y).sum(-1) for won, x, y in zip(tasks, drawn[i], drawn[j], strict=True)
            ]
            chances[i, j].append(np.mean(means, axis=0))
    found = {}
    for (i, j), tasks in wins.items():
        value = float(np.mean([won.mean() for won in tasks]))
        resampled = _resamplable(groups[i]) or _resamplable(groups[j])
        ours = chances[i, j] if resampled else []
        found[i, j] = _interval(value, ours)
        found[j, i] = _interval(1 - value, [1 - chance for chance in ours])
    return found


def performance_profile(
    scores: Scores, thresholds: np.ndarray, mode: str, repetitions: int, seed: int
) -> Band:
    """The fraction of runs, of all tasks alike, that are better than each threshold.

    Args:
      scores: at least one run a task.
      thresholds: (points,).
      mode: whether larger scores are better ("max") or smaller ones ("min").
      repetitions: resamples that the band is made of.
      seed: of the resampling.
    """
    rng = np.random.default_rng(seed)
    sign = 1 if mode == "max" else -1
    above = [sign * task[:, None] > sign * thresholds for task in scores]  # (runs, points)
    runs = sum(task.size for task in scores)
    value = np.concatenate(above).mean(0)
    if not _resamplable(scores):
        return Band(thresholds, value)
    drawn = [_counts(len(rows), repetitions, rng).astype(np.float32) @ rows for rows in above]
    low, high = np.percentile(np.sum(drawn, axis=0) / runs, LEVEL, axis=0)
    return Band(thresholds, value, low, high)


def learning_curve(
    curves: Sequence[tuple[np.ndarray, np.ndarray]], points: int, repetitions: int, seed: int
) -> Band | None:
    """The interquartile mean over runs, along what they have all trained.

    Between its own records a run is taken to move in a straight line, so runs need not have been
    judged at the same steps.

    Args:
      curves: steps and values of each run.
      points: at most so many steps are kept.
      repetitions: resamples that the band is made of.
      seed: of the resampling.

    Returns:
      None when no two steps are common to all.
    """
    first, last = max(s[0] for s, _ in curves), min(s[-1] for s, _ in curves)
    steps = np.unique(np.concatenate([s for s, _ in curves]))
    steps = steps[(steps >= first) & (steps <= last)]
    if steps.size < 2:
        return None
    if steps.size > points:
        steps = steps[np.linspace(0, steps.size - 1, points).astype(int)]
    values = np.stack([np.interp(steps, s, v) for s, v in curves], axis=-1)  # (points, runs)
    value = interquartile_mean([values])
    if len(curves) == 1:
        return Band(steps, value)
    rng = np.random.default_rng(seed)
    bounds = [
        np.percentile(
            np.concatenate(
                [interquartile_mean(drawn) for drawn in _resamples([point], repetitions, rng)]
            ),
            LEVEL,
        )
        for point in values
    ]
    low, high = np.transpose(bounds)
    return Band(steps, value, low, high)


def normalise(scores: np.ndarray, published: float, mode: str) -> np.ndarray:
    """Scores of which 1 is the published value, and 1.1 better by a tenth of its size."""
    gain = scores - published if mode == "max" else published - scores
    return 1 + gain / abs(published)


def _resamplable(scores: Scores) -> bool:
    return any(task.size > 1 for task in scores)


def _resamples(
    scores: Scores, repetitions: int, rng: np.random.Generator
) -> Iterator[list[np.ndarray]]:
    """Runs drawn again within each task, some repetitions at a time: (repetitions, runs) each."""
    for rows in _portions(repetitions, sum(task.size for task in scores)):
        yield [task[rng.integers(task.size, size=(rows, task.size))] for task in scores]


def _portions(repetitions: int, size: int) -> Iterator[int]:
    """Numbers of repetitions to do at once, each of `size` numbers."""
    most = max(1, AT_ONCE // size)
    for done in range(0, repetitions, most):
        yield min(most, repetitions - done)


def _wins(ours: np.ndarray, theirs: np.ndarray, mode: str) -> np.ndarray:
    """1 where one of our runs is better than one of theirs, ½ for a tie: (ours, theirs)."""
    gains = np.sign(ours[:, None] - theirs[None, :]) * (1 if mode == "max" else -1)
    return (gains + 1) / 2


def _counts(size: int, repetitions: int, rng: np.random.Generator) -> np.ndarray:
    """How often each of `size` runs was drawn: (repetitions, size)."""
    return rng.multinomial(size, np.full(size, 1 / size), size=repetitions)


def _interval(value: float, drawn: Sequence[np.ndarray]) -> Interval:
    if not drawn:
        return Interval(value)
    low, high = np.percentile(np.concatenate(drawn), LEVEL)
    return Interval(value, float(low), float(high))
