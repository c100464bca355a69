"""`workbench report PATH…`: the command."""

import argparse
import math
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from workbench.core.config import ConfigError, nearest
from workbench.studies.analysis import Analysis, Options, analyse
from workbench.studies.reading import Found, find
from workbench.studies.terminal import print_report

DESCRIPTION = """\
Statistics over runs and sweeps, from their folders alone. A PATH is a run, a sweep or a folder with
any of them inside. Runs that differ in nothing but their seed make a group; the report compares
groups, by rliable's statistics with 95% bootstrap intervals, and lists what failed or is missing.
"""
EXAMPLES = """\
examples:
  workbench report runs/dqn/cartpole
  workbench report runs --metric evaluate/episode_length --out report
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"report: {message}")


def report(arguments: Sequence[str]) -> int:
    """Prints a report, and writes one where `--out` says; the exit status is 0.

    Raises:
      ConfigError: for a bad option, a path without runs, or a metric that no run has.
    """
    parser = _parser()
    options, unknown = parser.parse_known_intermixed_args(list(arguments))
    if unknown:
        known = [name for action in parser._actions for name in action.option_strings]
        raise ConfigError(f"report has no option {unknown[0]}{nearest(unknown[0], known)}")
    if not options.paths:
        raise ConfigError("report takes runs, sweeps or folders of them: workbench report PATH…")
    if options.out is not None:
        _check_free(options.out)
    found = find(options.paths)
    if options.metric is not None:
        _check_metric(found, options.metric)
    analysis = analyse(
        found,
        Options(
            metric=options.metric,
            mode=options.mode,
            target=options.target,
            x=options.x,
            repetitions=options.resamples,
            seed=options.seed,
        ),
    )
    if options.out is not None:
        _write(options.out, analysis, shlex.join(["workbench", "report", *arguments]))
    print_report(analysis, options.out)
    return 0


def _parser() -> _Parser:
    parser = _Parser(
        prog="workbench report",
        usage="workbench report PATH… [options]",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("paths", nargs="*", type=Path, help=argparse.SUPPRESS)
    parser.add_argument(
        "--metric",
        metavar="NAME",
        help="what to compare by, e.g. evaluate/return (default: what each run is judged by)",
    )
    parser.add_argument(
        "--mode",
        choices=("max", "min"),
        help="whether a larger or a smaller value is better (default: as the runs say, else max)",
    )
    parser.add_argument(
        "--target",
        type=_finite,
        metavar="VALUE",
        help="of the optimality gap (default: the published value, where the runs have one)",
    )
    parser.add_argument(
        "--x",
        choices=("steps", "seconds"),
        default="steps",
        help="what learning curves run along: steps (default), or seconds of training",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="write report.html, runs.csv, groups.csv, pairs.csv and plots/ (PNG, SVG) there",
    )
    parser.add_argument(
        "--resamples",
        type=_whole(1, 1_000_000),
        default=Options.repetitions,
        metavar="N",
        help="of the bootstrap (default: 10000)",
    )
    parser.add_argument(
        "--seed",
        type=_whole(0, 2**32 - 1),
        default=0,
        metavar="N",
        help="of the bootstrap (default: 0)",
    )
    return parser


def _write(folder: Path, analysis: Analysis, command: str) -> None:
    from workbench.studies.page import write_report
    from workbench.studies.tables import write_tables

    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_tables(folder, analysis)
        write_report(folder, analysis, command)
    except OSError as error:
        raise ConfigError(f"--out {folder} cannot be written ({error.strerror})") from error


def _check_free(folder: Path) -> None:
    """Before the work is done: that what is in the way is a folder."""
    for path in (folder, *folder.parents):
        if path.exists():
            if not path.is_dir():
                raise ConfigError(f"--out {folder}: {path} is a file; choose another folder")
            return


def _check_metric(found: Found, metric: str) -> None:
    names = {name for run in found.runs for name in run.metrics}
    if metric not in names:
        raise ConfigError(f"no run has the metric {metric}{nearest(metric, names)}")


def _finite(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"{text} is no finite number")
    return number


def _whole(low: int, high: int) -> Callable[[str], int]:
    """Reads a whole number between two, themselves included."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text} is no whole number") from None
        if not low <= number <= high:
            raise argparse.ArgumentTypeError(
                f"{number} is out of range: it must be {low:,} to {high:,}"
            )
        return number

    return read
