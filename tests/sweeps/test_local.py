"""Sweeps on local processes: what runs, what is left alone, what a fault costs."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from unittest.mock import Mock

import pytest

from workbench.cli import main
from workbench.sweeps.kind import Kind
from workbench.sweeps.local import LocalLauncher
from workbench.sweeps.process import WorkerProcess


def test_every_cell_runs_once_in_a_folder_of_its_own(sweep):
    status, said = sweep("seed=0,1", "algorithm.gamma=0.5,0.75")
    assert status == 0
    assert sweep.starts() == {
        "algorithm.gamma=0.5,seed=0": 1,
        "algorithm.gamma=0.75,seed=0": 1,
        "algorithm.gamma=0.5,seed=1": 1,
        "algorithm.gamma=0.75,seed=1": 1,
    }
    assert "[4/4]" in said
    rows = [line.split() for line in said.splitlines() if line.startswith("algorithm")]
    assert rows[0] == ["algorithm.gamma=0.5,seed=0", "finished", "0.5", "1.5"]  # its best value
    frozen = sweep.sweep.config("algorithm.gamma=0.5,seed=1").read_text()
    assert "dir: sweep/algorithm.gamma=0.5,seed=1" in frozen
    assert "gamma: 0.5" in frozen


def test_a_finished_sweep_runs_nothing_and_says_so(sweep):
    sweep("seed=0,1")
    before = sweep.sweep.index.stat().st_mtime_ns
    status, said = sweep("seed=0,1")
    assert status == 0
    assert "there is nothing to run" in said
    assert sweep.starts() == {"seed=0": 1, "seed=1": 1}
    assert sweep.sweep.index.stat().st_mtime_ns == before


def test_a_sweep_is_not_resumed_as_a_run_is(sweep, capsys):
    sweep("seed=0,1")
    assert main(["resume", "sweep"]) == 2
    again = "workbench -m experiment=dqn/cartpole seed=0,1 sweep.dir=sweep"
    assert f"is a sweep; to go on with it: {again}" in capsys.readouterr().err


def test_what_is_added_to_a_sweep_leaves_the_rest_as_it_is(sweep):
    sweep("seed=0,1")
    sweep("seed=2,1,0")
    sweep("seed=3")  # one value of a key that tells the others apart
    sweep("seed=0,1", "algorithm.gamma=0.5")
    assert sweep.starts() == {"seed=0": 1, "seed=1": 1, "seed=2": 1, "seed=3": 1}


def test_a_cell_is_never_another_one_by_the_same_name(sweep):
    sweep("seed=0,1", "train.budget=2000")
    before = sweep.sweep.index.read_text()
    status, said = sweep("seed=0,1,2", "train.budget=3000")
    assert status == 2
    assert "cell seed=0 was submitted with train.budget=2000" in said
    assert "now asked for with 3000" in said
    assert said.count("\n") == 1
    assert sweep.sweep.index.read_text() == before


def test_a_cell_whose_folder_was_deleted_is_run_again(sweep):
    sweep("seed=0,1")
    subprocess.run(["rm", "-r", sweep.sweep.run("seed=1").path], check=True)
    status, said = sweep("seed=0,1")
    assert status == 0
    assert "[1/1] seed=1: finished" in said
    assert sweep.starts() == {"seed=0": 1, "seed=1": 1}


def test_a_moved_sweep_is_gone_on_with(sweep):
    sweep("seed=0")
    sweep.sweep.path.rename("elsewhere")
    assert main(["-m", "experiment=dqn/cartpole", "seed=0", "sweep.dir=elsewhere"]) == 0


def test_a_failing_cell_costs_one_row(sweep):
    status, said = sweep("name=ok,fails,dies,exits,refuses", "hydra.launcher.jobs=1")
    assert status == 1
    assert "name=ok: finished" in said
    assert "name=fails: loss is not finite" in said
    assert "name=dies: killed by signal 9" in said
    assert "name=exits: its process ended with status 1: no room left on the moon" in said
    assert "name=refuses: runtime.device=gpu is not on this machine" in said
    again = "To run the rest (4 of 5): workbench -m experiment=dqn/cartpole"
    assert f"{again} name=ok,fails,dies,exits,refuses hydra.launcher.jobs=1 sweep.dir=sweep" in said
    status, _ = sweep("name=ok,fails,dies,exits,refuses", "hydra.launcher.jobs=1")
    assert sweep.starts() == {
        "name=ok": 1,
        "name=fails": 2,
        "name=dies": 2,
        "name=exits": 2,
        "name=refuses": 2,
    }
    assert sweep.sweep.status("name=dies") == "finished"


def test_a_process_runs_many_cells_and_is_replaced_when_it_dies(sweep):
    sweep("seed=range(0,4)", "hydra.launcher.jobs=1")
    assert len(sweep.processes()) == 1
    sweep("name=dies", "seed=4,5", "hydra.launcher.jobs=1")
    assert len(sweep.processes()) == 3


def test_other_devices_or_threads_need_another_process(sweep):
    sweep("runtime.threads=1,2", "seed=0,1", "hydra.launcher.jobs=1")
    assert len(sweep.processes()) == 2


def test_a_process_goes_on_with_cells_that_use_its_program():
    launcher = LocalLauncher(jobs=2)
    cells = {f"{gamma} {seed}": Kind({}, {"gamma": gamma}) for seed in "12" for gamma in "abc"}
    started = []
    for cell in (None, "busy"):  # an idle process, and one at work
        name = launcher._next(cells)
        started.append(name)
        worker = Mock(cell=cell)
        launcher._workers[worker] = cells.pop(name)
    assert started == ["a 1", "a 2"]
    assert launcher._next(cells) == "b 1"


def test_a_process_that_has_grown_over_its_share_is_replaced(sweep):
    sweep("seed=0,1,2", "hydra.launcher.jobs=1", "hydra.launcher.memory_gib=0.001")
    assert len(sweep.processes()) == 3


def test_memory_bounds_the_number_of_processes():
    cpu = [{"device": "cpu"}]
    cores = len(os.sched_getaffinity(0))
    assert LocalLauncher(memory_gib=1e-6)._jobs(cpu) == cores
    assert LocalLauncher(memory_gib=1e6)._jobs(cpu) == 1
    assert LocalLauncher(memory_gib=1e6, jobs=5)._jobs(cpu) == 5
    assert LocalLauncher(memory_gib=1e-6)._jobs([*cpu, {"device": "gpu"}]) == 1


def test_fail_fast_stops_the_others_and_starts_no_more(sweep):
    status, said = sweep("name=waits,fails,ok", "sweep.fail_fast=true", "hydra.launcher.jobs=2")
    assert status == 1
    assert sweep.starts() == {"name=waits": 1, "name=fails": 1, "name=ok": 0}
    assert sweep.summary("name=waits")["stopped_by"] == "SIGTERM"
    assert "the others are stopped" in said


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 75)])
def test_a_signal_reaches_the_cells_that_run(number, status, sweep):
    def interrupt():
        while not sweep.sweep.run("name=waits").config.exists():
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    threading.Thread(target=interrupt).start()
    ended, _ = sweep("name=waits,ok", "hydra.launcher.jobs=1")
    assert ended == status
    assert sweep.summary("name=waits")["stopped_by"] == number.name
    assert sweep.starts() == {"name=waits": 1, "name=ok": 0}
    assert sweep("name=waits,ok", "hydra.launcher.jobs=1")[0] == 0
    assert sweep.starts() == {"name=waits": 2, "name=ok": 1}


def test_a_process_dies_with_what_it_has_started(tmp_path):
    """A child that outlives its parent keeps the parent's pipe open, as TFF's workers do."""
    script = (
        "import subprocess, sys, os; sys.stdin.readline(); "
        "child = subprocess.Popen(['sleep', '1000']); "
        f"open({str(tmp_path / 'child')!r}, 'w').write(str(child.pid)); os._exit(3)"
    )
    worker = WorkerProcess([sys.executable, "-c", script])
    worker.start("seed=0")
    while (note := worker.answer()) is None:
        time.sleep(0.01)
    assert note == "its process ended with status 3"
    child = int((tmp_path / "child").read_text())
    os.kill(child, 0)
    worker.end()
    status = Path(f"/proc/{child}/status")
    for _ in range(1000):
        if not status.exists() or "zombie" in status.read_text():
            return
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    pytest.fail("the child lives on")


def test_objectives_are_numbers_of_the_summary(sweep):
    _, said = sweep("seed=0,1", "sweep.objectives=[train/loss,seconds.train]")
    table = [line.split() for line in said.splitlines()[3:]]
    assert table[0] == ["cell", "status", "train/loss", "seconds.train", "seconds"]
    assert table[1] == ["seed=0", "finished", "0.99", "1", "1.5"]


def test_the_index_is_json_for_other_tools(sweep):
    sweep("seed=0,1", "train.budget=5")
    index = json.loads((sweep.sweep.path / "sweep.json").read_text())
    assert index["command"].endswith("seed=0,1 train.budget=5 sweep.dir=sweep")
    assert index["cells"][1] == {"name": "seed=1", "overrides": ["seed=1"], "trials": []}
