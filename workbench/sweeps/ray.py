"""`hydra/launcher=ray`: worker processes where Ray has room for them."""

import asyncio
import importlib.util
import logging
import os
import re
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from workbench.core.config import AT_LEAST_ONE, NON_NEGATIVE, POSITIVE, ConfigError, require
from workbench.core.interruption import SIGNALS
from workbench.recording.quiet import quiet
from workbench.sweeps.folder import SweepFolder
from workbench.sweeps.frozen import read_frozen
from workbench.sweeps.kind import Kind
from workbench.sweeps.launcher import CellEvent, SweepLauncher
from workbench.sweeps.process import PATIENCE, WorkerProcess

GIB = 2**30
AHEAD = 8  # hosts that Ray is asked for beyond its room; a cluster that can grow does for them
REACHABLE = 5.0  # seconds for a cluster to answer; Ray itself would try for two minutes
TEMPORARY = "/tmp"  # not TMPDIR: the path of a socket below it is 107 characters at most
STORE = 80 * 2**20  # bytes, about the least that Ray takes; cells put nothing there

# Said before Ray is imported, unless the user has said otherwise.
ENVIRONMENT = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",  # a cell that asks for no GPU sees none
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # what Ray would print for its own processes
    "RAY_SCHEDULER_EVENTS": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # A cell's process that loses its host makes a checkpoint, and ends by itself.
    "RAY_kill_child_processes_on_worker_exit": "0",
}


@dataclass
class RaySettings:
    """What a user may say about Ray; see conf/hydra/launcher/ray.yaml."""

    address: str | None = None
    cpus: float = 1
    gpus: float = 0
    memory_gib: float | None = 2.0
    jobs: int | None = None

    def __post_init__(self) -> None:
        require(self, cpus=POSITIVE, gpus=NON_NEGATIVE, memory_gib=POSITIVE, jobs=AT_LEAST_ONE)

    def resources(self) -> dict[str, float]:
        """What a cell takes, in the words that Ray has for what nodes have."""
        return {"CPU": self.cpus, "GPU": self.gpus, "memory": int((self.memory_gib or 0) * GIB)}


@dataclass(eq=False)
class _Host:
    """An actor of Ray that runs cells.

    Attributes:
      actor: see `Actor`.
      call: what is waited for: that Ray has made room for it, or that its cell ends.
      cell: that it is at.
      kind: of that cell, or of its last one.
    """

    actor: Any
    call: Any
    cell: str | None = None
    kind: Kind | None = None


