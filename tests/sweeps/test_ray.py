"""Sweeps on Ray: what runs where, what a lost actor costs, what a signal reaches."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from unittest.mock import Mock

import psutil
import pytest

from workbench.sweeps.ray import RayLauncher

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="the extra is not installed"
)
RAY = (sys.executable, "-m", "ray.scripts.scripts")
ADDRESS = "127.0.0.1:46379"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """The address of a Ray that has two processors, and that others have started."""
    environment = os.environ | {"RAY_USAGE_STATS_ENABLED": "0"}
    folder = tmp_path_factory.mktemp("r")
    host, port = ADDRESS.split(":")
    options = ["--head", f"--node-ip-address={host}", f"--port={port}", "--num-cpus=2"]
    head = subprocess.Popen(
        [*RAY, "start", *options, "--include-dashboard=false", f"--temp-dir={folder}", "--block"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while "raylet" not in _names(head.pid):
        assert head.poll() is None
        time.sleep(0.1)
    yield ADDRESS
    os.killpg(head.pid, signal.SIGTERM)
    head.wait()


@pytest.fixture
def ray_sweep(cluster, sweep, monkeypatch):
    """A command that runs sweeps on it."""
    _with_fake_workers(monkeypatch)
    options = ("hydra/launcher=ray", "hydra.launcher.memory_gib=null")
    sweep.on_ray = lambda *overrides: sweep(
        *overrides, *options, f"hydra.launcher.address={cluster}"
    )
    return sweep


def test_every_cell_runs_once_and_as_many_at_once_as_there_is_room_for(ray_sweep):
    status, said = ray_sweep.on_ray("seed=range(0,6)", "algorithm.gamma=0.5,0.75")
    assert status == 0
    assert set(ray_sweep.starts().values()) == {1}
    assert len(ray_sweep.starts()) == 12
    assert len(ray_sweep.processes()) <= 2  # each runs one cell after another
    assert "[12/12]" in said
    ours = ("The sweep is in ", "[", "cell ", "algorithm.gamma=")
    assert all(line.startswith(ours) for line in said.splitlines())  # none of Ray's


def test_a_failing_cell_or_a_dying_process_costs_one_row(ray_sweep):
    cells = "name=ok,fails,dies,exits,refuses"
    status, said = ray_sweep.on_ray(cells)
    assert status == 1
    assert "name=ok: finished" in said
    assert "name=fails: loss is not finite" in said
    assert "name=dies: killed by signal 9" in said
    assert "name=exits: its process ended with status 1: no room left on the moon" in said
    assert "name=refuses: runtime.device=gpu is not on this machine" in said
    ray_sweep.on_ray(cells)
    assert ray_sweep.starts() == {
        "name=ok": 1,
        "name=fails": 2,
        "name=dies": 2,
        "name=exits": 2,
        "name=refuses": 2,
    }


def test_a_lost_actor_costs_the_cell_that_it_was_at(ray_sweep):
    def kill():
        _wait_for(ray_sweep, "name=waits")
        worker = int(ray_sweep._starts("name=waits")[0])
        psutil.Process(worker).parent().kill()

    threading.Thread(target=kill).start()
    status, said = ray_sweep.on_ray("name=waits,ok", "hydra.launcher.jobs=1")
    assert status == 1
    assert "The actor is dead because its worker process has died." in said
    assert "(raylet)" not in said
    assert ray_sweep.starts() == {"name=waits": 1, "name=ok": 1}
    assert ray_sweep.sweep.status("name=ok") == "finished"


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 75)])
def test_a_signal_reaches_the_cells_that_run(number, status, ray_sweep):
    def interrupt():
        _wait_for(ray_sweep, "name=waits")
        os.kill(os.getpid(), number)

    threading.Thread(target=interrupt).start()
    ended, _ = ray_sweep.on_ray("name=waits,ok", "hydra.launcher.jobs=1")
    assert ended == status
    assert ray_sweep.summary("name=waits")["stopped_by"] == number.name
    assert ray_sweep.starts() == {"name=waits": 1, "name=ok": 0}
    assert ray_sweep.on_ray("name=waits,ok")[0] == 0
    assert ray_sweep.starts() == {"name=waits": 2, "name=ok": 1}


def test_fail_fast_stops_the_others_and_starts_no_more(ray_sweep):
    status, said = ray_sweep.on_ray(
        "name=waits,fails,ok", "sweep.fail_fast=true", "hydra.launcher.jobs=2"
    )
    assert status == 1
    assert ray_sweep.starts() == {"name=waits": 1, "name=fails": 1, "name=ok": 0}
    assert ray_sweep.summary("name=waits")["stopped_by"] == "SIGTERM"
    assert "the others are stopped" in said


def test_an_actor_that_cannot_start_costs_a_row_too(ray_sweep, monkeypatch):
    here = Mock(cwd=lambda: "/not/on/this/node")
    monkeypatch.setattr("workbench.sweeps.ray.Path", here)
    status, said = ray_sweep.on_ray("seed=0,1")
    assert status == 1
    assert said.count("No such file or directory: '/not/on/this/node'") >= 2
    assert ray_sweep.starts() == {"seed=0": 0, "seed=1": 0}


def test_a_cluster_without_room_is_waited_for_until_a_signal_comes(ray_sweep, monkeypatch):
    monkeypatch.setattr(
        "workbench.sweeps.console.SweepConsole.begin",
        lambda *_: threading.Timer(1, os.kill, (os.getpid(), signal.SIGTERM)).start(),
    )
    status, said = ray_sweep.on_ray("seed=0,1", "hydra.launcher.cpus=64")
    assert status == 75
    assert "a cell takes cpus=64, gpus=0, memory_gib=None; nodes have up to 2, 0," in said
    assert ray_sweep.starts() == {"seed=0": 0, "seed=1": 0}


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "nonsense"])
def test_an_address_without_a_cluster_gets_one_line(address, sweep):
    status, said = sweep("seed=0,1", "hydra/launcher=ray", f"hydra.launcher.address={address}")
    assert status == 2
    assert said.count("\n") == 1
    assert f"no Ray at {address}" in said
    assert not sweep.sweep.path.exists()


def test_ray_that_is_not_installed_gets_one_line(sweep, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "ray" else find(name)
    )
    status, said = sweep("seed=0,1", "hydra/launcher=ray")
    assert status == 2
    assert said.count("\n") == 1
    assert "Ray is not installed: pip install 'workbench[ray]'" in said


@pytest.mark.parametrize("setting", ["cpus=0", "gpus=-1", "jobs=0", "memory_gib=0"])
def test_a_wrong_setting_is_refused(setting, sweep):
    status, said = sweep("seed=0,1", "hydra/launcher=ray", f"hydra.launcher.{setting}")
    assert status == 2
    assert f"hydra.launcher.{setting.partition('=')[0]}" in said
    assert said.count("\n") == 1


def test_a_ray_of_the_sweeps_own_trains_and_leaves_nothing_behind(tmp_path):
    """Real cells, in a process of its own: TensorFlow stays out of it."""
    temporary = tempfile.mkdtemp(dir="/tmp")
    arguments = [
        "-m",
        "experiment=dqn/cartpole",
        "seed=0,1",
        "train.budget=500",
        "hydra/launcher=ray",
        "sweep.dir=sweep",
    ]
    script = (
        "import sys; from workbench.cli import main; from workbench.sweeps import ray; "
        f"ray.TEMPORARY = {temporary!r}; "
        f"status = main({arguments}); "
        "assert not any(name.startswith('tensorflow') for name in sys.modules); sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    for seed in (0, 1):
        summary = json.loads((tmp_path / f"sweep/seed={seed}/summary.json").read_text())
        assert summary["status"] == "finished"
    Path(temporary).rmdir()  # which is empty
    left = [p.info["cmdline"] for p in psutil.process_iter(["cmdline"])]
    assert not any(temporary in argument for line in left for argument in line or ())


def test_a_ray_of_the_sweeps_own_never_has_room_for_too_large_a_cell(sweep):
    status, said = sweep("seed=0", "hydra/launcher=ray", "hydra.launcher.gpus=9")
    assert status == 2
    assert "gpus=9" in said


def _with_fake_workers(monkeypatch):
    worker = Path(__file__).with_name("fake_worker.py")
    monkeypatch.setattr(RayLauncher, "worker", (str(worker),))


def _wait_for(sweep, cell):
    while not sweep.sweep.run(cell).config.exists():
        time.sleep(0.01)


def _names(pid):
    return [child.name() for child in psutil.Process(pid).children(recursive=True)]
