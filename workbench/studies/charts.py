"""A report's plots: files as PNG and SVG, and SVG that a page can colour."""

import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, PercentFormatter

from workbench.studies.analysis import COMPARED, PLOTTED, Comparison, Standing
from workbench.studies.importance import Importance
from workbench.studies.statistics import Band, Interval
from workbench.studies.words import published

# Okabe and Ito's, which everybody can tell apart, without the two that white paper swallows.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#666666")
DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
INK, RULE = "#24292f", "#e2e4e8"
assert len(COLOURS) == len(DASHES) == PLOTTED

WIDTH = 5.8  # inches
ROWS = 20  # groups in a plot of intervals
STYLE = {
    "font.size": 9,
    "text.color": INK,
    "text.parse_math": False,  # a $ in a name is a $
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "svg.fonttype": "none",  # text stays text
}
TITLES = {"iqm": "IQM", "mean": "mean", "median": "median", "gap": "optimality gap"}


def charts_of(comparison: Comparison) -> Iterator[tuple[str, Figure]]:
    """The plots of a comparison that there are numbers for, by name."""
    drawings: dict[str, Callable[[Comparison], Figure | None]] = {
        "intervals": intervals,
        "curves": curves,
        "profile": profile,
        "improvement": improvement,
    }
    for name, draw in drawings.items():
        with matplotlib.rc_context(STYLE):
            if (figure := draw(comparison)) is not None:
                yield name, figure


def intervals(comparison: Comparison) -> Figure | None:
    """The estimates of each group with their intervals."""
    shown = comparison.ranked[:ROWS]
    if not shown:
        return None
    names = list(shown[0].estimates)
    figure = _figure(0.9 + 0.34 * len(shown))
    panels = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    for axes, name in zip(panels, names, strict=True):
        for row, standing in enumerate(shown):
            _mark(axes, standing.estimates[name], row, COLOURS[row % PLOTTED])
        axes.set_title(TITLES[name], fontsize="medium")
        axes.locator_params(axis="x", nbins=3)
        axes.grid(axis="y", visible=False)
    _name_rows(panels[0], [standing.label for standing in shown])
    figure.supxlabel(comparison.metric, fontsize="medium")
    return figure


def curves(comparison: Comparison) -> Figure | None:
    """Learning curves with their bands, and the published value."""
    shown = [(standing, standing.curve) for standing in comparison.ranked[:PLOTTED]]
    if not any(curve for _, curve in shown):
        return None
    figure = _figure(4.0)
    axes = figure.subplots()
    _draw_bands(axes, shown)
    reference = comparison.reference
    if reference is not None:
        axes.axhline(reference.value, color=INK, lw=1, ls=":", label=published(reference))
    axes.set(xlabel=comparison.curve_x, ylabel=f"IQM of {comparison.curve_metric}")
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    _add_legend(figure)
    return figure


