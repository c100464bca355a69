"""A report as one HTML page that needs nothing else: no network, no other file."""

import importlib.metadata
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from workbench.studies import charts
from workbench.studies.analysis import PLOTTED, Analysis, Comparison, Standing
from workbench.studies.reading import RunRecord, SweepRecord, mapping
from workbench.studies.statistics import Interval
from workbench.studies.words import (
    bounds,
    count,
    heading,
    not_counted,
    number,
    outcome,
    published,
    size,
    summary,
)

DRAWN = 12  # comparisons that are plotted: at four plots each, more would take too long

Values = dict[str, Any]


def write_report(folder: Path, analysis: Analysis, command: str) -> None:
    """Writes report.html, and plots/ with the same plots and some more as PNG and SVG."""
    plots = folder / "plots"
    comparisons = (*analysis.across, *analysis.comparisons)
    views = [_view(comparison, place, plots) for place, comparison in enumerate(comparisons)]
    importances = []
    for place, entry in enumerate(analysis.importances):
        name = f"importance-{place + 1}"
        svg = charts.save(charts.importance(entry), plots, name)
        caption = f"Study {entry.study}, {entry.objective}, {count(entry.trials, 'trial')}."
        importances.append(_plot(svg, name, caption))
    root = _root(analysis.found.runs)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("workbench.studies", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["number"] = number
    page = environment.get_template("report.html").render(
        title=_title(analysis),
        summary=summary(analysis),
        not_counted=not_counted(analysis),
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        version=importlib.metadata.version("workbench"),
        facts=_facts(analysis),
        views=views,
        across=bool(analysis.across),
        importances=importances,
        left_out=[
            {"status": run.status, "path": _inside(run.path, root), "reason": reason}
            for run, reason in analysis.left_out.items()
        ],
        rerun=_rerun(analysis),
        runs=_runs(analysis, root),
        metrics=_metrics(analysis),
        tasks=len(analysis.comparisons),
        root=root,
        options=analysis.options,
        command=command,
        origin=_origin(analysis),
        notes=[*analysis.notes, *_undrawn(len(views))],
    )
    (folder / "report.html").write_text(page.lstrip(), encoding="utf-8")


def _view(comparison: Comparison, place: int, folder: Path) -> Values:
    """A section of the page; the first one's table and plots have names without a number."""
    suffix = f"-{place + 1}" if place else ""
    plots = []
    for name, figure in charts.charts_of(comparison) if place < DRAWN else ():
        svg = charts.save(figure, folder, f"{name}{suffix}")
        if name in ("curves", "profile"):  # the page has tables in place of the others
            plots.append(_plot(svg, f"{name}{suffix}", _caption(name, comparison)))
    spread = _spread(comparison)
    mark = _mark(comparison)
    title, measure = heading(comparison)
    return {
        "id": f"groups{suffix}",
        "title": title,
        "measure": f"{measure[0].upper()}{measure[1:]}.",
        "outcome": outcome(comparison),
        "caption": _table_caption(comparison),
        "order": "descending" if comparison.mode == "max" else "ascending",
        "across": bool(comparison.tasks),
        "target": comparison.target,
        "published": any(standing.verdict for standing in comparison.standings),
        "mark": None if mark is None else _percent(mark, spread),
        "rows": [
            _row(standing, rank, spread, comparison)
            for rank, standing in enumerate(comparison.standings)
        ],
        "plots": plots,
        "matrix": _matrix(comparison),
        "more": len(comparison.ranked) > len(_matrix(comparison)),
    }


def _undrawn(views: int) -> list[str]:
    if views <= DRAWN:
        return []
    return [f"plots are of the first {DRAWN} comparisons; a report on fewer runs has the others"]


def _row(
    standing: Standing, rank: int, spread: tuple[float, float], comparison: Comparison
) -> Values:
    estimates = standing.estimates
    plotted = rank < PLOTTED and bool(estimates)
    own = standing.baseline if comparison.reference is None else None  # else the heading's
    return {
        "label": standing.label,
        "colour": f"var(--series-{rank})" if plotted else None,
        "counted": len(standing.counted),
        "size": size(standing),
        "range": _range(estimates["iqm"], spread) if estimates else None,
        **{name: _estimate(estimates.get(name)) for name in ("iqm", "mean", "median", "gap")},
        "verdict": standing.verdict,
        "against": published(own) if own and standing.verdict else None,
        "speed": standing.throughput,
        "seconds": standing.seconds,
    }


def _matrix(comparison: Comparison) -> list[Values]:
    chances = comparison.improvements
    ranks = range(max((i for i, _ in chances), default=-1) + 1)
    return [
        {
            "label": comparison.ranked[i].label,
            "cells": [_estimate(chances[i, j], 2) if i != j else None for j in ranks],
        }
        for i in ranks
    ]


def _estimate(interval: Interval | None, digits: int = 4) -> Values:
    if interval is None:
        return {"value": None, "bounds": ""}
    return {"value": interval.value, "bounds": bounds(interval, digits)}


def _range(interval: Interval, spread: tuple[float, float]) -> Values:
    """An interval's place between the smallest and the largest number of its column."""
    at = _percent(interval.value, spread)
    if interval.low is None or interval.high is None:
        return {"at": at, "low": None}
    low, high = _percent(interval.low, spread), _percent(interval.high, spread)
    return {"at": at, "low": low, "width": round(high - low, 2)}


def _spread(comparison: Comparison) -> tuple[float, float]:
    ends = [
        end
        for standing in comparison.ranked
        for interval in [standing.estimates["iqm"]]
        for end in (interval.value, interval.low, interval.high)
        if end is not None
    ]
    if (mark := _mark(comparison)) is not None:
        ends.append(mark)
    return (min(ends), max(ends)) if ends else (0.0, 0.0)


def _mark(comparison: Comparison) -> float | None:
    """The published value; of scores, that is 1."""
    if comparison.reference is not None:
        return comparison.reference.value
    return 1.0 if comparison.tasks else None


def _percent(value: float, spread: tuple[float, float]) -> float:
    low, high = spread
    return round(100 * (value - low) / (high - low), 2) if high > low else 50.0


def _plot(svg: str, name: str, caption: str) -> Values:
    return {"svg": Markup(charts.for_page(svg, name, str(escape(caption)))), "caption": caption}


def _caption(name: str, comparison: Comparison) -> str:
    best = f" of the {PLOTTED} best groups" if len(comparison.ranked) > PLOTTED else ""
    if name == "curves":
        return f"Learning curves{best}: interquartile mean over runs, with its 95% interval."
    return f"Performance profiles{best}: runs that are better than a threshold, with 95% intervals."


def _table_caption(comparison: Comparison) -> str:
    parts = ["Intervals: 95%, stratified bootstrap over runs."]
    if all(len(standing.counted) < 2 for standing in comparison.ranked):
        parts = ["One run a group, so there are no intervals."]
    elif any(s.estimates["iqm"].low is None for s in comparison.ranked):
        parts.append("Groups of one run have none.")
    if comparison.reference is not None:
        source = f" ({comparison.reference.source})" if comparison.reference.source else ""
        parts.append(f"The mark is {published(comparison.reference)}{source}.")
    if comparison.target is not None and not comparison.tasks:
        parts.append(f"The optimality gap is that to {comparison.target:g}.")
    return " ".join(parts)


def _runs(analysis: Analysis, root: Path) -> list[Values]:
    places = {
        run: (comparison.label, standing.label)
        for comparison in analysis.comparisons
        for standing in comparison.standings
        for run in standing.runs
    }
    metrics = _metrics(analysis)
    rows = []
    for run in analysis.found.runs:
        task, group = places.get(run, (run.experiment, ""))
        rows.append(
            {
                "path": _inside(run.path, root),
                "task": task,
                "group": group,
                "seed": run.seed,
                "status": run.status,
                "metrics": [run.metrics.get(name) for name in metrics],
                "steps": run.steps,
                "speed": run.throughput,
                "seconds": run.seconds.get("total"),
            }
        )
    return rows


def _metrics(analysis: Analysis) -> list[str]:
    return list(dict.fromkeys(comparison.metric for comparison in analysis.comparisons))


def _title(analysis: Analysis) -> str:
    names = list(dict.fromkeys(run.experiment for run in analysis.found.runs))
    if len(names) <= 3:
        return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]])) if names else "Sweep"
    return f"{names[0]}, {names[1]} and {len(names) - 2} more"


