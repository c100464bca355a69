"""One cell of a sweep, wherever it runs."""

from pathlib import Path
from typing import TYPE_CHECKING

from workbench.compose import load_experiment
from workbench.core.config import ConfigError, nearest
from workbench.recording.folder import RunFolder, locked
from workbench.sweeps.folder import SweepFolder

if TYPE_CHECKING:
    from workbench.core.warm import WarmProgram


def run_cell(sweep: str | Path, name: str, warm: "WarmProgram | None" = None) -> int:
    """Runs a cell by its frozen configuration, from its last checkpoint if it has begun before.

    A finished one is left alone. Whatever happens is said by the cell's run folder.

    Args:
      sweep: the sweep's folder.
      name: the cell's.
      warm: what the last cell in this process has compiled, to use again where it fits.

    Returns:
      The exit status that `workbench` would give: 0 finished, 1 failed, 75 preempted and 130
      interrupted after a checkpoint.

    Raises:
      ConfigError: when there is no such cell, it is at work elsewhere, or cannot start here.
    """
    folder = SweepFolder(sweep)
    run, config = folder.run(name), folder.config(name)
    if folder.status(name) == "finished":
        return 0
    if not config.exists():
        known = (path.stem for path in config.parent.glob("*.yaml"))
        raise ConfigError(f"{folder} has no cell {name}{nearest(name, known)}")
    experiment = load_experiment(config)
    experiment.run.dir = str(run.path)
    begun = run.config.exists()
    if not begun:
        _clear(run)
    experiment.check()
    from workbench.experiment import execute

    command = str(folder.read()["command"])
    return execute(experiment, command, resume=begun, warm=warm).exit_status


def _clear(run: RunFolder) -> None:
    """Takes away what a start that was killed before its run began has left behind."""
    if run.path.is_dir():
        with locked(run.lock, "run.dir"):
            for leftover in (run.log, run.summary):
                leftover.unlink(missing_ok=True)
