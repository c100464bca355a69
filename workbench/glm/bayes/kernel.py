"""What a sampler is: how all chains draw once, and what it learns from that while it warms up."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from workbench.core.random import Seed
from workbench.core.replicas import Share
from workbench.glm.bayes.adaptation import Shape, StepSize

# How much energy a trajectory may gain before it counts as having left the posterior.
DIVERGENCE = 1000.0
# A probability to be accepted that counts as 0.
LEAST = 1e-4


class Course(NamedTuple):
    """How chains came there, all `[C]`.

    Attributes:
      accepted: the probability with which a proposal was taken, on average over the trajectory.
      energy: of the trajectory.
      diverging: whether its energy was not kept, 0 or 1.
      steps: how many gradients it took.
    """

    accepted: tf.Tensor
    energy: tf.Tensor
    diverging: tf.Tensor
    steps: tf.Tensor


class Seen(NamedTuple):
    """What every sampler learns from, summed over chains.

    Attributes:
      chains: how many.
      accepted: of probabilities to be accepted.
      refused: of their inverses.
      moments: of points, see `Shape`.
    """

    chains: tf.Tensor
    accepted: tf.Tensor
    refused: tf.Tensor
    moments: tuple[tf.Tensor, tf.Tensor, tf.Tensor]


class Stage(NamedTuple):
    """How far a run is, as two booleans.

    Attributes:
      settling: chains may be far from where the posterior is; none is to be left behind.
      warm: nothing is learned any more.
    """

    settling: tf.Tensor
    warm: tf.Tensor


class Kernel(tf.Module):
    """A way to draw.

    Args:
      log_density: of coordinates `[C, D]`, `[C]`.
      size: D.
      acceptance: to aim at.
      dtype: of coordinates.
    """

    def __init__(
        self,
        log_density: Callable[[tf.Tensor], tf.Tensor],
        size: int,
        acceptance: float,
        dtype: tf.DType,
    ):
        super().__init__()
        self._log_density = log_density
        self.shape = Shape(size, dtype)
        self.step_size = StepSize(size, acceptance, dtype)

    @abstractmethod
    def at(self, theta: tf.Tensor) -> Any:
        """What is to be known of points `[C, D]`: a tuple with fields `theta` and `log_density`."""

    @abstractmethod
    def draw(self, points: Any, seed: Seed, chains: Share, stage: Stage) -> tuple[Any, Course, Any]:
        """The next points of this replica's chains, and what `learn` needs, to be summed.

        Args:
          points: as `at` has them, of this replica's chains.
          seed: of the draw.
          chains: all chains' share.
          stage: of the run.
        """

    @abstractmethod
    def learn(self, sums: Any, stage: Stage) -> None:
        """Takes in the sums over all chains."""

    def take_shape(self) -> None:
        """Draws from here on in the shape that was seen."""
        self.shape.take()
        self.step_size.restart()

    def _seen(self, theta: tf.Tensor, accepted: tf.Tensor) -> Seen:
        count = tf.constant(float(accepted.shape[0]), accepted.dtype)
        refused = tf.reduce_sum(1 / tf.maximum(accepted, LEAST))
        return Seen(count, tf.reduce_sum(accepted), refused, self.shape.moments(theta))

    def _learn(self, seen: Seen, stage: Stage) -> None:
        # The harmonic mean is that of the worst chains (Hoffman et al. 2021).
        worst, mean = seen.chains / seen.refused, seen.accepted / seen.chains
        self.step_size.learn(tf.where(stage.settling, worst, mean))
        self.shape.learn(seen.moments)
