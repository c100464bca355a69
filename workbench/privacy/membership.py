"""Membership inference: how well an attack tells training examples from others of their kind.

Attacks look at an example's margin, logit_y - log Σ_{k≠y} exp(logit_k): how sure the model is of the
label. The loss is log(1 + exp(-margin)), so that a threshold on the one is one on the other.

* By loss (Yeom et al. 2018): what is known best was trained on.
* By likelihood ratio (Carlini et al. 2022, LiRA): an example's margin is held against those of
  shadow models, half of which were trained on it. Both halves are taken for Gaussian, with a mean for
  each example and one variance for all, as few shadows ask for.

The report is about one training. That a claimed ε is above the implied one proves nothing, as better
attacks may exist; and implied it is as far as examples of one training can be taken to be
independent. An audit's canaries prove more.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import auc, roc_curve

from workbench.privacy.audit import least_probability

FILE, PLOT = "membership.json", Path("plots", "membership.png")

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
    """

    name: str
    auc: Estimate
    advantage: Estimate
    rates: dict[float, Estimate]
    epsilon: float

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
    return Attack(name, area, advantage, dict(zip(RATES, rates, strict=True)), implied)


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
    threshold is the largest score but k of the others, k being fixed by the rates; bounds on TPR and
    FPR (Clopper & Pearson 1934) share the error.
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


def likelihood_ratios(
    margins: np.ndarray, shadows: np.ndarray, included: np.ndarray
) -> np.ndarray:
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

    Each model takes half of the examples, and each example is with half of the models, both rounded
    down: a model takes of each example what the one before left.
    """
    draws = np.random.RandomState(seed)
    rows: list[np.ndarray] = []
    for _ in range(models // 2):
        row = draws.permutation(examples) < examples // 2
        rows += [row, ~row]
    return np.stack(rows)
