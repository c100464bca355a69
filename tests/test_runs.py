"""Whole runs, from a command to a folder: their ends, their accidents, their continuation."""

import ctypes
import json
import os
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from short_runs import SHORT, assert_same_run, command, numbers, summary, wait_for, weights

import workbench
from workbench.cli import main
from workbench.recording.metrics import read_metrics

GYMNASIUM = ["environment=gymnasium", "environment.id=CartPole-v1"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished short run with every record, and what its terminal showed."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    arguments = [*SHORT, "recorder=standard", "algorithm.evaluation.gif=true"]
    done = subprocess.run(
        command(*arguments, f"run.dir={folder}"), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return folder, done


def test_a_run_says_nothing_but_its_own(finished):
    _, done = finished
    assert done.stderr == ""
    for noise in ("arning", "CUDA", "cuda", "Gym", "TensorRT", "oneDNN", "Error", "\x1b"):
        assert noise not in done.stdout


def test_the_summary_has_what_other_tools_rely_on(finished):
    values = summary(finished[0])
    assert values["experiment"] == "dqn/cartpole"
    assert values["family"] == "dqn"
    assert values["status"] == "finished"
    assert values["stopped_by"] == "budget"
    assert values["seed"] == 0
    assert values["steps"] == 2000
    assert set(values["seconds"]) == {"setup", "compile", "train", "evaluate", "total"}
    assert values["throughput"]["environment steps"] > 0
    assert values["metrics"]["evaluate/return"] > 0
    assert values["baseline"]["name"] == "CleanRL"
    assert values["baseline"]["measured"] == values["metrics"]["evaluate/return"]
    assert values["baseline"]["verdict"] == "worse"


def test_the_folder_explains_itself(finished):
    folder, _ = finished
    manifest = json.loads((folder / "manifest.json").read_text())
    assert f"run.dir={folder}" in manifest["parts"][0]["command"]
    assert manifest["packages"]["tensorflow"] == tf.__version__
    assert manifest["devices"]
    for name in ("config.yaml", "log.txt", "plots/learning_curve.png", "plots/episode.gif"):
        assert (folder / name).stat().st_size > 0
    steps = [record["step"] for record in read_metrics(folder / "metrics.jsonl")]
    assert steps == sorted(steps)
    assert steps[-1] == 2000


def test_a_run_can_be_opened_from_python(finished):
    run = workbench.load_run(finished[0])
    assert run.config.algorithm.batch_size == 16
    assert run.summary["status"] == "finished"
    observations = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    actions = run.policy(observations)
    assert actions.shape == (6,)
    assert [run.policy(o) for o in observations] == actions.tolist()
    saved = weights(finished[0])
    kernel = next(
        v for n, v in saved.items() if n.startswith("learner/network/") and v.shape == (4, 16)
    )
    np.testing.assert_array_equal(run.policy.network.variables[0].numpy(), kernel)


def test_two_runs_with_one_seed_are_the_same_and_with_another_are_not(finished, tmp_path):
    assert main([*SHORT, f"run.dir={tmp_path / 'same'}"]) == 0
    assert_same_run(tmp_path / "same", finished[0])
    assert main([*SHORT, "seed=1", f"run.dir={tmp_path / 'other'}"]) == 0
    assert numbers(tmp_path / "other") != numbers(finished[0])


@pytest.mark.parametrize("where", [[], GYMNASIUM], ids=["compiled", "gymnasium"])
def test_a_killed_run_resumes_bit_for_bit(where, tmp_path):
    arguments = [*SHORT, *where, "train.budget=6000"]
    assert main([*arguments, f"run.dir={tmp_path / 'whole'}"]) == 0
    folder = tmp_path / "killed"
    process = subprocess.Popen(command(*arguments, f"run.dir={folder}"), stdout=subprocess.PIPE)
    metrics = folder / "metrics.jsonl"
    wait_for(lambda: metrics.exists() and len(numbers(folder)) >= 7, process)
    process.kill()
    process.communicate()
    assert not (folder / "summary.json").exists()
    assert main(["resume", str(folder)]) == 0
    assert summary(folder)["steps"] == 6000
    assert_same_run(folder, tmp_path / "whole")


@pytest.mark.parametrize(
    ("number", "status", "word"),
    [(signal.SIGINT, 130, "stopped"), (signal.SIGTERM, 75, "preempted")],
)
def test_a_signal_ends_the_block_with_a_checkpoint(number, status, word, tmp_path):
    arguments = [*SHORT, "train.budget=1_000_000", f"run.dir={tmp_path / 'run'}"]
    process = subprocess.Popen(command(*arguments), stdout=subprocess.PIPE, text=True)
    metrics = tmp_path / "run" / "metrics.jsonl"
    wait_for(lambda: metrics.exists() and metrics.stat().st_size > 0, process)
    process.send_signal(number)
    shown, _ = process.communicate(timeout=60)
    assert process.returncode == status
    values = summary(tmp_path / "run")
    assert values["status"] == word
    assert values["stopped_by"] == number.name
    assert "workbench resume" in shown
    steps = values["steps"]
    assert (tmp_path / "run/checkpoints" / f"step-{steps // 10:012d}").is_dir()
    assert main(["resume", str(tmp_path / "run"), f"train.budget={steps + 300}"]) == 0
    assert summary(tmp_path / "run")["steps"] == steps + 300


def test_two_processes_never_share_a_folder(tmp_path, capsys):
    folder = tmp_path / "run"
    arguments = [*SHORT, "train.budget=1_000_000", f"run.dir={folder}"]
    process = subprocess.Popen(command(*arguments), stdout=subprocess.PIPE)
    wait_for(lambda: (folder / "config.yaml").exists(), process)
    try:
        assert main(["resume", str(folder)]) == 2
        assert f"process {process.pid}" in capsys.readouterr().err
        assert main(arguments) == 2
        assert "in use" in capsys.readouterr().err
    finally:
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == 75  # it went on undisturbed


def test_not_a_number_fails_the_run_and_leaves_the_last_good_checkpoint(tmp_path, capfd):
    folder = tmp_path / "run"
    arguments = [*SHORT, "algorithm.learning_rate=1e30", f"run.dir={folder}"]
    assert main(arguments) == 1
    values = summary(folder)
    assert values["status"] == "failed"
    assert "loss is not finite" in values["error"]
    assert "the last good checkpoint is step-" in values["error"]
    assert "not finite" in capfd.readouterr().out
    for value in weights(folder).values():
        if value.dtype.kind == "f":
            assert np.isfinite(value).all()


def test_a_stop_rule_finishes_the_run(tmp_path):
    folder = tmp_path / "run"
    assert main([*SHORT, "train.stop.target=1", f"run.dir={folder}"]) == 0
    values = summary(folder)
    assert (values["status"], values["stopped_by"]) == ("finished", "target reached")
    assert values["steps"] == 500


def test_resuming_refuses_settings_that_change_the_numbers(tmp_path, capsys):
    folder = tmp_path / "run"
    assert main([*SHORT, "train.budget=300", f"run.dir={folder}"]) == 0
    before = (folder / "config.yaml").read_text()
    capsys.readouterr()
    assert main(["resume", str(folder), "algorithm.gamma=0.5"]) == 2
    error = capsys.readouterr().err
    assert "algorithm.gamma (0.99 there, 0.5 here)" in error
    assert (folder / "config.yaml").read_text() == before
    assert summary(folder)["status"] == "finished"
    assert main(["resume", str(folder), "train.budgt=400"]) == 2
    assert "did you mean train.budget?" in capsys.readouterr().err


def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path, capfd):
    folder = tmp_path / "run"
    assert main([*SHORT, "train.budget=1000", f"run.dir={folder}"]) == 0
    newest = max((folder / "checkpoints").glob("step-*"))
    data = newest / "variables.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:-100])
    assert main(["resume", str(folder), "train.budget=2000"]) == 0
    assert f"{newest.name} is damaged" in capfd.readouterr().out
    assert main([*SHORT, f"run.dir={tmp_path / 'whole'}"]) == 0
    assert_same_run(folder, tmp_path / "whole")


def test_a_full_disk_fails_the_run_and_not_its_checkpoints(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if not mount_small_disk(disk, kilobytes=700):
        pytest.skip("a file system can be mounted by root only")
    try:
        folder = disk / "run"
        arguments = [*SHORT, "train.budget=100_000", "train.keep=1000", f"run.dir={folder}"]
        done = subprocess.run(command(*arguments), capture_output=True, text=True, timeout=300)
        assert done.returncode == 1
        assert "No space left" in done.stdout + done.stderr
        saved = sorted((folder / "checkpoints").glob("step-*"))
        assert saved
        (folder / "log.txt").unlink()  # room to go on
        for old in saved[:-3]:
            subprocess.run(["rm", "-r", old], check=True)
        steps = int(saved[-1].name.removeprefix("step-")) * 10
        assert main(["resume", str(folder), f"train.budget={steps + 100}", "train.keep=1"]) == 0
    finally:
        subprocess.run(["umount", disk], check=True)


def mount_small_disk(folder, kilobytes):
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"size={kilobytes}k".encode()
    return os.geteuid() == 0 and libc.mount(b"none", bytes(Path(folder)), b"tmpfs", 0, options) == 0
