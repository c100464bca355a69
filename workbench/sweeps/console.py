"""What a user sees of a sweep: its cells as they end, a table at its end."""

from collections.abc import Sequence
from typing import Any, TextIO

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from workbench.recording.console import drawable, plain_console
from workbench.sweeps.result import Result

WIDE = 1000  # characters; no line of a log is folded


class SweepConsole:
    """A progress bar on a terminal, a line for each cell that ends elsewhere too.

    Args:
      stream: where to write.
      folder: of the sweep.
    """

    def __init__(self, stream: TextIO, folder: str):
        self._folder = folder
        self._console = plain_console(stream, None if stream.isatty() else WIDE)
        self._bar = self._make_bar() if drawable(self._console) else None
        self._task: Any = None
        self._total = self._ended = self._failed = 0
        self._states: dict[str, str] = {}  # of cells that are under way

    def say(self, line: str) -> None:
        """A line that the user should not miss."""
        self._console.print(line)

    def begin(self, cells: int) -> None:
        """So many cells are to run; called again when there are more."""
        if not self._total:
            self.say(f"The sweep is in {self._folder}")
        self._total += cells
        if self._bar is not None:
            if self._task is None:
                self._task = self._bar.add_task("cells", total=0, news="")
                self._bar.start()
            self._bar.update(self._task, total=self._total)

    def changed(self, name: str, state: str) -> None:
        """A cell is queued or running."""
        self._states[name] = state
        self._refresh()

    def ended(self, result: Result) -> None:
        """A cell has ended."""
        self._states.pop(result.name, None)
        self._ended += 1
        self._failed += not result.finished
        if result.status != "missing" or result.why:  # one that was never started is no news
            self._console.print(f"[{self._ended}/{self._total}] {line(result)}")
        self._refresh()

    def stop(self) -> None:
        """No more cells run; the bar stays as it is."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def close(
        self, results: Sequence[Result], left: int, command: str, remarks: Sequence[str] = ()
    ) -> None:
        """Prints the closing table, and how to run what is left.

        Args:
          left: how many cells starting the sweep again would run.
          command: that does.
          remarks: further lines.
        """
        self.stop()
        if not results:
            return
        if not self._ended and not left:
            self.say(f"{len(results)} cells have ended; there is nothing to run")
        self._console.print(closing_table(results))
        for result in results:
            if result.why:
                self.say(f"{result.name}: {result.why}")
        for remark in remarks:
            self.say(remark)
        self.say(f"The sweep is in {self._folder}")
        if left:
            self.say(f"To run the rest ({left} of {len(results)}): {command}")

    def _refresh(self) -> None:
        if self._bar is None:
            return
        news = [f"{self._failed} not finished"] if self._failed else []
        for state in sorted({*self._states.values()}, reverse=True):
            names = [name for name, its in self._states.items() if its == state]
            news.append(f"{len(names)} {state}: {'  '.join(names)}")
        self._bar.update(self._task, completed=self._ended, news="; ".join(news))

    def _make_bar(self) -> Progress:
        whole = Column(no_wrap=True)
        rest = Column(no_wrap=True, overflow="ellipsis", ratio=1)
        return Progress(
            TextColumn("{task.description}", table_column=whole),
            BarColumn(bar_width=24),
            MofNCompleteColumn(table_column=whole),
            TimeElapsedColumn(table_column=whole),
            TextColumn("{task.fields[news]}", markup=False, table_column=rest),
            console=self._console,
            refresh_per_second=4,
            expand=True,
        )


def line(result: Result) -> str:
    """A result in one line."""
    words = [f"{result.name}: {result.status}"]
    if result.finished:
        words += [f"{name} {number(value)}" for name, value in result.objectives.items()]
        words.append(f"{result.seconds or 0:.1f} s")
    elif result.why:
        words[0] += f" ({result.why})"
    return "  ".join(words)


def closing_table(results: Sequence[Result]) -> Table:
    """The results for reading, a row each."""
    names = list(dict.fromkeys(name for result in results for name in result.objectives))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("cell", overflow="fold")
    table.add_column("status", no_wrap=True)
    for name in (*names, "seconds"):
        table.add_column(name, justify="right", no_wrap=True)
    for result in results:
        values = (number(result.objectives.get(name)) for name in names)
        seconds = "" if result.seconds is None else f"{result.seconds:.1f}"
        table.add_row(result.name, result.status, *values, seconds)
    return table


def number(value: float | None) -> str:
    """A number, or nothing."""
    return "" if value is None else f"{value:.6g}"
