"""Runs an experiment: configuration to runtime, learner and recorder, then the loop."""

import atexit
import json
import os
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from workbench.compose import dump_experiment
from workbench.core.config import ConfigError, build
from workbench.core.events import Event, Position, Stopped
from workbench.core.interruption import Interruption
from workbench.core.news import heard_by
from workbench.core.options import RuntimeConfig
from workbench.recording.folder import RunFolder
from workbench.recording.quiet import quiet
from workbench.recording.recorder import Recorder
from workbench.schema import ExperimentConfig

if TYPE_CHECKING:
    from workbench.core.assembly import Assembly
    from workbench.core.checkpoint import Checkpoints
    from workbench.core.program import Program
    from workbench.core.runtime import Runtime
    from workbench.core.warm import WarmProgram

EXIT_STATUS = {"finished": 0, "failed": 1, "preempted": 75, "interrupted": 130}

# What a run's numbers depend on, and its parts must therefore share.
BINDING = (
    "seed",
    "algorithm",
    "dataset",
    "environment",
    "partition",
    "cohort",
    "features",
    "network",
    "aggregator",
    "privacy",
    "engine",
    "glm",
    "method",
    "runtime",
)
BINDING_TRAIN = ("log_every", "evaluate_every", "judge", "mode")


@dataclass(frozen=True)
class Outcome:
    """How a run ended; `judged` is its best value for a sweeper to optimise, None without one."""

    exit_status: int
    judged: float | None = None


def execute(
    experiment: ExperimentConfig,
    command: str,
    resume: bool = False,
    warm: "WarmProgram | None" = None,
) -> Outcome:
    """Runs an experiment in its folder; when resuming, from the last checkpoint.

    Whatever happens, the folder says so; only a configuration that cannot start is raised.

    Args:
      experiment: what to run, checked.
      command: what the user typed, for the record.
      resume: whether the folder holds the run already.
      warm: what the last run in this process has compiled, to use again where it fits.

    Raises:
      ConfigError: when the run cannot start here; a folder made for it is gone again.
    """
    started = time.perf_counter()
    folder = RunFolder(experiment.run.dir)
    if worker := experiment.runtime.worker:
        return _assist(experiment, folder, worker)
    with folder.resumed() if resume else folder.created(), quiet(folder.log) as stream:
        return _Run(experiment, folder, stream, started, warm).go(command, resume)


def restore(experiment: ExperimentConfig, folder: RunFolder, checkpoint: str) -> "Assembly":
    """A run's learner and what goes around it, as it was at a checkpoint.

    Args:
      checkpoint: "last" or "best".

    Raises:
      ConfigError: when there is no whole checkpoint.
    """
    with quiet():
        import tensorflow as tf

        from workbench.core.checkpoint import CheckpointError, choose

        try:
            path = choose(folder.checkpoints, best=checkpoint == "best")
        except CheckpointError as error:
            raise ConfigError(f"{folder.path}: {error}") from error
        build(RuntimeConfig(), experiment.seed)  # one device is enough to act
        assembly = build(experiment.algorithm, seed=experiment.seed, **experiment.parts)
        tf.train.Checkpoint(learner=assembly.learner).read(str(path / "variables")).expect_partial()
        if assembly.feed is not None:
            assembly.feed.close()
    return assembly


class _Run:
    """One process' part of a run."""

    def __init__(
        self,
        experiment: ExperimentConfig,
        folder: RunFolder,
        stream: TextIO,
        started: float,
        warm: "WarmProgram | None",
    ):
        self._warm = warm
        self._experiment = experiment
        self._folder = folder
        self._started = started
        self._settings = dump_experiment(experiment)
        self._position = Position()
        self._processes = 1
        self._recorder = Recorder(
            experiment.recorder,
            folder,
            stream,
            settings=self._settings,
            train=experiment.train,
            baseline=experiment.baseline,
            family=experiment.algorithm.family,
        )

    def go(self, command: str, resume: bool) -> Outcome:
        """Trains to the end, and records how it ended."""
        recorder = self._recorder
        recorder.console.phase("starting TensorFlow")
        with Interruption().listening() as interruption:
            try:
                self._train(command, resume, interruption)
            except ConfigError as error:
                if not recorder.begun:
                    raise
                recorder.fail("failed", str(error))  # what was trained so far is kept
            except KeyboardInterrupt:  # the second one: the user would not wait for the block
                recorder.fail(
                    "interrupted", "SIGINT, twice: since the last checkpoint, all is lost"
                )
            except Exception as error:
                traceback.print_exc()
                recorder.fail(*_cause(error, self._processes, self._folder))
            recorder.close(self._position, time.perf_counter() - self._started)
            status = EXIT_STATUS[recorder.summary.status]
            if interruption.abandoned:
                _leave_threads_behind(status)
        return Outcome(status, self._position.best)

    def _train(self, command: str, resume: bool, interruption: Interruption) -> None:
        # Here, where the noise of starting TensorFlow is caught.
        import tensorflow as tf

        experiment, recorder = self._experiment, self._recorder
        with heard_by(recorder.console.phase):
            parts = _parts(experiment, self._folder, resume, self._warm)
        self._processes = parts.runtime.processes
        assembly = parts.assembly
        if resume and (restored := parts.checkpoints.restore()):
            self._position, notes = restored
            assembly.notes.extend(notes)
        devices = [device.name for device in tf.config.get_visible_devices()]
        recorder.begin(command, devices, assembly.learner, self._position)
        for note in assembly.notes:
            recorder.console.say(note)
        self._position.spend("setup", time.perf_counter() - self._started)
        with assembly.closing():
            for event in parts.train(self._position, interruption):
                recorder(event)
            if recorder.summary.status == "finished":
                for artifact in assembly.artifacts:
                    artifact(self._folder.path)
                for verdict in assembly.verdicts:
                    recorder.console.say(verdict())


