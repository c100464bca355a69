"""A sweep on a real Slurm, which `scripts/slurm-one-node` starts; skipped where there is none."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from workbench.cli import main
from workbench.recording.folder import RunFolder
from workbench.recording.metrics import read_metrics
from workbench.sweeps.folder import SweepFolder

# A second or more of training, with a checkpoint after each of 60 blocks.
CELL = [
    "experiment=dqn/cartpole",
    "network.layers=[16]",
    "algorithm.replay_capacity=500",
    "algorithm.batch_size=16",
    "algorithm.learning_starts=100",
    "algorithm.exploration.steps=1000",
    "algorithm.evaluation.episodes=5",
    "train.budget=6000",
    "train.log_every=100",
    "train.evaluate_every=2000",
    "train.checkpoint_every=0",
    "recorder=minimal",
]
RATES = ["0.0001", "0.0002", "0.0003", "0.0004", "0.0005", "1e+30", "0.0006", "0.0007", "0.0008"]
RATES += ["0.0009", "0.001", "0.002"]
LAUNCHER = ["hydra/launcher=slurm", "hydra.launcher.poll=1", "hydra.launcher.signal_delay=30"]


def ours():
    """Whether the Slurm that answers is there for trying; a real one is not to be disturbed."""
    try:
        return "= one-node" in output("scontrol", "show", "config")
    except (OSError, subprocess.CalledProcessError):
        return False


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


pytestmark = pytest.mark.skipif(not ours(), reason="no Slurm of scripts/slurm-one-node answers")


class Cell:
    """A cell of a sweep under way."""

    def __init__(self, sweep, rate):
        self.name = f"algorithm.learning_rate={rate}"
        self.sweep = sweep
        self.run = sweep.run(self.name)

    @property
    def job(self):
        return json.loads((self.sweep.path / "slurm/jobs.json").read_text())[self.name]

    @property
    def process(self):
        return json.loads(self.run.manifest.read_text())["parts"][-1]["pid"]

    def log(self, kind):
        return self.sweep.path / "slurm" / f"{self.job}_0_log.{kind}"

    def starting(self):
        """Its process is there, and hardly listens to signals yet."""
        submitted = (self.sweep.path / "slurm/jobs.json").exists()
        return submitted and self.log("out").exists() and self.log("out").stat().st_size > 0

    def training(self):
        return self.run.metrics.exists() and len(numbers(self.run)) >= 3

    def interrupted(self):
        """One of its processes did not come to an end."""
        return "srun: error" in self.log("err").read_text()

    def summary(self):
        return json.loads(self.run.summary.read_text())


def numbers(run):
    return [
        {name: value for name, value in record.items() if name != "time"}
        for record in read_metrics(run.metrics)
    ]


def wait_for(condition, process):
    end = time.monotonic() + 300
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)


def warn(cell):
    """What Slurm does before it preempts a job, or before its time limit."""
    command = ["scancel", "--signal=USR2", cell.job]
    with suppress(subprocess.TimeoutExpired):  # beside waiting tasks, 22.05 tries again for long
        subprocess.run(command, capture_output=True, timeout=2)


def assert_uninterrupted(cell, folder):
    """A cell that was interrupted came to the numbers of a run that was not."""
    reference = RunFolder(folder / f"reference_{cell.name.partition('=')[2]}")
    assert main([*CELL, cell.name, f"run.dir={reference}"]) == 0
    assert numbers(cell.run) == numbers(reference)
    assert cell.summary()["metrics"] == json.loads(reference.summary.read_text())["metrics"]


def test_a_sweep_survives_what_a_cluster_does_to_it(tmp_path):
    sweep = SweepFolder(tmp_path / "sweep")
    cells = [Cell(sweep, rate) for rate in RATES]
    warned, requeued, signalled, killed, cancelled, hopeless, displaced, *_ = cells
    rates = f"algorithm.learning_rate={','.join(RATES)}"
    command = [sys.executable, "-m", "workbench", "-m", *CELL, rates, *LAUNCHER]
    command += [f"sweep.dir={sweep}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    wait_for(warned.starting, process)
    warn(warned)
    wait_for(requeued.training, process)
    output("scontrol", "requeue", requeued.job)
    wait_for(signalled.training, process)
    warn(signalled)
    wait_for(killed.training, process)
    os.kill(killed.process, signal.SIGKILL)
    wait_for(cancelled.training, process)
    output("scancel", cancelled.job)
    wait_for(displaced.starting, process)
    output("sbatch", "--partition=urgent", "--exclusive", "--output=/dev/null", "--wrap=true")

    shown, _ = process.communicate(timeout=600)
    assert process.returncode == 1
    assert f"{killed.name}: killed by signal 9" in shown
    assert f"{cancelled.name}: cancelled in Slurm" in shown
    assert f"{hopeless.name}: " in shown
    assert "loss is not finite" in shown
    lost = {cell.name for cell in cells if sweep.status(cell.name) != "finished"}
    assert lost == {killed.name, cancelled.name, hopeless.name}
    interrupted = {cell for cell in cells if cell.interrupted() and cell.name not in lost}
    assert {warned, requeued, signalled, displaced} <= interrupted
    for cell in interrupted:
        assert_uninterrupted(cell, tmp_path)

    before = {cell.name: cell.job for cell in cells}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=600)
    assert done.returncode == 1  # for its learning rate, one cell fails whenever it runs
    assert {cell.name for cell in cells if cell.job != before[cell.name]} == lost
    for cell in (killed, cancelled):
        assert_uninterrupted(cell, tmp_path)
