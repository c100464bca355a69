"""Pictures of a posterior, by ArviZ."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import arviz as az
import numpy as np
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from workbench.glm.bayes.diagnostics import labels

# Parameters and chains in a picture, and data sets that the model made.
TRACED, LISTED, CHAINS, DATA_SETS = 10, 60, 8, 100
INCH = 0.28


def write(folder: Path, data: az.InferenceData, sampled: bool) -> list[Path]:
    """Writes all pictures that the data are enough for.

    Args:
      folder: is made.
      data: of a posterior.
      sampled: whether draws are of Markov chains.

    Returns:
      The PNG files.
    """
    folder.mkdir(exist_ok=True, parents=True)
    if data["posterior"].sizes["draw"] == 1:
        return []
    flat = flattened(data["posterior"])
    pictures: dict[str, Callable[[], Figure]] = {"forest": lambda: _forest(flat)}
    if sampled:
        worst = _worst(flat)
        few = worst.isel(chain=slice(0, CHAINS))
        pictures |= {"trace": lambda: _trace(few, data), "rank": lambda: _rank(few)}
    if "energy" in getattr(data, "sample_stats", {}):
        pictures["energy"] = lambda: _energy(data)
    if "posterior_predictive" in data.groups():
        pictures["posterior_predictive"] = lambda: _predictive(data)
    return [_saved(folder / f"{name}.png", draw()) for name, draw in pictures.items()]


def flattened(posterior: xr.Dataset) -> xr.Dataset:
    """A variable for every coordinate, by its label."""
    chains, draws = posterior.sizes["chain"], posterior.sizes["draw"]
    columns = [array.values.reshape([chains, draws, -1]) for array in posterior.values()]
    values = np.concatenate(columns, -1)
    return xr.Dataset(
        {
            label: (["chain", "draw"], values[..., place])
            for place, label in enumerate(labels(posterior))
        },
        {"chain": posterior.chain, "draw": posterior.draw},
    )


def _worst(flat: xr.Dataset) -> xr.Dataset:
    """The parameters with the largest R-hat, in their order."""
    if len(flat) <= TRACED:
        return flat
    found = az.rhat(flat)
    by_size = sorted(flat, key=lambda name: -np.nan_to_num(float(found[name]), nan=np.inf))
    chosen = set(by_size[:TRACED])
    return flat[[name for name in flat if name in chosen]]


def _trace(flat: xr.Dataset, data: az.InferenceData) -> Figure:
    figure, axes = _figure(10, 1.6 * len(flat), len(flat), 2)
    stats = getattr(data, "sample_stats", None)
    groups: dict[str, Any] = {"posterior": flat}
    if stats is not None and "diverging" in stats:
        groups["sample_stats"] = stats.sel(chain=flat.chain)
    az.plot_trace(az.InferenceData(**groups), compact=False, axes=axes)
    return figure


def _rank(flat: xr.Dataset) -> Figure:
    rows = -(-len(flat) // 2)
    figure, axes = _figure(10, 2.4 * rows, rows, 2)
    for spare in np.ravel(axes)[len(flat) :]:
        spare.set_axis_off()
    az.plot_rank(flat, ax=np.ravel(axes)[: len(flat)], kind="bars")
    return figure


def _forest(flat: xr.Dataset) -> Figure:
    shown = flat[list(flat)[:LISTED]]
    figure, axes = _figure(8, 1.2 + INCH * len(shown), 1, 1)
    az.plot_forest(shown, combined=True, ax=axes[0, 0], textsize=9)
    more = len(flat) - len(shown)
    title = "94% highest-density intervals" + (f", {more} parameters not shown" if more else "")
    axes[0, 0].set_title(title, fontsize=10)
    return figure


def _energy(data: az.InferenceData) -> Figure:
    figure, axes = _figure(7, 4, 1, 1)
    az.plot_energy(data, ax=axes[0, 0], bfmi=False, textsize=9)
    return figure


def _predictive(data: az.InferenceData) -> Figure:
    figure, axes = _figure(7, 4, 1, 1)
    sizes = data["posterior_predictive"].sizes
    count = min(DATA_SETS, sizes["chain"] * sizes["draw"])
    az.plot_ppc(data, num_pp_samples=count, ax=axes[0, 0], textsize=9, random_seed=0)
    return figure


def _figure(width: float, height: float, rows: int, columns: int) -> tuple[Figure, Any]:
    """A figure that no window knows of, and its axes, `[rows, columns]`."""
    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def _saved(path: Path, figure: Figure) -> Path:
    figure.savefig(path)
    return path
