"""How a cell starts, by what its folder holds."""

import pytest

from workbench import experiment
from workbench.core.config import ConfigError
from workbench.experiment import Outcome
from workbench.recording.folder import locked
from workbench.sweeps.cell import run_cell
from workbench.sweeps.composer import Composer
from workbench.sweeps.folder import Cell, SweepFolder
from workbench.sweeps.frozen import freeze, refuse_other


@pytest.fixture
def executed(monkeypatch):
    """What was executed instead of runs."""
    calls = []

    def execute(experiment, command, resume=False, warm=None):
        calls.append((experiment, command, resume))
        return Outcome(0)

    monkeypatch.setattr(experiment, "execute", execute)
    return calls


@pytest.fixture
def sweep(tmp_path):
    """A sweep of one cell that has not begun."""
    folder = SweepFolder(tmp_path)
    folder.write("workbench -m seed=3", "", [Cell("seed=3", ("seed=3",))])
    freeze(folder, "seed=3", Composer()(["experiment=dqn/cartpole", "seed=3"]))
    return folder


def test_a_cell_runs_by_its_frozen_configuration_where_the_sweep_is_now(sweep, executed):
    assert run_cell(sweep.path, "seed=3") == 0
    (ran, command, resume) = executed[0]
    assert (ran.seed, ran.run.dir) == (3, str(sweep.path / "seed=3"))
    assert (command, resume) == ("workbench -m seed=3", False)


def test_one_that_has_begun_is_resumed_and_a_finished_one_left_alone(sweep, executed):
    run = sweep.run("seed=3")
    run.path.mkdir()
    run.config.write_text("")
    run.summary.write_text('{"status": "failed"}')
    run_cell(sweep.path, "seed=3")
    assert [resume for _, _, resume in executed] == [True]
    run.summary.write_text('{"status": "finished"}')
    assert run_cell(sweep.path, "seed=3") == 0
    assert len(executed) == 1


def test_a_start_that_was_killed_before_its_run_began_is_no_obstacle(sweep, executed):
    run = sweep.run("seed=3")
    run.path.mkdir()
    run.log.write_text("half a line")
    run.summary.write_text('{"status": "failed"}')
    run_cell(sweep.path, "seed=3")
    assert [resume for _, _, resume in executed] == [False]
    run.check_free()


def test_one_that_starts_elsewhere_is_left_alone(sweep, executed):
    run = sweep.run("seed=3")
    run.path.mkdir()
    run.log.write_text("another's")
    with locked(run.lock, "run.dir"), pytest.raises(ConfigError, match="in use by"):
        run_cell(sweep.path, "seed=3")
    assert run.log.read_text() == "another's"
    assert not executed


def test_a_name_that_is_no_cell_gets_the_nearest(sweep):
    with pytest.raises(ConfigError, match="has no cell seed=4; did you mean seed=3"):
        run_cell(sweep.path, "seed=4")


def test_a_cell_that_was_frozen_before_a_key_existed_is_still_the_same(sweep):
    path = sweep.config("seed=3")
    text = path.read_text()
    path.write_text("\n".join(line for line in text.splitlines() if "keep" not in line))
    assert path.read_text() != text
    refuse_other(sweep, "seed=3", Composer()(["experiment=dqn/cartpole", "seed=3"]))
    with pytest.raises(ConfigError, match=r"train\.keep=2, and is now asked for with 5"):
        refuse_other(
            sweep, "seed=3", Composer()(["experiment=dqn/cartpole", "seed=3", "train.keep=5"])
        )
