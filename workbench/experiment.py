"""Runs an experiment: configuration to runtime, learner and recorder, then the loop."""

import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TextIO

from workbench.compose import dump_experiment
from workbench.core.config import ConfigError, build
from workbench.core.events import Position
from workbench.core.interruption import Interruption
from workbench.recording.folder import RunFolder
from workbench.recording.quiet import quiet
from workbench.recording.recorder import Recorder
from workbench.schema import ExperimentConfig

EXIT_STATUS = {"finished": 0, "failed": 1, "preempted": 75, "interrupted": 130}

# What a run's numbers depend on, and its parts must therefore share.
BINDING = ("seed", "algorithm", "environment", "network", "runtime")
BINDING_TRAIN = ("log_every", "evaluate_every", "judge", "mode")


@dataclass(frozen=True)
class Outcome:
    """How a run ended; `judged` is its best value for a sweeper to optimise, None without one."""

    exit_status: int
    judged: float | None = None


def execute(experiment: ExperimentConfig, command: str, resume: bool = False) -> Outcome:
    """Runs an experiment in its folder; when resuming, from the last checkpoint.

    Whatever happens, the folder says so; only a configuration that cannot start is raised.

    Args:
      experiment: what to run, checked.
      command: what the user typed, for the record.
      resume: whether the folder holds the run already.

    Raises:
      ConfigError: when the run cannot start here; a folder made for it is gone again.
    """
    started = time.perf_counter()
    folder = RunFolder(experiment.run.dir)
    with folder.resumed() if resume else folder.created(), quiet(folder.log) as stream:
        return _Run(experiment, folder, stream, started).go(command, resume)


def restore_policy(experiment: ExperimentConfig, folder: RunFolder, checkpoint: str) -> Any:
    """The policy of a run's checkpoint.

    Args:
      checkpoint: "last" or "best".

    Raises:
      ConfigError: when there is no whole checkpoint, or the family has no policy.
    """
    with quiet():
        import tensorflow as tf

        from workbench.core.checkpoint import CheckpointError, choose

        try:
            path = choose(folder.checkpoints, best=checkpoint == "best")
        except CheckpointError as error:
            raise ConfigError(f"{folder.path}: {error}") from error
        build(experiment.runtime, experiment.seed)
        assembly = build(experiment.algorithm, seed=experiment.seed, **experiment.parts)
        tf.train.Checkpoint(learner=assembly.learner).read(str(path / "variables")).expect_partial()
        if assembly.feed is not None:
            assembly.feed.close()
    if assembly.policy is None:
        raise ConfigError(f"{experiment.algorithm.family} runs have no policy")
    return assembly.policy


class _Run:
    """One process' part of a run."""

    def __init__(
        self, experiment: ExperimentConfig, folder: RunFolder, stream: TextIO, started: float
    ):
        self._experiment = experiment
        self._folder = folder
        self._started = started
        self._settings = dump_experiment(experiment)
        self._position = Position()
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
                cause = f"{type(error).__name__}: {error}".splitlines()[0]
                recorder.fail("failed", f"{cause} (traceback in {self._folder.log})")
            recorder.close(self._position, time.perf_counter() - self._started)
        return Outcome(EXIT_STATUS[recorder.summary.status], self._position.best)

    def _train(self, command: str, resume: bool, interruption: Interruption) -> None:
        # Here, where the noise of starting TensorFlow is caught.
        import tensorflow as tf

        from workbench.core.checkpoint import Checkpoints
        from workbench.core.loop import train
        from workbench.core.program import Program

        experiment, recorder = self._experiment, self._recorder
        runtime = build(experiment.runtime, experiment.seed)
        with runtime.scope():
            assembly = build(experiment.algorithm, seed=experiment.seed, **experiment.parts)
        checkpoints = Checkpoints(
            self._folder.checkpoints,
            assembly.learner,
            assembly.feed,
            runtime,
            config=binding(self._settings),
            keep=experiment.train.keep,
        )
        if resume and (restored := checkpoints.restore()):
            self._position, notes = restored
            assembly.notes.extend(notes)
        devices = [device.name for device in tf.config.get_visible_devices()]
        recorder.begin(command, devices, assembly.learner, self._position)
        for note in assembly.notes:
            recorder.console.say(note)
        self._position.spend("setup", time.perf_counter() - self._started)
        program = Program(assembly.learner, runtime, experiment.seed, assembly.feed)
        try:
            for event in train(
                program, experiment.train, checkpoints, self._position, interruption
            ):
                recorder(event)
            if recorder.summary.status == "finished":
                for artifact in assembly.artifacts:
                    artifact(self._folder.path)
        finally:
            if assembly.feed is not None:
                assembly.feed.close()


def binding(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that the parts of one run must share."""
    shared = {name: settings[name] for name in BINDING}
    return shared | {"train": {name: settings["train"][name] for name in BINDING_TRAIN}}
