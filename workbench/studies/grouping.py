"""Which runs repeat one experiment, which differ, and by what."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from workbench.core.options import BaselineConfig
from workbench.studies.reading import FINISHED, RunRecord

# What runs of one group may differ in: their seed, and what has no part in their numbers.
APART = (
    "seed",
    "description",
    "run",
    "recorder",
    "baseline",
    "train.judge",
    "train.mode",
    "train.checkpoint_every",
    "train.keep",
    "runtime.port",
)
# What is learned, as opposed to how: runs that differ in it are not compared with each other.
TASK = ("environment", "dataset")

COMPONENT = "._component_"

T = TypeVar("T")


@dataclass
class Group:
    """Runs of one configuration, which differ in their seeds.

    Attributes:
      label: what tells it from the other groups of its task, as KEY=VALUE.
      settings: the same by full key.
      runs: all of them.
      counted: those that the statistics are made of: finished, with a number, one of a seed.
    """

    label: str
    settings: dict[str, Any]
    runs: list[RunRecord]
    counted: list[RunRecord] = field(default_factory=list)

    @property
    def baseline(self) -> BaselineConfig | None:
        """The published number of its runs, where they agree on one."""
        return _agreed(run.baseline for run in self.runs)

    @property
    def method(self) -> tuple[str, ...]:
        """What is the same on other tasks: the algorithm and its settings."""
        settings = {key: value for key, value in self.settings.items() if key != "name"}
        algorithm = str(self.runs[0].config.get(f"algorithm{COMPONENT}", ""))
        return algorithm, *(f"{key}={_text(value)}" for key, value in settings.items())


@dataclass
class Task:
    """Groups that are compared with each other.

    Attributes:
      label: the experiments, and what tells the task from other tasks of these.
      metric: what is compared, e.g. "evaluate/return".
      mode: whether a larger value of it is better ("max") or a smaller one ("min").
      groups: in the order of their runs.
    """

    label: str
    metric: str
    mode: str
    groups: list[Group]

    @property
    def unit(self) -> str:
        """What steps count."""
        runs = (run for group in self.groups for run in group.runs)
        return next((run.unit for run in runs if run.summary), "steps")

    @property
    def reference(self) -> BaselineConfig | None:
        """The published value of the metric, where all groups agree on one."""
        baseline = _agreed(group.baseline for group in self.groups)
        fits = baseline and (baseline.metric, baseline.mode) == (self.metric, self.mode)
        return baseline if fits else None


def tasks_of(
    runs: Sequence[RunRecord], metric: str | None = None, mode: str | None = None
) -> tuple[list[Task], dict[RunRecord, str]]:
    """Sorts runs into tasks, and these into groups.

    Args:
      runs: those without a configuration come into no group.
      metric: to compare by; None takes the one that each run is judged by.
      mode: "max" or "min"; None takes the runs' own.

    Returns:
      The tasks, and the runs that no statistic counts, with the reason.
    """
    left_out: dict[RunRecord, str] = {}
    found: dict[tuple[str, str, str], list[RunRecord]] = {}
    for run in runs:
        judged = metric or run.config.get("train.judge")
        if judged is None:
            left_out[run] = run.reason or "no config.yaml to group it by"
        else:
            what = _key(_part(run.config, TASK))
            found.setdefault((what, judged, mode or _mode(run, judged)), []).append(run)
    labels = _task_labels(list(found.values()))
    tasks = [
        Task(label, judged, better, _groups(members))
        for label, ((_, judged, better), members) in zip(labels, found.items(), strict=True)
    ]
    for task in tasks:
        for group in task.groups:
            _count(group, task.metric, left_out)
    return tasks, left_out


def differing(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """The fewest keys that tell configurations apart.

    What follows from the experiment's name, or from the choice of a component, is not among them.
    """
    keys = list(dict.fromkeys(key for values in settings for key in values))
    ranks = (
        ["name"],
        [key for key in keys if key.endswith(COMPONENT)],
        [key for key in keys if key != "name" and not key.endswith(COMPONENT)],
    )
    chosen: list[str] = []
    for rank in ranks:
        fixed = [_key({key: values.get(key) for key in chosen}) for values in settings]
        alike = len(set(fixed))
        for key in rank:
            pairs = {(f, _text(v.get(key))) for f, v in zip(fixed, settings, strict=True)}
            if len(pairs) > alike:
                chosen.append(key)
    return chosen


def label_of(settings: Mapping[str, Any], keys: Iterable[str]) -> str:
    """Settings as KEY=VALUE, each key as short as it may be among `keys`."""
    names = _short_names(keys)
    return " ".join(
        _text(value) if key == "name" else f"{names[key]}={_brief(value)}"
        for key, value in settings.items()
    )


def _groups(runs: list[RunRecord]) -> list[Group]:
    found: dict[str, list[RunRecord]] = {}
    for run in runs:
        found.setdefault(_key(_part(run.config, APART, without=True)), []).append(run)
    groups = list(found.values())
    configs = [_part(members[0].config, (*APART, *TASK), without=True) for members in groups]
    keys = differing(configs)
    settings = [{key: config.get(key) for key in keys} for config in configs]
    return [
        Group(label_of(values, keys) or members[0].experiment, values, members)
        for values, members in zip(settings, groups, strict=True)
    ]


def _count(group: Group, metric: str, left_out: dict[RunRecord, str]) -> None:
    """Chooses the runs that count; of several with one seed, the one that went farthest."""
    seeds: dict[int, RunRecord] = {}
    for run in sorted(group.runs, key=lambda run: -(run.steps or 0)):
        if run.status != FINISHED:
            left_out[run] = run.reason
        elif metric not in run.metrics:
            left_out[run] = f"no {metric} in its summary"
        elif run.metrics[metric] is None:
            left_out[run] = f"{metric} is not finite"
        elif run.seed is not None and (first := seeds.setdefault(run.seed, run)) is not run:
            left_out[run] = f"repeats seed {run.seed} of {first.path}"
    group.counted = [run for run in group.runs if run not in left_out]


def _task_labels(tasks: list[list[RunRecord]]) -> list[str]:
    """By experiment; by what differs in the task too where that is not enough."""
    names = [", ".join(dict.fromkeys(run.experiment for run in runs)) for runs in tasks]
    whats = [_part(runs[0].config, TASK) for runs in tasks]
    times = Counter(names)
    labels = []
    for name, what in zip(names, whats, strict=True):
        if times[name] > 1:
            keys = differing([w for n, w in zip(names, whats, strict=True) if n == name])
            name = f"{name} {label_of({key: what.get(key) for key in keys}, keys)}".strip()
        labels.append(name)
    return labels


def _mode(run: RunRecord, metric: str) -> str:
    if metric == run.config.get("train.judge"):
        return str(run.config.get("train.mode", "max"))
    if run.baseline and run.baseline.metric == metric:
        return run.baseline.mode
    return "max"


def _part(
    config: Mapping[str, Any], sections: Sequence[str], without: bool = False
) -> dict[str, Any]:
    """What of a configuration is in some sections, or is not; null is as good as absent."""

    def inside(key: str) -> bool:
        return any(key == section or key.startswith(f"{section}.") for section in sections)

    return {k: v for k, v in config.items() if inside(k) is not without and v is not None}


def _short_names(keys: Iterable[str]) -> dict[str, str]:
    """By key, the shortest ending that no other key shares."""
    plain = {key: key.removesuffix(COMPONENT) for key in keys}
    endings = {key: _endings(name) for key, name in plain.items()}
    shared = Counter(ending for own in endings.values() for ending in own)
    return {
        key: next((ending for ending in own if shared[ending] == 1), plain[key])
        for key, own in endings.items()
    }


def _endings(name: str) -> list[str]:
    """Of a dotted name, the shortest first."""
    parts = name.split(".")
    return [".".join(parts[start:]) for start in reversed(range(len(parts)))]


def _text(value: Any) -> str:
    """A value as it is written on a command line."""
    if isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"), default=str)


def _brief(value: Any) -> str:
    """The same, of a number as many digits as tell it from others."""
    return f"{value:.6g}" if isinstance(value, float) else _text(value)


def _key(values: Mapping[str, Any]) -> str:
    return json.dumps(values, sort_keys=True, default=str)


def _agreed(values: Iterable[T | None]) -> T | None:
    """The value that all share."""
    first, *others = list(values) or [None]
    return first if all(other == first for other in others) else None
