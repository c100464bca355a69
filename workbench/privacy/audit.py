"""An audit: what an attack on a training's canaries proves of ε, beside what is claimed.

A fair coin decided which canaries are in the training set, and the auditor guesses the coins from
their scores (see `canaries`). Two bounds on ε follow, each at a confidence of 1 - α.

The first takes canaries to be independent of each other, as the mechanism that is claimed makes
them: each has a coin, draws and a parameter's noise of its own. Then no way of guessing is right
more often than Binomial(m, (1 + TV) / 2), where the total variation TV = δ(0) is that between what
is released with a canary and without: given all scores, a guess is right with at most
max(p, 1 - p), p being the coin's posterior, which is (1 + TV) / 2 in the mean, independently for
each. So many as were right bound TV from below (Clopper & Pearson 1934), and thereby the noise from
above, of a mechanism like this one but for its noise; ε of that one is the bound. The higher half
is guessed in. As the scores are those of the best attack, the bound comes close to ε.

The second needs no more than (ε, δ)-differential privacy (Steinke, Nasr & Jagielski 2023, "Privacy
Auditing with One (1) Training Run"), and stays far below ε: of r guesses about m canaries, v or
more are right with a probability of at most

    β + 2 m δ max_{i ≥ 1} P[v - i ≤ B < v] / i,    β = P[B ≥ v],  B ~ Binomial(r, e^ε / (1 + e^ε)).

How many are guessed is chosen beforehand: of all, a twentieth in and a twentieth out.

Canaries try sampling, clipping, noise and the account of them as they work together in a run. They
do not try the norms of examples' gradients, which have tests of their own.
"""

import functools
import json
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq
from scipy.special import bdtrc, betaincinv

from workbench.privacy.accounting import Accountant
from workbench.privacy.config import PrivacyConfig
from workbench.privacy.mechanism import Mechanism

if TYPE_CHECKING:
    from workbench.privacy.canaries import Canaries

FILE = "audit.json"

# The share of canaries that the second bound guesses about.
GUESSED = 0.1
# Factors on the noise between which an audit can tell, and how finely.
LEAST, MOST, PRECISION = 1 / 8, 1024.0, 2e-3


@dataclass(frozen=True)
class Finding:
    """What an audit found after some steps.

    Attributes:
      claimed: ε of training, at `delta`.
      canaries: m; `right` is how many of them were guessed right.
      epsilon: the lower bound on ε from independent canaries.
      noise: the upper bound on the noise multiplier at the start, that goes with it; None is any.
      p_value: how probable it is to guess as many right, or more, if the claim is true.
      guesses: of the bound that needs no independence, with `right_guesses` and `one_run_epsilon`.
      violated: whether the claim is refuted.
    """

    steps: int
    delta: float
    confidence: float
    claimed: float
    canaries: int
    right: int
    epsilon: float
    noise: float | None
    p_value: float
    guesses: int
    right_guesses: int
    one_run_epsilon: float
    violated: bool

    def __str__(self) -> str:
        confidence = f"{100 * self.confidence:g}% confidence"
        found = f"at least ε = {self.epsilon:.4g} with {confidence}, {self.claimed:.5g} claimed"
        if not self.violated:
            return f"audit: {found}"
        return (
            f"audit: VIOLATED: {found}; if it were true, canaries would show as much with "
            f"probability {self.p_value:.2g}"
        )


