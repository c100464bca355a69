"""From a command line to runs: single ones through Hydra, sweeps of them, and resumed ones."""

import os
import shlex
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from workbench.compose import (
    amend,
    check_overrides,
    compose_hydra,
    conf_dir,
    instantiate,
    load_experiment,
    quoted,
)
from workbench.core.config import ConfigError
from workbench.recording.folder import RunFolder
from workbench.schema import ExperimentConfig
from workbench.sweeps.composer import Composer
from workbench.sweeps.console import SweepConsole
from workbench.sweeps.folder import SweepFolder
from workbench.sweeps.plugins import run_sweep
from workbench.sweeps.space import Space, without_hydra
from workbench.sweeps.sweep import Sweep


def run(overrides: Sequence[str]) -> int:
    """Runs one experiment, through Hydra.

    Returns:
      The exit status.

    Raises:
      ConfigError: before anything is written.
    """
    for override in overrides:
        if override.startswith("sweep."):
            raise ConfigError(f"{override} is of sweeps only; add -m")
    experiment = check_overrides(overrides)
    if experiment.runtime.worker == 0:  # the others share the folder of the one that keeps it
        RunFolder(experiment.run.dir).check_free()
    statuses: list[int] = []

    def task(config: DictConfig) -> None:
        from workbench.experiment import execute

        experiment = instantiate(config)
        experiment.run.dir = _from_here(Path(HydraConfig.get().runtime.output_dir))
        command = shlex.join(["workbench", *overrides])
        try:
            statuses.append(execute(experiment, command).exit_status)
        except ConfigError as error:  # known only on the devices; Hydra would print a traceback
            print(f"workbench: {error}", file=sys.stderr)
            statuses.append(2)

    before, sys.argv = sys.argv, ["workbench", *map(quoted, overrides)]
    try:
        hydra.main(config_path=str(conf_dir()), config_name="config", version_base="1.3")(task)()
    finally:
        sys.argv = before
    return statuses[0]


def sweep(overrides: Sequence[str]) -> int:
    """Runs what is not finished of the combinations that a sweeper makes of the overrides.

    Returns:
      The exit status: 0 when all cells are finished.

    Raises:
      ConfigError: before anything is written.
    """
    space = Space(overrides)
    compose = Composer()
    config = compose_hydra(space.first())
    if str(config.hydra.sweeper._target_).endswith("BasicSweeper"):
        experiment = compose(without_hydra(space.first()))  # its launcher tries all combinations
    else:
        experiment = space.tried(compose)
    if "hydra.sweep.dir" in space.fixed:
        folder = str(config.hydra.sweep.dir)
    else:
        folder = experiment.sweep.dir or _new_folder(space, experiment)
    folder = _from_here(Path(folder).absolute())
    console = SweepConsole(sys.stdout, folder)
    with Sweep(SweepFolder(folder), space, experiment.sweep, console, compose) as at_work:
        run_sweep(at_work, config, without_hydra(space.lines))
        return at_work.close()


def resume(folder: str, overrides: Sequence[str]) -> int:
    """Goes on with a run from its last checkpoint, in its folder.

    Args:
      folder: the run's.
      overrides: of settings that do not change its numbers, such as train.budget.

    Raises:
      ConfigError: when the folder holds no run, or another process is at work in it.
    """
    if (whole := SweepFolder(folder)).is_sweep:
        whole.check()
        raise ConfigError(f"{folder} is a sweep; to go on with it: {whole.read().get('command')}")
    run_folder = RunFolder(folder)
    run_folder.check_run()
    experiment = amend(load_experiment(run_folder.config), overrides)
    if experiment.runtime.worker == 0:
        run_folder.check_resumable()
    experiment.run.dir = str(Path(folder))
    experiment.check()
    from workbench.experiment import execute

    command = shlex.join(["workbench", "resume", folder, *overrides])
    return execute(experiment, command=command, resume=True).exit_status


def _new_folder(space: Space, experiment: ExperimentConfig) -> str:
    """A sweep's folder below what the names of its experiments have in common."""
    names = space.values("experiment")
    common = os.path.commonpath(names) if len(names) > 1 else experiment.name
    return str(Path("runs", common, f"sweep_{datetime.now():%Y-%m-%d_%H-%M-%S}"))


def _from_here(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
