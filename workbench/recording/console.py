"""What a user sees of a run: progress while it lasts, a table at its end."""

import shlex
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

VERDICTS = {
    "better": "better than",
    "matches": "matches",
    "worse": "worse than",
}


class RunConsole:
    """A progress bar on a terminal, plain lines elsewhere.

    Args:
      stream: where to write.
      title: of the run.
      show_progress: whether to show anything before the end.
      seconds: between plain lines; evaluations always get one.
    """

    def __init__(
        self,
        stream: TextIO,
        title: str,
        show_progress: bool = True,
        seconds: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._console = plain_console(stream)
        self._title = title
        self._shown = show_progress
        self._bar = self._make_bar() if show_progress and drawable(self._console) else None
        self._task: Any = None
        self._seconds = seconds
        self._clock = clock
        self._last_line = float("-inf")
        self._evaluation = ""

    def phase(self, text: str) -> None:
        """Says what is going on before training."""
        if not self._shown:
            return
        if self._bar is None:
            self._console.print(f"{self._title}: {text}")
        else:
            self._console.print(text, style="dim")

    def start(self, unit: str, done: int, budget: int) -> None:
        """Training begins at `done` of `budget` units."""
        self._unit, self._budget = unit, budget
        if self._bar is not None:
            self._task = self._bar.add_task(
                self._title, total=budget, completed=done, news="compiling"
            )
            self._bar.start()

    def trained(self, units: int, rate: float, metrics: Mapping[str, float]) -> None:
        """A block is done."""
        news = f"{rate:,.0f}/s  {brief(metrics)}"
        if self._bar is not None:
            text = f"{news}  {self._evaluation}"
            self._bar.update(self._task, completed=units, news=text)
        elif self._shown and self._clock() - self._last_line >= self._seconds:
            self._last_line = self._clock()
            left = (self._budget - units) / rate if rate else 0.0
            self._console.print(
                f"{self._title}: {units:,} of {self._budget:,} {self._unit}  {news}"
                f"  {left:.0f} s left"
            )

    def evaluated(self, units: int, metrics: Mapping[str, float]) -> None:
        """An evaluation is done."""
        self._evaluation = f"evaluation: {brief(metrics)}"
        if self._shown and self._bar is None:
            self._console.print(f"{self._title}: {units:,} {self._unit}  {self._evaluation}")

    def say(self, line: str) -> None:
        """A line that the user should not miss."""
        self._console.print(line)

    def stop(self) -> None:
        """Training is over; the bar stays as it is."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def close(self, summary: Mapping[str, Any], folder: Path) -> None:
        """Prints the closing table, and what to do next where something is left to do."""
        self.stop()
        self._console.print(closing_table(summary, folder))
        status = summary["status"]
        if status in ("stopped", "preempted"):
            self.say(f"To go on from its checkpoint: workbench resume {shlex.quote(str(folder))}")
        elif status == "failed":  # outside the table, which would fold the line
            self.say(f"Failed: {summary['error']}")
            self.say(f"The log is {folder / 'log.txt'}")

    def _make_bar(self) -> Progress:
        return Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[news]}", markup=False),
            console=self._console,
            refresh_per_second=4,  # its thread shares the cores with training
            redirect_stdout=False,  # what libraries print belongs in the log
            redirect_stderr=False,
        )


def brief(metrics: Mapping[str, float]) -> str:
    """The two numbers that matter most, in a few characters."""
    first = [name for name in ("return", "accuracy", "loss") if name in metrics]
    names = (first + [name for name in metrics if name not in first])[:2]
    return "  ".join(f"{name} {metrics[name]:.4g}" for name in names)


def closing_table(summary: Mapping[str, Any], folder: Path) -> Table:
    """A run's summary for reading."""
    table = Table(show_header=False, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    reason = None if summary["status"] == "failed" else summary["stopped_by"]
    table.add_row("experiment", f"{summary['experiment']}, seed {summary['seed']}")
    table.add_row("status", summary["status"] + (f" ({reason})" if reason else ""))
    table.add_row(summary["unit"], f"{summary['steps']:,}")
    for name, rate in summary["throughput"].items():
        table.add_row("speed", f"{rate:,.0f} {name} per second of training")
    phases = ", ".join(f"{name} {value:.1f}" for name, value in summary["seconds"].items())
    table.add_row("seconds", phases)
    for name, value in summary["metrics"].items():
        if name.startswith("evaluate/"):
            number = "not finite" if value is None else f"{value:.6g}"
            table.add_row(name.removeprefix("evaluate/"), number)
    if summary["baseline"] and summary["baseline"]["verdict"]:
        table.add_row("baseline", against(summary["baseline"]))
    table.add_row("folder", str(folder))
    return table


def against(baseline: Mapping[str, Any]) -> str:
    """A verdict in words."""
    spread = f" ± {baseline['spread']:g}" if baseline["spread"] else ""
    return (
        f"{baseline['measured']:.6g} {VERDICTS[baseline['verdict']]} {baseline['name']}'s "
        f"{baseline['value']:g}{spread} ({baseline['source']})"
    )


def plain_console(stream: TextIO, width: int | None = None) -> Console:
    """A console that prints text as it is."""
    # The stream decides, not FORCE_COLOR: a log file gets no control characters.
    return Console(
        file=stream,
        force_terminal=stream.isatty(),
        width=width,
        soft_wrap=True,
        highlight=False,
        markup=False,
        emoji=False,
    )


def drawable(console: Console) -> bool:
    """Whether a progress bar can be drawn there."""
    return console.is_terminal and not console.is_dumb_terminal
