"""From a configuration of a posterior to a running learner."""

from workbench.core.assembly import Assembly
from workbench.glm.bayes.approximations import build_approximation
from workbench.glm.bayes.learner import KERNELS, Sampler
from workbench.glm.bayes.model import Posterior
from workbench.glm.bayes.results import Draws, Results, assembled
from workbench.glm.config import BayesConfig, GlmConfig
from workbench.glm.regression import Regression


def build(config: BayesConfig, regression: Regression, glm: GlmConfig, seed: int) -> Assembly:
    """Markov chains on the posterior, or an approximation of it."""
    posterior = Posterior(regression, config)
    if config.sampler not in KERNELS:
        return build_approximation(config, posterior, seed)
    learner = Sampler(posterior, config, seed)
    return assembled(learner, lambda: Results(posterior, Draws(learner.draws, learner.stats), seed))