def _facts(analysis: Analysis) -> list[tuple[str, str]]:
    runs = analysis.found.runs
    counted = len(runs) - len(analysis.left_out)
    facts = [
        ("runs counted", f"{counted:,}" + (f" of {len(runs):,}" if counted < len(runs) else "")),
        ("groups", f"{sum(len(c.standings) for c in analysis.comparisons):,}"),
    ]
    if len(analysis.comparisons) > 1:
        facts.append(("tasks", f"{len(analysis.comparisons):,}"))
    if analysis.found.sweeps:
        facts.append(("sweeps", f"{len(analysis.found.sweeps):,}"))
    hours = sum(run.seconds.get("total", 0.0) for run in runs) / 3600
    facts.append(("computing", f"{number(hours, 3)} h" if hours >= 1 else f"{60 * hours:.3g} min"))
    return facts


def _rerun(analysis: Analysis) -> list[str]:
    """The commands of the sweeps that have cells to run yet."""
    lost = [run.path for run in analysis.left_out if run.status != "finished"]
    return [
        sweep.command
        for sweep in analysis.found.sweeps
        if sweep.command and any(path.parent == sweep.path for path in lost)
    ]


def _origin(analysis: Analysis) -> list[tuple[str, list[str]]]:
    """Code, versions and machines of the runs; what is the same for all is one line."""
    runs = analysis.found.runs
    machines = [mapping(run.manifest.get("machine")) for run in runs]
    entries = [
        ("Sweeps", [_sweep(sweep) for sweep in analysis.found.sweeps]),
        ("Commits", _tally(run.commit for run in runs)),
        ("Versions", [_versions(runs)]),
        ("Machines", _tally(_machine(machine) for machine in machines)),
        ("Hosts", _tally(part.get("host") for run in runs for part in run.parts[-1:])),
        ("Devices", _tally(_devices(run) for run in runs)),
    ]
    return [(name, lines) for name, lines in entries if any(lines)]


