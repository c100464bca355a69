"""Studies that choose the cells of a sweep."""

import optuna
import pytest

from workbench.compose import parse_overrides
from workbench.sweeps.composer import Composer
from workbench.sweeps.distributions import distribution
from workbench.sweeps.optuna import pareto_front
from workbench.sweeps.result import Result

STUDY = ["hydra/sweeper=optuna", "hydra.sweeper.n_jobs=2"]
GAMMA = "algorithm.gamma=interval(0.1,0.9)"


def trials(sweep):
    study = optuna.load_study("workbench", f"sqlite:///{sweep.sweep.study.absolute()}")
    return study.trials


def states(sweep):
    return [trial.state.name for trial in trials(sweep)]


def test_a_study_learns_what_its_cells_came_to(sweep):
    status, said = sweep(*STUDY, GAMMA, "hydra.sweeper.n_trials=4")
    assert status == 0
    found = trials(sweep)
    assert [trial.state.name for trial in found] == ["COMPLETE"] * 4
    for trial in found:
        assert trial.value == trial.params["algorithm.gamma"]  # the best of the cell's values
    best = max(found, key=lambda trial: trial.value)
    assert f"Best: algorithm.gamma={best.value}" in said
    numbers = {cell.name: cell.trials for cell in sweep.sweep.cells()}
    assert numbers == {f"algorithm.gamma={trial.value}": (trial.number,) for trial in found}


def test_a_study_goes_on_to_the_number_of_trials_in_all(sweep, tmp_path):
    sweep(*STUDY, GAMMA, "hydra.sweeper.n_trials=2")
    sweep(*STUDY, GAMMA, "hydra.sweeper.n_trials=6")
    parts = [trial.params for trial in trials(sweep)]
    assert len({params["algorithm.gamma"] for params in parts}) == 6
    assert set(sweep.starts().values()) == {1}
    status, said = sweep(*STUDY, GAMMA, "hydra.sweeper.n_trials=6")
    assert status == 0
    assert "there is nothing to run" in said
    assert "Best: " in said
    sweep.sweep.path.rename(tmp_path / "parts")
    sweep(*STUDY, GAMMA, "hydra.sweeper.n_trials=6")
    assert [trial.params for trial in trials(sweep)] == parts


def test_a_trial_that_fails_is_told_as_failed_and_the_study_goes_on(sweep):
    space = [*STUDY, "name=choice(ok,fails)", "seed=range(0,100)", "hydra.sweeper.n_trials=8"]
    status, _ = sweep(*space)
    assert status == 1
    expected = {"fails": "FAIL", "ok": "COMPLETE"}
    assert states(sweep) == [expected[trial.params["name"]] for trial in trials(sweep)]
    assert {*states(sweep)} == {"FAIL", "COMPLETE"}
    sweep(*space)
    assert set(sweep.starts().values()) == {1}  # failed trials are not run again


def test_a_trial_that_was_killed_stays_open_and_is_resumed(sweep):
    space = [*STUDY, "name=dies", "seed=range(0,100)", "hydra.sweeper.n_trials=2"]
    assert sweep(*space)[0] == 1
    assert states(sweep) == ["RUNNING", "RUNNING"]
    assert sweep(*space)[0] == 0
    assert states(sweep) == ["COMPLETE", "COMPLETE"]
    assert set(sweep.starts().values()) == {2}


def test_trials_with_the_same_values_share_a_cell(sweep):
    sweep(*STUDY, "seed=choice(1,2)", "hydra.sweeper.n_trials=6")
    assert states(sweep) == ["COMPLETE"] * 6
    assert set(sweep.starts().values()) == {1}
    assert sorted(n for cell in sweep.sweep.cells() for n in cell.trials) == [0, 1, 2, 3, 4, 5]


def test_values_that_do_not_go_together_cost_a_trial(sweep):
    space = ["algorithm.batch_size=choice(64,600)", "algorithm.replay_capacity=choice(500,1000)"]
    _, said = sweep(*STUDY, *space, "hydra.sweeper.n_trials=8")
    for trial in trials(sweep):
        fits = trial.params["algorithm.batch_size"] <= trial.params["algorithm.replay_capacity"]
        assert trial.state.name == ("COMPLETE" if fits else "FAIL")
    assert "exceeds replay_capacity=500" in said


