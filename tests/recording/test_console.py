import io
import os
import pty
import re
import sys
import threading
from pathlib import Path

import pytest

from workbench.recording.console import RunConsole

BASELINE = {
    "name": "DQN",
    "value": 500.0,
    "spread": 20.0,
    "source": "Mnih 2015",
    "measured": 490.0,
    "verdict": "matches",
}


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def summary(**changes):
    values = {
        "experiment": "dqn/cartpole",
        "seed": 3,
        "status": "finished",
        "stopped_by": "budget",
        "error": None,
        "unit": "environment steps",
        "steps": 50_000,
        "seconds": {"setup": 1.0, "train": 2.0, "total": 3.0},
        "throughput": {"environment steps": 25_000.0},
        "metrics": {"evaluate/return": 490.0, "train/loss": 0.5},
        "baseline": BASELINE,
    }
    return values | changes


def closing(**changes):
    stream = io.StringIO()
    RunConsole(stream, "a").close(summary(**changes), Path("runs/my run"))
    return re.sub(r"\s+", " ", stream.getvalue())


def on_terminal(use):
    """What a terminal receives from `use(console)`."""
    ours, theirs = pty.openpty()
    received = []

    def read():
        try:
            while data := os.read(ours, 4096):
                received.append(data)
        except OSError:  # the other end is closed
            pass

    reader = threading.Thread(target=read)
    reader.start()
    with os.fdopen(theirs, "w") as stream:
        use(RunConsole(stream, "a"))
    reader.join(10)
    os.close(ours)
    return b"".join(received).decode()


@pytest.mark.parametrize("force", ["", "1"])
def test_no_control_characters_outside_a_terminal(monkeypatch, force):
    if force:
        monkeypatch.setenv("FORCE_COLOR", force)
    stream = io.StringIO()
    console = RunConsole(stream, "a")
    console.phase("compiling")
    console.start("updates", 0, 100)
    console.trained(50, 10.0, {"loss": 0.5})
    console.evaluated(50, {"return": 1.0})
    console.close(summary(), Path("runs/a"))
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", stream.getvalue())


def test_blocks_get_a_line_every_two_seconds_and_evaluations_always():
    stream, clock = io.StringIO(), Clock()
    console = RunConsole(stream, "a", clock=clock)
    console.start("updates", 0, 100)
    for clock.now, units in ((0.0, 10), (1.0, 20), (1.9, 30), (2.0, 40), (3.9, 50)):
        console.trained(units, 10.0, {"loss": 0.5})
        console.evaluated(units, {"return": units})
    lines = stream.getvalue().splitlines()
    assert sum("of 100 updates" in line for line in lines) == 2
    assert sum("evaluation: return" in line for line in lines) == 5


def test_line_has_count_rate_loss_and_time_left():
    stream = io.StringIO()
    console = RunConsole(stream, "dqn seed 1")
    console.start("updates", 0, 3000)
    console.trained(1000, 100.0, {"loss": 0.5, "return": 7.0})
    assert stream.getvalue() == (
        "dqn seed 1: 1,000 of 3,000 updates  100/s  return 7  loss 0.5  20 s left\n"
    )


def test_terminal_gets_a_bar_with_the_latest_numbers():
    def use(console):
        console.phase("compiling")
        console.start("updates", 0, 100)
        console.evaluated(50, {"return": 12.0})
        console.trained(50, 10.0, {"loss": 0.5})
        console.stop()

    text = on_terminal(use)
    assert "\x1b[" in text
    for part in ("compiling", "50%", "10/s", "loss 0.5", "evaluation: return 12"):
        assert part in text


def test_bar_leaves_standard_output_alone():
    seen = []
    on_terminal(lambda c: (c.start("u", 0, 1), seen.append(sys.stdout), c.stop()))
    assert seen == [sys.stdout]


def test_dumb_terminal_gets_lines(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")

    def use(console):
        console.start("updates", 0, 100)
        console.trained(50, 10.0, {"loss": 0.5})

    text = on_terminal(use)
    assert "50 of 100 updates" in text
    assert "\x1b" not in text


def test_brackets_in_names_are_no_markup():
    stream = io.StringIO()
    RunConsole(stream, "a[bold]b").phase("x")
    assert "a[bold]b" in stream.getvalue()


def test_progress_false_shows_the_table_only():
    stream = io.StringIO()
    console = RunConsole(stream, "a", show_progress=False)
    console.phase("x")
    console.start("u", 0, 10)
    console.trained(5, 1.0, {"loss": 1.0})
    console.evaluated(5, {"return": 1.0})
    assert stream.getvalue() == ""
    console.close(summary(), Path("r"))
    assert "finished" in stream.getvalue()


def test_closing_table_says_how_the_result_compares():
    text = closing()
    assert "490 matches DQN's 500 ± 20 (Mnih 2015)" in text
    assert "25,000 environment steps per second of training" in text
    assert "setup 1.0, train 2.0, total 3.0" in text
    assert "resume" not in text


@pytest.mark.parametrize("status", ["stopped", "preempted"])
def test_broken_off_run_gets_the_command_to_go_on(status):
    assert "workbench resume 'runs/my run'" in closing(status=status)


def test_failed_run_gets_cause_and_log():
    text = closing(status="failed", error="loss is not finite; the last good checkpoint is step-1")
    assert "Failed: loss is not finite; the last good checkpoint is step-1 The log" in text
    assert "The log is runs/my run/log.txt" in text


def test_metric_that_is_not_finite_is_said_to_be():
    assert "return not finite" in closing(metrics={"evaluate/return": None}, baseline=None)
