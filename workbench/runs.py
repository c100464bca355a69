"""A finished or interrupted run, opened from its folder for use in Python."""

import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.compose import load_experiment
from workbench.core.config import ConfigError
from workbench.recording.folder import RunFolder
from workbench.schema import ExperimentConfig

if TYPE_CHECKING:
    from workbench.core.assembly import Assembly


class Run:
    """What a run folder holds.

    Args:
      path: the folder.
      checkpoint: "last", which the summary speaks of, or "best" by the judged metric.
    """

    def __init__(self, path: str | Path, checkpoint: str = "last"):
        self.folder = RunFolder(path)
        self.config: ExperimentConfig = load_experiment(self.folder.config)
        if checkpoint not in ("last", "best"):
            raise ConfigError(f"checkpoint={checkpoint} is not a choice; choose from best, last")
        self._checkpoint = checkpoint

    @property
    def summary(self) -> dict[str, Any]:
        """The closing summary; of a run that has not ended, an empty one."""
        path = self.folder.summary
        return json.loads(path.read_text()) if path.exists() else {}

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The records of `metrics.jsonl`, in order."""
        from workbench.recording.metrics import read_metrics

        return read_metrics(self.folder.metrics)

    @cached_property
    def policy(self) -> Any:
        """What was learned to do: `policy(observation)` acts.

        Raises:
          ConfigError: when the run has no whole checkpoint, or its family no policy.
        """
        return self._known("policy", self._assembly.policy)

    @cached_property
    def result(self) -> Any:
        """What was found, in the form that the family gives it: the fit of a regression.

        Raises:
          ConfigError: when the run has no whole checkpoint, or its family no result.
        """
        return self._known("result", self._assembly.result)()

    @cached_property
    def _assembly(self) -> "Assembly":
        from workbench.experiment import restore

        return restore(self.config, self.folder, self._checkpoint)

    def _known(self, what: str, value: Any) -> Any:
        if value is None:
            raise ConfigError(f"{self.config.algorithm.family} runs have no {what}")
        return value


def load_run(path: str | Path, checkpoint: str = "last") -> Run:
    """Opens a run folder.

    Args:
      path: the folder.
      checkpoint: "last", which the summary speaks of, or "best" by the judged metric.

    Raises:
      ConfigError: when it holds no run.
    """
    return Run(path, checkpoint)
