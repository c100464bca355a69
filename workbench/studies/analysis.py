"""From what folders hold to what a report says: every number of it, and none of its form."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from workbench.core.options import BaselineConfig
from workbench.studies.grouping import Group, Task, label_of, tasks_of
from workbench.studies.importance import Importance, importances_of
from workbench.studies.reading import Curve, Found, RunRecord, read_curves
from workbench.studies.statistics import (
    Band,
    Interval,
    estimate,
    learning_curve,
    normalise,
    performance_profile,
    probabilities_of_improvement,
)

PLOTTED = 7  # groups, the best ones: as many as there are colours that everybody can tell apart
COMPARED = 8  # groups, the best ones, each with each
CURVE_POINTS, PROFILE_POINTS = 100, 101
BAND_REPETITIONS = 2000  # as rliable draws for its profiles


@dataclass(frozen=True)
class Options:
    """What a user may say about a report.

    Attributes:
      metric: to compare by; None takes the one that runs are judged by.
      mode: "max" or "min"; None takes the runs' own.
      target: of the optimality gap; None takes the published value.
      x: of learning curves: "steps" or "seconds" of training.
      repetitions: resamples that intervals are made of.
      seed: of the resampling.
    """

    metric: str | None = None
    mode: str | None = None
    target: float | None = None
    x: str = "steps"
    repetitions: int = 10_000
    seed: int = 0


@dataclass
class Standing:
    """A group's numbers.

    Attributes:
      runs, counted: see `Group`.
      scores: the counted runs', a vector for each task.
      estimates: by "iqm", "mean", "median" and "gap"; empty where no run counts.
      baseline, measured: a published number, and the mean of the same metric here.
      curve: of learning; profile: of performance; None for groups that are not plotted.
    """

    label: str
    settings: Mapping[str, object]
    runs: Sequence[RunRecord]
    counted: Sequence[RunRecord]
    scores: list[np.ndarray]
    estimates: dict[str, Interval]
    baseline: BaselineConfig | None = None
    measured: float | None = None
    curve: Band | None = None
    profile: Band | None = None

    @property
    def verdict(self) -> str | None:
        """How the mean compares with what was published: better, matches or worse."""
        if self.baseline is None or self.measured is None:
            return None
        return self.baseline.verdict(self.measured)

    @property
    def throughput(self) -> float | None:
        """The median of the counted runs'."""
        rates = [run.throughput for run in self.counted if run.throughput is not None]
        return float(np.median(rates)) if rates else None

    @property
    def seconds(self) -> float | None:
        """The median of the counted runs', from command to end."""
        totals = [run.seconds["total"] for run in self.counted if "total" in run.seconds]
        return float(np.median(totals)) if totals else None


@dataclass
class Comparison:
    """Groups side by side, on one task or across several.

    Attributes:
      label: of the task, or of all of them.
      metric: of the scores; "score" across tasks, where scores are normalised.
      mode: whether larger scores are better ("max") or smaller ones ("min").
      unit: of steps.
      target: of the optimality gap.
      reference: the published value of the metric, where there is one for all groups.
      standings: the best first, by the interquartile mean.
      improvements: how probable a run of the first group is better than one of the second, by
        their places.
      curve_metric, curve_x: what the curves show.
      tasks: the labels of the tasks, where there are several.
    """

    label: str
    metric: str
    mode: str
    unit: str
    target: float | None
    standings: list[Standing]
    reference: BaselineConfig | None = None
    improvements: dict[tuple[int, int], Interval] = field(default_factory=dict)
    curve_metric: str = ""
    curve_x: str = ""
    tasks: Sequence[str] = ()

    @property
    def ranked(self) -> list[Standing]:
        """The standings with numbers."""
        return [standing for standing in self.standings if standing.estimates]

    @property
    def targets_published(self) -> bool:
        """Whether the optimality gap is that to the published value."""
        return self.reference is not None and self.target == self.reference.value


@dataclass
class Analysis:
    """All that a report says.

    Attributes:
      found: what was read.
      left_out: the runs that no statistic counts, with the reason.
      comparisons: one a task.
      across: of groups that span several tasks with published values.
      importances: of hyper-parameters in Optuna studies.
      notes: what could not be read or computed, a line each.
    """

    found: Found
    options: Options
    left_out: dict[RunRecord, str]
    comparisons: list[Comparison]
    across: list[Comparison]
    importances: list[Importance]
    notes: list[str]


def analyse(found: Found, options: Options) -> Analysis:
    """Computes everything that a report says about some runs and sweeps."""
    tasks, left_out = tasks_of(found.runs, options.metric, options.mode)
    notes = list(found.notes)
    comparisons = [_on_task(task, options) for task in tasks]
    for task, comparison in zip(tasks, comparisons, strict=True):
        _add_curves(task, comparison, options, notes)
    importances: list[Importance] = []
    for sweep in found.sweeps:
        if sweep.study is not None:
            some, lines = importances_of(sweep.study, options.seed)
            importances += some
            notes += lines
    return Analysis(
        found=found,
        options=options,
        left_out={run: left_out[run] for run in found.runs if run in left_out},
        comparisons=comparisons,
        across=_across(tasks, options),
        importances=importances,
        notes=notes,
    )