def _sweep(sweep: SweepRecord) -> str:
    return f"{sweep.path}, {count(sweep.cells, 'cell')}: {sweep.command or 'command unknown'}"


def _tally(values: Iterable[str | None]) -> list[str]:
    counts = Counter(value for value in values if value)
    if len(counts) == 1:
        return list(counts)
    return [f"{value} ({count(many, 'run')})" for value, many in counts.most_common()]


def _versions(runs: Sequence[RunRecord]) -> str:
    versions: dict[str, dict[str, None]] = {}
    for run in runs:
        packages = {"python": run.manifest.get("python"), **mapping(run.manifest.get("packages"))}
        for name, version in packages.items():
            if version:
                versions.setdefault(name, {})[str(version)] = None
    return ", ".join(f"{name} {' and '.join(found)}" for name, found in versions.items())


def _machine(machine: Mapping[str, Any]) -> str | None:
    if not machine:
        return None
    cores, memory = machine.get("cores"), machine.get("memory_gib")
    return f"{machine.get('cpu')}, {cores} cores, {memory} GiB, {machine.get('platform')}"


def _devices(run: RunRecord) -> str | None:
    devices = run.manifest.get("devices")
    if not isinstance(devices, list):
        return None
    return ", ".join(str(device).removeprefix("/physical_device:") for device in devices)


def _root(runs: Sequence[RunRecord]) -> Path:
    """The folder that all runs are in."""
    return Path(os.path.commonpath([run.path.parent for run in runs])) if runs else Path()


def _inside(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
