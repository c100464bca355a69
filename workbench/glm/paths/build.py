"""From a configuration of a path to a running learner."""

from dataclasses import dataclass
from pathlib import Path as FilePath

import numpy as np

from workbench.core.assembly import Assembly
from workbench.core.config import ConfigError
from workbench.glm.config import GlmConfig, PathConfig
from workbench.glm.paths import choice
from workbench.glm.paths.fit import PathFit
from workbench.glm.paths.folds import dealt
from workbench.glm.paths.learner import Path
from workbench.glm.paths.penalty import penalty_of
from workbench.glm.regression import Regression


def build(config: PathConfig, regression: Regression, glm: GlmConfig, seed: int) -> Assembly:
    """A path on a regression in memory."""
    found = _Found(config, regression, learner_on(config, regression, glm, seed))
    return Assembly(
        found.learner,
        artifacts=[found.write],
        verdicts=[found.verdict],
        result=found.fit,
    )


def learner_on(config: PathConfig, regression: Regression, glm: GlmConfig, seed: int) -> Path:
    """What goes down a path; rows are dealt to folds by the seed.

    Raises:
      ConfigError: for what makes no path, see `penalty_of` and `dealt`.
    """
    model, rows = regression.model, regression.rows
    if model.family == "negative_binomial" and model.alpha is None:
        raise ConfigError("glm.alpha has to be given for a path; method=mle estimates it")
    if np.ptp(rows.response) == 0:
        raise ConfigError(f"{regression.response} is {rows.response[0]:g} in all rows")
    return Path(
        config,
        regression.family,
        rows.cast(glm.dtype),
        penalty_of(config, regression),
        dealt(rows, config.folds, seed),
        glm.block,
    )


@dataclass(frozen=True)
class _Found:
    """What was found, once it has been."""

    config: PathConfig
    regression: Regression
    learner: Path

    def fit(self) -> PathFit:
        learner = self.learner
        taken = int(learner.taken.numpy())
        curve = learner.curve
        return PathFit(
            self.regression,
            self.config,
            learner.lambdas.numpy()[:taken],
            learner.coefficients.numpy()[:taken],
            learner.free,
            learner.explained.numpy()[:taken],
            None if curve is None else curve.mean.numpy()[:taken],
            None if curve is None else curve.error.numpy()[:taken],
            int(choice.chosen(curve, taken, self.config.choose)),
        )

    def write(self, folder: FilePath) -> list[FilePath]:
        return self.fit().write(folder)

    def verdict(self) -> str:
        return self.fit().verdict()
