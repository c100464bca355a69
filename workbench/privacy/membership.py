"""Membership inference: how well attacks tell training examples from others of their kind.

What they see of an example is its margin, logit_y - log Σ_{k≠y} exp(logit_k): how sure the model is
of the label. The loss is log(1 + exp(-margin)), so that thresholds on both are the same.

* By loss (Yeom et al. 2018): what is known best was trained on.
* By likelihood ratio (LiRA, Carlini et al. 2022): the margin is held against those that shadow
  models have of the example, half of them trained on it. Both halves are taken for Gaussian, with
  means for each example and a variance for all, as the authors advise where shadows are few.

These attacks are weaker than an audit's canaries, and what ε they imply is so only as far as
examples of one training are independent: little success is no proof of privacy.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sklearn.metrics import auc, roc_curve

from workbench.privacy.audit import least_probability

FILE, PLOT = "membership.json", "membership.png"
COLOURS = ("#12476f", "#c2571a")

# False positive rates at which true positive rates are reported.
RATES = (0.1, 0.01, 0.001)
CONFIDENCE, RESAMPLES = 0.95, 500


@dataclass(frozen=True)
class Estimate:
    """A number, and its bootstrap interval of 95% confidence."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class Attack:
    """What an attack achieved.

    Attributes:
      auc: the area under its ROC curve, 1/2 for guessing.
      advantage: the largest difference between true and false positive rate.
      rates: true positive rates by false positive rate.
      epsilon: what these rates imply.
      roc: false and true positive rates, ascending.
    """

    name: str
    auc: Estimate
    advantage: Estimate
    rates: dict[float, Estimate]
    epsilon: float
    roc: tuple[np.ndarray, np.ndarray] = field(repr=False)

    def __str__(self) -> str:
        rates = ", ".join(f"{self.rates[rate]} at {rate:g}" for rate in RATES[1:])
        return (
            f"membership by {self.name}: AUC {self.auc}, true positives {rates}; "
            f"implies ε ≥ {self.epsilon:.3g}"
        )


def attack(name: str, members: np.ndarray, others: np.ndarray, delta: float) -> Attack:
    """Judges an attack by the scores that it gave.

    Args:
      members: scores of training examples, `[n]`; the higher, the more probably a member.
      others: scores of examples that were not trained on, `[k]`.
      delta: that ε is implied at.
    """
    draws = np.random.RandomState(0)
    resampled = [
        _measures(draws.choice(members, len(members)), draws.choice(others, len(others)))
        for _ in range(RESAMPLES)
    ]
    tail = (1 - CONFIDENCE) / 2
    lows, highs = np.quantile(resampled, [tail, 1 - tail], axis=0)
    area, advantage, *rates = (
        Estimate(float(value), float(low), float(high))
        for value, low, high in zip(_measures(members, others), lows, highs, strict=True)
    )
    implied = implied_epsilon(members, others, delta)
    by_rate = dict(zip(RATES, rates, strict=True))
    return Attack(name, area, advantage, by_rate, implied, _roc(members, others))


def _measures(members: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Area, advantage, and true positive rates."""
    false, true = _roc(members, others)
    at = np.searchsorted(false, RATES, side="right") - 1
    return np.array([auc(false, true), np.max(true - false), *true[at]])


def _roc(members: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    truth = np.repeat([1, 0], [len(members), len(others)])
    false, true, _ = roc_curve(truth, np.concatenate([members, others]))
    return false, true


def implied_epsilon(members: np.ndarray, others: np.ndarray, delta: float) -> float:
    """The ε at `delta` that no smaller one allows such scores under, with 95% confidence.

    A test with rates TPR and FPR implies ε ≥ log((TPR - δ) / FPR) (Kairouz et al. 2015). Its
    threshold is such that k of the others are above it, k being fixed beforehand; bounds on TPR and
    FPR (Clopper & Pearson 1934), at each k, share the error.
    """
    alpha = (1 - CONFIDENCE) / (2 * len(RATES))
    descending = np.sort(others)[::-1]
    found = 0.0
    for rate in RATES:
        k = int(rate * len(others))
        hits = int(np.sum(members > descending[k]))
        true = least_probability(hits, len(members), alpha) - delta
        false = 1 - least_probability(len(others) - k, len(others), alpha)
        if true > false:
            found = max(found, math.log(true / false))
    return found


def likelihood_ratios(margins: np.ndarray, shadows: np.ndarray, included: np.ndarray) -> np.ndarray:
    """log N(margin; in) - log N(margin; out) of each example, `[n]`.

    Args:
      margins: of the model under attack, `[n]`.
      shadows: of K models, `[K, n]`.
      included: bool `[K, n]`, which examples each was trained on; each by at least one, and not by
        all.
    """
    spread, means = [], []
    for with_it in (included, ~included):
        mean = np.average(shadows, axis=0, weights=with_it)
        means.append(mean)
        spread.append(math.sqrt(np.average((shadows - mean) ** 2, weights=with_it)))
    inside, outside = (
        -0.5 * ((margins - mean) / deviation) ** 2 - math.log(deviation)
        for mean, deviation in zip(means, spread, strict=True)
    )
    return inside - outside


def halves(models: int, examples: int, seed: int) -> np.ndarray:
    """Which examples each model is trained on, bool `[models, examples]`.

    Each model takes half of the examples, and each example is with half of the models: every other
    model takes what the one before left. Both numbers are even.
    """
    draws = np.random.RandomState(seed)
    rows: list[np.ndarray] = []
    for _ in range(models // 2):
        row = draws.permutation(examples) < examples // 2
        rows += [row, ~row]
    return np.stack(rows)


def write(folder: Path, attacks: Sequence[Attack]) -> list[Path]:
    """Writes what attacks achieved, as numbers and as a picture of their ROC curves."""
    numbers = [
        {name: value for name, value in asdict(attack).items() if name != "roc"}
        for attack in attacks
    ]
    path = folder / FILE
    path.write_text(json.dumps(numbers, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    plots = folder / "plots"
    plots.mkdir(exist_ok=True)
    return [path, _drawn(plots / PLOT, attacks)]


def _drawn(path: Path, attacks: Sequence[Attack]) -> Path:
    """ROC curves on logarithmic axes, where small false positive rates can be seen."""
    figure = Figure(figsize=(4.8, 4.4), dpi=150, layout="constrained")
    axes = figure.subplots()
    least = min(attack.roc[0][attack.roc[0] > 0][0] for attack in attacks)
    for attack, colour in zip(attacks, COLOURS, strict=False):
        label = f"{attack.name}, AUC {attack.auc.value:.3f}"
        axes.plot(*attack.roc, color=colour, lw=1.6, drawstyle="steps-post", label=label)
    axes.plot([least, 1], [least, 1], color="#9db4c8", lw=1.0, ls="--", label="guessing")
    axes.set(xscale="log", yscale="log", xlim=(least, 1), ylim=(least, 1.05))
    axes.set(xlabel="false positive rate", ylabel="true positive rate")
    axes.set_title("Membership inference")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e4e4e4", lw=0.6)
    axes.legend(frameon=False, loc="lower right")
    FigureCanvasAgg(figure).print_png(str(path))
    return path
