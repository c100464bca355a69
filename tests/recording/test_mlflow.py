import io
import json
import logging
import math
import os
import shutil
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from types import SimpleNamespace

import pytest

from workbench.core.events import BlockDone, Evaluated, Position, Stopped
from workbench.core.options import TrainConfig
from workbench.recording.config import RecorderConfig
from workbench.recording.folder import RunFolder
from workbench.recording.metrics import MetricsFile
from workbench.recording.mlflow import SWEEP_INDEX, MlflowRun
from workbench.recording.mlflow_store import ENVIRONMENT, connect, existing_run
from workbench.recording.recorder import Recorder
from workbench.sweeps.folder import SweepFolder

pytest.importorskip("mlflow")

LEARNER = SimpleNamespace(unit="environment steps", units_per_step=10, limit=None)
SETTINGS = {"name": "dqn/cartpole", "seed": 3, "algorithm": {"rate": 0.5, "layers": [8, 8]}}

# A cell in a process of its own, as a sweep starts them; the network must not be touched.
CELL = """
import os, sys

def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        os.write(2, f"{event} {arguments}".encode())
        os._exit(3)

sys.addaudithook(watch)
sys.path.insert(0, sys.argv[1])
from test_mlflow import RunFolder, make, run
folder = RunFolder(sys.argv[2])
with folder.created():
    recorder, stream = make(folder)
    sys.stdin.readline()
    run(recorder, [5, 8])
assert "warning" not in stream.getvalue(), stream.getvalue()
"""


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """Where the user stands; another place for every test, for MLflow keeps what it has opened."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for name in ENVIRONMENT:  # set by what is tested, and put back after it
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return tmp_path


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """A database without runs: making its tables takes a second."""
    path = tmp_path_factory.mktemp("tables") / "mlflow.db"
    connect(f"sqlite:///{path}")
    return path


@pytest.fixture
def here(empty, tables):
    (empty / "runs").mkdir()
    shutil.copy(tables, empty / "runs")
    return empty


@pytest.fixture
def server(here, monkeypatch):
    """The address of MLflow's server, which is away until it is started."""
    from mlflow import server
    from werkzeug.serving import make_server

    monkeypatch.setenv(server.BACKEND_STORE_URI_ENV_VAR, f"sqlite:///{here}/runs/mlflow.db")
    monkeypatch.setenv(server.ARTIFACT_ROOT_ENV_VAR, "mlflow-artifacts:/")
    monkeypatch.setenv(server.ARTIFACTS_DESTINATION_ENV_VAR, str(here / "files"))
    monkeypatch.setenv(server.SERVE_ARTIFACTS_ENV_VAR, "true")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = []

    def start():
        running.append(make_server("127.0.0.1", port, server.app, threaded=True))
        threading.Thread(target=running[0].serve_forever, daemon=True).start()

    yield f"http://127.0.0.1:{port}", start
    for one in running:
        one.shutdown()


def make(folder, uri=None, **settings):
    stream = io.StringIO()
    recorder = Recorder(
        RecorderConfig(mlflow=True, tracking_uri=uri, tensorboard=False, plots=False),
        folder,
        stream,
        settings=SETTINGS | settings,
        train=TrainConfig(budget=1000),
        baseline=None,
        family="dqn",
    )
    return recorder, stream


def run(recorder, steps, position=None, status="finished"):
    position = position or Position()
    recorder.begin("workbench x", [], LEARNER, position)
    for step in steps:
        recorder(BlockDone(step, step * 10, {"loss": 1.0 / step}, 1.0, 100.0))
        recorder(Evaluated(step, step * 10, {"return": float(step)}, 0.1, True))
        position.step = step
    recorder(Stopped(status, "budget", position))
    recorder.close(position, 5.0)


def run_in(folder, steps=(5, 8), **options):
    folder = RunFolder(folder)
    with folder.created():
        recorder, stream = make(folder)
        run(recorder, steps, **options)
    assert "warning" not in stream.getvalue()
    return folder


def begun(path):
    """A run's folder to copy from, whose recorder knows nothing of MLflow."""
    folder = RunFolder(path)
    with folder.created():
        recorder, _ = make(folder)
        recorder._config.mlflow = False
        recorder.begin("workbench x", [], LEARNER, Position())
    return folder


def client(here):
    from mlflow import MlflowClient

    return MlflowClient(f"sqlite:///{here}/runs/mlflow.db")


def runs(here, name="dqn/cartpole"):
    experiment = client(here).get_experiment_by_name(name)
    return client(here).search_runs([experiment.experiment_id])


def only_run(here):
    (found,) = runs(here)
    return found


def history(here, name):
    found = client(here).get_metric_history(only_run(here).info.run_id, name)
    return [(metric.step, metric.value) for metric in found]


def cells(here):
    return [found for found in runs(here) if "mlflow.parentRunId" in found.data.tags]


def sweep(here, *names):
    folder = SweepFolder(here / "sweep")
    folder.path.mkdir()
    folder.write("workbench -m x", "now", [])
    return [folder.run(name).path for name in names]


