"""From a configuration of maximum likelihood to a running learner."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from workbench.core.assembly import Assembly
from workbench.glm.config import GlmConfig, MleConfig
from workbench.glm.inference.fit import Fit
from workbench.glm.learner import MaximumLikelihood
from workbench.glm.regression import INTERCEPT, Regression


def build(config: MleConfig, regression: Regression, glm: GlmConfig, seed: int) -> Assembly:
    """Fisher scoring on a regression in memory."""
    found = _Found(config, regression, learner_on(config, regression, glm))
    return Assembly(
        found.learner,
        artifacts=[found.write],
        verdicts=[found.verdict],
        result=found.fit,
    )


def learner_on(config: MleConfig, regression: Regression, glm: GlmConfig) -> MaximumLikelihood:
    """What estimates a regression."""
    model = regression.model
    return MaximumLikelihood(
        config,
        regression.family,
        type(regression.rows)(*(value.astype(glm.dtype, copy=False) for value in regression.rows)),
        regression.names,
        penalty=ridge(config.ridge, regression),
        estimate_alpha=model.family == "negative_binomial" and model.alpha is None,
        block=glm.block,
    )


def ridge(strength: float, regression: Regression) -> np.ndarray:
    """The diagonal of Λ for (1/2Σw) D + (λ/2) Σ β², which leaves the intercept free, `[p]`."""
    rows = regression.rows
    total = np.sum(np.broadcast_to(rows.precision, rows.response.shape))
    free = np.array([name == INTERCEPT for name in regression.names])
    return np.where(free, 0.0, strength * total)


@dataclass(frozen=True)
class _Found:
    """What was found, once it has been."""

    config: MleConfig
    regression: Regression
    learner: MaximumLikelihood

    def fit(self) -> Fit:
        return Fit(self.regression, self.learner.estimate, self.config)

    def write(self, folder: Path) -> list[Path]:
        return self.fit().write(folder)

    def verdict(self) -> str:
        estimate = self.learner.estimate
        if estimate.converged:
            return f"converged after {estimate.iterations} passes over the rows"
        return (
            f"NOT converged after {estimate.iterations} passes over the rows: raise "
            "method.iterations, and do not rely on these estimates"
        )
