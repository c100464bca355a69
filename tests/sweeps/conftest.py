"""Sweeps without TensorFlow: what their workers would do is played by `fake_worker.py`."""

import json
import sys
from pathlib import Path

import pytest

from workbench.cli import main
from workbench.sweeps.folder import SweepFolder
from workbench.sweeps.local import LocalLauncher


class Command:
    """Starts sweeps in one folder with fake workers."""

    def __init__(self, folder, capsys):
        self.sweep = SweepFolder(folder)
        self._capsys = capsys

    def __call__(self, *overrides):
        """Runs a sweep; returns its exit status, and what it said on both streams."""
        self._capsys.readouterr()
        status = main(["-m", "experiment=dqn/cartpole", *overrides, f"sweep.dir={self.sweep}"])
        said = self._capsys.readouterr()
        return status, said.out + said.err

    def starts(self):
        """How often each cell of the index has run."""
        return {cell.name: len(self._starts(cell.name)) for cell in self.sweep.cells()}

    def processes(self):
        """The processes that cells ran in."""
        return {pid for cell in self.sweep.cells() for pid in self._starts(cell.name)}

    def summary(self, name):
        return json.loads(self.sweep.run(name).summary.read_text())

    def _starts(self, name):
        path = self.sweep.run(name).path / "starts.txt"
        return path.read_text().split() if path.exists() else []


@pytest.fixture
def sweep(tmp_path, monkeypatch, capsys):
    """A command that runs sweeps in a new folder."""
    worker = Path(__file__).with_name("fake_worker.py")
    monkeypatch.setattr(LocalLauncher, "worker", (sys.executable, str(worker)))
    monkeypatch.chdir(tmp_path)
    return Command("sweep", capsys)
