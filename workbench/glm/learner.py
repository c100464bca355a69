"""Maximum likelihood on rows in memory: a step is one pass over them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from workbench.core import replicas
from workbench.core.learner import Learner, Mean, Metrics
from workbench.core.random import Seed
from workbench.glm import scoring, trouble
from workbench.glm.config import MleConfig
from workbench.glm.families import Family
from workbench.glm.rows import Blocks, Rows
from workbench.glm.scoring import Sums
from workbench.glm.search import Estimate, Facts, Search

# Rows for each column, and blocks, that a share must have to start from.
ENOUGH_ROWS, ENOUGH_BLOCKS = 20, 2


class MaximumLikelihood(Learner):
    """Fisher scoring on rows in memory.

    Args:
      config: of the method.
      family: distribution and link.
      rows: of the regression; checked.
      names: the columns'.
      penalty: the diagonal of Λ, `[p]`, in units of the log-likelihood; None is none.
      estimate_alpha: whether α of negative binomial responses is estimated along with β.
      block: numbers of the design matrix that are gone through at once.
    """

    unit = "iterations"
    kernels = True  # products of float64, of which XLA:CPU makes loops

    def __init__(
        self,
        config: MleConfig,
        family: Family,
        rows: Rows,
        names: list[str],
        penalty: np.ndarray | None = None,
        estimate_alpha: bool = False,
        block: int = 2**18,
    ):
        super().__init__(name="maximum_likelihood")
        self.limit, self.limited_by = config.iterations, "iterations"
        self.blocks = Blocks(rows, block)
        dtype = tf.as_dtype(rows.design.dtype)
        stride = _stride(config, self.blocks)
        facts = Facts.of(rows)
        self.search = Search(config, family, names, facts, dtype, penalty, stride, estimate_alpha)

    @property
    def estimate(self) -> Estimate:
        """What has been found so far."""
        return self.search.estimate

    def train_step(self, seed: Seed) -> Metrics:
        """One pass; none once it has converged."""
        tf.cond(replicas.value(self.search.converged), lambda: None, self._pass)
        return replicas.first(replicas.each(self._report)())

    def evaluate(self, seed: Seed) -> Metrics:
        search = self.search
        sums = fit_sums(self.blocks, lambda: search.family, lambda: search.beta)
        return judged(sums, search.facts, len(search.names))

    def done(self, metrics: dict[str, float]) -> str | None:
        return "converged" if metrics["converged"] else None

    def fault(self, metrics: dict[str, float]) -> str | None:
        parts = (self.blocks.at(tf.constant(number)) for number in range(self.blocks.count))
        return super().fault(metrics) or trouble.found(self.search, parts)

    def _pass(self) -> None:
        by_solver(self.search, self._pass_by)

    def _pass_by(self, orthogonal: bool) -> None:
        search = self.search

        def share() -> Sums:
            def add(rows: Rows, sums: Sums) -> Sums:
                return search.added(rows, sums, orthogonal)

            return apart(self.blocks.fold(add, search.zeros(orthogonal), search.stride), orthogonal)

        sums = replicas.total(replicas.each(share)())
        replicas.each(lambda sums: search.move(together(sums, orthogonal), orthogonal))(sums)

    def _report(self) -> Metrics:
        return reported(self.search)


def by_solver(search: Search, iterate) -> None:  # type: ignore[no-untyped-def]
    """Iterates by the solver that the search is at."""
    if search.config.solver == "auto":
        tf.cond(replicas.value(search.orthogonal), lambda: iterate(True), lambda: iterate(False))
    else:
        iterate(search.config.solver == "qr")


def apart(sums: Sums, orthogonal: bool) -> Sums:
    """A replica's sums as they are summed with others': its R goes to a place of its own."""
    if not orthogonal or replicas.count() == 1:
        return sums
    place = tf.one_hot(replicas.index(), replicas.count(), dtype=sums.score.dtype)
    return sums._replace(information=place[:, None, None] * sums.information)


def together(sums: Sums, orthogonal: bool) -> Sums:
    """Sums over replicas as those of one: one R for all of theirs."""
    if not orthogonal or sums.information.shape.rank == 2:
        return sums
    stacked = tf.reshape(sums.information, [-1, sums.information.shape[-1]])
    return sums._replace(information=tf.linalg.qr(stacked).r)


def fit_sums(blocks: Blocks, family: Callable[[], Family], beta: Callable[[], tf.Tensor]) -> Any:
    """Deviance and Pearson's χ² of all rows; family and β are asked for inside the replicas."""

    def share() -> tuple[tf.Tensor, tf.Tensor]:
        def add(rows: Rows, sums: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
            found = scoring.fit_of(family(), rows, beta())
            return sums[0] + found[0], sums[1] + found[1]

        zero = tf.zeros([], blocks.dtype)
        return blocks.fold(add, (zero, zero), tf.constant(1))

    return replicas.total(replicas.each(share)())


def reported(search: Search) -> Metrics:
    """What a step says of itself."""
    known = tf.cast(tf.math.is_finite(search.deviance), search.dtype)
    deviance = Mean(tf.math.multiply_no_nan(search.deviance, known), known)
    return {"deviance": deviance, **search.report()}


def judged(sums: Any, facts: Facts, columns: int) -> dict[str, tf.Tensor]:
    """Deviance, Pearson's χ² and dispersion, from sums over all rows."""
    deviance, pearson = replicas.first(sums)
    freedom = tf.constant(max(facts.observations - columns, 0), pearson.dtype)
    dispersion = tf.math.divide_no_nan(pearson, freedom)
    return {"deviance": deviance, "pearson_chi2": pearson, "dispersion": dispersion}


def _stride(config: MleConfig, blocks: Blocks) -> int:
    """Every how many-th block is enough to start from."""
    most = min(
        blocks.rows // (ENOUGH_ROWS * max(1, blocks.columns)),
        blocks.count // (ENOUGH_BLOCKS * replicas.count()),
    )
    return max(1, min(round(1 / config.start), most))
