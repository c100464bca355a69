"""The No-U-Turn Sampler of TensorFlow Probability, in the shape that was learned."""

from typing import NamedTuple

import tensorflow as tf
import tensorflow_probability as tfp

from workbench.core.random import Seed
from workbench.core.replicas import Share
from workbench.glm.bayes.kernel import DIVERGENCE, Course, Kernel, Seen, Stage

# Doublings of a trajectory.
DEPTH = 10


class Points(NamedTuple):
    """Where chains are.

    Attributes:
      theta: `[C, D]`.
      log_density: `[C]`.
    """

    theta: tf.Tensor
    log_density: tf.Tensor


class Nuts(Kernel):
    """NUTS (Hoffman & Gelman 2014; multinomial as in Betancourt 2017); see `Kernel`.

    Its random numbers are those of a replica's chains: more replicas make other draws.
    """

    def at(self, theta: tf.Tensor) -> Points:
        return Points(theta, self._log_density(theta))

    def draw(
        self, points: Points, seed: Seed, chains: Share, stage: Stage
    ) -> tuple[Points, Course, Seen]:
        dtype = points.theta.dtype
        kernel = tfp.mcmc.NoUTurnSampler(
            lambda away: self._log_density(points.theta + self.shape.stretched(away)),
            self.step_size.value(stage.warm),
            max_tree_depth=DEPTH,
            max_energy_diff=DIVERGENCE,
        )
        seeds = tf.random.stateless_uniform([chains.total, 2], seed("nuts"), None, None, tf.int32)
        here = tf.zeros_like(points.theta)
        away, found = kernel.one_step(
            here, kernel.bootstrap_results(here), seed=chains.of(seeds)[0]
        )
        theta = points.theta + self.shape.stretched(away)
        accepted = tf.exp(tf.minimum(found.log_accept_ratio, 0))
        course = Course(
            accepted,
            -found.energy,
            tf.cast(found.has_divergence, dtype),
            tf.cast(found.leapfrogs_taken, dtype),
        )
        return Points(theta, found.target_log_prob), course, self._seen(theta, accepted)

    def learn(self, sums: Seen, stage: Stage) -> None:
        self._learn(sums, stage)
