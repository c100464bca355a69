import numpy as np
import optuna
import pytest
from optuna.distributions import LogUniformDistribution, UniformDistribution
from optuna.trial import TrialState, create_trial

from workbench.studies.importance import importances_of

SPACE = {
    "lr": LogUniformDistribution(1e-5, 1e-1),
    "a": UniformDistribution(0, 1),
    "b": UniformDistribution(0, 1),
}


@pytest.fixture(autouse=True)
def quiet_optuna():
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def draw(rng):
    return {"lr": float(10 ** rng.uniform(-5, -1)), "a": rng.uniform(), "b": rng.uniform()}


def store(path, objective, trials, directions=("maximize",)):
    """A study of random trials in a database."""
    study = optuna.create_study(storage=f"sqlite:///{path}", study_name="s", directions=directions)
    rng = np.random.default_rng(0)
    points = [draw(rng) for _ in range(trials)]
    study.add_trials(
        [create_trial(params=p, distributions=SPACE, values=objective(p)) for p in points]
    )
    return study


def test_shares_are_those_of_the_variance_that_each_parameter_makes(tmp_path):
    """Of 3a + b with a and b uniform, a makes 9/10 of the variance."""
    store(tmp_path / "study.db", lambda p: [3 * p["a"] + p["b"]], 100)
    ((importance,), notes) = importances_of(tmp_path / "study.db", seed=0)
    assert notes == []
    assert (importance.study, importance.objective, importance.trials) == ("s", "objective", 100)
    assert list(importance.shares) == ["a", "b", "lr"]
    assert importance.shares["a"] == pytest.approx(0.9, abs=0.05)
    assert sum(importance.shares.values()) == pytest.approx(1)


def test_a_logarithmic_parameter_matters_on_its_logarithmic_scale(tmp_path):
    """log10(lr) has 16 times the variance of a; above lr=0.01, where most of its plain range is,
    it would have less than a's."""
    store(tmp_path / "study.db", lambda p: [np.log10(p["lr"]) + p["a"]], 100)
    ((importance,), _) = importances_of(tmp_path / "study.db", seed=0)
    assert importance.shares["lr"] == pytest.approx(16 / 17, abs=0.04)


def test_every_objective_has_its_own(tmp_path):
    store(tmp_path / "study.db", lambda p: [p["a"], p["b"]], 60, ("maximize", "minimize"))
    found, _ = importances_of(tmp_path / "study.db", seed=0)
    assert [entry.objective for entry in found] == ["objective 1", "objective 2"]
    assert [next(iter(entry.shares)) for entry in found] == ["a", "b"]


def test_failed_and_infinite_trials_are_not_counted(tmp_path):
    study = store(tmp_path / "study.db", lambda p: [p["a"]], 20)
    rng = np.random.default_rng(1)
    for values, state in (([np.inf], TrialState.COMPLETE), (None, TrialState.FAIL)):
        trial = create_trial(params=draw(rng), distributions=SPACE, values=values, state=state)
        study.add_trial(trial)
    ((importance,), _) = importances_of(tmp_path / "study.db", seed=0)
    assert importance.trials == 20


def test_the_database_is_not_touched(tmp_path):
    path = tmp_path / "study.db"
    store(path, lambda p: [p["a"]], 10)
    before = path.read_bytes()
    importances_of(path, seed=0)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("trials", "objective", "said"),
    [
        (3, lambda p: [p["a"]], "3 trials were completed, and 4 are needed"),
        (9, lambda p: [1.0], "same value"),
    ],
)
def test_a_study_that_says_nothing_is_said_to(trials, objective, said, tmp_path):
    store(tmp_path / "study.db", objective, trials)
    found, (note,) = importances_of(tmp_path / "study.db", seed=0)
    assert found == []
    assert said in note


@pytest.mark.parametrize("content", [b"", b"not a database"])
def test_a_damaged_database_costs_one_line(content, tmp_path):
    (tmp_path / "study.db").write_bytes(content)
    found, (note,) = importances_of(tmp_path / "study.db", seed=0)
    assert found == []
    assert "study.db cannot be read" in note
    assert "\n" not in note
