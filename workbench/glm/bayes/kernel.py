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
    def draw(
        self, points: Any, seed: Seed, chains: Share, warm: tf.Tensor
    ) -> tuple[Any, Course, Any]:
        """The next points of this replica's chains, and what `learn` needs, to be summed.

        Args:
          points: as `at` has them, of this replica's chains.
          seed: of the draw.
          chains: all chains' share.
          warm: whether nothing is learned any more, bool.
        """

    @abstractmethod
    def learn(self, sums: Any) -> None:
        """Takes in the sums over all chains."""

    def take_shape(self) -> None:
        """Draws from here on in the shape that was seen."""
        self.shape.take()
        self.step_size.restart()
