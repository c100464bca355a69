"""The folder of a run: what is where, who may write there."""

import errno
import fcntl
import json
import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

from workbench.core.config import ConfigError, nearest

MARKS = ("config.yaml", "manifest.json", "summary.json")


class RunFolder:
    """A run's folder; making this object touches no file.

    Args:
      path: the folder.

    Attributes:
      config: the resolved configuration, enough to resume from.
      manifest: where, when and with what the run ran.
      code_diff: what the code differed by from its commit.
      metrics: one JSON object a record.
      log: what libraries printed, and tracebacks.
      summary: how the run ended.
      lock: held by the process that writes here.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.config = self.path / "config.yaml"
        self.manifest = self.path / "manifest.json"
        self.code_diff = self.path / "code.diff"
        self.metrics = self.path / "metrics.jsonl"
        self.log = self.path / "log.txt"
        self.summary = self.path / "summary.json"
        self.tensorboard = self.path / "tensorboard"
        self.checkpoints = self.path / "checkpoints"
        self.plots = self.path / "plots"
        self.lock = self.path / ".lock"

    def __str__(self) -> str:
        return str(self.path)

    def worker_log(self, worker: int) -> Path:
        """What the libraries of another process of the run printed there."""
        return self.path / f"worker-{worker}.txt"

    @property
    def is_run(self) -> bool:
        """Whether a run lives here."""
        return any((self.path / mark).exists() for mark in MARKS)

    def status(self) -> str:
        """The last part's end: finished, stopped, preempted or failed; "unfinished" before one."""
        try:
            return str(json.loads(self.summary.read_text())["status"])
        except (OSError, ValueError, KeyError, TypeError):
            return "unfinished"

    def check_free(self) -> None:
        """Checks that a new run may start here; writes nothing.

        Raises:
          ConfigError: when the folder holds a run or something else, or another process has it.
        """
        if not self.path.exists():
            return
        if not self.path.is_dir():
            raise ConfigError(f"run.dir={self} is a file; choose another run.dir")
        if self.lock.exists():
            with self._locked():
                pass
        if self.is_run:
            raise ConfigError(
                f"run.dir={self} already holds a run ({self.status()}); go on with it by "
                f"`workbench resume {self}`, or choose another run.dir"
            )
        own = {self.lock, *self.path.glob("worker-*.txt")}
        if not own.issuperset(self.path.iterdir()):
            raise ConfigError(f"run.dir={self} is not empty and no run; choose another run.dir")

    def check_resumable(self) -> None:
        """Checks that a run lives here; writes nothing.

        Raises:
          ConfigError: when none does, naming a run near by, or another process has it.
        """
        self.check_run()
        if self.lock.exists():
            with self._locked():
                pass

    def check_run(self) -> None:
        """Checks that a run lives here.

        Raises:
          ConfigError: when none does, naming a run near by.
        """
        if not self.config.exists():
            what = "holds no run" if self.path.is_dir() else "is not there"
            raise ConfigError(f"{self} {what}{self._run_nearby()}")

    @contextmanager
    def created(self) -> Iterator[None]:
        """Makes the folder for a new run and holds its lock meanwhile.

        A ConfigError inside takes away again what was made, so that a run that could not start
        leaves nothing behind.

        Raises:
          ConfigError: when the folder is not free (see `check_free`) or cannot be written.
        """
        self.check_free()
        made = self._make()
        with self._locked():
            if self.is_run:  # another process was quicker between the check and the lock
                raise ConfigError(
                    f"run.dir={self} has just been taken by another run; choose another run.dir"
                )
            try:
                yield
            except ConfigError:
                for entry in self.path.iterdir():
                    shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
                for folder in made or [self.path]:
                    _remove_if_empty(folder)
                raise

    @contextmanager
    def resumed(self) -> Iterator[None]:
        """Holds the lock of the run that lives here.

        Raises:
          ConfigError: when none does, or another process has it (see `check_resumable`).
        """
        self.check_resumable()
        with self._locked():
            yield

    def _make(self) -> list[Path]:
        made = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"run.dir={self} cannot be made ({error.strerror})") from error
        return made

    def _locked(self) -> AbstractContextManager[None]:
        return locked(self.lock, "run.dir")

    def _run_nearby(self) -> str:
        inside = {str(child): child for child in _runs_in(self.path)}
        if inside:
            return nearest(str(self), inside)
        beside = {child.name: child for child in _runs_in(self.path.parent)}
        hint = nearest(self.path.name, beside)
        return hint.replace("did you mean ", f"did you mean {self.path.parent}{os.sep}")


@contextmanager
def locked(path: Path, key: str) -> Iterator[None]:
    """Holds the lock of a folder, against other processes on this machine and others.

    Args:
      path: the lock's file, inside the folder; it stays there.
      key: what the user chose the folder by, e.g. "run.dir".

    Raises:
      ConfigError: when another process holds it, or the folder cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise ConfigError(f"{key}={path.parent} cannot be written ({error.strerror})") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
                raise ConfigError(
                    f"{path.parent} is in use by {holder or 'another process'}; "
                    f"wait for it, or choose another {key}"
                ) from None
            # A file system without locks: two processes in one folder go unnoticed there.
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Writes a file at once: a reader sees the old one or the new one, never half of either."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Writes indented JSON at once; a NaN in it is refused, for strict readers would be."""
    write_text(path, json.dumps(values, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def _runs_in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [child for child in folder.iterdir() if child.is_dir() and RunFolder(child).is_run]


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()
