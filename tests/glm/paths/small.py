"""Paths on small data, from arrays."""

from typing import Any

import numpy as np

from workbench.core.program import Program
from workbench.core.runtime import Runtime
from workbench.glm.config import GlmConfig, ModelConfig, PathConfig
from workbench.glm.families import family_of
from workbench.glm.paths.build import _Found, learner_on
from workbench.glm.paths.fit import PathFit
from workbench.glm.paths.learner import Path
from workbench.glm.regression import INTERCEPT, Regression
from workbench.glm.rows import Rows


def regression(
    x: np.ndarray,
    y: np.ndarray,
    model: ModelConfig,
    terms: dict[str, list[int]] | None = None,
    intercept: bool = True,
    **weights: np.ndarray,
) -> Regression:
    """Columns x1, x2, ... and, before them, the intercept."""
    names = [f"x{j + 1}" for j in range(x.shape[1])]
    if intercept:
        x, names = np.column_stack([np.ones(len(x)), x]), [INTERCEPT, *names]
    terms = terms or {name: [j] for j, name in enumerate(names)}
    return Regression(model, family_of(model), Rows.of(x, y, **weights), names, terms, "y")


def path_of(found: Regression, seed: int = 0, block: int = 2**18, **settings: Any) -> Path:
    return learner_on(PathConfig(**settings), found, GlmConfig(block=block), seed)


def walked(found: Regression, seed: int = 0, block: int = 2**18, **settings: Any) -> PathFit:
    """A whole path."""
    learner = path_of(found, seed, block, **settings)
    metrics = Program(learner, Runtime(), seed).run(0, learner.limit)
    assert learner.fault(metrics) is None
    return _Found(learner.config, found, learner).fit()
