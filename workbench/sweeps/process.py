"""The launcher's end of a worker process."""

import json
import os
import select
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from typing import IO

import psutil

PATIENCE = 60.0  # seconds for a run that is told to stop to make its checkpoint


class WorkerProcess:
    """A process that runs one cell after another (see `workbench.sweeps.worker`).

    Args:
      command: that starts it.

    Attributes:
      cell: that it is at.
    """

    def __init__(self, command: Sequence[str]):
        self.cell: str | None = None
        self._spent = False
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - `end` closes it
        # In a session of its own: the terminal's Ctrl-C reaches it through its parent only, and
        # whatever it starts can be ended with it.
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._names, self._answers = self._process.stdin, self._process.stdout

    @property
    def usable(self) -> bool:
        """Whether the process is there for another cell."""
        return not self._spent and self._process.poll() is None

    def fileno(self) -> int:
        """What can be waited for until there is an answer."""
        return self._answers.fileno()

    def start(self, cell: str) -> None:
        """Has it run a cell."""
        self.cell = cell
        with suppress(BrokenPipeError):  # it has died; `answer` will say so
            self._names.write(f"{cell}\n".encode())
            self._names.flush()

    def answer(self) -> str | None:
        """None while its cell runs; then what its folder cannot say of its end."""
        line = b""
        # A process that has died may have children that keep its pipe open.
        alive = self._process.poll() is None
        if select.select([self], [], [], 0)[0]:
            line = self._answers.readline()
        elif alive:
            return None
        self.cell = None
        if line.endswith(b"\n"):
            answer = json.loads(line)
            self._spent = answer["last"]
            return str(answer["note"])
        return self._death()

    def send(self, number: signal.Signals) -> None:
        """Sends it a signal."""
        self._process.send_signal(number)

    def memory(self) -> int:
        """What it has in memory, in bytes; 0 when it is gone."""
        try:
            return psutil.Process(self._process.pid).memory_info().rss
        except psutil.NoSuchProcess:
            return 0

    def end(self) -> None:
        """Ends it, and what it has started; a cell that runs is stopped after a checkpoint."""
        if self.cell is not None:
            with suppress(BrokenPipeError):
                self._names.close()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(PATIENCE)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        with suppress(BrokenPipeError):
            self._names.close()
        self._answers.close()
        self._errors.close()

    def _death(self) -> str:
        status = self._process.wait()
        if status < 0:
            name = signal.Signals(-status).name
            memory = ", maybe for want of memory" if -status == signal.SIGKILL else ""
            return f"killed by signal {-status} ({name}{memory})"
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").strip().splitlines()
        return f"its process ended with status {status}" + (f": {said[-1]}" if said else "")
