"""The folder of a sweep: an index of its cells, their frozen configurations, their runs."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from workbench.core.config import ConfigError
from workbench.recording.folder import RunFolder, locked, write_json


@dataclass(frozen=True)
class Cell:
    """One run of a sweep.

    Attributes:
      name: of its folder, made of what differs between the cells.
      overrides: what tells it from the others, as `KEY=VALUE`.
      trials: numbers that an Optuna study gave it; two when it came to the same values again.
    """

    name: str
    overrides: tuple[str, ...]
    trials: tuple[int, ...] = ()


class SweepFolder:
    """A sweep's folder; making this object touches no file.

        SWEEP/sweep.json         index: how the sweep was started, and its cells in order
        SWEEP/configs/NAME.yaml  a cell's configuration, frozen when it was submitted
        SWEEP/NAME/              a cell's run folder
        SWEEP/study.db           an Optuna study, where one chose the cells

    Args:
      path: the folder.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.index = self.path / "sweep.json"
        self.study = self.path / "study.db"
        self._lock = self.path / ".lock"

    def __str__(self) -> str:
        return str(self.path)

    @property
    def is_sweep(self) -> bool:
        """Whether a sweep lives here."""
        return self.index.exists()

    def read(self) -> dict[str, Any]:
        """The index: `command`, `created` and `cells` (`name`, `overrides`, `trials`)."""
        return json.loads(self.index.read_text())

    def cells(self) -> list[Cell]:
        """The cells of the index, in order."""
        return [
            Cell(cell["name"], tuple(cell["overrides"]), tuple(cell.get("trials", ())))
            for cell in self.read()["cells"]
        ]

    def write(self, command: str, created: str, cells: Sequence[Cell]) -> None:
        """Writes the index at once."""
        values = {"command": command, "created": created, "cells": [asdict(c) for c in cells]}
        write_json(self.index, values)

    def config(self, name: str) -> Path:
        """Where a cell's frozen configuration is."""
        return self.path / "configs" / f"{name}.yaml"

    def run(self, name: str) -> RunFolder:
        """A cell's run folder."""
        return RunFolder(self.path / name)

    def status(self, name: str) -> str:
        """`missing` before a cell has begun, else how far its run is (see `RunFolder.status`)."""
        run = self.run(name)
        return run.status() if run.is_run else "missing"

    def check(self) -> None:
        """Checks that a sweep may start or go on here; writes nothing.

        Raises:
          ConfigError: when the folder holds something else, or another process has it.
        """
        if not self.path.exists():
            return
        if not self.path.is_dir():
            raise ConfigError(f"sweep.dir={self} is a file; choose another sweep.dir")
        if self._lock.exists():
            with locked(self._lock, "sweep.dir"):
                pass
        if self.is_sweep:
            try:
                self.cells()
            except (ValueError, KeyError, TypeError, AttributeError):
                raise ConfigError(f"{self.index} is damaged; choose another sweep.dir") from None
        elif any(entry != self._lock for entry in self.path.iterdir()):
            what = "holds a run" if self.run(".").is_run else "is not empty"
            raise ConfigError(f"sweep.dir={self} {what} and no sweep; choose another sweep.dir")

    @contextmanager
    def opened(self, command: str) -> Iterator[None]:
        """Holds the sweep's lock, and makes its folder and an empty index where there is none.

        Args:
          command: that starts the sweep or goes on with it.

        Raises:
          ConfigError: see `check`.
        """
        self.check()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"sweep.dir={self} cannot be made ({error.strerror})") from error
        with locked(self._lock, "sweep.dir"):
            # The index first: what a kill leaves behind is known as a sweep's.
            if not self.is_sweep:
                self.write(command, datetime.now(UTC).isoformat(timespec="seconds"), [])
            yield
