import json
import os
import subprocess
import sys

import pytest

from workbench.core.config import ConfigError
from workbench.recording.folder import RunFolder, write_json, write_text

HOLDER = """
import sys
from workbench.recording.folder import RunFolder
with RunFolder(sys.argv[1]).created():
    print("holding", flush=True)
    sys.stdin.read()
"""


def fail_in(entered, folder, error):
    with entered:
        folder.log.write_text("x")
        folder.plots.mkdir()
        raise error


def make_run(path, status=None):
    path.mkdir(parents=True)
    (path / "config.yaml").write_text("name: a\n")
    if status:
        (path / "summary.json").write_text(json.dumps({"status": status}))
    return path


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "run")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "holding\n"
    yield process
    process.communicate("")


def test_second_process_is_refused_with_the_pid_of_the_first(tmp_path, holder):
    folder = RunFolder(tmp_path / "run")
    for enter in (folder.check_free, folder.created().__enter__):
        with pytest.raises(ConfigError, match=f"in use by process {holder.pid} on") as refusal:
            enter()
        assert "\n" not in str(refusal.value)


def test_lock_ends_with_its_process_however_that_ends(tmp_path, holder):
    holder.kill()
    holder.wait()
    with RunFolder(tmp_path / "run").created():
        pass


def test_second_run_of_the_same_process_is_refused_too(tmp_path):
    folder = RunFolder(tmp_path / "run")
    with folder.created(), pytest.raises(ConfigError, match=f"process {os.getpid()}"):
        folder.check_free()


@pytest.mark.parametrize(("status", "said"), [("preempted", "preempted"), (None, "unfinished")])
def test_folder_with_a_run_is_refused_with_status_and_remedy(tmp_path, status, said):
    path = make_run(tmp_path / "run", status)
    before = sorted(path.iterdir())
    with pytest.raises(ConfigError, match=rf"\({said}\).*workbench resume {path}"):
        RunFolder(path).created().__enter__()
    assert sorted(path.iterdir()) == before


def test_folder_with_something_else_is_refused_and_untouched(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(ConfigError, match="not empty and no run"):
        RunFolder(tmp_path).created().__enter__()
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]


def test_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "run").write_text("x")
    with pytest.raises(ConfigError, match="is a file"):
        RunFolder(tmp_path / "run").check_free()


def test_folder_that_cannot_be_made_is_a_configuration_error(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="cannot be made"):
        RunFolder(tmp_path / "file" / "run").created().__enter__()


def test_empty_folder_is_free(tmp_path):
    with RunFolder(tmp_path).created():
        pass


def test_configuration_error_leaves_nothing_behind(tmp_path):
    folder = RunFolder(tmp_path / "runs" / "a" / "b")
    with pytest.raises(ConfigError, match="too late"):
        fail_in(folder.created(), folder, ConfigError("too late"))
    assert list(tmp_path.iterdir()) == []


def test_other_failures_keep_the_folder_for_the_post_mortem(tmp_path):
    folder = RunFolder(tmp_path / "run")
    with pytest.raises(RuntimeError):
        fail_in(folder.created(), folder, RuntimeError())
    assert folder.log.exists()


def test_resuming_a_mistyped_path_names_the_run_beside_it(tmp_path):
    make_run(tmp_path / "cartpole_seed1")
    with pytest.raises(ConfigError, match=f"did you mean {tmp_path}/cartpole_seed1"):
        RunFolder(tmp_path / "cartpole_sed1").check_resumable()


def test_resuming_the_folder_of_a_sweep_names_a_run_inside(tmp_path):
    make_run(tmp_path / "sweep" / "0")
    with pytest.raises(ConfigError, match=f"holds no run.*{tmp_path}/sweep/0"):
        RunFolder(tmp_path / "sweep").check_resumable()


def test_configuration_error_while_resuming_keeps_the_run(tmp_path):
    path = make_run(tmp_path / "run")
    folder = RunFolder(path)
    with pytest.raises(ConfigError, match="another"):
        fail_in(folder.resumed(), folder, ConfigError("another configuration"))
    assert (path / "config.yaml").exists()


def test_failed_write_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "summary.json"
    write_json(path, {"status": "finished"})
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"loss": float("nan")})
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "\ud800")
    assert json.loads(path.read_text()) == {"status": "finished"}
    assert [entry.name for entry in tmp_path.iterdir()] == ["summary.json"]
