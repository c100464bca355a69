"""`summary.json`: how a run ended, in the form that reports and other tools rely on."""

from dataclasses import dataclass, field
from typing import Any

from workbench.core.options import BaselineConfig
from workbench.recording.metrics import finite

# SIGINT stops a run; the summary knows no other word for it.
STATUS = {"interrupted": "stopped"}
PHASES = ("setup", "compile", "train", "evaluate", "total")


@dataclass
class Summary:
    """What is known of a run so far.

    Attributes:
      unit: what `steps` counts.
      seconds: by phase; `total` is from the command's start, over all parts of the run.
      metrics: the last value of each, e.g. "evaluate/return".
    """

    experiment: str
    family: str
    seed: int
    unit: str = "steps"
    status: str = "running"
    steps: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PHASES, 0.0))
    metrics: dict[str, float] = field(default_factory=dict)
    stopped_by: str = ""
    error: str | None = None

    def as_json(self, baseline: BaselineConfig | None) -> dict[str, Any]:
        """The summary's JSON values."""
        train = self.seconds["train"]
        return {
            "experiment": self.experiment,
            "family": self.family,
            "status": STATUS.get(self.status, self.status),
            "seed": self.seed,
            "steps": self.steps,
            "unit": self.unit,
            "seconds": {name: round(value, 3) for name, value in self.seconds.items()},
            "throughput": {self.unit: round(self.steps / train, 1)} if train else {},
            "metrics": finite(self.metrics),
            "stopped_by": self.stopped_by,
            "error": self.error,
            "baseline": self.held_against(baseline),
        }

    def held_against(self, baseline: BaselineConfig | None) -> dict[str, Any] | None:
        """The published number beside ours; None where there is none, or nothing measured."""
        if baseline is None:
            return None
        measured = finite(self.metrics).get(baseline.metric)
        return {
            "name": baseline.name,
            "metric": baseline.metric,
            "value": baseline.value,
            "spread": baseline.spread,
            "source": baseline.source,
            "measured": measured,
            "verdict": None if measured is None else baseline.verdict(measured),
        }
