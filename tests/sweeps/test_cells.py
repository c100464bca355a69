"""Sweeps of real runs: what is killed, fails or is preempted, and goes on."""

import json
import signal
import subprocess
import sys

import pytest
from short_runs import SHORT, assert_same_run, command, numbers, summary, wait_for

from workbench.cli import main

LONGER = [*SHORT, "train.budget=20000"]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Runs by themselves, by their seed."""
    folder = tmp_path_factory.mktemp("alone")
    for seed in (0, 2):
        assert main([*LONGER, f"seed={seed}", f"run.dir={folder / str(seed)}"]) == 0
    return {seed: folder / str(seed) for seed in (0, 2)}


def begun(folder):
    return (folder / "metrics.jsonl").exists() and len(numbers(folder)) >= 7


def parts(folder):
    return json.loads((folder / "manifest.json").read_text())["parts"]


def test_a_sweep_survives_a_killed_process_and_failing_cells(tmp_path, alone):
    sweep = [
        *("-m", *LONGER, "algorithm.learning_rate=2.5e-4,1e30", "seed=0,1,2"),
        *("hydra.launcher.jobs=1", f"hydra.sweep.dir={tmp_path / 'sweep'}"),
    ]
    cells = [tmp_path / "sweep" / f"algorithm.learning_rate=0.00025,seed={n}" for n in range(3)]
    process = subprocess.Popen(command(*sweep), stdout=subprocess.PIPE, text=True)
    wait_for(lambda: begun(cells[0]), process)
    subprocess.run(["kill", "-9", str(parts(cells[0])[0]["pid"])], check=True)
    shown, _ = process.communicate(timeout=300)
    assert process.returncode == 1
    assert f"{cells[0].name}: killed by signal 9" in shown
    assert shown.count(": loss is not finite at") == 3
    assert [cell.name for cell in cells if (cell / "summary.json").exists()] == [
        cells[1].name,
        cells[2].name,
    ]
    # The third was the second one of a process that compiled for another seed.
    assert parts(cells[1])[0]["pid"] == parts(cells[2])[0]["pid"]
    assert_same_run(cells[2], alone[2])
    assert summary(cells[2])["metrics"] == summary(alone[2])["metrics"]

    kept = (cells[1] / "summary.json").stat().st_mtime_ns
    again = subprocess.run(command(*sweep), capture_output=True, text=True, timeout=300)
    assert again.returncode == 1  # the others fail again
    assert again.stderr == ""
    assert "[4/4]" in again.stdout
    assert (cells[1] / "summary.json").stat().st_mtime_ns == kept
    assert len(parts(cells[0])) == 2
    assert parts(cells[0])[1]["first_step"] > 0
    assert_same_run(cells[0], alone[0])


def test_a_preempted_sweep_goes_on_to_the_same_numbers_and_then_has_nothing_to_do(tmp_path, alone):
    sweep = ["-m", *LONGER, "seed=0", f"sweep.dir={tmp_path / 'sweep'}"]
    cell = tmp_path / "sweep" / "cell"
    process = subprocess.Popen(command(*sweep), stdout=subprocess.PIPE, text=True)
    wait_for(lambda: begun(cell), process)
    process.terminate()
    shown, _ = process.communicate(timeout=120)
    assert process.returncode == 75
    assert "To run the rest (1 of 1): workbench -m" in shown
    assert summary(cell)["status"] == "preempted"
    assert summary(cell)["stopped_by"] == signal.SIGTERM.name
    assert subprocess.run(command(*sweep), capture_output=True, timeout=120).returncode == 0
    assert_same_run(cell, alone[0])
    script = (
        "import sys\nfrom workbench.cli import main\n"
        f"assert main({sweep!r}) == 0\nsys.exit('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0
    assert "there is nothing to run" in done.stdout