class Audit:
    """Audits a training with what its canaries show.

    Args:
      config: what is claimed, and the confidence that is asked for.
      mechanism: that is claimed to be at work.
      canaries: of the training.
    """

    def __init__(self, config: PrivacyConfig, mechanism: Mechanism, canaries: "Canaries"):
        self._mechanism = mechanism
        self._accountant = Accountant(config.accountant, config.adjacency)
        self._delta = config.delta
        self._confidence = config.audit.confidence
        self._canaries = canaries

    def finding(self) -> Finding:
        """What is found by now."""
        canaries = self._canaries
        scores, included = canaries.scores(), canaries.included()
        guesses = 2 * round(GUESSED * len(scores) / 2)
        few = right_guesses(scores, included, guesses)
        return self._finding(canaries.steps(), right_guesses(scores, included), guesses, few)

    @functools.lru_cache(maxsize=1)  # noqa: B019, an audit lives as long as its run
    def _finding(self, steps: int, right: int, guesses: int, few: int) -> Finding:
        m, alpha = self._canaries.count, 1 - self._confidence
        least = 2 * least_probability(right, m, alpha) - 1
        factor = self._noise_factor(steps, least)
        return Finding(
            steps=steps,
            delta=self._delta,
            confidence=self._confidence,
            claimed=self._epsilon(steps),
            canaries=m,
            right=right,
            epsilon=0.0 if math.isinf(factor) else self._epsilon(steps, factor),
            noise=None if math.isinf(factor) else factor * self._mechanism.noise,
            p_value=at_least(right, m, (1 + self._variation(steps)) / 2),
            guesses=guesses,
            right_guesses=few,
            one_run_epsilon=one_run_epsilon(m, guesses, few, self._delta, alpha),
            violated=factor < 1,
        )

    def metrics(self) -> dict[str, float]:
        """What stands beside ε."""
        return {"audit_epsilon": self.finding().epsilon}

    def verdict(self) -> str:
        """What a user has to know at the end."""
        return str(self.finding())

    def write(self, folder: Path) -> list[Path]:
        """Writes the finding."""
        path = folder / FILE
        path.write_text(json.dumps(asdict(self.finding()), indent=2) + "\n", encoding="utf-8")
        return [path]

    def _noise_factor(self, steps: int, variation: float) -> float:
        """The most noise that leaves a total variation, as a factor on the noise claimed."""

        @functools.cache
        def excess(log_factor: float) -> float:
            return self._variation(steps, math.exp(log_factor)) - variation

        low = high = 0.0
        while excess(high) > 0:
            if high >= math.log(MOST):
                return math.inf
            low, high = high, high + math.log(2)
        while excess(low) <= 0:
            if low <= math.log(LEAST):
                return LEAST
            low, high = low - math.log(2), low
        return math.exp(brentq(excess, low, high, xtol=PRECISION) + PRECISION)

    def _variation(self, steps: int, factor: float = 1.0) -> float:
        """The total variation between what is released with a canary and without."""
        # A canary contributes or does not, whatever neighbours the claim is for.
        return Accountant("pld", "zero_out").delta(self._noised(factor), steps, 0.0)

    def _epsilon(self, steps: int, factor: float = 1.0) -> float:
        return self._accountant.epsilon(self._noised(factor), steps, self._delta)

    def _noised(self, factor: float) -> Mechanism:
        return replace(self._mechanism, noise=factor * self._mechanism.noise)


def right_guesses(scores: np.ndarray, included: np.ndarray, guesses: int | None = None) -> int:
    """How many are right, of the highest guessed in and as many of the lowest guessed out.

    Args:
      scores: `[m]`.
      included: bool `[m]`, the truth.
      guesses: how many are guessed about; None is all, the higher half being guessed in.
    """
    order = scores.argsort(kind="stable")
    half = len(order) // 2 if guesses is None else guesses // 2
    lower = len(order) - half if guesses is None else half
    highest, lowest = order[len(order) - half :], order[:lower]
    return int(included[highest].sum() + (~included[lowest]).sum())


def least_probability(right: int, guesses: int, alpha: float) -> float:
    """The lower end of the one-sided interval for a probability (Clopper & Pearson 1934)."""
    return float(betaincinv(right, guesses - right + 1, alpha)) if right else 0.0


def at_least(right: int, guesses: int, probability: float) -> float:
    """P[Binomial(guesses, probability) ≥ right]."""
    return float(bdtrc(right - 1, guesses, probability)) if right else 1.0


def one_run_epsilon(canaries: int, guesses: int, right: int, delta: float, alpha: float) -> float:
    """The ε up to which so many right guesses refute (ε, δ)-differential privacy; 0 is none."""

    def excess(epsilon: float) -> float:
        return one_run_p_value(canaries, guesses, right, epsilon, delta) - alpha

    if excess(0.0) >= 0:
        return 0.0
    high = 1.0
    while excess(high) < 0:
        high *= 2
    return brentq(excess, 0.0, high, xtol=1e-6)


def one_run_p_value(canaries: int, guesses: int, right: int, epsilon: float, delta: float) -> float:
    """The most probable that (ε, δ)-differential privacy leaves so many right guesses, or more."""
    probability = 1 / (1 + math.exp(-epsilon))
    tail = at_least(right, guesses, probability)
    fewer = np.arange(1, right + 1)
    tails = np.where(fewer < right, bdtrc(right - fewer - 1, guesses, probability), 1.0)
    most = np.max((tails - tail) / fewer, initial=0.0)
    return min(1.0, tail + 2 * canaries * delta * float(most))
