"""A fit in four pictures: residuals, their quantiles, coefficients, and rows that matter."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy import special

from workbench.glm.families import Tweedie

if TYPE_CHECKING:
    from workbench.glm.inference.fit import Fit

POINT, LINE, MARKED = "#12476f", "#c2571a", "#9db4c8"
# Rows that are drawn at the most; of the mean, bins at the most and rows in one at the least.
DRAWN, BINS, BIN = 5000, 30, 20
# Coefficients that fit on a page.
SHOWN = 60


def write(fit: "Fit", folder: Path) -> list[Path]:
    """Draws all of them as PNG; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = {
        "residuals.png": _residuals,
        "quantiles.png": _quantiles,
        "coefficients.png": _coefficients,
        "influence.png": _influence,
    }
    paths = []
    for name, draw in drawn.items():
        figure = Figure(figsize=(6.4, 4.4), dpi=150, layout="constrained")
        axes = figure.subplots()
        draw(fit, figure, axes)
        axes.spines[["top", "right"]].set_visible(False)
        FigureCanvasAgg(figure).print_png(str(folder / name))
        paths.append(folder / name)
    return paths


def _residuals(fit: "Fit", figure: Figure, axes: Axes) -> None:
    place, residuals = fit.rowwise.eta, _normal(fit)
    chosen = _some(len(place))
    axes.axhline(0, color=MARKED, lw=1)
    axes.plot(place[chosen], residuals[chosen], ".", color=POINT, ms=3, alpha=0.5)
    bins = min(BINS, len(place) // BIN)
    if bins > 2:
        parts = np.array_split(np.argsort(place), bins)
        centres = [place[part].mean() for part in parts]
        means = [residuals[part].mean() for part in parts]
        axes.plot(centres, means, color=LINE, lw=1.6, label="mean")
        axes.legend(frameon=False)
    axes.set(xlabel="linear predictor", ylabel=_residual_name(fit), title="Residuals")


def _quantiles(fit: "Fit", figure: Figure, axes: Axes) -> None:
    residuals = np.sort(_normal(fit))
    expected = special.ndtri((np.arange(len(residuals)) + 0.5) / len(residuals))
    ends = np.array([expected[0], expected[-1]])
    axes.plot(ends, ends, color=LINE, lw=1.2)
    chosen = _some(len(residuals), ends=20)
    axes.plot(expected[chosen], residuals[chosen], ".", color=POINT, ms=3)
    axes.set(xlabel="normal quantiles", ylabel=_residual_name(fit), title="Quantiles of residuals")


def _coefficients(fit: "Fit", figure: Figure, axes: Axes) -> None:
    """Each in units of its column's spread, so that one axis serves all."""
    spread = fit.rows.design.std(0)
    varying = np.flatnonzero(spread > 0)
    columns = (varying if len(varying) else np.arange(len(spread)))[:SHOWN]
    spread = np.where(spread > 0, spread, 1.0)
    values = (fit.coefficients * spread)[columns]
    half = (fit.quantile() * fit.standard_errors[: len(spread)] * spread)[columns]
    places = np.arange(len(columns))[::-1]
    figure.set_size_inches(6.4, max(2.4, 0.8 + 0.24 * len(columns)))
    axes.axvline(0, color=MARKED, lw=1)
    axes.errorbar(values, places, xerr=half, fmt="o", color=POINT, ms=4, lw=1.4)
    axes.set_yticks(places, [fit.regression.names[column] for column in columns])
    axes.set(xlabel="coefficient, of a column with standard deviation 1", title="Coefficients")


def _influence(fit: "Fit", figure: Figure, axes: Axes) -> None:
    found = fit.influence()
    leverage, distance = found["leverage"].to_numpy(), found["cooks_distance"].to_numpy()
    chosen = np.union1d(_some(len(leverage)), np.argsort(np.nan_to_num(distance))[-5:])
    axes.plot(leverage[chosen], distance[chosen], ".", color=POINT, ms=4, alpha=0.6)
    for row in np.argsort(np.nan_to_num(distance))[-3:]:
        axes.annotate(
            str(fit.place(row)),
            (leverage[row], distance[row]),
            xytext=(4, 4),
            textcoords="offset points",
            color=LINE,
        )
    axes.set(xlabel="leverage", ylabel="Cook's distance", title="Rows that matter")


def _normal(fit: "Fit") -> np.ndarray:
    """Residuals that are normal where the model is true; about so, where that is unknown."""
    return fit.residuals(_kind(fit))


def _residual_name(fit: "Fit") -> str:
    return f"{_kind(fit)} residual"


def _kind(fit: "Fit") -> str:
    known = not isinstance(fit.family, Tweedie) or 1 < fit.family.power < 2
    return "quantile" if known else "deviance"


def _some(rows: int, ends: int = 0) -> np.ndarray:
    """Rows to draw, in order; the first and last ones always."""
    if rows <= DRAWN:
        return np.arange(rows)
    drawn = np.random.default_rng(0).choice(rows, DRAWN, replace=False)
    return np.unique([*range(ends), *drawn, *range(rows - ends, rows)])
