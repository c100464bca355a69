"""From a configuration of maximum likelihood to a running learner."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from workbench.core import replicas
from workbench.core.assembly import Assembly
from workbench.core.config import ConfigError
from workbench.glm.columns import enough
from workbench.glm.config import GlmConfig, MleConfig
from workbench.glm.inference.fit import Fit
from workbench.glm.inference.streamed import StreamedFit
from workbench.glm.lbfgs import LimitedMemory
from workbench.glm.learner import MaximumLikelihood
from workbench.glm.refinement import refined
from workbench.glm.regression import INTERCEPT, Regression
from workbench.glm.search import Estimate, Facts
from workbench.glm.streamed import Streamed
from workbench.glm.streaming import RowsFeed, StreamedLikelihood

# The closing table has room for so many coefficients; all of them are in the run's folder.
SHOWN = 40


def build(config: MleConfig, regression: Regression, glm: GlmConfig, seed: int) -> Assembly:
    """Fisher scoring on a regression in memory.

    Raises:
      ConfigError: for more columns than rows, where no penalty chooses among the estimates.
    """
    if not config.ridge:
        enough(regression.rows)
    learner = learner_on(config, regression, glm)

    def fit() -> Fit:
        found = refined(regression.family, regression.rows, learner.estimate)
        return Fit(regression, found, config)

    return _assembly(learner, fit)


def build_streamed(config: MleConfig, streamed: Streamed, glm: GlmConfig, seed: int) -> Assembly:
    """Fisher scoring on rows that memory does not hold.

    Raises:
      ConfigError: for what needs them there.
    """
    if config.covariance != "model" or config.solver == "lbfgs":
        raise ConfigError(
            f"method.{_needing(config)} needs the rows in memory: set dataset.stream=false, or "
            "leave it out"
        )
    size = max(1, 4 * glm.block // len(streamed.names))
    size += -size % replicas.count()
    chunks = -(-streamed.count // size)
    learner = StreamedLikelihood(
        config,
        streamed.family,
        streamed.names,
        streamed.facts,
        chunks,
        size,
        tf.as_dtype(glm.dtype),
        penalty=_ridge(config, streamed.names, streamed.facts.total),
        estimate_alpha=_estimates_alpha(streamed),
        source=lambda: streamed.blocks(size, glm.dtype),
    )
    feed = RowsFeed(lambda: streamed.blocks(size, glm.dtype), chunks, size, learner)
    assembly = _assembly(learner, lambda: StreamedFit(streamed, learner.estimate, config, size))
    assembly.feed = feed
    assembly.notes.append(
        f"{streamed.count:,} rows are read in {chunks:,} chunks, once in each iteration"
    )
    return assembly


def learner_on(
    config: MleConfig, regression: Regression, glm: GlmConfig
) -> MaximumLikelihood | LimitedMemory:
    """What estimates a regression.

    Raises:
      ConfigError: for a solver that does not find what is asked for.
    """
    rows = regression.rows.cast(glm.dtype)
    penalty = _ridge(config, regression.names, Facts.of(rows).total)
    given = config, regression.family, rows, regression.names, penalty
    if config.solver != "lbfgs":
        return MaximumLikelihood(*given, _estimates_alpha(regression), glm.block)
    if _estimates_alpha(regression):
        raise ConfigError("method.solver=lbfgs does not estimate alpha: set glm.alpha, or auto")
    return LimitedMemory(*given, glm.block)


def _ridge(config: MleConfig, names: list[str], total: float) -> np.ndarray:
    """The diagonal of Λ for (1/2Σw) D + (λ/2) Σ β², which leaves the intercept free, `[p]`."""
    free = np.array([name == INTERCEPT for name in names])
    return np.where(free, 0.0, config.ridge * total)


def _estimates_alpha(regression: Regression | Streamed) -> bool:
    model = regression.model
    return model.family == "negative_binomial" and model.alpha is None


def _needing(config: MleConfig) -> str:
    return "solver=lbfgs" if config.solver == "lbfgs" else f"covariance={config.covariance}"


def _assembly(learner: Any, fit: Callable[[], Fit]) -> Assembly:
    found = _Found(learner, fit)
    return Assembly(learner, artifacts=[found.write], verdicts=[found.verdict], result=found.now)


class _Found:
    """What a learner has found, looked at once training has ended."""

    def __init__(self, learner: Any, fit: Callable[[], Fit]):
        self._learner, self._make = learner, fit
        self._fit: Fit | None = None

    def now(self) -> Fit:
        return self._make()

    def write(self, folder: Path) -> list[Path]:
        self._fit = self.now()
        return self._fit.write(folder)

    def verdict(self) -> str:
        estimate: Estimate = self._learner.estimate
        passes = f"{estimate.iterations} passes over the rows"
        if not estimate.converged:
            return (
                f"NOT converged after {passes}: raise method.iterations, and do not rely on these "
                "estimates"
            )
        table = ""
        if self._fit is not None and len(self._fit.names) <= SHOWN:
            table = self._fit.summary()
        return f"{table}converged after {passes}"
