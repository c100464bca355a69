"""`scripts/benchmark SUITE`: measures the workbench against other libraries on this machine."""

import argparse
import json
import sys
from typing import NoReturn

import dqn
import federated
import glm
import privacy
import replicas
from frame import BenchmarkError, Case, measure, record, show

from workbench.core.config import nearest

SUITES = {
    "dqn": dqn.CASES,
    "federated": federated.CASES,
    "glm": glm.CASES,
    "privacy": privacy.CASES,
    "replicas": replicas.CASES,
}
ROUNDS = 3

DESCRIPTION = """\
Runs each side of a case in turn, round after round, in fresh processes, and prints medians and
ratios. Other work on the machine spoils the figures: run it alone. The first run of a suite
installs its peers below .benchmark/, where SUITE.json keeps the last measurement of every case.
"""


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"benchmark: {message}\n")


def main() -> int:
    arguments = parse()
    for name, case in arguments.cases.items():
        print(f"{name}: {case.title}", file=sys.stderr)
        try:
            measured = measure(case, arguments.rounds)
        except BenchmarkError as error:
            print(f"benchmark: {name}: {error}", file=sys.stderr)
            return 1
        arguments.results[name] = measured
        record(arguments.suite, name, measured)
    if arguments.json:
        print(json.dumps({"suite": arguments.suite, "cases": arguments.results}, indent=2))
    else:
        show(arguments.results)
    return 0


def parse() -> argparse.Namespace:
    """The command line, with the chosen cases by name and a place for their results."""
    parser = Parser(prog="scripts/benchmark", description=DESCRIPTION, epilog=listing())
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("suite", help=f"one of: {', '.join(SUITES)}")
    parser.add_argument("--case", action="append", metavar="NAME", help="this case only; repeats")
    parser.add_argument("--quick", action="store_true", help=f"one round instead of {ROUNDS}")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args()
    if arguments.suite not in SUITES:
        parser.error(f"there is no suite {arguments.suite}{nearest(arguments.suite, SUITES)}")
    suite: dict[str, Case] = SUITES[arguments.suite]
    for name in arguments.case or []:
        if name not in suite:
            parser.error(f"{arguments.suite} has no case {name}{nearest(name, suite)}")
    arguments.cases = {name: suite[name] for name in arguments.case or suite}
    arguments.rounds = 1 if arguments.quick else ROUNDS
    arguments.results = {}
    return arguments


def listing() -> str:
    lines = []
    for suite, cases in SUITES.items():
        lines += [f"cases of {suite}:", *(f"  {name:20}{c.title}" for name, c in cases.items())]
    return "\n".join(lines)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
