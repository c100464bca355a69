"""What every suite shares: sides run in turn, medians, ratios, the machine, the peers' homes."""

import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
KEPT = ROOT / ".benchmark"

# Cores that other work may take before the figures are called into question.
IDLE = 0.2

Values = dict[str, float]


class BenchmarkError(Exception):
    """A side that could not be measured, in one line."""


@dataclass(frozen=True)
class Side:
    """One of a case's competitors.

    Attributes:
      name: as tables show it.
      script: a file beside this one; it prints one JSON object, quantities by name and unit.
      settings: that script's only argument, as JSON.
      peers: a requirements file beside this one whose environment runs the script; None for ours.
    """

    name: str
    script: str
    settings: dict[str, Any]
    peers: str | None = None


@dataclass(frozen=True)
class Case:
    """Something to measure, of one side or of two.

    Attributes:
      title: one line on what is measured.
      sides: of two, the ratio first / second is reported.
      by: the quantity that the ratio is of.
      note: what a reader should know about the comparison.
    """

    title: str
    sides: Sequence[Side]
    by: str
    note: str = ""


def measure(case: Case, rounds: int) -> dict[str, Any]:
    """Runs the sides in turn, so that the machine's drift meets them alike.

    Raises:
      BenchmarkError: when a side cannot be installed or fails.
    """
    pythons = {side.name: _python(side) for side in case.sides}
    turns: list[dict[str, Values]] = []
    others: list[float] = []
    for turn in range(1, rounds + 1):
        values: dict[str, Values] = {}
        for side in case.sides:
            with _watch(others):
                values[side.name] = _run(side, pythons[side.name])
        turns.append(values)
        figures = ", ".join(f"{name} {_number(found[case.by])}" for name, found in values.items())
        print(f"  round {turn} of {rounds}: {figures} {case.by}", file=sys.stderr)
    result = {
        "title": case.title,
        "note": case.note,
        "machine": _machine() | {"others": max(others)},
        "sides": {side.name: _medians([turn[side.name] for turn in turns]) for side in case.sides},
        "rounds": turns,
    }
    if len(case.sides) == 2:
        first, second = (side.name for side in case.sides)
        ratios = [turn[first][case.by] / turn[second][case.by] for turn in turns]
        median = statistics.median(ratios)
        result["ratio"] = {"median": median, "low": min(ratios), "high": max(ratios)}
    return result


def record(suite: str, name: str, result: dict[str, Any]) -> None:
    """Puts a case's result into .benchmark/SUITE.json, beside the other cases' last ones."""
    path = KEPT / f"{suite}.json"
    kept = json.loads(path.read_text()) if path.exists() else {"suite": suite, "cases": {}}
    kept["cases"][name] = result
    KEPT.mkdir(exist_ok=True)
    path.write_text(json.dumps(kept, indent=2) + "\n")


def show(results: dict[str, dict[str, Any]]) -> None:
    """Prints results as a table, with the notes and the machine under it."""
    console = Console()
    table = Table("case", "side", "", "", "ratio", box=SIMPLE_HEAD)
    table.columns[2].justify = "right"
    for name, result in results.items():
        ratio = result.get("ratio")
        told = _ratio(ratio) if ratio else ""
        for side, values in result["sides"].items():
            numbers = "\n".join(map(_number, values.values()))
            table.add_row(name, side, numbers, "\n".join(values), told)
            name = told = ""
        table.add_section()
    console.print(table)
    for name, result in results.items():
        if result["note"]:
            console.print(f"{name}: {result['note']}", highlight=False)
    about = [result["machine"] for result in results.values()]
    line = "{cpu}, {cores} cores; {date}; commit {commit}"
    console.print(line.format(**about[-1]), highlight=False)
    busy = max(machine["others"] for machine in about)
    if busy > IDLE:
        console.print(
            f"Not to be trusted: other work took up to {busy:.1f} cores; measure again without it.",
            highlight=False,
        )


def _run(side: Side, python: str) -> Values:
    command = [python, str(HERE / side.script), json.dumps(side.settings)]
    # Both sides are measured on the CPU, whatever else the machine has.
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    if done.returncode:
        log = KEPT / "failure.log"
        KEPT.mkdir(exist_ok=True)
        log.write_text(done.stdout + done.stderr)
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise BenchmarkError(f"{side.name} failed: {last} (all of it: .benchmark/{log.name})")
    return json.loads(done.stdout.splitlines()[-1])


def _python(side: Side) -> str:
    """The interpreter for a side; the peers' environment is made when missing or stale."""
    if side.peers is None:
        return sys.executable
    wanted = (HERE / side.peers).read_text()
    home = KEPT / Path(side.peers).stem
    python, made_from = home / "bin" / "python", home / "made-from.txt"
    if made_from.exists() and made_from.read_text() == wanted:
        return str(python)
    print(f"Installing {side.peers} into .benchmark/{home.name} ...", file=sys.stderr)
    shutil.rmtree(home, ignore_errors=True)
    KEPT.mkdir(exist_ok=True)
    with (KEPT / f"{home.name}.log").open("w") as log:
        for command in (
            [sys.executable, "-m", "venv", str(home)],
            [str(python), "-m", "pip", "install", "--requirement", str(HERE / side.peers)],
        ):
            if subprocess.run(command, stdout=log, stderr=log).returncode:
                raise BenchmarkError(
                    f"{side.peers} cannot be installed; .benchmark/{home.name}.log says why"
                )
    made_from.write_text(wanted)
    return str(python)


def _medians(turns: list[Values]) -> Values:
    return {key: statistics.median(turn[key] for turn in turns) for key in turns[0]}


def _ratio(ratio: Values) -> str:
    if ratio["low"] == ratio["high"]:
        return f"{ratio['median']:.2f}"
    return "{median:.2f}\n{low:.2f} to {high:.2f}".format(**ratio)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


@contextmanager
def _watch(others: list[float]) -> Iterator[None]:
    """Appends how many cores, on average, processes that are not our children kept busy."""
    started, busy, own = time.perf_counter(), _busy_seconds(), _children_seconds()
    yield
    busy, own = _busy_seconds() - busy, _children_seconds() - own
    others.append(round(max(0.0, busy - own) / (time.perf_counter() - started), 2))


def _busy_seconds() -> float:
    """CPU time spent by everything on this machine since it started."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return 0.0
    user, nice, system = map(int, stat.read_text().split(maxsplit=4)[1:4])
    return (user + nice + system) / os.sysconf("SC_CLK_TCK")


def _children_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _machine() -> dict[str, Any]:
    """What the figures depend on besides the code: processor, date, commit."""
    changed = _git("status", "--porcelain", "--untracked-files=no")
    commit = _git("rev-parse", "--short=12", "HEAD")
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "commit": f"{commit} with changes" if changed else commit or None,
    }


def _cpu() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, cwd=ROOT)
    except OSError:  # no git: the figures are of some unpacked archive
        return ""
    return done.stdout.strip()
