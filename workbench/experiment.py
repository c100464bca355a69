"""Runs an experiment: configuration to runtime, learner and recorder, then the loop."""

import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.compose import dump_experiment
from workbench.core.config import ConfigError, build
from workbench.recording.folder import RunFolder
from workbench.recording.quiet import quiet
from workbench.recording.recorder import Recorder
from workbench.schema import ExperimentConfig

EXIT_STATUS = {"finished": 0, "failed": 1, "preempted": 75, "interrupted": 130}

# What a run's numbers depend on, which its parts must therefore share.
BINDING = ("seed", "algorithm", "environment", "network", "runtime")
BINDING_TRAIN = ("log_every", "evaluate_every", "judge", "mode")


@dataclass(frozen=True)
class Outcome:
    """How a run ended; `judged` is its best value for a sweeper to optimise, None without one."""

    exit_status: int
    judged: float | None = None


def execute(experiment: ExperimentConfig, command: str, resume: bool = False) -> Outcome:
    """Runs an experiment in its folder, from the last checkpoint when resuming.

    Whatever happens, the folder says so: nothing but a wrong configuration is raised.

    Args:
      experiment: checked.
      command: what the user typed, for the record.

    Raises:
      ConfigError: when the experiment cannot start here; a folder made for it is gone again.
    """
    started = time.perf_counter()
    folder = RunFolder(experiment.run.dir)
    with folder.resumed() if resume else folder.created(), quiet(folder.log) as console:
        recorder = Recorder(experiment.recorder, folder, console, ...)
        try:
            return _train(experiment, folder, recorder, resume, started)
        except ConfigError:
            raise
        except KeyboardInterrupt:
            return recorder.close("interrupted", ...)
        except Exception as error:
            traceback.print_exc()
            ...