def test_run_has_the_names_of_its_folder(here):
    run_in("some/run")
    found = only_run(here)
    assert found.info.run_name == "run"
    assert found.info.status == "FINISHED"
    assert found.data.params == {
        "name": "dqn/cartpole",
        "seed": "3",
        "algorithm.rate": "0.5",
        "algorithm.layers": "[8, 8]",
    }
    assert history(here, "train/loss") == [(50, 0.2), (80, 0.125)]
    assert history(here, "evaluate/return") == [(50, 5.0), (80, 8.0)]
    tags = found.data.tags
    assert tags["command"] == "workbench x"
    assert tags["family"] == "dqn"
    assert tags["status"] == "finished"
    assert tags["folder"] == str(here / "some/run")
    commit = json.loads((here / "some/run/manifest.json").read_text())["code"]["commit"]
    assert tags.get("commit") == tags.get("mlflow.source.git.commit") == commit


def test_files_lie_beside_the_database_and_nothing_elsewhere(empty):
    folder = RunFolder("run")
    with folder.created():
        recorder, _ = make(folder)
        recorder._config.plots = True
        run(recorder, [5, 8])
    files = empty / "runs/mlartifacts" / only_run(empty).info.experiment_id
    files /= f"{only_run(empty).info.run_id}/artifacts"
    assert json.loads((files / "summary.json").read_text())["status"] == "finished"
    assert (files / "config.yaml").read_text() == folder.config.read_text()
    assert (files / "plots/learning_curve.png").stat().st_size > 0
    assert sorted(path.name for path in empty.iterdir()) == ["run", "runs"]


@pytest.mark.parametrize(
    ("status", "mlflow", "tag"),
    [
        ("failed", "FAILED", "failed"),
        ("preempted", "KILLED", "preempted"),
        ("interrupted", "KILLED", "stopped"),
    ],
)
def test_run_that_did_not_finish_says_so(status, mlflow, tag, here):
    run_in("run", status=status)
    assert only_run(here).info.status == mlflow
    assert only_run(here).data.tags["status"] == tag


def test_run_is_seen_while_it_lasts(here):
    folder = begun("run")
    copy = MlflowRun(folder, SETTINGS, "dqn", None)
    for step in (5, 8):
        MetricsFile(folder.metrics).write(step, step, {"train/loss": 0.5})
        copy.update()
        assert only_run(here).info.status == "RUNNING"
        assert history(here, "train/loss")[-1] == (step, 0.5)


def test_half_a_line_waits_for_its_other_half(here):
    folder = begun("run")
    copy = MlflowRun(folder, SETTINGS, "dqn", None)
    line = json.dumps({"step": 90, "time": 1.0, "train/loss": 3.0}) + "\n"
    with folder.metrics.open("a") as stream:
        for part in (line[:20], line[20:]):
            stream.write(part)
            stream.flush()
            copy.update()
    assert history(here, "train/loss") == [(90, 3.0)]


def test_number_that_is_not_finite_is_not_a_number(here):
    folder = RunFolder("run")
    with folder.created():
        recorder, _ = make(folder)
        recorder.begin("workbench x", [], LEARNER, Position())
        recorder(BlockDone(1, 10, {"loss": math.inf}, 1.0, 100.0))
        recorder.close(Position(), 1.0)
    ((step, value),) = history(here, "train/loss")
    assert step == 10
    assert math.isnan(value)


def test_more_than_mlflow_takes_at_once_arrives_whole(here):
    folder = RunFolder("run")
    with folder.created():
        recorder, stream = make(folder, many={f"p{i}": i for i in range(250)})
        recorder.begin("workbench x", [], LEARNER, Position())
        for step in (1, 2):
            recorder(BlockDone(step, step, {f"m{i}": float(i) for i in range(700)}, 1.0, 1.0))
        recorder.close(Position(), 1.0)
    assert "warning" not in stream.getvalue()
    assert len(only_run(here).data.params) == 254
    assert len(only_run(here).data.metrics) == 700
    assert history(here, "train/m699") == [(1, 699.0), (2, 699.0)]


def test_resumed_run_goes_on_in_its_mlflow_run_without_doubles(here):
    folder = run_in("run", [5, 8, 9], status="preempted")
    with folder.resumed():
        recorder, _ = make(folder, seed=4)  # MLflow keeps a parameter's first value
        run(recorder, [8, 9, 10], Position(step=5))
    assert only_run(here).info.status == "FINISHED"
    assert only_run(here).data.params["seed"] == "3"
    assert history(here, "evaluate/return") == [(50, 5.0), (80, 8.0), (90, 9.0), (100, 10.0)]


def test_run_resumed_from_elsewhere_goes_on_in_the_same_database(here, monkeypatch):
    folder = run_in(here / "run", [5], status="preempted")
    (here / "elsewhere").mkdir()
    monkeypatch.chdir(here / "elsewhere")
    with folder.resumed():
        recorder, _ = make(folder)
        run(recorder, [8], Position(step=5))
    assert history(here, "evaluate/return") == [(50, 5.0), (80, 8.0)]
    assert not list((here / "elsewhere").iterdir())


