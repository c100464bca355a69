"""Quadratics of problems with more columns than rows, for which X̃'WX̃ would be the larger one."""

import numpy as np
import tensorflow as tf

from workbench.core import replicas
from workbench.glm import scoring
from workbench.glm.paths.penalty import Penalty
from workbench.glm.paths.sums import Problems, upright
from workbench.glm.rows import Rows


class Wide:
    """All rows at once, column by column; every replica has all of them.

    Args:
      problems: of the path.
      penalty: for the columns' scales.

    Attributes:
      columns: X̃', `[p, n]`.
    """

    def __init__(self, problems: Problems, penalty: Penalty):
        self._problems = problems
        design = problems.blocks.given[0].variables[0].numpy()
        scaled = (design - penalty.centre) / penalty.scale
        self.columns = replicas.Given(np.ascontiguousarray(scaled.T, design.dtype))

    def at(self, gamma: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Weights and residuals at γ, `[n, K]`, and the diagonals of X̃'WX̃, `[p, K]`."""
        problems = self._problems
        rows, fold = problems.blocks.given
        every = Rows(*rows.values)
        eta = tf.matmul(every.design, problems.original(gamma)) + every.offset[:, None]
        found = scoring.weighted(problems.family, upright(every), eta)
        share = problems.blocks.trained(fold.values[0]) / problems.seen
        weights = share * found.weight
        squares = tf.matmul(tf.square(self.columns.values[0]), weights)
        return weights, share * found.residual, squares

    def gradient(self, residual: tf.Tensor) -> tf.Tensor:
        """X̃'u, `[p, K]`."""
        return tf.matmul(self.columns.values[0], residual)
