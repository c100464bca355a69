"""Folds of cross-validation: which rows are held out together, and how they are gone through."""

import numpy as np
import tensorflow as tf

from workbench.core import replicas
from workbench.core.config import ConfigError
from workbench.glm.rows import Blocks, Rows


def dealt(rows: Rows, folds: int, seed: int) -> np.ndarray:
    """Which fold a row is held out with: from 1 to `folds`, each with as many but for one.

    Returns:
      int32 `[n]`; 0 throughout where there are no folds.

    Raises:
      ConfigError: when there are more folds than rows, or the response does not vary without one.
    """
    count = len(rows.response)
    if folds > count:
        raise ConfigError(f"folds={folds} are more than the {count} rows; take at most {count}")
    if not folds:
        return np.zeros(count, np.int32)
    deck = np.arange(count, dtype=np.int32) % folds + 1
    fold = np.random.default_rng(seed).permutation(deck)
    seen = np.broadcast_to(rows.precision, rows.response.shape) > 0
    for number in range(1, folds + 1):
        kept = rows.response[(fold != number) & seen]
        if not len(kept) or np.all(kept == kept[0]):
            raise ConfigError(
                f"without fold {number} of {folds}, all responses are "
                f"{kept[0] if len(kept) else 'missing':g}: take fewer folds, or another seed"
            )
        if not np.any(seen & (fold == number)):
            raise ConfigError(f"fold {number} of {folds} has weights of 0 only: take fewer folds")
    return fold


class FoldedBlocks(Blocks):
    """Rows on the device, sorted by fold; by blocks, and by blocks of a single fold each.

    Args:
      rows: at least one.
      fold: of each row, int32 `[n]`, see `dealt`.
      numbers: of the design matrix in a block, at the most.

    Attributes:
      problems: K, of which one has all rows, and each other one all but a fold's.
      dtype: of the numbers.
    """

    def __init__(self, rows: Rows, fold: np.ndarray, numbers: int):
        order = np.argsort(fold, kind="stable")
        in_order = Rows(*(value if value.shape[0] == 1 else value[order] for value in rows))
        super().__init__(in_order if fold.any() else rows, numbers)
        self.problems = int(fold.max()) + 1
        self.dtype = tf.as_dtype(rows.design.dtype)
        self._folds = replicas.Given(fold[order])
        counts = np.bincount(fold, minlength=self.problems)
        ends = np.cumsum(counts)
        begins, last, whose = [], [], []
        for number in np.flatnonzero(counts):
            for begin in range(ends[number] - counts[number], ends[number], self.size):
                begins.append(begin)
                last.append(min(begin + self.size, ends[number]))
                whose.append(number)
        self._begins, self._ends = np.array(begins, np.int32), np.array(last, np.int32)
        self._whose = np.array(whose, np.int32)

    @property
    def given(self) -> tuple[replicas.Given, replicas.Given]:
        """The rows, and the number of each one's fold."""
        return self._given, self._folds

    def at(self, block: tf.Tensor) -> tuple[Rows, tf.Tensor]:  # type: ignore[override]
        """A block's rows, and which problems have them, see `trained`."""
        rows = super().at(block)
        begin = tf.minimum(block * self.size, self.rows - self.size)
        return rows, self.trained(self._part(self._folds.variables[0], begin))

    def trained(self, fold: tf.Tensor) -> tf.Tensor:
        """Whether problems have rows of these folds: `[rows, K]` of 0 and 1."""
        away = fold[:, None] == tf.range(1, self.problems)
        every = tf.ones([fold.shape[0], 1], self.dtype)
        return tf.concat([every, 1 - tf.cast(away, self.dtype)], 1)

    def by_fold(self, look, zeros):  # type: ignore[no-untyped-def]
        """Sums of what `look` finds in this replica's share of all rows, one fold at a time.

        Args:
          look: from a block's `Rows`, the number of their fold and the nest so far to the nest
            with them.
          zeros: the nest for no rows.
        """
        begins, ends, whose = map(tf.constant, (self._begins, self._ends, self._whose))
        step = replicas.count()

        def add(turn: tf.Tensor, sums):  # type: ignore[no-untyped-def]
            rows = self._between(begins[turn], ends[turn])
            return turn + step, look(rows, whose[turn], sums)

        start = (replicas.index(), zeros)
        return tf.while_loop(lambda turn, _: turn < len(self._whose), add, start)[1]

    def _between(self, first: tf.Tensor, end: tf.Tensor) -> Rows:
        """Rows of which those before `first` and from `end` on count as never seen."""
        begin = tf.minimum(first, self.rows - self.size)
        design, response, offset, frequency, weight = (
            value if value.shape[0] == 1 and self.rows != 1 else self._part(value, begin)
            for value in self._given.variables
        )
        place = begin + tf.range(self.size)
        inside = (place >= first) & (place < end)
        frequency = tf.where(inside, frequency, tf.zeros([], frequency.dtype))
        return Rows(design, response, offset, frequency, weight)