def test_several_objectives_have_a_front(sweep):
    objectives = ["sweep.objectives=[train/loss,seconds.train]", "hydra.sweeper.n_trials=3"]
    status, _ = sweep(*STUDY, GAMMA, *objectives, "hydra.sweeper.direction=[minimize,maximize]")
    assert status == 0
    for trial in trials(sweep):
        assert trial.values == [trial.params["algorithm.gamma"], 1.0]


def test_an_objective_that_is_not_there_fails_the_trial_and_is_named(sweep):
    objectives = ["sweep.objectives=[train/los]", "hydra.sweeper.direction=minimize"]
    _, said = sweep(*STUDY, GAMMA, *objectives, "hydra.sweeper.n_trials=2")
    assert states(sweep) == ["FAIL", "FAIL"]
    assert "no number train/los; did you mean train/loss?" in said


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ([], "nothing to search"),
        ([GAMMA, "hydra.sweeper.n_trials=0"], "hydra.sweeper.n_trials=0 is out of range"),
        ([GAMMA, "hydra.sweeper.n_trial=1"], "did you mean hydra.sweeper.n_trials"),
        ([GAMMA, "hydra.sweeper.direction=up"], "choose from maximize, minimize"),
        ([GAMMA, "sweep.objectives=[a,b]"], "say maximize or minimize"),
        ([GAMMA, "hydra.sweeper.direction=[minimize,minimize]"], "names 2, and there are 1"),
        ([GAMMA, "hydra/sweeper/sampler=tpp"], "did you mean tpe?"),
        ([GAMMA, "hydra/sweeper/sampler=grid"], "choose hydra/sweeper=basic"),
        (["algorithm.gamma=interval(0.5,1.5)"], "algorithm.gamma=1.5 is out of range"),
        (["algorithm.gama=interval(0.5,1)"], "did you mean algorithm.gamma?"),
        (["seed=interval(0.5,1)"], "seed: Value '0.5'"),
    ],
)
def test_what_a_study_cannot_be_is_refused_before_anything_is_written(overrides, said, sweep):
    status, line = sweep(*STUDY, *overrides)
    assert status == 2
    assert said in line
    assert line.count("\n") == 1
    assert not sweep.sweep.path.exists()


def test_another_direction_is_refused(sweep):
    sweep(*STUDY, GAMMA, "hydra.sweeper.n_trials=1")
    status, said = sweep(
        *STUDY, GAMMA, "hydra.sweeper.n_trials=2", "hydra.sweeper.direction=minimize"
    )
    assert status == 2
    assert "Cannot overwrite study direction" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("algorithm.gamma=interval(0,1)", optuna.distributions.UniformDistribution(0, 1)),
        ("algorithm.batch_size=interval(8,32)", optuna.distributions.IntUniformDistribution(8, 32)),
        (
            "algorithm.batch_size=tag(log,interval(8,32))",
            optuna.distributions.IntLogUniformDistribution(8, 32),
        ),
        (
            "algorithm.learning_rate=tag(log,interval(1e-4,1))",
            optuna.distributions.LogUniformDistribution(1e-4, 1),
        ),
        ("seed=range(0,10,3)", optuna.distributions.IntUniformDistribution(0, 9, 3)),
        ("seed=range(0,9,3)", optuna.distributions.IntUniformDistribution(0, 6, 3)),
        (
            "algorithm.gamma=range(0.5,1,0.25)",
            optuna.distributions.DiscreteUniformDistribution(0.5, 0.75, 0.25),
        ),
        ("algorithm.loss=choice(a,b)", optuna.distributions.CategoricalDistribution(["a", "b"])),
    ],
)
def test_a_key_is_drawn_from_what_its_override_says(override, expected):
    example = Composer()(["experiment=dqn/cartpole"])
    assert distribution(parse_overrides([override])[0], example) == expected


def test_the_front_holds_what_nothing_dominates():
    def result(name, *values):
        return Result(name, "finished", dict(zip("ab", values, strict=True)), None)

    results = [result("x", 1, 5), result("y", 2, 4), result("z", 1, 4), result("u", None, 9)]
    assert [r.name for r in pareto_front(results, ["maximize", "maximize"])] == ["x", "y"]
    assert [r.name for r in pareto_front(results, ["minimize", "minimize"])] == ["z"]