def _on_task(task: Task, options: Options) -> Comparison:
    target = options.target
    if target is None and task.reference is not None:
        target = task.reference.value
    standings = []
    for group in task.groups:
        values = [value for run in group.counted if (value := run.metrics[task.metric]) is not None]
        scores = [np.array(values)]
        baseline = group.baseline
        standings.append(
            Standing(
                label=group.label,
                settings=group.settings,
                runs=group.runs,
                counted=group.counted,
                scores=scores,
                estimates=estimate(scores, target, task.mode, options.repetitions, options.seed)
                if values
                else {},
                baseline=baseline,
                measured=_mean_of(group.counted, baseline.metric) if baseline else None,
            )
        )
    return _compared(
        Comparison(
            task.label, task.metric, task.mode, task.unit, target, standings, task.reference
        ),
        options,
    )


def _across(tasks: Sequence[Task], options: Options) -> list[Comparison]:
    """Comparisons of the methods that cover the same two or more tasks with published values."""
    covered: dict[tuple[str, ...], dict[int, Group]] = {}
    for place, task in enumerate(tasks):
        if task.reference is None or task.reference.value == 0:
            continue
        methods = [group.method for group in task.groups]
        for group, method in zip(task.groups, methods, strict=True):
            if group.counted and methods.count(method) == 1:
                covered.setdefault(method, {})[place] = group
    alike: dict[tuple[int, ...], list[dict[int, Group]]] = {}
    for groups in covered.values():
        if len(groups) > 1:
            alike.setdefault(tuple(groups), []).append(groups)
    return [
        _across_tasks([tasks[place] for place in places], methods, options)
        for places, methods in alike.items()
    ]


def _across_tasks(
    tasks: Sequence[Task], methods: Sequence[Mapping[int, Group]], options: Options
) -> Comparison:
    standings = []
    for groups in methods:
        members = list(groups.values())
        scores = [_normalised(task, g) for task, g in zip(tasks, members, strict=True)]
        settings = {key: v for g in members for key, v in g.settings.items() if key != "name"}
        standings.append(
            Standing(
                label=label_of(settings, settings) or members[0].method[0] or "all runs",
                settings=settings,
                runs=[run for group in members for run in group.runs],
                counted=[run for group in members for run in group.counted],
                scores=scores,
                estimates=estimate(scores, 1.0, "max", options.repetitions, options.seed),
            )
        )
    labels = [task.label for task in tasks]
    comparison = Comparison(
        " + ".join(labels), "score", "max", "", 1.0, standings, tasks=tuple(labels)
    )
    return _compared(comparison, options)


def _normalised(task: Task, group: Group) -> np.ndarray:
    assert task.reference is not None
    values = np.array([run.metrics[task.metric] for run in group.counted], dtype=float)
    return normalise(values, task.reference.value, task.mode)


def _compared(comparison: Comparison, options: Options) -> Comparison:
    """The comparison in order, with profiles and pairs of its best groups."""
    sign = -1 if comparison.mode == "max" else 1
    standings = sorted(
        comparison.standings,
        key=lambda s: sign * s.estimates["iqm"].value if s.estimates else np.inf,
    )
    comparison = replace(comparison, standings=standings)
    best = comparison.ranked[:PLOTTED]
    bands = min(options.repetitions, BAND_REPETITIONS)
    if best:
        scores = np.concatenate([task for standing in best for task in standing.scores])
        low, high = scores.min(), scores.max()
        if low < high:
            margin = 0.02 * (high - low)
            thresholds = np.linspace(low - margin, high + margin, PROFILE_POINTS)
            for standing in best:
                standing.profile = performance_profile(
                    standing.scores, thresholds, comparison.mode, bands, options.seed
                )
    comparison.improvements = probabilities_of_improvement(
        [standing.scores for standing in comparison.ranked[:COMPARED]],
        comparison.mode,
        options.repetitions,
        options.seed,
    )
    return comparison


def _add_curves(task: Task, comparison: Comparison, options: Options, notes: list[str]) -> None:
    """Reads the runs' records, and draws the best groups' curves from them.

    They show the compared metric where it was recorded more than once, and its counterpart while
    training where it was not.
    """
    names = [task.metric]
    if task.metric.startswith("evaluate/"):
        names.append(task.metric.replace("evaluate/", "train/", 1))
    curves: dict[RunRecord, dict[str, Curve]] = {}
    plotted = comparison.ranked[:PLOTTED]
    wanted = {run for standing in plotted for run in standing.counted}
    for run in (run for group in task.groups for run in group.runs):
        path = run.path / "metrics.jsonl"
        read, damaged = read_curves(path, names)
        if damaged:
            lines = "a damaged line was" if damaged == 1 else f"{damaged} damaged lines were"
            notes.append(f"{path}: {lines} passed over")
        if run in wanted:
            curves[run] = read
    long = [n for n in names if any(n in c and c[n][0].size > 1 for c in curves.values())]
    if not long:
        return
    comparison.curve_metric = long[0]
    comparison.curve_x = task.unit if options.x == "steps" else "seconds of training"
    for standing in plotted:
        own = list(_curves_of(standing.counted, curves, long[0], options.x))
        if own:
            bands = min(options.repetitions, BAND_REPETITIONS)
            standing.curve = learning_curve(own, CURVE_POINTS, bands, options.seed)


def _curves_of(
    runs: Iterable[RunRecord], curves: Mapping[RunRecord, Mapping[str, Curve]], name: str, x: str
) -> Iterable[Curve]:
    for run in runs:
        if name not in curves[run]:
            continue
        steps, values = curves[run][name]
        if x == "steps":
            yield steps, values
        elif run.throughput:  # by the run's own speed: clocks of two hosts are never compared
            yield steps / run.throughput, values


def _mean_of(runs: Sequence[RunRecord], metric: str) -> float | None:
    values = [value for run in runs if (value := run.metrics.get(metric)) is not None]
    return float(np.mean(values)) if values else None
