"""What a cell came to, as its run folder tells."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.core.config import nearest
from workbench.recording.folder import RunFolder
from workbench.recording.metrics import read_metrics
from workbench.sweeps.folder import SweepFolder
from workbench.sweeps.frozen import read_frozen

FINISHED = "finished"
LEFT = "left in the queue"


@dataclass(frozen=True)
class Result:
    """A cell's row.

    Attributes:
      status: of the run, see `SweepFolder.status`.
      objectives: the numbers that the sweep goes by, by name; None is one that is not there.
      seconds: that the run took in all; None before it has ended.
      why: it is not finished; empty when a signal stopped it.
    """

    name: str
    status: str
    objectives: Mapping[str, float | None]
    seconds: float | None
    why: str = ""

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to run."""
        return self.status == FINISHED

    @property
    def numbers(self) -> list[float] | None:
        """The objectives' values; None when one is not there."""
        values = [value for value in self.objectives.values() if value is not None]
        return values if len(values) == len(self.objectives) else None

    @property
    def failed(self) -> bool:
        """Whether it has ended in another way."""
        return self.status not in (FINISHED, LEFT)


def read_result(
    sweep: SweepFolder, name: str, objectives: Sequence[str] | None = None, note: str = ""
) -> Result:
    """The result of a cell, from its folder.

    Args:
      objectives: names of numbers of the summary; None is the judged metric's best value.
      note: why the cell ended, where its folder does not say.
    """
    run, status = sweep.run(name), sweep.status(name)
    summary = _read_summary(run)
    train = read_frozen(sweep, name).get("train", {})
    if objectives is None:
        judge = str(train.get("judge"))
        numbers = {judge: _best(run, judge, train.get("mode"))}
    else:
        numbers = {key: _number(summary, key) for key in objectives}
    why = ""
    if status != FINISHED:
        why = note or str(summary.get("error") or "")
    return Result(name, status, numbers, summary.get("seconds", {}).get("total"), why)


def lacking(result: Result, sweep: SweepFolder) -> str:
    """Of a finished cell that lacks an objective, which, with the nearest name that is there."""
    name = next(name for name, value in result.objectives.items() if value is None)
    summary = _read_summary(sweep.run(result.name))
    known = {*summary.get("metrics", {}), *(f"seconds.{key}" for key in summary.get("seconds", ()))}
    return f"its summary.json has no number {name}{nearest(name, known)}"


def _read_summary(run: RunFolder) -> dict[str, Any]:
    try:
        values = json.loads(run.summary.read_bytes())
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def _best(run: RunFolder, judge: str, mode: Any) -> float | None:
    values = [r[judge] for r in read_metrics(run.metrics) if r.get(judge) is not None]
    choose = min if mode == "min" else max
    return choose(values, default=None)


def _number(summary: Mapping[str, Any], key: str) -> float | None:
    value: Any = summary.get("metrics", {}).get(key)
    if value is None:
        value = summary
        for part in key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
    usable = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if usable else None
