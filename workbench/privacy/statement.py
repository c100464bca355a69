"""The guarantee in the words that a paper needs (Ponomareva et al. 2023, section 5.3)."""

import importlib.metadata
import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from workbench.privacy.accounting import INTERVAL, ORDERS, Accountant
from workbench.privacy.mechanism import FixedSize, Mechanism, Poisson, Shuffled

if TYPE_CHECKING:
    from dp_accounting import DpEvent

WIDTH = 100

NEIGHBOURS = {
    "add_remove": "one of them holds one example more",
    "zero_out": "one example contributes nothing in one of them (zero-out)",
    "replace_one": "one example is another one (replace-one)",
}

ACCOUNTANTS = {
    "pld": f"privacy loss distributions, rounded upwards to a grid of at most {INTERVAL:g}",
    "rdp": f"Rényi differential privacy at {len(ORDERS)} orders from {ORDERS[0]} to {ORDERS[-1]}",
}

COVERED = (
    "It covers all models and noisy sums on the way, not the last model alone. It does not cover "
    "what else is computed from the training data and published, such as training losses."
)
ASSUMED = (
    "Assumed: the number of examples is public; an example is all that a person has in the data; "
    "settings were not tuned on these data, as other trainings are not counted; noise and samples "
    "are from a pseudo-random generator with a secret seed, and noise in floating point is as "
    "good as real Gaussian noise."
)


def statement(
    mechanism: Mechanism,
    accountant: Accountant,
    steps: int,
    delta: float,
    before: Sequence["DpEvent"] = (),
) -> str:
    """What is guaranteed after `steps` steps, of what mechanism, by what count and assumptions."""
    epsilon = accountant.epsilon(mechanism, steps, delta, before)
    return paragraphs(mechanism, accountant, steps, delta, before, epsilon)


def paragraphs(
    mechanism: Mechanism,
    accountant: Accountant,
    steps: int,
    delta: float,
    before: Sequence["DpEvent"],
    epsilon: float,
) -> str:
    """The statement for an ε that is known."""
    said = [
        _guarantee(accountant, epsilon, steps, delta),
        f"{_sampling(mechanism, steps)} {_noise(mechanism, steps)}",
        _count(mechanism, accountant, steps, before),
        COVERED,
        ASSUMED,
    ]
    return "\n\n".join(textwrap.fill(paragraph, WIDTH) for paragraph in said) + "\n"


def warning(delta: float, examples: int) -> str | None:
    """What is to be said of a δ that is too large to mean much."""
    if delta * examples < 1:
        return None
    return (
        f"warning: delta={delta:g} is not below 1/{examples} = {1 / examples:.2g}, so that "
        "publishing an example at random would pass for private; choose a smaller delta"
    )


def _guarantee(accountant: Accountant, epsilon: float, steps: int, delta: float) -> str:
    if math.isinf(epsilon):
        return (
            f"After {steps} steps no finite ε is proven at δ = {delta:g}: noise is too low, or "
            "a step's capacity."
        )
    return (
        f"After {steps} steps, training is (ε = {upwards(epsilon)}, δ = {delta:g})-differentially "
        "private, with a trusted curator. The unit of privacy is one training example: data sets "
        f"are neighbours if {NEIGHBOURS[accountant.adjacency]}."
    )


def _sampling(mechanism: Mechanism, steps: int) -> str:
    sampling = mechanism.sampling
    if isinstance(sampling, Shuffled):
        return (
            f"Each of {sampling.examples} examples is in one batch of {sampling.batch} an epoch "
            "(shuffled), and an epoch that was begun counts as one release: no amplification by "
            "sampling or shuffling is claimed."
        )
    if isinstance(sampling, FixedSize):
        return f"Each step samples {sampling.cohort} of {sampling.examples} without replacement."
    assert isinstance(sampling, Poisson)
    text = (
        f"Each step takes each of {sampling.examples} examples independently with probability "
        f"{sampling.rate:.4g} (Poisson sampling; {sampling.expected} are expected, which sums are "
        "divided by)."
    )
    failure = mechanism.failure(steps)
    if failure > 0:
        text += (
            f" A step holds at most {sampling.size}; that any step draws more has probability "
            f"τ = {failure:.2g}, and δ includes (1 + exp(ε)) τ for it."
        )
    return text


def _noise(mechanism: Mechanism, steps: int) -> str:
    text = "An example's contribution to a sum is clipped, and the sum gets Gaussian noise"
    if mechanism.tree:
        text += ", in each node of a binary tree over an epoch's steps (DP-FTRL, restarted),"
    text += f" with a standard deviation of {mechanism.noise:.6g} times the clipping norm"
    if len(mechanism.stages) > 1 and steps > 0:
        text += f", and in stages {mechanism.multiplier(steps - 1):.6g} times in the end"
    text += "."
    if mechanism.count_noise is not None:
        text += (
            " The norm follows how many contributions are below it, a number that gets noise with "
            f"a standard deviation of {mechanism.count_noise:g}; the sum gets so much more noise "
            "that both together release what is said."
        )
    return text


def _count(
    mechanism: Mechanism, accountant: Accountant, steps: int, before: Sequence["DpEvent"]
) -> str:
    version = importlib.metadata.version("dp-accounting")
    text = f"Composed by {ACCOUNTANTS[accountant.kind]} (dp_accounting {version})."
    if accountant.adjacency == "replace_one":
        text += " A replacement moves a sum by up to two clipping norms."
    if before:
        text += f" Private preprocessing is counted: {', '.join(map(str, before))}."
    return text


def upwards(epsilon: float) -> str:
    """ε in four decimals, never below what it is."""
    if math.isinf(epsilon):
        return "∞"
    return f"{math.ceil(epsilon * 1e4) / 1e4:.4f}"
