"""Consumes the loop's events: numbers to files, progress to the user, a summary at the end."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TextIO

import yaml  # type: ignore[import-untyped]

from workbench.core.events import (
    BlockDone,
    Checkpointed,
    CheckpointFailed,
    Compiled,
    Evaluated,
    Event,
    Position,
    Stopped,
)
from workbench.core.options import BaselineConfig, TrainConfig
from workbench.recording.config import RecorderConfig
from workbench.recording.console import RunConsole
from workbench.recording.folder import RunFolder, write_json, write_text
from workbench.recording.manifest import code_diff, manifest, part
from workbench.recording.metrics import MetricsFile, read_metrics, truncate_metrics
from workbench.recording.mirror import Mirror
from workbench.recording.summary import Summary
from workbench.recording.target import Target

if TYPE_CHECKING:
    from workbench.core.learner import Learner


class Recorder:
    """All records of one run.

    Args:
      config: which records, besides the numbers.
      folder: where.
      stream: where the user looks.
      settings: the experiment as plain values, for `config.yaml` and TensorBoard.
      train: how the experiment trains.
      baseline: the published number to hold the result against.
      family: of the algorithm.
    """

    def __init__(
        self,
        config: RecorderConfig,
        folder: RunFolder,
        stream: TextIO,
        *,
        settings: Mapping[str, Any],
        train: TrainConfig,
        baseline: BaselineConfig | None,
        family: str,
    ):
        self._config = config
        self._folder = folder
        self._settings = settings
        self._train = train
        self._baseline = baseline
        name, seed = settings["name"], settings["seed"]
        self.summary = Summary(name, family, seed)
        self.console = RunConsole(stream, f"{name} seed {seed}", config.progress)
        self._metrics: MetricsFile | None = None
        self._tensorboard: Any = None
        self._mlflow: Any = None
        self._mirror: Mirror | None = None
        self._target = Target(train, self.summary.unit)
        self._last_checkpoint = ""
        self._troubles: set[str] = set()

    @property
    def begun(self) -> bool:
        """Whether the folder holds records of this run."""
        return self._metrics is not None

    def begin(
        self, command: str, devices: Sequence[str], learner: "Learner", position: Position
    ) -> None:
        """Opens the records; those after `position`, of a part that was lost, are dropped.

        Args:
          command: what the user typed.
          devices: names of the devices in use.
          learner: what is trained.
          position: where training starts.
        """
        folder = self._folder
        done = position.step * learner.units_per_step
        self._target = Target(self._train, learner.unit)
        resumed = folder.manifest.exists()
        if resumed:  # maybe at step 0, when the part before made no checkpoint
            truncate_metrics(folder.metrics, done)
            for record in read_metrics(folder.metrics):
                self._remember(record)
            whole = (path.name for path in folder.checkpoints.glob("step-*"))
            self._last_checkpoint = max(whole, default="")
        write_text(folder.config, yaml.safe_dump(dict(self._settings), sort_keys=False))
        self._write_manifest(command, devices, position.step)
        self._metrics = MetricsFile(folder.metrics)
        if self._config.tensorboard:
            from workbench.recording.tensorboard import TensorBoard

            self._tensorboard = TensorBoard(
                folder.tensorboard, self._settings, str(folder.path), done if resumed else None
            )
        if self._config.mlflow:
            from workbench.recording.mlflow import MlflowRun

            uri = self._config.tracking_uri
            self._mlflow = MlflowRun(folder, self._settings, self.summary.family, uri)
            self._mirror = Mirror(self._mlflow.update)
        self.summary.unit = learner.unit
        self.summary.steps = done
        most = self._train.budget
        if learner.limit is not None:
            most = min(most, learner.limit * learner.units_per_step)
        self.console.start(learner.unit, done, most)

    def __call__(self, event: Event) -> None:
        """Records an event of the loop."""
        match event:
            case Compiled():
                pass  # its seconds come with the last event
            case BlockDone():
                self._record(event.units, "train", event.metrics)
                self.console.trained(event.units, event.units_per_second, event.metrics)
            case Evaluated():
                self._record(event.units, "evaluate", event.metrics)
                self.console.evaluated(event.units, event.metrics)
            case Checkpointed():
                self._last_checkpoint = event.path.name
            case CheckpointFailed():
                self.console.say(f"warning: {event.reason}; the checkpoints before it are whole")
            case Stopped():
                self.summary.status = event.status
                self.summary.stopped_by = event.reason
                if event.status == "failed":
                    self.summary.error = self._with_checkpoint(event.reason)
        if self._mirror is not None:
            self._try("mlflow", self._mirror.check)

    def fail(self, status: str, cause: str) -> None:
        """Notes that the run broke off, and of what."""
        self.summary.status = status
        self.summary.error = self._with_checkpoint(cause)

    def close(self, position: Position, total_seconds: float) -> None:
        """Writes summary and plots, and prints the closing table.

        Args:
          position: where training ended.
          total_seconds: of this part of the run, from the command's start.
        """
        seconds = self.summary.seconds
        seconds |= position.seconds
        seconds["total"] = max(total_seconds, sum(position.seconds.values()))
        for writer in (self._metrics, self._tensorboard):
            if writer is not None:
                self._try("closing the records", writer.close)
        if self._config.plots:
            self._try("plots", self._plot)
        missed = self._target.missed()
        if missed and self.summary.status == "finished":
            self.console.say(missed)
        values = self.summary.as_json(self._baseline)
        try:
            write_json(self._folder.summary, values)
        except OSError as error:  # others rely on this file: without it the run has failed
            self.fail("failed", f"summary.json could not be written: {error.strerror}")
            values = self.summary.as_json(self._baseline)
        if self._mirror is not None:
            end = partial(self._mlflow.end, values["status"])
            self._try("mlflow", partial(self._mirror.close, end))
        self.console.close(values, self._folder.path)

    def _with_checkpoint(self, cause: str) -> str:
        if self._last_checkpoint:
            return f"{cause}; the last good checkpoint is {self._last_checkpoint}"
        return cause

    def _record(self, units: int, prefix: str, metrics: Mapping[str, float]) -> None:
        values = {f"{prefix}/{name}": float(value) for name, value in metrics.items()}
        values |= self._target.see(units, values)
        self.summary.steps = units
        self.summary.metrics |= values
        now = time.time()
        for name, writer in (("metrics.jsonl", self._metrics), ("tensorboard", self._tensorboard)):
            if writer is not None:
                self._try(name, partial(writer.write, units, now, values))

    def _try(self, what: str, write: Callable[[], Any]) -> None:
        # A full disk costs records, which is no reason to lose the training as well.
        try:
            write()
        except OSError as error:
            if what not in self._troubles:
                self._troubles.add(what)
                self.console.say(f"warning: {what}: {error.strerror}; training goes on")

    def _remember(self, record: Mapping[str, Any]) -> None:
        self._target.see(record["step"], record)
        self.summary.metrics |= {
            name: value for name, value in record.items() if "/" in name and value is not None
        }

    def _write_manifest(self, command: str, devices: Sequence[str], first_step: int) -> None:
        path = self._folder.manifest
        first = not path.exists()
        values = manifest(devices) if first else json.loads(path.read_text())
        values["parts"].append(part(command, first_step))
        write_json(path, values)
        if first and (diff := code_diff()):
            write_text(self._folder.code_diff, diff)

    def _plot(self) -> None:
        from workbench.recording.plots import learning_curve

        learning_curve(
            self._folder.plots / "learning_curve.png",
            read_metrics(self._folder.metrics),
            judge=self._train.judge,
            unit=self.summary.unit,
            title=f"{self.summary.experiment}, seed {self.summary.seed}",
            baseline=self._baseline,
        )