class RayLauncher(SweepLauncher):
    """Runs cells in worker processes that are children of Ray's actors.

    Ray itself could not pass a signal on to a cell, which then makes a checkpoint. An actor or a
    node that is lost costs the cell that was there.
    """

    Settings = RaySettings
    worker: Sequence[str] = ("-m", "workbench.sweeps.worker")  # of a node's own Python

    def __init__(self, **settings: Any):
        super().__init__(**settings)
        if importlib.util.find_spec("ray") is None:
            raise ConfigError("Ray is not installed: pip install 'workbench[ray]'")
        self._ray: Any  # the module, once it is connected
        self._connected = False
        self._open = ExitStack()
        self._hosts: list[_Host] = []
        self._stops = 0

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)
        if self.settings.address is not None:  # before anything is written
            for _ in self._connect():
                pass

    def _run_cells(self, sweep: SweepFolder, names: Sequence[str]) -> Iterator[CellEvent | None]:
        waiting = {name: Kind.of(read_frozen(sweep, name)) for name in names}
        if not self._connected:  # it takes seconds, which a finished sweep is spared
            yield from self._connect()
        for host in self._hosts:
            host.call = host.call or host.actor.ready.remote()
        while waiting or self._busy():
            while waiting and self._stops:
                yield CellEvent(waiting.popitem()[0], "ended")
            self._ask_for_hosts(sweep, len(waiting))
            yield None
            calls = {host.call: host for host in self._hosts if host.call is not None}
            for call in self._ray.wait(list(calls), timeout=0.5)[0] if calls else ():
                yield from self._answered(calls[call], sweep, waiting)

    def _stop(self, number: signal.Signals) -> None:
        self._stops += 1
        for host in self._busy():  # the second one ends a run at once, or should
            host.actor.send.remote(number if self._stops <= 2 else signal.SIGKILL)

    def close(self) -> None:
        with self._open:
            if ends := [host.actor.end.remote() for host in self._hosts if host.kind]:
                self._ray.wait(ends, num_returns=len(ends), timeout=PATIENCE)

    def _busy(self) -> list[_Host]:
        return [host for host in self._hosts if host.cell is not None]

    def _ask_for_hosts(self, sweep: SweepFolder, waiting: int) -> None:
        """Has a few hosts wait for room, as long as there are cells for them."""
        free = len(self._hosts) - len(self._busy())
        most = min(waiting, AHEAD)
        if self.settings.jobs is not None:
            most = min(most, self.settings.jobs - len(self._busy()))
        needs = self.settings.resources()
        actor = self._ray.remote(Actor).options(
            num_cpus=needs["CPU"], num_gpus=needs["GPU"], memory=needs["memory"], max_restarts=0
        )
        for _ in range(free, most):
            arguments = [*self.worker, str(sweep.path.resolve())]
            made = actor.remote(arguments, str(Path.cwd()), needs["memory"])
            self._hosts.append(_Host(made, made.ready.remote()))

    def _answered(
        self, host: _Host, sweep: SweepFolder, waiting: dict[str, Kind]
    ) -> Iterator[CellEvent]:
        """A host has room, or has ended its cell, or is lost; if it can, it takes another cell."""
        call, name = host.call, host.cell
        host.call = host.cell = None
        try:
            note = self._ray.get(call)
        except self._ray.exceptions.RayError as error:
            note = _last_words(error)
            self._let_go(host)
            if name is None and waiting:  # as often as there are cells, and not for ever
                name = waiting.popitem()[0]
        if name is not None:
            if self._stops and sweep.status(name) == "missing":
                note = ""  # a signal that came before the process listened is no fault
            yield CellEvent(name, "ended", note)
        if host not in self._hosts:
            return
        if waiting and not self._stops:
            host.cell = self._next(host, waiting)
            host.kind = waiting.pop(host.cell)
            host.call = host.actor.run.remote(host.cell, dict(host.kind.runtime))
            yield CellEvent(host.cell, "running")
        elif self.settings.address is not None:
            self._let_go(host)  # others may want what it holds

    def _next(self, host: _Host, waiting: Mapping[str, Kind]) -> str:
        """The cell that a host is best at: of the program that it has, else that none has."""
        taken = [other.kind for other in self._hosts]
        return min(waiting, key=lambda name: (waiting[name] != host.kind, waiting[name] in taken))

    def _let_go(self, host: _Host) -> None:
        """Ends what a host has started; Ray ends an actor that nothing refers to."""
        self._hosts.remove(host)
        if host.kind is not None:
            host.actor.end.remote()

    def _connect(self) -> Iterator[None]:
        """Starts Ray, or finds the cluster, while signals are heard.

        Raises:
          ConfigError: when there is none, or no node of it could ever hold a cell.
        """
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        address = self.settings.address
        if address == "auto":
            address = os.environ.get("RAY_ADDRESS") or address
        _check_reachable(address)
        logging.getLogger("ray").setLevel(logging.CRITICAL)
        # Not in the main thread, whose signal handlers Ray would replace, but in one that lasts:
        # Ray's processes end when the thread that started them does.
        thread = self._open.enter_context(ThreadPoolExecutor(1))
        started = thread.submit(self._init, address)
        with quiet():
            running = True
            while running:
                running = bool(wait([started], timeout=0.05).not_done)
                _take_signals_back()
                yield None
        try:
            started.result()
        except Exception as error:  # Ray raises many kinds
            what = "no Ray could be started" if address is None else f"no Ray at {address}"
            raise ConfigError(f"{what}: {_first_line(error)}") from error
        self._check_room()
        self._connected = True

    def _init(self, address: str | None) -> None:
        import ray

        settings: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
        if address is None:
            folder = tempfile.TemporaryDirectory(
                prefix="ray-", dir=TEMPORARY, ignore_cleanup_errors=True
            )
            settings |= {
                "_temp_dir": self._open.enter_context(folder),
                "include_dashboard": False,
                "num_cpus": len(os.sched_getaffinity(0)),
                "object_store_memory": STORE,
            }
        self._open.callback(ray.shutdown)
        ray.init(address or "local", **settings)
        self._ray = ray

    def _check_room(self) -> None:
        """Whether some node could ever hold a cell; a cluster may yet get one that can."""
        needs = self.settings.resources()
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        if any(all(node.get(key, 0) >= need for key, need in needs.items()) for node in nodes):
            return
        most = {key: max(node.get(key, 0) for node in nodes) for key in needs}
        line = (
            "hydra.launcher: a cell takes cpus={cpus:g}, gpus={gpus:g}, memory_gib={memory_gib}; "
        ).format(**vars(self.settings)) + (
            f"nodes have up to {most['CPU']:g}, {most['GPU']:g}, {most['memory'] / GIB:.1f}"
        )
        if self.settings.address is None:
            raise ConfigError(line)
        self.sweep.console.say(f"{line}: the cells wait for one that has more")


