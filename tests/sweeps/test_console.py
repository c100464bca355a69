"""What a user sees of a sweep."""

import io
import os
import pty
import re
import threading

from workbench.sweeps.console import SweepConsole
from workbench.sweeps.result import Result


def result(name, status="finished", why=""):
    return Result(name, status, {"evaluate/return": 9.5}, 12.0, why)


def show(console):
    console.begin(2)
    console.changed("seed=0", "running")
    console.changed("seed=1", "running")
    console.ended(result("seed=0"))
    console.ended(result("seed=1", "failed", "loss is not finite"))
    console.close(
        [result("seed=0"), result("seed=1", "failed", "loss is not finite")],
        1,
        "workbench -m seed=0,1 sweep.dir=here",
        ["Best: seed=0"],
    )


def on_terminal(use):
    """What a terminal of 80 columns receives from `use(console)`."""
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
        use(SweepConsole(stream, "here"))
    reader.join(10)
    os.close(ours)
    return b"".join(received).decode()


def test_a_cell_that_ends_is_a_line_and_the_end_says_what_to_do(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # the stream decides, not this
    stream = io.StringIO()
    show(SweepConsole(stream, "here"))
    lines = [re.sub(" +", " ", line).strip() for line in stream.getvalue().splitlines()]
    assert lines == [
        "The sweep is in here",
        "[1/2] seed=0: finished evaluate/return 9.5 12.0 s",
        "[2/2] seed=1: failed (loss is not finite)",
        "cell status evaluate/return seconds",
        "seed=0 finished 9.5 12.0",
        "seed=1 failed 9.5 12.0",
        "seed=1: loss is not finite",
        "Best: seed=0",
        "The sweep is in here",
        "To run the rest (1 of 2): workbench -m seed=0,1 sweep.dir=here",
    ]


def test_lines_are_not_folded_outside_a_terminal():
    stream = io.StringIO()
    names = [f"{'key=value,' * 12}seed={seed}" for seed in range(2)]
    SweepConsole(stream, "here").close([result(name) for name in names], 0, "")
    rows = stream.getvalue().splitlines()[2:4]
    assert [row.split()[0] for row in rows] == names


def test_a_terminal_gets_a_bar_that_long_names_leave_room_for(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")

    def use(console):
        console.begin(3)
        console.changed("key=value," * 20, "running")
        console.ended(result("seed=0"))
        console.stop()

    shown = on_terminal(use)
    assert re.search(r"━+.*1/3", shown)
    assert "1 running: key=value" in re.sub(r"\x1b\[[0-9;]*m", "", shown)


def test_cells_that_were_never_started_are_no_news():
    stream = io.StringIO()
    console = SweepConsole(stream, "here")
    console.begin(2)
    console.ended(Result("seed=0", "missing", {}, None))
    assert stream.getvalue() == "The sweep is in here\n"
