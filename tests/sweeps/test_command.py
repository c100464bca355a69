"""Sweeps from the command line: what is refused, and where they are kept."""

import pytest

from workbench.cli import main

CARTPOLE = "experiment=dqn/cartpole"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([CARTPOLE, "algorithm.gama=0.5,0.9"], "did you mean algorithm.gamma?"),
        ([CARTPOLE, "seed=0,1", "algorithm.gamma=0.9,1.9"], "algorithm.gamma=1.9 is out of range"),
        (
            [CARTPOLE, "algorithm.batch_size=64,600", "algorithm.replay_capacity=1000,500"],
            "batch_size=600 exceeds replay_capacity=500",
        ),
        (["experiment=dqn/cartpole,dqn/cartpol"], "did you mean dqn/cartpole?"),
        (["experiment=glob(dqm/*)"], "matches nothing"),
        ([CARTPOLE, "seed=0,1", "run.dir=here"], "the folder of a sweep is sweep.dir"),
        ([CARTPOLE, "seed=interval(0,5)"], "add hydra/sweeper=optuna"),
        ([CARTPOLE, "seed=0,1", "sweep.fail_fst=true"], "did you mean sweep.fail_fast?"),
        ([CARTPOLE, "seed=0,1", "sweep.fail_fast=maybe"], "sweep.fail_fast: Value 'maybe'"),
        ([CARTPOLE, "seed=0,1", "sweep.objectives=[]"], "sweep.objectives=[] names none"),
        ([CARTPOLE, "seed=0,1", "hydra/launcher=locl"], "did you mean local?"),
        ([CARTPOLE, "seed=0,1", "hydra/launcher=basic"], "choose from local, ray, slurm"),
        ([CARTPOLE, "seed=0,1", "hydra/sweeper=optun"], "did you mean optuna?"),
        ([CARTPOLE, "seed=0,1", "hydra/sweper=optuna"], "did you mean hydra/sweeper?"),
        ([CARTPOLE, "seed=0,1", "hydra.launcher.job=1"], "did you mean hydra.launcher.jobs?"),
        ([CARTPOLE, "seed=0,1", "hydra.launcher.jobs=0"], "hydra.launcher.jobs=0 is out of range"),
        ([CARTPOLE, "seed=0,1", "hydra.launcher.jobs=x"], "hydra.launcher.jobs: Value 'x'"),
        ([CARTPOLE, "seed=0,1", "hydra.launcher.jobs=1,2"], "has one value"),
    ],
)
def test_a_wrong_sweep_gets_one_line_and_nothing_is_written(
    arguments, said, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert main(["-m", *arguments]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.startswith("workbench: ")
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert list(tmp_path.iterdir()) == []


def test_settings_of_sweeps_are_refused_for_a_run(capsys):
    assert main([CARTPOLE, "sweep.fail_fast=true"]) == 2
    assert "is of sweeps only; add -m" in capsys.readouterr().err


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("precious")
    assert main(["-m", CARTPOLE, "seed=0,1", f"sweep.dir={tmp_path}"]) == 2
    assert "choose another sweep.dir" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("experiments", "folder"),
    [
        ("dqn/cartpole", "runs/dqn/cartpole"),
        ("glob(dqn/cart*)", "runs/dqn"),
    ],
)
def test_a_sweep_is_kept_below_what_its_experiments_have_in_common(
    experiments, folder, sweep, tmp_path
):
    assert main(["-m", f"experiment={experiments}", "seed=0"]) == 0
    (index,) = tmp_path.rglob("sweep.json")
    assert index.parent.parent == tmp_path / folder
    assert index.parent.name.startswith("sweep_2")


def test_a_sweep_over_experiments_may_set_keys_that_they_all_have(sweep):
    assert main(["-m", "experiment=glob(dqn/cart*)", "algorithm.gamma=0.5", "sweep.dir=both"]) == 0
