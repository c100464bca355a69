"""Approximations of a posterior instead of draws of it: its mode, and Gaussians.

- "map": the mode of the parameters' density, a point; of groups, that of their deviations in units
  of their spread, unless these are centred.
- "laplace": the Gaussian of the mode and the curvature there, both of the coordinates' density.
- "advi_mean", "advi_full": the nearest Gaussian in KL(q ‖ p), see `variational`.

All are on a posterior's coordinates, where nothing has an end and scales are logarithms. How far
an approximation may stand for the posterior is told by Pareto's k̂ (Yao et al. 2018).
"""

import numpy as np
import tensorflow as tf

from workbench.core.assembly import Assembly
from workbench.core.streams import stream_key
from workbench.glm.bayes.diagnostics import labels
from workbench.glm.bayes.gaussian import Gaussian, pareto_k
from workbench.glm.bayes.mode import Mode
from workbench.glm.bayes.model import Posterior
from workbench.glm.bayes.predictive import evaluated
from workbench.glm.bayes.results import Draws, Results, assembled
from workbench.glm.bayes.variational import Variational
from workbench.glm.config import BayesConfig

# Draws of an approximation that are held against the posterior, and what k̂ may be.
COMPARED, GOOD_K = 2000, 0.7
INSTEAD = "take method.sampler=chees"


def build_approximation(config: BayesConfig, posterior: Posterior, seed: int) -> Assembly:
    """A learner that approximates, with what is made of it.

    Args:
      config: with `sampler` one of "map", "laplace", "advi_mean" and "advi_full".
      posterior: of the regression.
      seed: of the run.
    """
    if config.sampler == "map":
        return _point(posterior, seed)
    if config.sampler == "laplace":
        return _laplace(config, posterior, seed)
    return _variational(config, posterior, seed)


def _point(posterior: Posterior, seed: int) -> Assembly:
    def density(theta: tf.Tensor) -> tf.Tensor:
        return posterior.log_density(theta) - posterior.log_jacobian(theta)

    learner = Mode(density, posterior.size, posterior.dtype, posterior.data)

    def found() -> Results:
        point = "a single point, the most probable one, which says nothing of uncertainty"
        verdict = point if learner.converged else f"{_unfinished(learner)}; {point}"
        return Results(posterior, Draws(learner.theta.numpy()[None, None], verdict=verdict), seed)

    return assembled(learner, found)


def _laplace(config: BayesConfig, posterior: Posterior, seed: int) -> Assembly:
    learner = Mode(posterior.log_density, posterior.size, posterior.dtype, posterior.data)

    def found() -> Results:
        gaussian = Gaussian.of(
            learner.theta.numpy().astype(np.float64), learner.information.numpy().astype(np.float64)
        )
        doubts = [] if learner.converged else [_unfinished(learner)]
        for direction in learner.flat:
            doubts.append(
                f"nothing holds {_moved(posterior, gaussian.location, direction)} in place: give "
                "priors (method.priors)"
            )
        return _approximated(config, posterior, gaussian, doubts, seed)

    return assembled(learner, found)


def _variational(config: BayesConfig, posterior: Posterior, seed: int) -> Assembly:
    learner = Variational(
        posterior.log_density,
        posterior.size,
        config.chains,
        full=config.sampler == "advi_full",
        dtype=posterior.dtype,
        data=posterior.data,
    )

    def found() -> Results:
        doubts = [] if learner.converged else [_unfinished(learner)]
        return _approximated(config, posterior, learner.found, doubts, seed)

    return assembled(learner, found)


def _approximated(
    config: BayesConfig, posterior: Posterior, gaussian: Gaussian, doubts: list[str], seed: int
) -> Results:
    generator = np.random.default_rng(stream_key(seed, "approximation"))
    theta = gaussian.draw(config.chains * config.draws, generator)

    def log_density(some: np.ndarray) -> np.ndarray:
        return evaluated(posterior.log_density, some, posterior.dtype).astype(np.float64)

    k = pareto_k(log_density, theta[:COMPARED], gaussian)
    if not k <= GOOD_K:
        doubts = [
            *doubts,
            f"Pareto k̂ of its importance ratios is {k:.2f}, above {GOOD_K}: {INSTEAD}",
        ]
    return Results(posterior, Draws(theta[None], {}, _verdict(k, doubts), bool(doubts)), seed)


def _verdict(k: float, doubts: list[str]) -> str:
    if doubts:
        return f"the approximation is not to be trusted: {'; '.join(doubts)}"
    near = "is below 0" if k < 0 else f"of its importance ratios is {k:.2f}"
    return f"an approximation that may stand for the posterior: Pareto k̂ {near}"


def _unfinished(learner: Mode | Variational) -> str:
    return f"it has not converged: more {learner.unit} (train.budget)"


def _moved(posterior: Posterior, theta: np.ndarray, direction: np.ndarray) -> str:
    """The parameters that change in a direction."""
    two = Results(posterior, Draws(np.stack([theta, theta + direction])[None])).parameters
    before, after = np.concatenate([array.values.reshape([2, -1]) for array in two.values()], 1)
    moves = np.abs(after - before)
    names = [name for name, move in zip(labels(two), moves, strict=True) if move > 0.1 * max(moves)]
    return " and ".join(names) if len(names) < 3 else f"{', '.join(names[:-1])} and {names[-1]}"
