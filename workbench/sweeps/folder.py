"""The folder of a sweep: an index of its cells, their frozen configurations, their runs."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from workbench.recording.folder import RunFolder, write_json


@dataclass(frozen=True)
class Cell:
    """One run of a sweep.

    Attributes:
      name: of its folder, made of what differs between the cells.
      overrides: what tells it from the others, as `KEY=VALUE`.
    """

    name: str
    overrides: tuple[str, ...]


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

    @property
    def is_sweep(self) -> bool:
        """Whether a sweep lives here."""
        return self.index.exists()

    def read(self) -> dict[str, Any]:
        """The index: `command`, `created` and `cells` (a list of `name` and `overrides`)."""
        return json.loads(self.index.read_text())

    def cells(self) -> list[Cell]:
        """The cells of the index, in order."""
        return [Cell(cell["name"], tuple(cell["overrides"])) for cell in self.read()["cells"]]

    def write(self, command: str, created: str, cells: list[Cell]) -> None:
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
