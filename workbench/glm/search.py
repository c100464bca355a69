"""The search for the maximum: from sums over the rows at a candidate to the next candidate."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from workbench.glm import scoring, solving
from workbench.glm.config import MleConfig
from workbench.glm.families import Family, NegativeBinomial
from workbench.glm.regression import INTERCEPT
from workbench.glm.rows import Rows
from workbench.glm.scoring import Sums
from workbench.glm.solving import Step

# 1 - R² of a column below which normal equations lose too many digits.
SAFE = {tf.float64: 1e-6, tf.float32: 1e-2}
# Gains, as shares of the size of a step's β, that are rounding.
NOISE = {tf.float64: 1e-30, tf.float32: 1e-12}
# By how much a gain that is foretold, not found, has to be below one that is enough.
MARGIN = 1e3
# Gains below which α moves along with β, and moves of log α that end it.
NEAR, STILL = 1e-2, 1e-9


@dataclass(frozen=True)
class Facts:
    """Of the rows as a whole.

    Attributes:
      observations: n, the sum of frequencies.
      mean: of the response, weighted.
      offset: the mean one.
      total: Σw, of frequencies times weights.
    """

    observations: float
    mean: float
    offset: float
    total: float

    @classmethod
    def of(cls, rows: Rows) -> "Facts":
        """Those of rows in memory."""
        precision = np.broadcast_to(rows.precision, rows.response.shape)
        total = float(np.sum(precision))
        mean = float(np.sum(precision * rows.response)) / total
        return cls(rows.observations, mean, float(np.mean(rows.offset)), total)


@dataclass(frozen=True)
class Estimate:
    """Where an estimation stands.

    Attributes:
      coefficients: β, `[p]`.
      penalty: the diagonal of Λ, `[p]`, in units of the log-likelihood for φ = 1.
      deviance: D at the last pass.
      iterations: passes over all rows.
      converged: whether nothing is left to gain.
      alpha: α of negative binomial responses, estimated or given; else None.
      solver: what steps were found by.
    """

    coefficients: np.ndarray
    penalty: np.ndarray
    deviance: float
    iterations: int
    converged: bool
    alpha: float | None
    solver: str


class Search(tf.Module):
    """Fisher scoring with step halving; every replica goes through the same.

    Args:
      config: of the method.
      family: distribution and link.
      names: the columns'.
      facts: of the rows.
      dtype: of all numbers.
      penalty: the diagonal of Λ, `[p]`; None is none.
      stride: every how many-th part of the rows is enough to start from.
      estimate_alpha: whether α of negative binomial responses is found along with β.

    Attributes:
      beta: β, the last candidate that was as good as any before it.
      deviance: D there.
      step: that is being tried.
      halvings: of it.
      gain: by how much the step promises to lower the penalised deviance.
      pivots: 1 - R² of each column on those before it.
      orthogonal: whether it is by QR that steps are found.
      started: whether there is a candidate.
      converged: whether nothing is left to gain.
    """

    def __init__(
        self,
        config: MleConfig,
        family: Family,
        names: list[str],
        facts: Facts,
        dtype: tf.DType,
        penalty: np.ndarray | None = None,
        stride: int = 1,
        estimate_alpha: bool = False,
    ):
        super().__init__(name="search")
        self.config, self.names, self.facts, self.dtype = config, names, facts, dtype
        self._given = family
        columns = len(names)
        self.penalty = tf.constant(np.zeros(columns) if penalty is None else penalty, dtype)
        self._unknown = tf.constant(np.inf, dtype)

        def state(value: Any, kind: tf.DType = dtype) -> tf.Variable:
            return tf.Variable(tf.cast(value, kind), trainable=False)

        self.beta = state(constant_start(family, names, facts))
        self.step, self._length = state(tf.zeros([columns])), state(1.0)
        self.halvings, self.passes = state(0, tf.int32), state(0, tf.int32)
        self._objective, self.deviance = state(self._unknown), state(self._unknown)
        self.gain, self.pivots = state(self._unknown), state(tf.ones([columns]))
        # The gain before the last, of steps by all rows that were taken as they were.
        self._before = state(self._unknown)
        self.stride = state(stride, tf.int32)
        self.started, self.converged = state(False, tf.bool), state(False, tf.bool)
        self.orthogonal = state(config.solver == "qr", tf.bool)
        self.log_alpha = state(0.0) if estimate_alpha else None

    @property
    def estimate(self) -> Estimate:
        """What has been found so far."""
        alpha = getattr(self.family, "alpha", None)
        return Estimate(
            self.beta.numpy().astype(np.float64),
            self.penalty.numpy().astype(np.float64),
            float(self.deviance.numpy()),
            int(self.passes.numpy()),
            bool(self.converged.numpy()),
            None if alpha is None else float(alpha),
            "qr" if self.orthogonal.numpy() else "cholesky",
        )

    @property
    def family(self) -> Family:
        """Distribution and link, as far as they are known now."""
        if self.log_alpha is None:
            return self._given
        return NegativeBinomial(tf.exp(self.log_alpha), self._given.link)

    @property
    def candidate(self) -> tf.Tensor:
        """Where β may go next."""
        return self.beta + self._length * self.step

    def zeros(self, orthogonal: bool) -> Sums:
        """The sums of no rows."""
        return Sums.zeros(len(self.names), self.dtype, orthogonal)

    def added(self, rows: Rows, sums: Sums, orthogonal: bool) -> Sums:
        """The sums with those of a block: at the candidate, or of what leads to the first one."""

        def start() -> Sums:
            mean = tf.constant(self.facts.mean, self.dtype)
            return scoring.added_start(self.family, rows, mean, sums, orthogonal)

        def go_on() -> Sums:
            found = scoring.added(self.family, rows, self.candidate, sums, orthogonal)
            if self.log_alpha is None:
                return found
            log_alpha = tf.identity(self.log_alpha)
            return scoring.shape_added(log_alpha, self._given.link, rows, self.candidate, found)

        return tf.cond(self.started, go_on, start)

    def move(self, sums: Sums, orthogonal: bool) -> None:
        """Takes the candidate or halves the step, by the sums over all rows."""
        begin, judge = self._begin, self._judge
        tf.cond(self.started, lambda: judge(sums, orthogonal), lambda: begin(sums, orthogonal))

    def report(self) -> dict[str, tf.Tensor]:
        """Scalars of where the search stands."""
        return {
            "step_length": tf.identity(self._length),
            "rows": 1 / tf.cast(self.stride, self.dtype),
            "converged": tf.cast(self.converged, self.dtype),
        }

    def _begin(self, sums: Sums, orthogonal: bool) -> None:
        good = _finite(sums)
        sums = Sums(*(tf.where(good, value, tf.zeros_like(value)) for value in sums))
        step = self._solved(sums, tf.zeros_like(self.beta), orthogonal)
        self._leave_unsafe(step, orthogonal)
        # Another solver starts anew.
        self.started.assign(tf.equal(self.orthogonal, orthogonal))
        self._head_for(tf.where(good, step.delta - self.beta, tf.zeros_like(self.beta)))

    def _judge(self, sums: Sums, orthogonal: bool) -> None:
        candidate = self.candidate
        objective = sums.deviance + tf.reduce_sum(self.penalty * tf.square(candidate))
        slack = 1e-12 * (1 + tf.abs(self._objective))
        first = ~tf.math.is_finite(self._objective)
        good = _finite(sums) & (sums.outside == 0)
        better = good & (first | (objective <= self._objective + slack))
        self.passes.assign_add(tf.cast(self.stride == 1, tf.int32))

        def accept() -> None:
            self._objective.assign(objective)
            self._accept(sums, candidate, orthogonal)

        tf.cond(better, accept, self._halve)

    def _accept(self, sums: Sums, candidate: tf.Tensor, orthogonal: bool) -> None:
        step = self._solved(sums, candidate, orthogonal)
        whole = tf.equal(self.halvings, 0)
        self.beta.assign(candidate)
        self.deviance.assign(sums.deviance)
        self.pivots.assign(step.pivots)
        every_row = self.stride == 1
        before = tf.where(whole & every_row, self._before, self._unknown)
        self._before.assign(tf.where(every_row, step.gain, self._unknown))
        self.gain.assign(step.gain)
        self._head_for(step.delta)
        self._leave_unsafe(step, orthogonal)
        settled = tf.equal(self.orthogonal, orthogonal) & self._settled(step, before, sums.deviance)
        last = settled & every_row
        changed = settled & ~every_row
        if self.log_alpha is not None:
            moved = self._move_alpha(sums.shape, step.gain)
            last, changed = last & ~moved, changed | moved
        self.stride.assign(tf.where(settled, 1, self.stride))
        # The last step promises so little that it needs no pass to be believed, unless the one
        # before it went too far.
        self.beta.assign(tf.where(last & whole, self.candidate, self.beta))
        self.converged.assign(last)
        # Other rows or another α measure otherwise.
        self._objective.assign(tf.where(changed, self._unknown, self._objective))

    def _settled(self, step: Step, before: tf.Tensor, deviance: tf.Tensor) -> tf.Tensor:
        """Whether nothing is left to gain; on a share of the rows, nothing that matters.

        Under canonical links scoring is Newton's method: g'' = c g'² tells c, and so what the next
        gain will be.
        """
        enough = self.config.tolerance * deviance
        coming = MARGIN * step.gain * tf.square(step.gain / before)
        quadratic = (step.gain < 0.01 * before) & (coming <= enough) & tf.math.is_finite(before)
        little = (step.gain <= enough) | (quadratic & self._given.canonical)
        rounding = step.gain <= NOISE[self.dtype] * step.size
        seen = self.facts.observations / tf.cast(self.stride, self.dtype)
        noise = len(self.names) * deviance / seen
        return tf.where(self.stride == 1, little | rounding, step.gain <= 0.01 * noise)

    def _move_alpha(self, shape: tf.Tensor, gain: tf.Tensor) -> tf.Tensor:
        """Newton's step in log α once β is nearly there; α and β are orthogonal (Lawless 1987)."""
        assert self.log_alpha is not None
        first, second = tf.unstack(shape)
        newton = tf.where(second < 0, -first / second, tf.sign(first))
        newton = tf.clip_by_value(newton, -2 * tf.ones_like(newton), 2 * tf.ones_like(newton))
        moved = (gain < NEAR) & (tf.abs(newton) > STILL)
        self.log_alpha.assign_add(tf.where(moved, newton, tf.zeros_like(newton)))
        return moved

    def _halve(self) -> None:
        self.halvings.assign_add(1)
        self._length.assign(self._length / 2)

    def _head_for(self, step: tf.Tensor) -> None:
        self.step.assign(step)
        self._length.assign(tf.ones_like(self._length))
        self.halvings.assign(0)

    def _solved(self, sums: Sums, beta: tf.Tensor, orthogonal: bool) -> Step:
        gradient = sums.score - self.penalty * beta
        solve = solving.by_qr if orthogonal else solving.by_cholesky
        return solve(sums.information, self.penalty, beta, gradient)

    def _leave_unsafe(self, step: Step, orthogonal: bool) -> None:
        """From here on by QR, where columns are too much alike for normal equations."""
        if self.config.solver == "auto" and not orthogonal:
            self.orthogonal.assign(tf.reduce_min(step.pivots) < SAFE[self.dtype])


def _finite(sums: Sums) -> tf.Tensor:
    return tf.reduce_all([tf.reduce_all(tf.math.is_finite(value)) for value in sums])


def constant_start(family: Family, names: list[str], facts: Facts) -> np.ndarray:
    """β of a constant mean, where there is an intercept; else 0."""
    beta = np.zeros(len(names))
    if INTERCEPT in names:
        constant = float(family.link.of(tf.constant(facts.mean, tf.float64)))
        beta[names.index(INTERCEPT)] = constant - facts.offset
    return beta
