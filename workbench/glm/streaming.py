"""Maximum likelihood on rows that memory does not hold: a step takes in one chunk of them.

Each pass goes through the source once; when its last chunk is in, the search moves.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from workbench.core import replicas
from workbench.core.learner import Feed, Learner, Metrics
from workbench.core.random import Seed
from workbench.glm import scoring, trouble
from workbench.glm.config import MleConfig
from workbench.glm.families import Family
from workbench.glm.learner import apart, by_solver, judged, reported, together
from workbench.glm.rows import Rows
from workbench.glm.scoring import Sums
from workbench.glm.search import Estimate, Facts, Search

# From the first row on, chunks of one size; the last one is filled up with rows of frequency 0.
Source = Callable[[], Iterator[Rows]]


class Chunk(NamedTuple):
    """What a step takes in.

    Attributes:
      rows: all arrays `[rows]`.
      last: whether a pass ends with it.
    """

    rows: Rows
    last: np.ndarray | tf.Tensor


class StreamedLikelihood(Learner):
    """Fisher scoring on rows that come in chunks.

    Args:
      config: of the method; its `start` does not count here, where all rows are read anyway.
      family: distribution and link.
      names: the columns'.
      facts: of all rows.
      chunks: in a pass.
      size: rows of a chunk.
      dtype: of all numbers.
      penalty: the diagonal of Λ, `[p]`; None is none.
      estimate_alpha: whether α of negative binomial responses is estimated along with β.
      source: of the rows, which are looked at again where something seems wrong.
    """

    unit = "chunks of rows"
    kernels = True

    def __init__(
        self,
        config: MleConfig,
        family: Family,
        names: list[str],
        facts: Facts,
        chunks: int,
        size: int,
        dtype: tf.DType = tf.float64,
        penalty: np.ndarray | None = None,
        estimate_alpha: bool = False,
        source: Source = lambda: iter(()),
    ):
        super().__init__(name="streamed_likelihood")
        self.limit, self.limited_by = config.iterations * chunks, "iterations"
        self.search = Search(
            config, family, names, facts, dtype, penalty, estimate_alpha=estimate_alpha
        )
        self._share = replicas.Share(size, "rows of a chunk", whole=True)
        # Room for R, of which normal equations need less.
        orthogonal = config.solver != "cholesky"
        self._sums = [
            tf.Variable(zeros, trainable=False) for zeros in self.search.zeros(orthogonal)
        ]
        self._chunk: Chunk | None = None
        self._source = source
        # Passes whose end was looked at for trouble, which reads rows again.
        self._looked = -1

    @property
    def estimate(self) -> Estimate:
        """What has been found so far."""
        return self.search.estimate

    def absorb(self, chunk: Chunk) -> None:
        self._chunk = chunk

    def train_step(self, seed: Seed) -> Metrics:
        assert self._chunk is not None
        chunk, self._chunk = self._chunk, None
        by_solver(self.search, lambda orthogonal: self._take(chunk, orthogonal))
        return replicas.first(replicas.each(lambda: reported(self.search))())

    def fit_of(self, rows: Rows) -> tuple[tf.Tensor, tf.Tensor]:
        """Deviance and Pearson's χ² of a chunk at the coefficients."""
        return scoring.fit_of(self.search.family, rows, self.search.beta)

    def done(self, metrics: dict[str, float]) -> str | None:
        return "converged" if metrics["converged"] else None

    def fault(self, metrics: dict[str, float]) -> str | None:
        bad, passes = super().fault(metrics), int(self.search.passes.numpy())
        if bad or passes == self._looked:
            return bad
        self._looked = passes
        return trouble.found(self.search, self._source())

    def _take(self, chunk: Chunk, orthogonal: bool) -> None:
        found = replicas.total(replicas.each(lambda: self._found(chunk.rows, orthogonal))())
        replicas.each(lambda found: self._add(found, orthogonal))(found)
        end = lambda: replicas.each(lambda: self._end_pass(orthogonal))()  # noqa: E731
        tf.cond(chunk.last & ~replicas.value(self.search.converged), end, lambda: None)

    def _found(self, rows: Rows, orthogonal: bool) -> Sums:
        rows = Rows(*self._share.of(tuple(rows)))
        return apart(self.search.added(rows, self.search.zeros(orthogonal), orthogonal), orthogonal)

    def _add(self, found: Sums, orthogonal: bool) -> None:
        found, so_far = together(found, orthogonal), self._so_far(orthogonal)
        if orthogonal:
            stacked = tf.concat([so_far.information, found.information], 0)
            information = tf.linalg.qr(stacked).r
        else:
            information = so_far.information + found.information
        sums = Sums(*map(tf.add, so_far, found._replace(information=so_far.information)))
        self._keep(sums._replace(information=information))

    def _end_pass(self, orthogonal: bool) -> None:
        self.search.move(self._so_far(orthogonal), orthogonal)
        for variable in self._sums:
            variable.assign(tf.zeros_like(variable))

    def _so_far(self, orthogonal: bool) -> Sums:
        sums = Sums(*map(tf.identity, self._sums))
        size = len(self.search.names) + orthogonal
        return sums._replace(information=sums.information[:size, :size])

    def _keep(self, sums: Sums) -> None:
        room = self._sums[2].shape[0] - sums.information.shape[0]
        kept = sums._replace(information=tf.pad(sums.information, [[0, room], [0, room]]))
        for variable, value in zip(self._sums, kept, strict=True):
            variable.assign(value)


class RowsFeed(Feed):
    """Reads the source again and again, one chunk ahead of the learner.

    Args:
      source: begins a pass.
      chunks: in a pass.
      size: rows of a chunk.
      learner: that is fed.
    """

    def __init__(self, source: Source, chunks: int, size: int, learner: StreamedLikelihood):
        self._source, self._chunks, self._learner = source, chunks, learner
        dtype, columns = learner.search.dtype, len(learner.search.names)
        row = tf.TensorSpec([size], dtype)
        rows = Rows(tf.TensorSpec([size, columns], dtype), row, row, row, row)
        self.spec = Chunk(rows, tf.TensorSpec([], tf.bool))
        self._fit_of = tf.function(learner.fit_of, input_signature=[rows], autograph=False)
        self._reader = ThreadPoolExecutor(1)
        self._coming: tuple[int, Future[Rows]] | None = None
        self._pass: Iterator[Rows] = iter(())

    def next(self, step: int) -> Chunk:
        if self._coming is None or self._coming[0] != step:
            self._pass = islice(self._source(), step % self._chunks, None)
            self._ask_for(step)
        assert self._coming is not None
        rows = self._coming[1].result()
        self._ask_for(step + 1)
        return Chunk(rows, np.array((step + 1) % self._chunks == 0))

    def evaluate(self, index: int) -> dict[str, float]:
        self._coming = None
        sums = [np.zeros([]), np.zeros([])]
        for rows in self._source():
            more = self._fit_of(rows)
            sums = [total + found.numpy() for total, found in zip(sums, more, strict=True)]
        search, found = self._learner.search, tuple(map(tf.constant, sums))
        metrics = judged(found, search.facts, len(search.names))
        return {name: float(value) for name, value in metrics.items()}

    def close(self) -> None:
        self._reader.shutdown(wait=False, cancel_futures=True)

    def _ask_for(self, step: int) -> None:
        if step % self._chunks == 0 and (self._coming is not None):
            self._pass = self._source()
        self._coming = step, self._reader.submit(next, self._pass)
