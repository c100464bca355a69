"""A sweep at work: what sweepers and launchers have in common."""

import shlex
import signal
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from types import FrameType, TracebackType
from typing import Any, NoReturn

from workbench.compose import parse_overrides
from workbench.core.config import ConfigError
from workbench.core.interruption import SIGNALS
from workbench.schema import ExperimentConfig, SweepConfig
from workbench.sweeps.composer import Composer
from workbench.sweeps.console import SweepConsole
from workbench.sweeps.folder import Cell, SweepFolder
from workbench.sweeps.frozen import freeze, refuse_other
from workbench.sweeps.naming import cell_name
from workbench.sweeps.result import FINISHED, LEFT, Result, read_result
from workbench.sweeps.space import UNSWEPT, Space, key_of

OK, FAILED, PREEMPTED, INTERRUPTED = 0, 1, 75, 130


class Sweep:
    """A sweep's folder, its cells and what became of them.

    Hydra hands it from the command to the launcher in the place of its task function: cells run in
    other processes.

    Args:
      folder: of the sweep; nothing is written before the first cells are submitted.
      space: the overrides of the command.
      settings: of the sweep.
      console: tells the user.
      compose: composes the cells.

    Attributes:
      results: what is known of cells so far, by name.
      final: the statuses of cells that are not run again.
      remarks: lines for the end.
      signals: those that have come, until the launcher has passed them on.
    """

    def __init__(
        self,
        folder: SweepFolder,
        space: Space,
        settings: SweepConfig,
        console: SweepConsole,
        compose: Composer,
    ):
        self.folder = folder
        self.settings = settings
        self.console = console
        self.compose = compose
        self.results: dict[str, Result] = {}
        self.final = frozenset({FINISHED})
        self.remarks: list[str] = []
        self.signals: deque[signal.Signals] = deque()
        self._space = space
        self._interrupted_by: signal.Signals | None = None
        self._failed_fast = False
        self._open = False
        self._held = ExitStack()
        self._at_end = ExitStack()

    def __call__(self, config: Any) -> NoReturn:
        """What a launcher that is not Workbench's would call for a cell."""
        raise ConfigError("this launcher cannot run cells; choose local, ray or slurm")

    def __enter__(self) -> "Sweep":
        self._held.enter_context(self._listening())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.console.stop()
        self._at_end.close()
        self._held.close()

    def at_end(self, callback: Callable[[], None]) -> None:
        """Has something called when the sweep is left, in whatever way."""
        self._at_end.callback(callback)

    @property
    def command(self) -> str:
        """What starts this sweep again."""
        lines = [
            line
            for line in self._space.lines
            if line.partition("=")[0] not in ("sweep.dir", "hydra.sweep.dir")
        ]
        return shlex.join(["workbench", "-m", *lines, f"sweep.dir={self.folder}"])

    @property
    def stopped(self) -> bool:
        """Whether no more cells shall start."""
        return self._interrupted_by is not None or self._failed_fast

    def submit(
        self, jobs: Sequence[Sequence[str]], trials: Sequence[int] | None = None
    ) -> list[Cell]:
        """Freezes the configurations of cells and puts them into the index.

        A cell that is there already stays as it is.

        Args:
          jobs: all overrides of each cell.
          trials: the numbers that a study gave them.

        Returns:
          The cells of the jobs, in order.

        Raises:
          ConfigError: when one cannot be composed, or is there with another configuration; then
            nothing is written.
        """
        jobs = [[line for line in job if not line.startswith(UNSWEPT)] for job in jobs]
        experiments = [self.compose(job) for job in jobs]
        if not self._open:
            self._held.enter_context(self.folder.opened(self.command))
            self._open = True
        before = {cell.name: cell for cell in self.folder.cells()}
        index = _Index(before, self._space.fixed)
        numbers: list[int | None] = list(trials) if trials else [None for _ in jobs]
        cells = [index.cell(job, number) for job, number in zip(jobs, numbers, strict=True)]
        new: dict[str, ExperimentConfig] = {}
        for cell, experiment in zip(cells, experiments, strict=True):
            experiment.run.dir = str(self.folder.run(cell.name))
            if cell.name in before and self.folder.config(cell.name).exists():
                refuse_other(self.folder, cell.name, experiment)
            else:
                new[cell.name] = experiment
        for name, experiment in new.items():
            freeze(self.folder, name, experiment)
        if index.cells != before:
            created = self.folder.read()["created"]
            self.folder.write(self.command, created, list(index.cells.values()))
        return cells

    def read(self, name: str, note: str = "") -> Result:
        """Reads a cell's result from its folder, and keeps it for the end."""
        result = read_result(self.folder, name, self.settings.objectives, note)
        self.results[name] = result
        return result

    def ended(self, name: str, note: str) -> Result:
        """A cell has ended, and maybe the sweep with it."""
        result = self.read(name, note)
        self.console.ended(result)
        if self.settings.fail_fast and not result.finished and not self.stopped:
            self._failed_fast = True
            self.signals.append(signal.SIGTERM)
            self.console.say(f"sweep.fail_fast: {name} is {result.status}; the others are stopped")
        return result

    def left(self, name: str) -> Result:
        """A cell is left to run, or to wait, without this process."""
        self.results[name] = replace(self.read(name), status=LEFT)
        return self.results[name]

    def close(self) -> int:
        """Prints the closing table.

        Returns:
          The exit status.
        """
        results = list(self.results.values())
        left = [result for result in results if result.status not in self.final]
        self.console.close(results, len(left), self.command, self.remarks)
        if self._interrupted_by is not None:
            return INTERRUPTED if self._interrupted_by == signal.SIGINT else PREEMPTED
        return FAILED if any(result.failed for result in self.results.values()) else OK

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """Signals wait in `signals` for the launcher, which passes them on to the cells."""
        before = {number: signal.signal(number, self._remember) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        caught = signal.Signals(number)
        self.signals.append(caught)
        self._interrupted_by = self._interrupted_by or caught


class _Index:
    """The cells of a sweep while some are added.

    Args:
      cells: that are there, by name.
      fixed: keys that the command gives one value.
    """

    def __init__(self, cells: Mapping[str, Cell], fixed: Collection[str]):
        self.cells = dict(cells)
        self._names = {frozenset(cell.overrides): name for name, cell in cells.items()}
        # seed=3 extends a sweep over seeds, though here it is but one.
        apart = {line.partition("=")[0] for cell in cells.values() for line in cell.overrides}
        self._fixed = {*fixed} - apart

    def cell(self, job: Sequence[str], trial: int | None) -> Cell:
        """The cell that a job asks for: the one that is there, or a new one."""
        told = [o.input_line or "" for o in parse_overrides(job) if key_of(o) not in self._fixed]
        name = self._names.setdefault(frozenset(told), cell_name(told, self.cells))
        cell = self.cells.get(name) or Cell(name, tuple(told))
        if trial is not None and trial not in cell.trials:
            cell = replace(cell, trials=(*cell.trials, trial))
        self.cells[name] = cell
        return cell
