"""What Slurm tells of jobs: squeue alone, for many clusters keep no accounts."""

import os
import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

# The states in which Slurm will not start a job again, and what they mean for a cell.
ENDED = {
    "BOOT_FAIL": "its node did not start",
    "CANCELLED": "cancelled in Slurm",
    "COMPLETED": "it ended without a summary",
    "DEADLINE": "its deadline passed",
    "FAILED": "its job failed",
    "NODE_FAIL": "its node was lost",
    "OUT_OF_MEMORY": "it ran out of memory",
    "PREEMPTED": "preempted, and not requeued by Slurm",
    "TIMEOUT": "it did not end within its time limit",
}
WAITING = frozenset({"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT"})

# What the run folder says of a cell that ended by itself, by exit status.
SAID = {0: "finished", 1: "failed", 75: "preempted", 130: "stopped"}

FIELDS = "JobArrayID:|,State:|,Reason:|,exit_code:|,STDOUT:|"


@dataclass(frozen=True)
class Job:
    """What squeue says of a job.

    Attributes:
      state: Slurm's word, such as "RUNNING".
      reason: why it is in that state, "None" without one.
      status: its exit status as a shell gives it, 128 + N for signal N.
    """

    state: str
    reason: str = "None"
    status: int = 0

    @property
    def ended(self) -> bool:
        """Whether Slurm will not start it again."""
        return self.state in ENDED

    @property
    def progress(self) -> str:
        """How far it is, in a sweep's words."""
        return "queued" if self.state in WAITING else "running"

    def cause(self, said: str) -> str:
        """Why it ended; nothing where the cell's run folder tells more.

        Args:
          said: the status in the run folder.
        """
        if said == "finished":
            return ""
        if self.state != "FAILED":
            return ENDED[self.state]
        if SAID.get(self.status) == said:
            return "it may not requeue itself again" if said == "preempted" else ""
        if self.reason not in ("None", "NonZeroExitCode"):
            return f"{ENDED[self.state]} ({self.reason})"
        if self.status > 128:
            return f"killed by signal {self.status - 128}"
        return f"exit status {self.status}"


def squeue(numbers: Iterable[str], folder: Path) -> dict[str, Job] | None:
    """The jobs, by number, that Slurm still knows; None when it does not answer.

    Slurm forgets a job some minutes after its end, and a task of an array that is cancelled before
    it began at once.

    Args:
      numbers: such as "12" or "12_3".
      folder: of the jobs' logs, which tells them from jobs of another cluster, or of this one
        before it was set up anew.
    """
    arrays = ",".join(sorted({number.split("_")[0] for number in numbers}))
    done = _run("squeue", "--noheader", "--array", "--states=all", f"--jobs={arrays}", "-O", FIELDS)
    if done.returncode:
        return {} if "Invalid job id" in done.stderr else None
    jobs = {}
    for line in done.stdout.splitlines():
        number, state, reason, status, log = line.split("|")[:5]
        if Path(log).parent == folder:
            jobs[number] = Job(state, reason, _shell_status(status))
    return jobs


def largest_array() -> int:
    """How many tasks the cluster allows an array."""
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", _run("scontrol", "show", "config").stdout, re.M)
    return int(found[1]) if found else 1000


def cancel(numbers: Iterable[str]) -> None:
    """Cancels jobs: those that run get SIGTERM, and KillWait seconds to make a checkpoint."""
    _run("scancel", *numbers)


def _shell_status(exit_code: str) -> int:
    """An exit status: squeue says "STATUS:SIGNAL", or both in one number as `wait` does."""
    if ":" in exit_code:
        status, number = map(int, exit_code.split(":"))
        return 128 + number if number else status
    status = os.waitstatus_to_exitcode(int(exit_code))
    return status if status >= 0 else 128 - status


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True)
