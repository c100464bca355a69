"""`hydra/launcher=slurm`: a job array, submitted through submitit, with one task a cell."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import submitit
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig
from submitit.core.utils import FailedJobError, FailedSubmissionError
from submitit.helpers import clean_env

from workbench.core.config import ConfigError
from workbench.recording.folder import write_json
from workbench.sweeps.cell import run_cell
from workbench.sweeps.folder import SweepFolder
from workbench.sweeps.launcher import CellEvent, SweepLauncher
from workbench.sweeps.slurm_job import SlurmSettings
from workbench.sweeps.slurm_queue import Job, cancel, largest_array, squeue

JOBS = "jobs.json"  # the numbers of jobs by cell, beside their logs
PATIENCE = 6  # looks at a cell whose job has ended well, before its summary is missed


@dataclass
class _Task:
    """A cell's job while it is waited for, and what was last told of it."""

    number: str
    state: str = ""
    patience: int = PATIENCE


class SlurmLauncher(SweepLauncher):
    """Has Slurm run the cells, each on a node of its choice.

    A cell that is preempted is requeued by its own job (see `slurm_job.REQUEUE`). One that an
    earlier start of the sweep has left in the queue is waited for, not submitted again.
    """

    Settings = SlurmSettings

    def __init__(self, **settings: Any):
        super().__init__(**settings)
        self._tasks: dict[str, _Task] = {}
        self._stops = 0

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)
        if not self.settings.wait and not config.hydra.sweeper._target_.endswith("BasicSweeper"):
            raise ConfigError("hydra.launcher.wait=false: a sweeper that learns has to wait")
        if shutil.which("sbatch") is None or shutil.which("srun") is None:
            raise ConfigError(
                "hydra/launcher=slurm needs Slurm's sbatch on the PATH, and there is none; "
                "hydra/launcher=local sweeps on this machine"
            )
        self._check_accepted()

    def _run_cells(self, sweep: SweepFolder, names: Sequence[str]) -> Iterator[CellEvent | None]:
        folder = (sweep.path / "slurm").resolve()
        numbers = yield from self._queued(names, folder)
        missing = [name for name in names if name not in numbers]
        if self._stops:
            yield from (CellEvent(name, "ended") for name in missing)
        else:
            numbers |= self._submit(missing, folder)
        self._tasks = {name: _Task(number) for name, number in numbers.items()}
        while self._tasks and self._stops < 2:
            found = squeue((task.number for task in self._tasks.values()), folder)
            if found is not None:
                yield from self._news(found, sweep, folder)
            if not self.settings.wait:
                break
            yield from _pause(self.settings.poll)
        for name in self._tasks:
            if self._stops:
                yield CellEvent(name, "ended", "cancelled, and not waited for")
            else:
                yield CellEvent(name, "left")
        if self._tasks and not self.settings.wait:
            queue = f"squeue --name={shlex.quote(folder.parent.name)}"
            self.sweep.console.say(
                f"To see the queue: {queue}; to wait for the cells: the same command without "
                "hydra.launcher.wait=false"
            )

    def _queued(self, names: Sequence[str], folder: Path) -> Generator[None, None, dict[str, str]]:
        """The jobs of an earlier start that Slurm has not ended, by cell."""
        known = _read(folder / JOBS)
        numbers = {name: known[name] for name in names if name in known}
        self._tasks = {name: _Task(number) for name, number in numbers.items()}
        while numbers:
            found = squeue(numbers.values(), folder)
            if found is None:
                raise ConfigError("squeue does not answer, and says not which cells are queued")
            # One that is completing is on its way to an end, or back into the queue.
            if all(job.state != "COMPLETING" for job in found.values()):
                return {n: j for n, j in numbers.items() if j in found and not found[j].ended}
            yield from _pause(self.settings.poll)
        return {}

    def _news(
        self, found: Mapping[str, Job], sweep: SweepFolder, folder: Path
    ) -> Iterator[CellEvent]:
        for name, task in list(self._tasks.items()):
            said = sweep.status(name)
            job = found.get(task.number) or _forgotten(task.number, found, said)
            if job and job.state == "COMPLETED" and said != "finished" and task.patience:
                task.patience -= 1  # a shared file system may show the end later than Slurm
            elif job is None or job.ended:
                del self._tasks[name]
                log = folder / f"{task.number}_0_log.err"
                ordered = self._stops and said in ("missing", "preempted")
                yield CellEvent(name, "ended", "" if ordered else _cause(job, said, log))
            elif job.progress != task.state:
                task.state = job.progress
                yield CellEvent(name, task.state)

    def _stop(self, number: signal.Signals) -> None:
        self._stops += 1
        if self._tasks:
            cancel(task.number for task in self._tasks.values())

    def _submit(self, names: Sequence[str], folder: Path) -> dict[str, str]:
        """New jobs, by cell."""
        numbers: dict[str, str] = {}
        most = largest_array()
        for start in range(0, len(names), most):
            part = names[start : start + most]
            with _undisturbed():
                numbers.update(zip(part, self._submit_array(part, folder), strict=True))
                write_json(folder / JOBS, _read(folder / JOBS) | numbers)
        return numbers

    def _submit_array(self, names: Sequence[str], folder: Path) -> list[str]:
        executor = self._executor(folder)
        try:
            with _outside_of_jobs(), executor.batch():
                jobs = [executor.submit(run_on_node, str(folder.parent), name) for name in names]
        except (FailedJobError, FailedSubmissionError) as error:
            raise ConfigError(f"sbatch refuses the sweep: {_complaint(str(error))}") from error
        return [job.job_id for job in jobs]

    def _executor(self, folder: Path) -> submitit.SlurmExecutor:
        executor = submitit.SlurmExecutor(folder)
        executor.update_parameters(job_name=folder.parent.name, **self.settings.parameters())
        return executor

    def _check_accepted(self) -> None:
        """Asks Slurm whether it would take such jobs, before anything is written."""
        script = self._executor(Path("sweep", "slurm"))._make_submission_file_text("true", "")
        with _outside_of_jobs():
            done = subprocess.run(
                ["sbatch", "--test-only"], input=script, capture_output=True, text=True
            )
        if done.returncode:
            raise ConfigError(f"sbatch would refuse the sweep: {_complaint(done.stderr)}")


