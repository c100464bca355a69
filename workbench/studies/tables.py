"""A report as CSV: a row a run, a row a group, a row a pair of groups."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from workbench.studies.analysis import Analysis, Comparison, Standing

Row = dict[str, Any]


def write_tables(folder: Path, analysis: Analysis) -> None:
    """Writes runs.csv, groups.csv and pairs.csv."""
    for name, rows in (
        ("runs", run_rows(analysis)),
        ("groups", group_rows(analysis)),
        ("pairs", pair_rows(analysis)),
    ):
        _write(folder / f"{name}.csv", list(rows))


def run_rows(analysis: Analysis) -> Iterator[Row]:
    """All runs and missing cells, in the order that they were found in."""
    places = {
        run: (comparison, standing)
        for comparison in analysis.comparisons
        for standing in comparison.standings
        for run in standing.runs
    }
    for run in analysis.found.runs:
        comparison, standing = places.get(run, (None, None))
        part = run.parts[-1] if run.parts else {}
        verdict = run.summary.get("baseline")
        yield {
            "path": run.path,
            "experiment": run.experiment,
            "task": comparison.label if comparison else None,
            "group": standing.label if standing else None,
            "seed": run.seed,
            "status": run.status,
            "reason": run.reason,
            "counted": run not in analysis.left_out,
            "left out because": analysis.left_out.get(run),
            "steps": run.steps,
            "unit": run.unit,
            "per second of training": run.throughput,
            **{f"seconds/{phase}": value for phase, value in run.seconds.items()},
            **run.metrics,
            **({f"set/{key}": v for key, v in standing.settings.items()} if standing else {}),
            "baseline": run.baseline.value if run.baseline else None,
            "verdict": verdict.get("verdict") if isinstance(verdict, dict) else None,
            "commit": run.commit,
            "host": part.get("host"),
            "command": part.get("command"),
        }


def group_rows(analysis: Analysis) -> Iterator[Row]:
    """The groups of each task, then those across tasks, the best first."""
    for comparison in (*analysis.comparisons, *analysis.across):
        for standing in comparison.standings:
            yield {
                "task": comparison.label,
                "group": standing.label,
                "metric": comparison.metric,
                "better": comparison.mode,
                "runs": len(standing.runs),
                "counted": len(standing.counted),
                **_estimates(standing),
                "target": comparison.target,
                "baseline": standing.baseline.value if standing.baseline else None,
                "baseline spread": standing.baseline.spread if standing.baseline else None,
                "verdict": standing.verdict,
                "per second of training": standing.throughput,
                "seconds": standing.seconds,
                **{f"set/{key}": value for key, value in standing.settings.items()},
            }


def pair_rows(analysis: Analysis) -> Iterator[Row]:
    """The probabilities of improvement."""
    for comparison in (*analysis.comparisons, *analysis.across):
        yield from _pairs(comparison)


def _pairs(comparison: Comparison) -> Iterator[Row]:
    for (ours, theirs), chance in sorted(comparison.improvements.items()):
        yield {
            "task": comparison.label,
            "group": comparison.ranked[ours].label,
            "other": comparison.ranked[theirs].label,
            "probability of improvement": chance.value,
            "low": chance.low,
            "high": chance.high,
        }


def _estimates(standing: Standing) -> Row:
    row: Row = {}
    for name in ("iqm", "mean", "median", "gap"):
        interval = standing.estimates.get(name)
        row[name] = interval.value if interval else None
        row[f"{name} low"] = interval.low if interval else None
        row[f"{name} high"] = interval.high if interval else None
    return row


def _write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    columns = dict.fromkeys(name for row in rows for name in row)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(columns))
        writer.writeheader()
        writer.writerows(rows)
