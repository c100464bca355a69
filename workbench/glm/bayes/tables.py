"""What is known of a posterior, as text."""

from collections.abc import Sequence
from io import StringIO
from typing import TYPE_CHECKING

import pandas as pd
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from workbench.glm.bayes.checks import Check
    from workbench.glm.bayes.results import Results

WIDTH = 120
# Columns that are counts.
COUNTS = ("ess_bulk", "ess_tail")


def summary(results: "Results") -> str:
    """Model, parameters, checks and the verdict."""
    regression = results.regression
    chains, length, _ = results.draws.theta.shape
    family = f"{regression.family.key}, {regression.family.link.name} link"
    what = f"{chains} chains of {length:,} draws" if results.sampled else f"{length:,} draws"
    rows, sampler = len(regression.rows.response), results.posterior.config.sampler
    parts = [
        f"{regression.model.formula}   {family}\n",
        f"{rows:,} rows; {what if results.count > 1 else 'one point'} by {sampler}\n\n",
        parameters(results.to_frame()),
    ]
    # Of likelihoods and predictions there may be too many, which the notes then say.
    if results.count > 1 and results.predictive.kept(rows).count:
        parts.append(responses(results.checks))
    return "".join([*parts, *(f"{line}\n" for line in (*results.notes, results.verdict))])


def parameters(frame: pd.DataFrame) -> str:
    """A row for each parameter."""
    cells = [
        [str(label), *(_number(name, value) for name, value in row.items())]
        for label, row in frame.iterrows()
    ]
    return _text(["parameter", *frame.columns], cells)


def responses(checks: Sequence["Check"]) -> str:
    """A row for each statistic of the response."""
    cells = [
        [
            check.statistic,
            *(f"{x:.4g}" for x in (check.observed, check.replicated, check.low, check.high)),
            f"{check.p:.3f}",
        ]
        for check in checks
    ]
    return _text(["response", "observed", "by the model", "5%", "95%", "p"], cells)


def _number(column: object, value: float) -> str:
    if column in COUNTS:
        return f"{value:,.0f}"
    return f"{value:.3f}" if column == "r_hat" else f"{value:.4g}"


def _text(names: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    """Aligned lines."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for place, name in enumerate(names):
        table.add_column(name, justify="right" if place else "left", no_wrap=True)
    for row in cells:
        table.add_row(*map(escape, row))
    stream = StringIO()
    Console(file=stream, width=WIDTH).print(table)
    lines = [line.rstrip() for line in stream.getvalue().splitlines()]
    return "".join(f"{line}\n" for line in lines if line) + "\n"
