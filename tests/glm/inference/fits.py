"""Fits for tests: by the learner, as a run has it, or by the host, which takes no time."""

import numpy as np

from workbench.core.program import Program
from workbench.core.runtime import Runtime
from workbench.glm.config import MleConfig, ModelConfig
from workbench.glm.families import NegativeBinomial, family_of
from workbench.glm.inference import refit
from workbench.glm.inference.fit import Fit
from workbench.glm.learner import MaximumLikelihood
from workbench.glm.regression import Regression
from workbench.glm.rows import Rows
from workbench.glm.search import Estimate


def regression(design, response, names=None, clusters=None, rows=None, **model):
    """A regression on arrays; the first column is the intercept unless names say otherwise."""
    design = np.asarray(design, np.float64)
    names = names or ["Intercept", *(f"x{column}" for column in range(1, design.shape[1]))]
    config = ModelConfig(**{"family": "gaussian", **model})
    return Regression(
        config,
        family_of(config),
        Rows.of(design, np.asarray(response, np.float64), **(rows or {})),
        names,
        {name: [place] for place, name in enumerate(names) if name != "Intercept"},
        "y",
        clusters=clusters,
    )


def learned(regression, **options):
    """By the compiled learner."""
    config = MleConfig(**options)
    alpha = isinstance(regression.family, NegativeBinomial) and regression.model.alpha is None
    learner = MaximumLikelihood(
        config, regression.family, regression.rows, regression.names, estimate_alpha=alpha
    )
    program = Program(learner, Runtime(), 0)
    for step in range(config.iterations):
        metrics = program.run(step, 1)
        assert learner.fault(metrics) is None
        if learner.done(metrics):
            break
    return Fit(regression, learner.estimate, config)


def fitted(regression, ridge=0.0, **options):
    """By the host."""
    columns = len(regression.names)
    penalty = np.full(columns, ridge)
    start = np.zeros(columns)
    family = regression.family
    if isinstance(family, NegativeBinomial) and regression.model.alpha is None:
        found = refit.maximised_with_alpha(family, regression.rows, penalty, start)
    else:
        found = refit.maximised(family, regression.rows, penalty, start)
    alpha = getattr(found.family, "alpha", None)
    estimate = Estimate(
        found.coefficients, penalty, found.deviance, 5, found.converged, alpha, "cholesky"
    )
    return Fit(regression, estimate, MleConfig(**options))
