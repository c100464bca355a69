"""`hydra/launcher=local`: worker processes on this machine."""

import os
import select
import signal
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import psutil

from workbench.core.config import AT_LEAST_ONE, POSITIVE, require
from workbench.sweeps.folder import SweepFolder
from workbench.sweeps.frozen import read_frozen
from workbench.sweeps.kind import Kind
from workbench.sweeps.launcher import CellEvent, SweepLauncher
from workbench.sweeps.process import WorkerProcess

GIB = 2**30
WORKER = (sys.executable, "-m", "workbench.sweeps.worker")


@dataclass
class LocalSettings:
    """What a user may say about local processes; see conf/hydra/launcher/local.yaml."""

    jobs: int | None = None
    memory_gib: float = 2.0

    def __post_init__(self) -> None:
        require(self, jobs=AT_LEAST_ONE, memory_gib=POSITIVE)


class LocalLauncher(SweepLauncher):
    """Runs cells in a few long-lived processes, each of which starts TensorFlow once.

    A process that dies costs the cell that it was at; another takes its place.
    """

    Settings = LocalSettings
    worker: Sequence[str] = WORKER  # the command of one, which the sweep's folder is added to

    def __init__(self, **settings: Any):
        super().__init__(**settings)
        self._workers: dict[WorkerProcess, Kind] = {}  # with what each is at, or was
        self._memory_for: int | None = None
        self._stops = 0

    def _run_cells(self, sweep: SweepFolder, names: Sequence[str]) -> Iterator[CellEvent | None]:
        waiting = {name: Kind.of(read_frozen(sweep, name)) for name in names}
        jobs = self._jobs([kind.runtime for kind in waiting.values()])
        while waiting or self._busy():
            while waiting and not self._stops and len(self._busy()) < jobs:
                name = self._next(waiting)
                self._start(sweep, name, waiting.pop(name), jobs)
                yield CellEvent(name, "running")
            while waiting and self._stops:
                yield CellEvent(waiting.popitem()[0], "ended")
            yield None
            select.select(self._busy(), [], [], 0.5)
            for worker in self._busy():
                name = str(worker.cell)
                if (note := worker.answer()) is not None:
                    if self._stops and sweep.status(name) == "missing":
                        note = ""  # a signal that came before the process listened is no fault
                    yield CellEvent(name, "ended", note)
            self._retire()

    def _stop(self, number: signal.Signals) -> None:
        self._stops += 1
        for worker in self._busy():  # the second one ends a run at once, or should
            worker.send(number if self._stops <= 2 else signal.SIGKILL)

    def close(self) -> None:
        while self._workers:
            self._workers.popitem()[0].end()

    def _busy(self) -> list[WorkerProcess]:
        return [worker for worker in self._workers if worker.cell is not None]

    def _next(self, waiting: Mapping[str, Kind]) -> str:
        """The cell to start: one that an idle process has the program of, else that none has."""
        idle = [kind for worker, kind in self._workers.items() if worker.cell is None]
        wished = chain(
            (name for name, kind in waiting.items() if kind in idle),
            (name for name, kind in waiting.items() if kind not in self._workers.values()),
            waiting,
        )
        return next(wished)

    def _start(self, sweep: SweepFolder, name: str, kind: Kind, jobs: int) -> None:
        """Starts a cell in an idle process, or a new one where none has its devices."""
        idle = [worker for worker in self._workers if worker.cell is None]
        fit = [worker for worker in idle if self._workers[worker].runtime == kind.runtime]
        if fit:
            worker = max(fit, key=lambda worker: self._workers[worker] == kind)
        else:
            if len(self._workers) >= jobs:
                self._end(idle[0])
            worker = WorkerProcess([*self.worker, str(sweep.path)])
        self._workers[worker] = kind
        worker.start(name)

    def _retire(self) -> None:
        """Lets go of processes that have died, or that have grown over their share."""
        for worker in [worker for worker in self._workers if worker.cell is None]:
            if worker.memory() > self.settings.memory_gib * GIB or not worker.usable:
                self._end(worker)

    def _end(self, worker: WorkerProcess) -> None:
        del self._workers[worker]
        worker.end()

    def _jobs(self, runtimes: Collection[Mapping[str, Any]]) -> int:
        if self.settings.jobs is not None:
            return self.settings.jobs
        if any(runtime.get("device") != "cpu" for runtime in runtimes):
            return 1  # a process takes all of an accelerator's memory
        if self._memory_for is None:  # before our own processes have taken some
            free = psutil.virtual_memory().available
            self._memory_for = max(1, int(free // (self.settings.memory_gib * GIB)))
        return min(len(os.sched_getaffinity(0)), self._memory_for)
