"""The folder of a sweep, and who may work in it."""

import pytest

from workbench.core.config import ConfigError
from workbench.sweeps.folder import Cell, SweepFolder


def test_the_index_keeps_cells_in_order(tmp_path):
    folder = SweepFolder(tmp_path)
    cells = [Cell("seed=1", ("seed=1",)), Cell("seed=0", ("seed=0",), trials=(3, 4))]
    folder.write("workbench -m seed=1,0", "2026-01-01T00:00:00+00:00", cells)
    assert folder.cells() == cells
    assert folder.read()["command"] == "workbench -m seed=1,0"
    assert folder.status("seed=1") == "missing"


def test_an_opened_folder_is_a_sweep_before_it_has_cells(tmp_path):
    folder = SweepFolder(tmp_path / "new" / "sweep")
    with folder.opened("workbench -m"):
        assert folder.cells() == []
    with folder.opened("another"):  # what is there stays
        assert folder.read()["command"] == "workbench -m"


def test_two_sweeps_never_share_a_folder(tmp_path):
    folder = SweepFolder(tmp_path)
    with folder.opened("first"), pytest.raises(ConfigError, match="in use by process"):
        SweepFolder(tmp_path).check()
    folder.check()


def test_a_folder_that_holds_something_else_is_refused(tmp_path):
    (tmp_path / "file").write_text("precious")
    with pytest.raises(ConfigError, match="is not empty and no sweep"):
        SweepFolder(tmp_path).check()
    with pytest.raises(ConfigError, match="is a file"):
        SweepFolder(tmp_path / "file").check()
    (tmp_path / "config.yaml").write_text("")
    with pytest.raises(ConfigError, match="holds a run and no sweep"):
        SweepFolder(tmp_path).check()


@pytest.mark.parametrize("text", ["", "[]", '{"cells": [{}]}', '{"cells": [1'])
def test_a_damaged_index_is_not_written_over(text, tmp_path):
    folder = SweepFolder(tmp_path)
    folder.index.write_text(text)
    with pytest.raises(ConfigError, match="damaged"), folder.opened("workbench -m"):
        pass
    assert folder.index.read_text() == text