def _assist(experiment: ExperimentConfig, folder: RunFolder, worker: int) -> Outcome:
    """A worker's part of a run whose chief keeps the folder; its own log is all it writes."""
    folder.path.mkdir(parents=True, exist_ok=True)
    position, processes, status = Position(), 1, "failed"
    with quiet(folder.worker_log(worker)), Interruption().listening() as interruption:
        try:
            parts = _parts(experiment, folder)
            processes = parts.runtime.processes
            if parts.resume and (restored := parts.checkpoints.restore()):
                position, _ = restored
            with parts.assembly.closing():
                for event in parts.train(position, interruption):
                    if isinstance(event, Stopped):
                        status = event.status
        except ConfigError:
            raise
        except Exception as error:
            traceback.print_exc()
            status, cause = _cause(error, processes, folder)
            print(f"workbench: worker {worker}: {cause}", file=sys.__stderr__)
    return Outcome(EXIT_STATUS[status], position.best)


@dataclass(frozen=True)
class _Parts:
    """What every process of a run is made of."""

    experiment: ExperimentConfig
    runtime: "Runtime"
    assembly: "Assembly"
    program: "Program"
    checkpoints: "Checkpoints"
    resume: bool

    def train(self, position: Position, interruption: Interruption) -> Iterator[Event]:
        from workbench.core.loop import train
        from workbench.core.warm import copy_state

        config = self.experiment.train
        yield from train(self.program, config, self.checkpoints, position, interruption)
        if self.program.learner is not self.assembly.learner:
            copy_state(self.program.learner, self.assembly.learner)


def _parts(
    experiment: ExperimentConfig,
    folder: RunFolder,
    resume: bool = False,
    warm: "WarmProgram | None" = None,
) -> _Parts:
    """Builds an experiment on its devices; the chief says whether it resumes."""
    from workbench.core.checkpoint import Checkpoints
    from workbench.core.program import Program

    settings = dump_experiment(experiment)
    runtime = build(experiment.runtime, experiment.seed)
    runtime.check_same(json.dumps(settings), "settings; give all of them one run.dir, too")
    with runtime.scope():
        assembly = build(experiment.algorithm, seed=experiment.seed, **experiment.parts)
    program = Program(assembly.learner, runtime, experiment.seed, assembly.feed)
    if warm is not None:
        program = warm.take(json.dumps(binding(settings) | {"seed": None}), program)
    checkpoints = Checkpoints(
        folder.checkpoints,
        program.learner,
        assembly.feed,
        runtime,
        config=binding(settings),
        keep=experiment.train.keep,
    )
    resume = bool(runtime.told(resume))
    return _Parts(experiment, runtime, assembly, program, checkpoints, resume)


def _cause(error: Exception, processes: int, folder: RunFolder) -> tuple[str, str]:
    """Status and reason of a run that an error ended."""
    from tensorflow.errors import OpError

    if processes > 1 and isinstance(error, OpError):
        first = str(error).strip().splitlines()[0]
        remedy = f"`workbench resume {folder}` on all of them goes on"
        return "preempted", f"a worker was lost; {remedy} ({first})"
    cause = f"{type(error).__name__}: {error}".splitlines()[0]
    return "failed", f"{cause} (traceback in {folder.log})"


def _leave_threads_behind(status: int) -> None:
    """Lets the process end without waiting for TensorFlow, which would not hear of it."""
    atexit.register(lambda: (sys.stdout.flush(), sys.stderr.flush(), os._exit(status)))


def binding(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that the parts of one run must share."""
    shared = {name: settings[name] for name in BINDING if settings.get(name) is not None}
    return shared | {"train": {name: settings["train"][name] for name in BINDING_TRAIN}}
