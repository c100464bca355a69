"""A report's numbers in words."""

from collections import Counter

from workbench.core.options import BaselineConfig
from workbench.recording.console import VERDICTS
from workbench.studies.analysis import Analysis, Comparison, Standing
from workbench.studies.reading import FINISHED, RunRecord
from workbench.studies.statistics import Interval

NOTHING = "\N{EN DASH}"


def number(value: float | None, digits: int = 4) -> str:
    """A number for reading: so many digits, and all of them before the point."""
    if value is None:
        return NOTHING
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"


def bounds(interval: Interval, digits: int = 4) -> str:
    """The ends of an interval; nothing where there is none."""
    if interval.low is None:
        return ""
    return f"[{number(interval.low, digits)}, {number(interval.high, digits)}]"


def with_bounds(interval: Interval, digits: int = 4) -> str:
    """An estimate and its interval."""
    return f"{number(interval.value, digits)} {bounds(interval, digits)}".strip()


def count(many: int, noun: str) -> str:
    """E.g. "1 run", "24 runs"."""
    return f"{many:,} {noun}{'' if many == 1 else 's'}"


def published(baseline: BaselineConfig) -> str:
    """E.g. "CleanRL's 488.7 ± 16.1"."""
    spread = f" ± {baseline.spread:g}" if baseline.spread else ""
    return f"{baseline.name}'s {baseline.value:g}{spread}"


def against(standing: Standing) -> str:
    """E.g. "matches CleanRL's 488.7 ± 16.1"; nothing without a published number."""
    if standing.baseline is None or standing.verdict is None:
        return ""
    verb = "" if standing.verdict == "matches" else "is "
    return f"{verb}{VERDICTS[standing.verdict]} {published(standing.baseline)}"


def summary(analysis: Analysis) -> str:
    """What was read, and what came out of it, in a few sentences."""
    runs = analysis.found.runs
    names = list(dict.fromkeys(run.experiment for run in runs))
    groups = sum(len(comparison.standings) for comparison in analysis.comparisons)
    what = names[0] if len(names) == 1 else count(len(names), "experiment")
    sentences = [f"{count(len(runs), 'run')} of {what} in {count(groups, 'group')}."]
    if len(analysis.comparisons) == 1:
        sentences.append(outcome(analysis.comparisons[0]))
    sentences += [outcome(comparison) for comparison in analysis.across]
    return " ".join(sentences)


def outcome(comparison: Comparison) -> str:
    """Which group is best, and whether that is certain."""
    ranked = comparison.ranked
    if not ranked:
        return f"No finished run has {comparison.metric} yet."
    best = ranked[0]
    where = f"Across {len(comparison.tasks)} tasks, " if comparison.tasks else ""
    metric = "the normalised score" if comparison.tasks else comparison.metric
    many = f"{size(best)} run{'' if len(best.runs) == 1 else 's'}"
    value = f"{with_bounds(best.estimates['iqm'])} over {many}"
    verdict = against(best)
    if len(ranked) == 1:
        text = f"the interquartile mean of {metric} is {value}"
        text += f"; the mean {verdict}." if verdict else "."
        return where + text if where else f"T{text[1:]}"
    text = f"{where}{best.label} is best by the interquartile mean of {metric}, {value}"
    text += f"; its mean {verdict}." if verdict else "."
    return f"{text} {_against_next(comparison)}"


def not_counted(analysis: Analysis) -> str:
    """How many runs are left out of the statistics, by status."""
    if not analysis.left_out:
        return ""
    kinds = Counter(_kind(run, reason) for run, reason in analysis.left_out.items())
    return f"Not counted: {', '.join(f'{many:,} {kind}' for kind, many in kinds.items())}."


def size(standing: Standing) -> str:
    """How many runs of a group count: e.g. "8", "3 of 4"."""
    counted, runs = len(standing.counted), len(standing.runs)
    return f"{counted:,}" if counted == runs else f"{counted:,} of {runs:,}"


def heading(comparison: Comparison) -> tuple[str, str]:
    """What is compared, and by what measure."""
    if comparison.tasks:
        return f"Across {', '.join(comparison.tasks)}", "score: 1 is the published value"
    measure = "larger is better" if comparison.mode == "max" else "smaller is better"
    if comparison.reference is not None:
        measure += f"; published: {published(comparison.reference)}"
    if comparison.target is not None and not comparison.targets_published:
        measure += f"; target: {number(comparison.target)}"
    return f"{comparison.label}: {comparison.metric}", measure


def _against_next(comparison: Comparison) -> str:
    following = comparison.ranked[1]
    chance = comparison.improvements[0, 1]
    text = (
        f"A run of it beats one of {following.label}, the next, with probability "
        f"{with_bounds(chance, 2)}"
    )
    if chance.low is None or chance.high is None:
        return f"{text}; with one run each, that says little."
    if chance.low <= 0.5 <= chance.high:
        return f"{text}: the two cannot be told apart."
    return f"{text}."


def _kind(run: RunRecord, reason: str) -> str:
    if run.status != FINISHED:
        return run.status
    return "repeated" if reason.startswith("repeats") else "without a number to count"
