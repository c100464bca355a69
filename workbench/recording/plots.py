"""The learning curve of a run, as a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from workbench.core.options import BaselineConfig

TRAINED, JUDGED, PUBLISHED = "#9db4c8", "#12476f", "#c2571a"


def learning_curve(
    path: Path,
    records: Sequence[dict[str, Any]],
    *,
    judge: str,
    unit: str,
    title: str,
    baseline: BaselineConfig | None,
) -> Path | None:
    """Draws the judged metric against training, with its counterpart while training.

    Args:
      path: of the PNG.
      records: of `metrics.jsonl`.
      judge: the metric's name, e.g. "evaluate/return".
      unit: of the records' steps.
      baseline: a published value of the same metric, drawn as a line with its spread.

    Returns:
      The path; None when there is nothing to draw.
    """
    name = judge.split("/", 1)[-1]
    judged, trained = _series(records, judge), _series(records, f"train/{name}")
    if not judged and not trained:
        return None
    figure = Figure(figsize=(6.4, 4.0), dpi=150, layout="constrained")
    axes = figure.subplots()
    if trained:
        axes.plot(*zip(*trained, strict=True), color=TRAINED, lw=1.2, label="while training")
    if judged:
        axes.plot(
            *zip(*judged, strict=True), color=JUDGED, lw=1.8, marker="o", ms=4, label="evaluation"
        )
    if baseline is not None and baseline.metric == judge:
        low, high = baseline.value - baseline.spread, baseline.value + baseline.spread
        axes.axhspan(low, high, color=PUBLISHED, alpha=0.15, lw=0)
        axes.axhline(baseline.value, color=PUBLISHED, lw=1.2, ls="--", label=baseline.name)
    axes.set(xlabel=unit, ylabel=name.replace("_", " "), title=title)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e4e4e4", lw=0.6)
    axes.legend(frameon=False)
    path.parent.mkdir(exist_ok=True)
    FigureCanvasAgg(figure).print_png(str(path))
    return path


def _series(records: Sequence[dict[str, Any]], name: str) -> list[tuple[int, float]]:
    return [(r["step"], r[name]) for r in records if r.get(name) is not None]
