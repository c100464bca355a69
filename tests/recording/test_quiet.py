import io
import logging
import os
import pty
import subprocess
import sys
import warnings

import pytest

from workbench.recording.quiet import quiet

SCRIPT = """
import ctypes, logging, os, subprocess, sys
from pathlib import Path
from workbench.recording.quiet import quiet
folder = Path(sys.argv[1])
kept = None
for job in "ab":
    with quiet(folder / f"{job}.txt") as console:
        print(job, "python")
        os.write(2, f"{job} descriptor\\n".encode())
        subprocess.run(["echo", job, "child"])
        ctypes.CDLL(None).printf(f"{job} buffered by C\\n".encode())
        kept = kept or logging.StreamHandler(sys.stderr)
        kept.stream.write(f"{job} kept handler\\n")
        print(job, "user", file=console)
    print(job, "after")
"""


def fail_in(log):
    with quiet(log):
        os.write(2, b"from C\n")
        raise RuntimeError("boom")


@pytest.fixture
def jobs(tmp_path):
    command = [sys.executable, "-c", SCRIPT, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done, tmp_path


def test_only_our_stream_reaches_the_user(jobs):
    done, _ = jobs
    assert done.stdout.splitlines() == ["a user", "a after", "b user", "b after"]
    assert done.stderr == ""


@pytest.mark.parametrize("job", ["a", "b"])
def test_everything_else_is_in_the_log_of_its_own_job(jobs, job):
    _, folder = jobs
    lines = (folder / f"{job}.txt").read_text().splitlines()
    kinds = ("python", "descriptor", "child", "buffered by C", "kept handler")
    assert sorted(lines) == sorted(f"{job} {kind}" for kind in kinds)


def test_child_that_outlives_the_run_does_not_hold_the_users_pipe(tmp_path):
    code = (
        "import subprocess, sys; from pathlib import Path;"
        "from workbench.recording.quiet import quiet\n"
        "with quiet(Path(sys.argv[1])): print(subprocess.Popen(['sleep', '60']).pid, flush=True)"
    )
    log = tmp_path / "log"
    subprocess.run([sys.executable, "-c", code, str(log)], capture_output=True, timeout=20)
    os.kill(int(log.read_text()), 9)


def test_descriptors_come_back_after_an_error_and_the_log_has_the_traceback(tmp_path):
    before = [os.fstat(descriptor).st_ino for descriptor in (1, 2)]
    streams = sys.stdout, sys.stderr
    with pytest.raises(RuntimeError):
        fail_in(tmp_path / "log")
    assert [os.fstat(descriptor).st_ino for descriptor in (1, 2)] == before
    assert (sys.stdout, sys.stderr) == streams
    text = (tmp_path / "log").read_text()
    assert text.startswith("from C\nTraceback")
    assert "RuntimeError: boom" in text


def test_no_descriptor_is_leaked(tmp_path):
    count = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(3):
        with quiet(tmp_path / "log"):
            pass
    assert len(os.listdir("/proc/self/fd")) == count  # noqa: PTH208


def test_nested_console_is_still_the_users(tmp_path):
    with quiet(tmp_path / "outer") as outer:
        with quiet(tmp_path / "inner") as inner:
            assert inner is outer
            print("deep")
        print("shallow")
    assert (tmp_path / "inner").read_text() == "deep\n"
    assert (tmp_path / "outer").read_text() == "shallow\n"


def test_stream_that_is_no_file_is_handed_back(tmp_path, monkeypatch):
    stand_in = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stand_in)
    with quiet(tmp_path / "log") as console:
        console.write("seen")
        print("hidden")
    assert stand_in.getvalue() == "seen"
    assert (tmp_path / "log").read_text() == "hidden\n"


def test_console_is_a_terminal_where_the_user_has_one(tmp_path, monkeypatch):
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        with quiet(tmp_path / "log") as console:
            assert console.isatty()
            assert not sys.stdout.isatty()
    os.close(ours)


def test_warnings_are_dropped_and_log_messages_kept(tmp_path):
    with quiet(tmp_path / "log"):
        warnings.warn("dull", stacklevel=1)
        logging.getLogger("library").warning("worth keeping")
    text = (tmp_path / "log").read_text()
    assert "dull" not in text
    assert "WARNING library: worth keeping" in text


def test_what_the_user_said_about_the_environment_stays(monkeypatch):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    monkeypatch.delenv("GRPC_VERBOSITY", raising=False)
    with quiet():
        assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "0"
        assert os.environ["GRPC_VERBOSITY"] == "ERROR"
