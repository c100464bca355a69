"""A path in two pictures: coefficients against λ, and what cross-validation finds."""

from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from workbench.glm.paths.fit import PathFit

POINT, BAND, CHOSEN = "#12476f", "#9db4c8", "#c2571a"
# Columns that are named at the end of their lines, of those that are largest there.
NAMED = 10


def write(fit: "PathFit", folder: Path) -> list[Path]:
    """Draws them as PNG; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = {"path.png": _path}
    if fit.held_mean is not None:
        drawn["cross_validation.png"] = _held
    paths = []
    for name, draw in drawn.items():
        figure = Figure(figsize=(6.4, 4.4), dpi=150, layout="constrained")
        axes = figure.subplots()
        draw(fit, axes)
        if np.all(fit.lambdas > 0):
            axes.set_xscale("log")
        axes.invert_xaxis()
        axes.axvline(fit.lambda_, color=CHOSEN, lw=1.2, ls="--")
        axes.set_xlabel("λ")
        axes.spines[["top", "right"]].set_visible(False)
        FigureCanvasAgg(figure).print_png(str(folder / name))
        paths.append(folder / name)
    return paths


def _path(fit: "PathFit", axes: Axes) -> None:
    """In units of the response's linear predictor: β times the column's standard deviation."""
    columns = np.flatnonzero(~fit.free)
    values = fit.coefficients[:, columns] * np.std(fit.regression.rows.design[:, columns], axis=0)
    last = np.abs(values[-1])
    named = set(np.argsort(-last)[:NAMED])
    colours = matplotlib.colormaps["tab10"]
    for place, column in enumerate(columns):
        known = place in named and last[place] > 0
        colour = colours(place % 10) if known else BAND
        axes.plot(fit.lambdas, values[:, place], color=colour, lw=1.3 if known else 0.8)
        if known:
            axes.annotate(
                fit.names[column],
                (fit.lambdas[-1], values[-1, place]),
                xytext=(4, 0),
                textcoords="offset points",
                color=colour,
                fontsize=7,
                va="center",
            )
    axes.axhline(0, color="#e4e4e4", lw=0.8, zorder=0)
    axes.set(ylabel="coefficient of the standardised column", title="Coefficients")


def _held(fit: "PathFit", axes: Axes) -> None:
    assert fit.held_mean is not None
    axes.errorbar(
        fit.lambdas,
        fit.held_mean,
        yerr=fit.held_error,
        fmt="o",
        ms=3,
        color=POINT,
        ecolor=BAND,
        elinewidth=1,
    )
    title = f"Cross-validation in {fit.options.folds} folds"
    axes.set(ylabel="deviance of a held-out observation", title=title)
