import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from workbench.compose import compose_experiment, instantiate

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "scripts" / "benchmarks"


@pytest.fixture
def frame(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import frame

    monkeypatch.setattr(frame, "KEPT", tmp_path)
    return frame


@pytest.fixture
def suite(frame: ModuleType) -> ModuleType:
    import dqn

    return dqn


@pytest.mark.parametrize(
    ("arguments", "nearest"),
    [(["dqm"], "dqn"), (["dqn", "--case", "replay"], "replay-cost"), (["dqn", "--quik"], "")],
)
def test_wrong_command_is_told_in_one_line(arguments: list[str], nearest: str) -> None:
    command = [sys.executable, str(BENCHMARKS), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert nearest in done.stderr


def test_ratio_is_of_sides_that_ran_in_the_same_round(frame: ModuleType, tmp_path: Path) -> None:
    script = tmp_path / "side.py"
    script.write_text(
        "import json, pathlib, sys\n"
        "settings = json.loads(sys.argv[1])\n"
        "log = pathlib.Path(settings['log'])\n"
        "turn = len(log.read_text()) // 2 if log.exists() else 0\n"
        "log.open('a').write(settings['name'])\n"
        "print('noise')\n"
        "print(json.dumps({'steps/s': settings['rates'][turn]}))\n"
    )
    rates = {"a": [10, 90, 20], "b": [5, 30, 20]}
    log = str(tmp_path / "log")
    sides = [
        frame.Side(name, str(script), {"log": log, "name": name, "rates": rates[name]})
        for name in rates
    ]
    result = frame.measure(frame.Case("title", sides, by="steps/s"), rounds=3)
    assert Path(log).read_text() == "ababab"
    assert result["sides"] == {"a": {"steps/s": 20}, "b": {"steps/s": 20}}
    assert result["ratio"] == {"median": 2, "low": 1, "high": 3}


def test_failing_side_ends_the_case_with_its_last_words(frame: ModuleType, tmp_path: Path) -> None:
    script = tmp_path / "side.py"
    script.write_text("raise SystemExit('out of luck')")
    case = frame.Case("title", [frame.Side("unlucky", str(script), {})], by="steps/s")
    with pytest.raises(frame.BenchmarkError, match="unlucky failed: out of luck"):
        frame.measure(case, rounds=1)


def test_measuring_one_case_again_keeps_the_others(frame: ModuleType, tmp_path: Path) -> None:
    for name, value in [("one", 1), ("two", 2), ("one", 3)]:
        frame.record("some", name, {"value": value})
    kept = json.loads((tmp_path / "some.json").read_text())
    assert kept["cases"] == {"one": {"value": 3}, "two": {"value": 2}}


@pytest.mark.parametrize(
    ("experiment", "peer"), [("dqn/cartpole", "CLEANRL"), ("dqn/cartpole_zoo", "ZOO")]
)
def test_both_sides_train_with_the_same_settings(
    suite: ModuleType, experiment: str, peer: str
) -> None:
    ours = instantiate(compose_experiment([f"experiment={experiment}"]))
    dqn, theirs = ours.algorithm, getattr(suite, peer)
    assert theirs["layers"] == ours.network.layers
    expected = {
        "learning_rate": dqn.learning_rate,
        "buffer_size": dqn.replay_capacity,
        "batch_size": dqn.batch_size,
        "gamma": dqn.gamma,
        "learning_starts": dqn.learning_starts,
        "train_freq": dqn.train_every,
        "gradient_steps": dqn.gradient_steps,
    }
    assert expected.items() <= theirs["dqn"].items()
    # Copies that fall between the same two training phases copy the same network.
    copies_every = dqn.target_update_period / dqn.gradient_steps * dqn.train_every
    theirs_every = max(theirs["dqn"]["target_update_interval"], dqn.train_every)
    assert copies_every == theirs_every
    epsilon = suite.mean_epsilon(
        dqn.exploration.end, dqn.exploration.steps, dqn.learning_starts, ours.train.budget
    )
    assert theirs["epsilon"] == pytest.approx(epsilon)


def test_mean_epsilon_is_the_schedule_s_mean(suite: ModuleType) -> None:
    schedule = [max(0.05, 1 - 0.95 * step / 2_500) for step in range(100, 5_000)]
    mean = suite.mean_epsilon(end=0.05, fall=2_500, starts=100, budget=5_000)
    assert mean == pytest.approx(sum(schedule) / len(schedule), abs=1e-3)