class Actor:
    """Runs cells on the node, and with the devices, that Ray gave it.

    Args:
      arguments: of the node's Python, for a worker process.
      here: the command's working directory.
      memory: in bytes, that a process may have after a cell; 0: any.
    """

    def __init__(self, arguments: Sequence[str], here: str, memory: int):
        os.chdir(here)
        self._command = [sys.executable, *arguments]
        self._memory = memory
        self._process: WorkerProcess | None = None
        self._runtime: Mapping[str, Any] = {}

    async def ready(self) -> str:
        """Returns once Ray has made room; not a word of a cell."""
        return ""

    async def run(self, cell: str, runtime: Mapping[str, Any]) -> str:
        """Runs a cell; returns what its folder cannot say of its end."""
        process = self._process
        if process is None or not self._fits(process, runtime):
            await self.end()
            process = self._process = WorkerProcess(self._command)
            self._runtime = runtime
        process.start(cell)
        while (note := process.answer()) is None:
            await asyncio.sleep(0.05)
        return note

    async def send(self, number: int) -> None:
        """Sends the process a signal."""
        if self._process is not None:
            self._process.send(signal.Signals(number))

    async def end(self) -> None:
        """Ends the process; a cell that runs is stopped after a checkpoint."""
        if self._process is not None:
            self._process.end()
            self._process = None

    def _fits(self, process: WorkerProcess, runtime: Mapping[str, Any]) -> bool:
        small = not self._memory or process.memory() <= self._memory
        return process.usable and small and runtime == self._runtime


def _check_reachable(address: str | None) -> None:
    """Refuses at once what Ray would try to reach for minutes."""
    if (found := re.fullmatch(r"(?:ray://)?([^/]+):(\d+)", address or "")) is None:
        return
    try:
        socket.create_connection((found[1], int(found[2])), REACHABLE).close()
    except (OSError, OverflowError) as error:
        raise ConfigError(f"no Ray at {address}: {error}; `ray start --head` starts one") from error


def _take_signals_back() -> None:
    """Puts Python's handlers in the place of those that Ray's core has set, which abort."""
    for number in SIGNALS:
        signal.signal(number, signal.getsignal(number))


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).strip().splitlines()[0]


def _last_words(error: Exception) -> str:
    """What Ray says of an actor's end, without its guesses at the cause."""
    last = str(error).strip().splitlines()[-1]
    return re.split(r"(?<=\.) ", last)[0]
