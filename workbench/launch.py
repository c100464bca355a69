"""From a command line to runs: single ones and sweeps through Hydra, and resumed ones."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from workbench.compose import (
    amend,
    check_overrides,
    compose_experiment,
    conf_dir,
    fixed_keys,
    instantiate,
    load_experiment,
)
from workbench.core.config import ConfigError
from workbench.recording.folder import RunFolder


def run(overrides: Sequence[str], sweep: bool = False) -> int:
    """Runs one experiment, or one for every combination of a sweep, through Hydra.

    Returns:
      The exit status: of a sweep, the first that is not 0.

    Raises:
      ConfigError: before anything is written.
    """
    check_overrides(overrides, sweep)
    if not sweep:
        RunFolder(instantiate(compose_experiment(overrides)).run.dir).check_free()
    statuses: list[int] = []

    def task(config: DictConfig) -> Any:
        from workbench.experiment import execute

        experiment = instantiate(config)
        folder = Path(HydraConfig.get().runtime.output_dir)
        here = Path.cwd()
        experiment.run.dir = str(
            folder.relative_to(here) if folder.is_relative_to(here) else folder
        )
        try:
            outcome = execute(experiment, command=_command(overrides, sweep))
        except ConfigError as error:  # known only on the devices; Hydra would print a traceback
            print(f"workbench: {error}", file=sys.stderr)
            statuses.append(2)
            return None
        statuses.append(outcome.exit_status)
        return outcome.judged

    arguments = ["workbench", *overrides]
    if sweep:  # a cell's folder is named by what differs between cells
        same = ",".join(fixed_keys(overrides))
        arguments += [f"hydra.job.config.override_dirname.exclude_keys=[{same}]", "--multirun"]
    before, sys.argv = sys.argv, arguments
    try:
        hydra.main(config_path=str(conf_dir()), config_name="config", version_base="1.3")(task)()
    finally:
        sys.argv = before
    return next((status for status in statuses if status), 0)


def resume(folder: str, overrides: Sequence[str]) -> int:
    """Goes on with a run from its last checkpoint, in its folder.

    Args:
      folder: the run's.
      overrides: of settings that do not change its numbers, such as train.budget.

    Raises:
      ConfigError: when the folder holds no run, or another process is at work in it.
    """
    run_folder = RunFolder(folder)
    run_folder.check_resumable()
    experiment = amend(load_experiment(run_folder.config), overrides)
    experiment.run.dir = str(Path(folder))
    experiment.check()
    from workbench.experiment import execute

    command = shlex.join(["workbench", "resume", folder, *overrides])
    return execute(experiment, command=command, resume=True).exit_status


def _command(overrides: Sequence[str], sweep: bool) -> str:
    return shlex.join(["workbench", *(["-m"] if sweep else []), *overrides])
