"""What every launcher shares: cells go into the folder, what is left of them out to run."""

import signal
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from workbench.compose import typed
from workbench.core.config import ConfigError
from workbench.sweeps.folder import Cell, SweepFolder
from workbench.sweeps.result import Result
from workbench.sweeps.sweep import Sweep


@dataclass(frozen=True)
class CellEvent:
    """What a launcher has to tell of a cell.

    Attributes:
      name: of the cell.
      state: "queued", "running", and as the last one "ended", or "left" to run without us.
      note: why it ended, where the cell's run folder cannot say: "killed by signal 9".
    """

    name: str
    state: str
    note: str = ""


class SweepLauncher(Launcher):
    """Hydra's launcher interface over a sweep folder.

    A subclass says where cells run (`_run_cells`) and how they are stopped (`_stop`). What a cell
    came to is read from its run folder, never from what the process that ran it returned, so that
    what is lost with one costs that one only.

    Args:
      settings: the keys of the launcher's YAML in conf/hydra/launcher.

    Attributes:
      Settings: a dataclass of them; its types and the limits in its `__post_init__` are checked.
      settings: one of it.
      sweep: that the cells belong to.

    Raises:
      ConfigError: for what is wrong with the settings; a subclass may find more in `__init__`.
    """

    Settings: ClassVar[type]

    def __init__(self, **settings: Any):
        self.settings: Any = typed(self.Settings, settings, "hydra.launcher")
        self.sweep: Sweep

    @abstractmethod
    def _run_cells(self, sweep: SweepFolder, names: Sequence[str]) -> Iterator[CellEvent | None]:
        """Has `workbench.sweeps.cell.run_cell(sweep.path, name)` done for every name, somewhere.

        Their configurations are frozen in the folder already. Yields what happens as it happens,
        and None at least every second when nothing does; each name gets one "ended" or "left",
        whatever befalls it. `_stop` may be called between two of them.
        """

    @abstractmethod
    def _stop(self, number: signal.Signals) -> None:
        """The sweep is to end: start no more cells, and pass the signal to those that run.

        They make a checkpoint and end; `_run_cells` goes on to tell of each of them, and gives
        every cell that never started an "ended" too. Called again when the user will not wait.
        """

    def close(self) -> None:
        """The sweep is over: frees what is kept between batches of cells."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        if not isinstance(task_function, Sweep):
            raise ConfigError("this launcher runs cells of a sweep only")
        self.sweep = task_function
        self.sweep.at_end(self.close)

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Runs what is not finished of these cells; the returns hold what their folders say."""
        cells = self.sweep.submit(job_overrides)
        results = self.run(cells)
        return [
            self._job_return(cell, result, overrides)
            for cell, result, overrides in zip(cells, results, job_overrides, strict=True)
        ]

    def run(self, cells: Sequence[Cell]) -> list[Result]:
        """Runs those of some cells of the index that are not over for good.

        Returns:
          The result of each cell, in order.
        """
        sweep = self.sweep
        results = {cell.name: sweep.read(cell.name) for cell in cells}
        names = [name for name, result in results.items() if result.status not in sweep.final]
        if names and not sweep.stopped:
            sweep.console.begin(len(names))
            for event in self._run_cells(sweep.folder, names):
                if event is None:
                    pass
                elif event.state == "ended":
                    results[event.name] = sweep.ended(event.name, event.note)
                elif event.state == "left":
                    results[event.name] = sweep.left(event.name)
                else:
                    sweep.console.changed(event.name, event.state)
                while sweep.signals:
                    self._stop(sweep.signals.popleft())
        return [results[cell.name] for cell in cells]

    def _job_return(self, cell: Cell, result: Result, overrides: Sequence[str]) -> JobReturn:
        returned = JobReturn(overrides=overrides, task_name="workbench")
        returned.working_dir = str(self.sweep.folder.run(cell.name))
        if result.finished and result.numbers:
            returned.status = JobStatus.COMPLETED
            first, *more = result.numbers
            returned.return_value = [first, *more] if more else first
        else:
            returned.status = JobStatus.FAILED
            returned.return_value = RuntimeError(f"{cell.name} is {result.status}: {result.why}")
        return returned