def test_run_that_was_deleted_in_mlflow_is_made_anew_when_it_is_resumed(here):
    folder = run_in("run", [5, 8], status="preempted")
    deleted = only_run(here).info.run_id
    client(here).delete_run(deleted)
    with folder.resumed():
        recorder, _ = make(folder)
        run(recorder, [9], Position(step=8))
    assert only_run(here).info.run_id != deleted
    assert history(here, "evaluate/return") == [(50, 5.0), (80, 8.0), (90, 9.0)]


def test_server_that_is_away_costs_one_line_and_gets_what_it_missed_later(here, server):
    uri, start = server
    folder = RunFolder("run")
    with folder.created():
        recorder, stream = make(folder, uri)
        run(recorder, [5, 8], status="preempted")
    assert json.loads(folder.summary.read_text())["status"] == "preempted"
    warnings = [line for line in stream.getvalue().splitlines() if "warning" in line]
    assert warnings == [f"warning: mlflow: no answer from {uri}; training goes on"]
    start()
    with folder.resumed():
        recorder, stream = make(folder, uri)
        run(recorder, [9], Position(step=8))
    assert "warning" not in stream.getvalue()
    assert history(here, "evaluate/return") == [(50, 5.0), (80, 8.0), (90, 9.0)]
    assert only_run(here).info.status == "FINISHED"
    assert (here / "files" / only_run(here).info.experiment_id).is_dir()
    assert [path.name for path in here.glob("files/**/summary.json")] == ["summary.json"]


def test_address_comes_from_the_environment_when_no_setting_has_it(empty, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///other/mine.db")
    run_in("run")
    assert (empty / "other/mine.db").exists()
    assert not (empty / "runs").exists()


def test_making_the_tables_leaves_logging_as_it_was(empty):
    root = logging.getLogger()
    before = root.level, root.handlers[:]
    run_in("run")
    assert (root.level, root.handlers) == before


def test_cells_of_a_sweep_are_nested_in_one_run(here):
    first, second = sweep(here, "seed=0", "seed=1")
    run_in(first)
    run_in(second, status="failed")
    (parent,) = {cell.data.tags["mlflow.parentRunId"] for cell in cells(here)}
    assert {cell.info.run_name for cell in cells(here)} == {"seed=0", "seed=1"}
    assert len(runs(here)) == 3
    assert client(here).get_run(parent).info.run_name == "sweep"
    assert client(here).get_run(parent).info.status == "FAILED"
    with RunFolder(second).resumed():
        recorder, _ = make(RunFolder(second))
        run(recorder, [9], Position(step=8))
    assert client(here).get_run(parent).info.status == "FINISHED"
    assert len(runs(here)) == 3


def test_run_of_a_sweep_lasts_as_long_as_any_cell(here):
    first, second, third = sweep(here, "seed=0", "seed=1", "seed=2")

    def status():
        parent = cells(here)[0].data.tags["mlflow.parentRunId"]
        return client(here).get_run(parent).info.status

    run_in(first)
    assert status() == "FINISHED"
    copy = MlflowRun(begun(second), SETTINGS, "dqn", None)
    copy.update()
    assert status() == "RUNNING"
    run_in(third)
    assert status() == "RUNNING"
    copy.end("finished")
    assert status() == "FINISHED"


def test_cells_that_begin_at_once_make_one_run_for_their_sweep(here, monkeypatch):
    both = threading.Barrier(2)

    def look(client, run_id):
        with suppress(threading.BrokenBarrierError):
            both.wait(0.5)  # without a lock, both would look before either makes it
        return existing_run(client, run_id)

    monkeypatch.setattr("workbench.recording.mlflow.existing_run", look)
    copies = [
        MlflowRun(begun(path), SETTINGS, "dqn", None) for path in sweep(here, "seed=0", "seed=1")
    ]
    threads = [threading.Thread(target=copy.update) for copy in copies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(cells(here)) == 2
    assert len({cell.data.tags["mlflow.parentRunId"] for cell in cells(here)}) == 1


def test_run_beside_others_is_in_no_sweep(here):
    run_in("runs/a")
    run_in("runs/b")
    assert len(runs(here)) == 2
    assert not cells(here)


def test_a_sweep_is_known_by_its_index():
    assert SweepFolder("x").index.name == SWEEP_INDEX


def test_processes_that_start_at_once_share_a_database_and_a_sweep(empty):
    """None of them makes the tables, the experiment or the sweep's run twice, or goes online."""
    free = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    free.pop("CI", None)  # wempty MLflow would send nothing anyway
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CELL, os.path.dirname(__file__), path],  # noqa: PTH120
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=free,
        )
        for path in sweep(empty, "seed=0", "seed=1")
    ]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    assert len(cells(empty)) == 2
    (parent,) = {cell.data.tags["mlflow.parentRunId"] for cell in cells(empty)}
    assert client(empty).get_run(parent).info.status == "FINISHED"
    for cell in cells(empty):
        assert cell.info.status == "FINISHED"
        found = client(empty).get_metric_history(cell.info.run_id, "evaluate/return")
        assert [(metric.step, metric.value) for metric in found] == [(50, 5.0), (80, 8.0)]
