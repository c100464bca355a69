"""A report on a terminal."""

import sys
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from workbench.studies.analysis import Analysis, Comparison, Standing
from workbench.studies.importance import Importance
from workbench.studies.statistics import Interval
from workbench.studies.words import (
    NOTHING,
    against,
    bounds,
    heading,
    not_counted,
    number,
    outcome,
    size,
    summary,
)

WIDTH = 100  # where there is no terminal to ask
GROUPS, PAIRS, LINES = 40, 8, 20  # that are shown; files have all
DIGITS = 3  # of an interval's ends


def print_report(analysis: Analysis, files: Path | None, stream: TextIO | None = None) -> None:
    """Prints the summary, a table a task, and what is not in them.

    Args:
      files: the folder that has all of it.
    """
    stream = stream or sys.stdout
    console = Console(
        file=stream,
        force_terminal=stream.isatty(),
        width=None if stream.isatty() else WIDTH,
        highlight=False,
        markup=False,
        emoji=False,
    )
    console.print(Text(summary(analysis), "bold"), not_counted(analysis))
    several = len(analysis.comparisons) > 1
    for comparison in (*analysis.across, *analysis.comparisons):
        console.print()
        title, measure = heading(comparison)
        console.print(Text(title, "bold").append(f", {measure}", "not bold"))
        if several and not comparison.tasks:
            console.print(outcome(comparison))
        console.print(_standings(comparison))
        _say_more(console, len(comparison.standings) - GROUPS, "groups")
        if comparison.improvements:
            console.print()
            console.print(_improvements(comparison))
    for importance in analysis.importances:
        console.print()
        console.print(_importance(importance))
    if analysis.left_out:
        console.print()
        console.print("Not counted", style="bold")
        console.print(_left_out(analysis))
        _say_more(console, len(analysis.left_out) - LINES, "runs")
    if analysis.notes:
        console.print()
        for note in analysis.notes[:LINES]:
            console.print(f"note: {note}", soft_wrap=True)
        _say_more(console, len(analysis.notes) - LINES, "notes")
    console.print()
    if files is None:
        console.print("For a page with plots, and CSV: the same with --out FOLDER", style="dim")
    else:
        console.print(f"The page is {files / 'report.html'}; CSV and plots are beside it.")


def _standings(comparison: Comparison) -> Table:
    columns = {"IQM": "iqm", "mean": "mean", "median": "median"}
    if comparison.target is not None:
        columns["gap"] = "gap"
    compared = any(standing.verdict for standing in comparison.standings)
    shown = comparison.standings[:GROUPS]
    longest = max(len(word) for standing in shown for word in standing.label.split())
    table = _table(
        "group", "runs", *columns, *(["published"] if compared else []), "speed", width=longest
    )
    for standing in shown:
        cells = [_interval(standing.estimates.get(name)) for name in columns.values()]
        if compared:
            cells.append(Text(_verdict(standing, comparison)))
        table.add_row(standing.label, size(standing), *cells, _speed(standing, comparison))
    return table


def _improvements(comparison: Comparison) -> Table:
    best = comparison.ranked[0].label
    table = _table(f"{best} is better than", "with probability")
    for place in range(1, min(PAIRS, len(comparison.ranked))):
        if chance := comparison.improvements.get((0, place)):
            text = f"{number(chance.value, 2)}  {bounds(chance, 2)}"
            table.add_row(comparison.ranked[place].label, text)
    return table


def _importance(importance: Importance) -> Table:
    table = _table(
        f"importance for the {importance.objective} of study {importance.study}",
        f"of {importance.trials} trials",
    )
    for name, share in importance.shares.items():
        table.add_row(name, f"{share:.0%}")
    return table


def _left_out(analysis: Analysis) -> Table:
    table = _table("status", "run", "reason")
    for run, reason in list(analysis.left_out.items())[:LINES]:
        table.add_row(run.status, str(run.path), reason)
    return table


def _table(*columns: str, width: int = 0) -> Table:
    """An empty table; `width` is what the first column needs, within reason."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in columns:
        least = None if table.columns else min(width, WIDTH // 3)
        table.add_column(column, overflow="fold", min_width=least)
    return table


def _interval(interval: Interval | None) -> Text:
    if interval is None:
        return Text(NOTHING)
    text = Text(number(interval.value))
    if ends := bounds(interval, DIGITS):
        text.append(f"\n{ends}", "dim")
    return text


def _verdict(standing: Standing, comparison: Comparison) -> str:
    if comparison.reference is not None:  # which the heading names
        return standing.verdict or NOTHING
    return against(standing) or NOTHING


def _speed(standing: Standing, comparison: Comparison) -> str:
    if standing.throughput is None or comparison.tasks:
        return NOTHING
    return f"{number(standing.throughput)}/s\n{number(standing.seconds, 3)} s"


def _say_more(console: Console, many: int, what: str) -> None:
    if many > 0:
        console.print(f"and {many:,} more {what}: --out FOLDER has them all", style="dim")
