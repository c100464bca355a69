"""Small regressions and the shortest way to their estimates, for tests."""

from typing import Any

import numpy as np
import tensorflow as tf

from workbench.core.learner import Learner
from workbench.core.program import Program
from workbench.core.runtime import Runtime
from workbench.glm.config import MleConfig
from workbench.glm.families import Family
from workbench.glm.learner import MaximumLikelihood
from workbench.glm.rows import Rows


def names_of(columns: int) -> list[str]:
    """An intercept's and others' names."""
    return ["Intercept", *(f"x{number}" for number in range(1, columns))]


def design_of(count: int, columns: int, seed: int = 0) -> np.ndarray:
    """Ones, and columns of standard normal numbers."""
    draws = np.random.default_rng(seed)
    return np.column_stack([np.ones(count), draws.standard_normal([count, columns - 1])])


def respond(family: str, eta: np.ndarray, seed: int = 1) -> np.ndarray:
    """Responses of a family under its most usual link for tests: logit, log or the identity."""
    draws, mean = np.random.default_rng(seed), np.exp(eta)
    if family == "gaussian":
        return eta + draws.standard_normal(len(eta))
    if family == "binomial":
        return (draws.random(len(eta)) < 1 / (1 + np.exp(-eta))).astype(float)
    if family == "poisson":
        return draws.poisson(mean).astype(float)
    if family == "negative_binomial":
        return draws.negative_binomial(2, 2 / (2 + mean)).astype(float)
    if family == "inverse_gaussian":
        return draws.wald(mean, 5.0)
    if family == "tweedie":
        jumps = draws.poisson(mean)
        return np.where(jumps > 0, draws.gamma(np.maximum(jumps, 1), 1.0), 0.0)
    return draws.gamma(3.0, mean / 3.0)


def run(learner: Learner, feed: Any = None, every: int = 1, most: int = 3000) -> str:
    """Takes steps until the learner is done or something is wrong; what ended it."""
    program = Program(learner, Runtime(), 0, feed)
    for step in range(0, min(most, learner.limit or most), every):
        metrics = program.run(step, every)
        if fault := learner.fault(metrics):
            return fault
        if done := learner.done(metrics):
            return done
    return learner.limited_by


def fitted(
    family: Family,
    rows: Rows,
    penalty: np.ndarray | None = None,
    estimate_alpha: bool = False,
    block: int = 2**18,
    **config: Any,
) -> MaximumLikelihood:
    """A learner that has converged."""
    names = names_of(rows.design.shape[1])
    learner = MaximumLikelihood(
        MleConfig(**config), family, rows, names, penalty, estimate_alpha, block
    )
    ended = run(learner)
    assert ended == "converged", ended
    return learner


def numbers(value: Any) -> np.ndarray:
    """Of a tensor or an array."""
    return np.asarray(tf.convert_to_tensor(value))
