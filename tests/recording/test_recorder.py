import io
import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from workbench.core.events import (
    BlockDone,
    Checkpointed,
    CheckpointFailed,
    Compiled,
    Evaluated,
    Position,
    Stopped,
)
from workbench.core.options import BaselineConfig, StopConfig, TrainConfig
from workbench.recording.config import RecorderConfig
from workbench.recording.folder import RunFolder
from workbench.recording.metrics import read_metrics
from workbench.recording.recorder import Recorder

LEARNER = SimpleNamespace(unit="environment steps", units_per_step=10, limit=None)
SETTINGS = {"name": "dqn/cartpole", "seed": 3, "algorithm": {"rate": 0.5}}


@pytest.fixture
def folder(tmp_path):
    folder = RunFolder(tmp_path / "run")
    with folder.created():
        yield folder


def make(folder, target=None, **config):
    stream = io.StringIO()
    recorder = Recorder(
        RecorderConfig(**config),
        folder,
        stream,
        settings=SETTINGS,
        train=TrainConfig(budget=1000, stop=StopConfig(target=target)),
        baseline=BaselineConfig(name="paper", value=7.0, spread=1.0),
        family="dqn",
    )
    return recorder, stream


def block(step, **metrics):
    return BlockDone(step, step * 10, metrics or {"loss": 1.0 / step}, 1.0, 100.0)


def run(recorder, steps, position=None, status="finished", reason="budget"):
    position = position or Position()
    recorder.begin("workbench x", ["/device:CPU:0"], LEARNER, position)
    recorder(Compiled(0.5))
    for step in steps:
        position.step = step
        position.spend("train", 1.0)
        recorder(block(step))
        recorder(Evaluated(step, step * 10, {"return": float(step)}, 0.1, True))
        recorder(Checkpointed(step, recorder._folder.checkpoints / f"step-{step:012d}"))
    recorder(Stopped(status, reason, position))
    recorder.close(position, 5.0)
    return json.loads(recorder._folder.summary.read_text())


def test_importing_the_recorder_imports_no_tensorflow():
    code = "import sys, workbench.recording.recorder as _; assert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_finished_run_explains_itself(folder):
    recorder, stream = make(folder)
    summary = run(recorder, [5, 8])
    assert summary["status"] == "finished"
    assert summary["steps"] == 80
    assert summary["throughput"] == {"environment steps": 40.0}
    assert summary["metrics"] == {"train/loss": 0.125, "evaluate/return": 8.0}
    assert summary["baseline"]["verdict"] == "matches"
    assert "rate: 0.5" in folder.config.read_text()
    assert (folder.plots / "learning_curve.png").exists()
    assert list(folder.tensorboard.glob("events.*"))
    assert "8 matches paper's 7 ± 1" in stream.getvalue()


def test_switched_off_records_are_not_made(folder):
    recorder, _ = make(folder, tensorboard=False, plots=False)
    run(recorder, [5])
    assert not folder.tensorboard.exists()
    assert not folder.plots.exists()
    assert len(read_metrics(folder.metrics)) == 2


@pytest.mark.parametrize("checkpoint", [0, 5])
def test_resumed_run_drops_what_its_checkpoint_does_not_know(folder, checkpoint):
    recorder, _ = make(folder, plots=False)
    run(recorder, [5, 8], status="preempted", reason="SIGTERM")
    recorder, _ = make(folder, plots=False)
    run(recorder, [9], Position(step=checkpoint))
    steps = [record["step"] for record in read_metrics(folder.metrics)]
    assert steps == [50] * (2 if checkpoint else 0) + [90, 90]


def test_resumed_run_adds_a_part_to_the_manifest(folder):
    for start in (0, 5):
        recorder, _ = make(folder, plots=False, tensorboard=False)
        run(recorder, [start + 5], Position(step=start))
    manifest = json.loads(folder.manifest.read_text())
    assert [part["first_step"] for part in manifest["parts"]] == [0, 5]


def test_resumed_run_that_has_nothing_left_to_do_keeps_its_metrics(folder):
    recorder, _ = make(folder, plots=False)
    run(recorder, [5])
    recorder, _ = make(folder, plots=False)
    assert run(recorder, [], Position(step=5))["metrics"]["evaluate/return"] == 5.0


def test_where_the_target_was_reached_is_kept_also_by_parts_of_a_run(folder):
    name = "evaluate/environment_steps_to_target"
    recorder, _ = make(folder, plots=False, target=6.5)
    assert name not in run(recorder, [5], status="preempted", reason="SIGTERM")["metrics"]
    recorder, _ = make(folder, plots=False, target=6.5)
    assert run(recorder, [8], Position(step=5))["metrics"][name] == pytest.approx(65)
    recorder, stream = make(folder, plots=False, target=6.5)
    assert run(recorder, [10], Position(step=8))["metrics"][name] == pytest.approx(65)
    assert "not reached" not in stream.getvalue()


def test_a_target_that_was_not_reached_is_said(folder):
    recorder, stream = make(folder, plots=False, target=9.0)
    run(recorder, [5, 8])
    assert "the target was not reached: return 9, and the best was 8" in stream.getvalue()


def test_failed_run_names_cause_log_and_last_good_checkpoint(folder):
    recorder, stream = make(folder, plots=False)
    summary = run(recorder, [5], status="failed", reason="loss is not finite")
    assert summary["status"] == "failed"
    for part in ("loss is not finite", "last good checkpoint is step-000000000005", "log.txt"):
        assert part in stream.getvalue()


def test_run_that_failed_before_training_has_a_summary(folder):
    recorder, _ = make(folder)
    recorder.fail("failed", "RuntimeError: no")
    recorder.close(Position(), 1.0)
    summary = json.loads(folder.summary.read_text())
    assert (summary["status"], summary["error"]) == ("failed", "RuntimeError: no")


def test_failed_checkpoint_is_said_at_once(folder):
    recorder, stream = make(folder, plots=False)
    recorder.begin("x", [], LEARNER, Position())
    recorder(CheckpointFailed(5, "could not save step-5: No space left on device"))
    assert "warning: could not save step-5" in stream.getvalue()


def test_full_disk_is_said_once_and_training_goes_on(folder):
    recorder, stream = make(folder, plots=False, tensorboard=False)
    folder.metrics.symlink_to("/dev/full")
    run(recorder, [5, 8])
    warnings = [line for line in stream.getvalue().splitlines() if "warning" in line]
    assert warnings == ["warning: metrics.jsonl: No space left on device; training goes on"]


def test_run_whose_summary_cannot_be_written_has_failed(folder, monkeypatch):
    def full(path, values):
        raise OSError(28, "No space left on device")

    recorder, stream = make(folder, plots=False, tensorboard=False)
    recorder.begin("x", [], LEARNER, Position())
    monkeypatch.setattr("workbench.recording.recorder.write_json", full)
    recorder(Stopped("finished", "budget", Position()))
    recorder.close(Position(), 1.0)
    assert recorder.summary.status == "failed"
    assert "summary.json could not be written: No space left on device" in stream.getvalue()