def run_on_node(sweep: str, name: str) -> None:
    """Runs a cell inside its job, and exits with its exit status."""
    # Submitit would ignore the one, and requeue at the other without an end.
    for number in (signal.SIGTERM, signal.SIGUSR2):
        signal.signal(number, signal.SIG_DFL)
    try:
        status = run_cell(sweep, name)
    except ConfigError as error:
        print(f"workbench: {error}", file=sys.stderr)
        status = 2
    sys.exit(status)


def _read(index: Path) -> dict[str, str]:
    return json.loads(index.read_text()) if index.exists() else {}


def _forgotten(number: str, found: Mapping[str, Job], said: str) -> Job | None:
    """A task of an array that was cancelled before it began, of which squeue tells no more."""
    arrays = {other.split("_")[0] for other in found}
    return Job("CANCELLED") if said == "missing" and number.split("_")[0] in arrays else None


def _cause(job: Job | None, said: str, log: Path) -> str:
    """Why a cell ended, where its run folder does not tell."""
    if job is not None:
        cause = job.cause(said)
    else:
        cause = "" if said == "finished" else "Slurm knows its job no more"
    if not cause.startswith(("exit", "killed")):
        return cause
    last = _last_line(log) if cause.startswith("exit") else ""
    return f"{cause}: {last}" if last else f"{cause} (its log is {log})"


def _last_line(log: Path) -> str:
    """The last line of a log that is not Slurm's own."""
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    own = [line for line in lines if line and not re.match("srun|slurmstepd", line)]
    return own[-1].removeprefix("workbench: ") if own else ""


def _pause(seconds: float) -> Iterator[None]:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, 1))
        yield None


def _complaint(output: str) -> str:
    """What sbatch gives up for, or else the first thing that it complains of."""
    lines = [line for line in output.splitlines() if re.match("sbatch:|allocation failure:", line)]
    fatal = [line for line in lines if "fatal: " in line]
    words = (fatal or lines or [output.strip()])[0]
    return re.sub("^(sbatch: |error: |fatal: |allocation failure: )*", "", words)


@contextmanager
def _outside_of_jobs() -> Iterator[None]:
    """Hides the job that this process may itself run in, but not the user's own settings."""
    kept = {n: v for n, v in os.environ.items() if n == "SLURM_CONF" or n.startswith("SBATCH_")}
    with clean_env():
        os.environ.update(kept)
        yield


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Signals wait, for this process and its children: no job is submitted and then forgotten."""
    numbers = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
