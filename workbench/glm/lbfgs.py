"""Maximum likelihood of thousands of coefficients: L-BFGS, which forms no p x p matrix.

Liu & Nocedal 1989, by TFP. Columns are scaled to the same curvature at the start.
"""

from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability.python.optimizer.lbfgs import LBfgsOptimizerResults

from workbench.core import replicas
from workbench.core.learner import Learner, Metrics
from workbench.core.random import Seed
from workbench.glm import scoring
from workbench.glm.config import MleConfig
from workbench.glm.families import Family
from workbench.glm.learner import fit_sums, judged
from workbench.glm.rows import Blocks, Rows
from workbench.glm.search import Estimate, Facts, constant_start

# Relative gain that line searches still see.
FINEST = 1e-14
# Steps and gradients that are remembered.
MEMORY = 10


class LimitedMemory(Learner):
    """L-BFGS on rows in memory.

    Args:
      config: of the method; `tolerance` is of the gradient, in units of the deviance.
      family: distribution and link.
      rows: of the regression; checked.
      names: the columns'.
      penalty: the diagonal of Λ, `[p]`, in units of the log-likelihood; None is none.
      block: numbers of the design matrix that are gone through at once.
    """

    unit = "iterations"
    kernels = True

    def __init__(
        self,
        config: MleConfig,
        family: Family,
        rows: Rows,
        names: list[str],
        penalty: np.ndarray | None = None,
        block: int = 2**18,
    ):
        super().__init__(name="limited_memory")
        self.limit, self.limited_by = config.iterations, "iterations"
        self.names, self.family, self.facts = names, family, Facts.of(rows)
        self._config = config
        self._blocks = Blocks(rows, block)
        self.dtype = tf.as_dtype(rows.design.dtype)
        columns, dtype = len(names), self.dtype
        self._penalty = tf.constant(np.zeros(columns) if penalty is None else penalty, dtype)
        precision = np.broadcast_to(rows.precision, rows.response.shape)
        squares = np.einsum("np,np,n->p", rows.design, rows.design, precision) / self.facts.total
        self._scale = tf.constant(np.sqrt(np.where(squares > 0, squares, 1)), dtype)
        start = constant_start(family, names, self.facts) * self._scale.numpy()
        history, column = np.zeros([MEMORY, columns]), np.zeros(columns)

        def state(value: Any, kind: tf.DType = dtype) -> tf.Variable:
            return tf.Variable(tf.cast(value, kind), trainable=False)

        self._state = LBfgsOptimizerResults(
            converged=state(False, tf.bool),
            failed=state(False, tf.bool),
            num_iterations=state(0, tf.int32),
            num_objective_evaluations=state(0, tf.int32),
            position=state(start),
            objective_value=state(0.0),
            objective_gradient=state(column),
            position_deltas=state(history),
            gradient_deltas=state(history),
        )

    @property
    def estimate(self) -> Estimate:
        """What has been found so far."""
        beta = self._beta(self._state.position.read_value()).numpy().astype(np.float64)
        penalty = self._penalty.numpy().astype(np.float64)
        objective = 2 * self.facts.total * float(self._state.objective_value.numpy())
        alpha = getattr(self.family, "alpha", None)
        return Estimate(
            beta,
            penalty,
            objective - float(np.sum(penalty * beta**2)),
            int(self._state.num_objective_evaluations.numpy()),
            bool(self._state.converged.numpy()),
            None if alpha is None else float(alpha),
            "lbfgs",
        )

    def train_step(self, seed: Seed) -> Metrics:
        """One iteration, whose line search goes over the rows about once."""
        iterations = replicas.value(self._state.num_iterations)
        new = tf.cond(iterations > 0, lambda: self._advanced(iterations), self._begun)
        replicas.each(self._keep)(new)
        return {
            "objective": new.objective_value,
            "passes": tf.cast(new.num_objective_evaluations, self.dtype),
            "gradient": tf.reduce_max(tf.abs(new.objective_gradient)),
            "converged": tf.cast(new.converged, self.dtype),
            "failed": tf.cast(new.failed, self.dtype),
        }

    def evaluate(self, seed: Seed) -> Metrics:
        beta = self._beta(replicas.value(self._state.position))
        sums = fit_sums(self._blocks, lambda: self.family, lambda: beta)
        return judged(sums, self.facts, len(self.names))

    def done(self, metrics: dict[str, float]) -> str | None:
        return "converged" if metrics["converged"] else None

    def fault(self, metrics: dict[str, float]) -> str | None:
        stuck = "no step lowers the deviance: take method.solver=auto, or set method.ridge"
        return super().fault(metrics) or (stuck if metrics.get("failed") else None)

    def _begun(self) -> LBfgsOptimizerResults:
        return self._minimised(
            initial_position=replicas.value(self._state.position), max_iterations=1
        )

    def _advanced(self, iterations: tf.Tensor) -> LBfgsOptimizerResults:
        state = LBfgsOptimizerResults(*map(replicas.value, self._state))
        most = iterations + 1
        return self._minimised(
            initial_position=None, previous_optimizer_results=state, max_iterations=most
        )

    def _minimised(self, **how: Any) -> LBfgsOptimizerResults:
        tolerance = np.sqrt(max(self._config.tolerance, FINEST) / len(self.names))
        return tfp.optimizer.lbfgs_minimize(
            self._objective, num_correction_pairs=MEMORY, tolerance=tolerance, **how
        )

    def _objective(self, position: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """(D + Σ Λ β²) / 2Σw and its gradient in scaled coefficients."""
        beta = self._beta(position)
        zeros = tf.zeros([], self.dtype), tf.zeros_like(position), tf.zeros([], self.dtype)

        def share() -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            def add(rows: Rows, sums: Any) -> Any:
                found = scoring.weighted(self.family, rows, scoring.predictor(rows, beta))
                score = tf.linalg.matvec(rows.design, found.residual, transpose_a=True)
                more = tf.reduce_sum(found.deviance), score, tf.reduce_sum(found.outside)
                return tuple(map(tf.add, sums, more))

            return self._blocks.fold(add, zeros, tf.constant(1))

        found = replicas.first(replicas.total(replicas.each(share)()))
        deviance, score, outside = found
        objective = (deviance + tf.reduce_sum(self._penalty * beta * beta)) / 2
        objective = tf.where(outside > 0, tf.constant(np.inf, self.dtype), objective)
        gradient = (self._penalty * beta - score) / self._scale
        return objective / self.facts.total, gradient / self.facts.total

    def _beta(self, position: tf.Tensor) -> tf.Tensor:
        return position / self._scale

    def _keep(self, new: LBfgsOptimizerResults) -> None:
        for variable, value in zip(self._state, new, strict=True):
            variable.assign(value)