def profile(comparison: Comparison) -> Figure | None:
    """Performance profiles with their bands."""
    shown = [(standing, standing.profile) for standing in comparison.ranked[:PLOTTED]]
    if not any(band for _, band in shown):
        return None
    figure = _figure(4.0)
    axes = figure.subplots()
    _draw_bands(axes, shown, steps=True)
    better = "above" if comparison.mode == "max" else "below"
    axes.set(xlabel=f"threshold of {comparison.metric}", ylabel=f"runs {better} it")
    axes.set_ylim(-0.02, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    _add_legend(figure)
    return figure


def improvement(comparison: Comparison) -> Figure | None:
    """How probably the best group beats each of the others."""
    others = comparison.ranked[1:COMPARED]
    if not others:
        return None
    figure = _figure(1.1 + 0.34 * len(others))
    axes = figure.subplots()
    for row in range(len(others)):
        chance = comparison.improvements[0, row + 1]
        _mark(axes, chance, row, COLOURS[(row + 1) % PLOTTED])
    _name_rows(axes, [standing.label for standing in others])
    axes.axvline(0.5, color=INK, lw=1, ls=":")
    axes.set_xlim(-0.02, 1.02)
    best = textwrap.shorten(comparison.ranked[0].label, 60, placeholder="…")
    axes.set_xlabel(f"probability that {best} is better")
    axes.grid(axis="y", visible=False)
    return figure


def importance(entry: Importance) -> Figure:
    """The shares of a study's hyper-parameters."""
    with matplotlib.rc_context(STYLE):
        figure = _figure(0.8 + 0.3 * len(entry.shares))
        axes = figure.subplots()
        rows = range(len(entry.shares))
        axes.barh(rows, list(entry.shares.values()), height=0.6, color=COLOURS[0])
        _name_rows(axes, list(entry.shares))
        axes.set_xlim(0, 1)
        axes.xaxis.set_major_formatter(PercentFormatter(1))
        axes.set_xlabel(f"importance for the {entry.objective} of {entry.study}")
        axes.grid(axis="y", visible=False)
    return figure


def save(figure: Figure, folder: Path, name: str) -> str:
    """Writes a plot as PNG and SVG, and returns the SVG."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.svg"
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": name}):  # the same plot, the same file
        FigureCanvasAgg(figure).print_png(str(folder / f"{name}.png"))
        figure.set_layout_engine("none")  # it is laid out now, which takes its time
        FigureCanvasSVG(figure).print_svg(str(path), metadata={"Date": None})
    return path.read_text()


def for_page(svg: str, name: str, description: str) -> str:
    """An SVG to stand in a page, whose style sheet colours it by its variables.

    Args:
      svg: as `save` wrote it.
      name: unique in the page; ids begin with it.
      description: for who cannot see it.
    """
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg)  # which HTML does without
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'xlink:href="#', f'href="#{name}-', svg)
    svg = svg.replace("url(#", f"url(#{name}-")
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font: \1px var(--sans)", svg)
    for place, colour in enumerate(COLOURS):
        svg = svg.replace(colour, f"var(--series-{place})")
    for colour, variable in ((INK, "ink"), (RULE, "rule"), ("#ffffff", "paper")):
        svg = svg.replace(colour, f"var(--{variable})")
    attributes = f'role="img" aria-label="{description}"'
    return re.sub(r'<svg ([^>]*?)width="[^"]*" ?', rf"<svg {attributes} \1", svg, count=1)


def _figure(height: float) -> Figure:
    return Figure(figsize=(WIDTH, height), dpi=150, layout="constrained")


def _draw_bands(
    axes: Axes, shown: Sequence[tuple[Standing, Band | None]], steps: bool = False
) -> None:
    line: dict[str, Any] = {"drawstyle": "steps-post"} if steps else {}
    fill: dict[str, Any] = {"step": "post"} if steps else {}
    for place, (standing, band) in enumerate(shown):
        if band is None:
            continue
        colour, dashes = COLOURS[place], DASHES[place]
        label = textwrap.shorten(standing.label, 80, placeholder="…")
        axes.plot(band.x, band.value, color=colour, ls=dashes, lw=1.6, label=label, **line)
        if band.low is not None and band.high is not None:
            axes.fill_between(band.x, band.low, band.high, color=colour, alpha=0.15, lw=0, **fill)


def _mark(axes: Axes, interval: Interval, row: int, colour: str) -> None:
    """A dot, and a bar for its interval."""
    if interval.low is not None and interval.high is not None:
        ends = [interval.low, interval.high]
        axes.plot(ends, [row, row], color=colour, lw=6, alpha=0.35, solid_capstyle="butt")
    axes.plot([interval.value], [row], color=colour, marker="o", ms=4)


def _name_rows(axes: Axes, labels: Sequence[str]) -> None:
    """Rows from the top, in a column no wider than a third of the plot."""
    axes.set_yticks(range(len(labels)), [textwrap.fill(label, 34) for label in labels])
    axes.set_ylim(len(labels) - 0.5, -0.5)


def _add_legend(figure: Figure) -> None:
    handles, labels = figure.axes[0].get_legend_handles_labels()
    columns = 2 if len(labels) > 2 and max(map(len, labels)) <= 44 else 1
    figure.legend(handles, labels, loc="outside lower left", ncols=columns, fontsize="small")
