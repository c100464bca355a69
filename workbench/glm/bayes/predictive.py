"""What a posterior says of rows, those of its data and new ones, with memory that is bounded."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from workbench.core.config import ConfigError
from workbench.core.streams import stream_key
from workbench.glm.bayes import checks
from workbench.glm.bayes.model import Posterior
from workbench.glm.formula import columns_of, groups_of
from workbench.glm.regression import Grouping

# Draws that are kept of what there is for every row, and numbers, at the most.
KEPT, NUMBERS = 4000, 2**23
# Draws that go through a compiled function at once.
BATCH = 64


@dataclass(frozen=True, eq=False)
class Kept:
    """Chains and draws that stand for all of them.

    Attributes:
      chains: their numbers.
      draws: their numbers, the same in each chain.
    """

    chains: np.ndarray
    draws: np.ndarray

    @classmethod
    def of(cls, chains: int, draws: int, rows: int) -> "Kept":
        """Evenly spread ones, not more than there is memory for with so many rows; perhaps none."""
        most = min(KEPT, NUMBERS // max(1, rows))
        if most < 1:
            return cls(np.arange(0), np.arange(0))
        some = np.arange(0, chains, -(-chains // most))
        return cls(some, np.arange(0, draws, -(-draws // (most // len(some)))))

    @property
    def count(self) -> int:
        """How many draws they are."""
        return len(self.chains) * len(self.draws)

    def of_all(self, theta: np.ndarray) -> np.ndarray:
        """Theirs of all coordinates `[C, draws, D]`, `[S, D]`."""
        return theta[np.ix_(self.chains, self.draws)].reshape([self.count, theta.shape[-1]])


def evaluated(
    function: Callable[[tf.Tensor], tf.Tensor], theta: np.ndarray, dtype: tf.DType
) -> np.ndarray:
    """A function of coordinates `[C, D]` at `[S, D]`, `[S, ...]`, some at a time; traced once."""
    size = min(BATCH, len(theta))
    traced = tf.function(function, autograph=False)

    def parts() -> Iterator[np.ndarray]:
        for begin in range(0, len(theta), size):
            part = theta[begin : begin + size]
            full = np.concatenate([part, np.repeat(part[-1:], size - len(part), 0)])
            yield traced(tf.constant(full, dtype)).numpy()[: len(part)]

    return np.concatenate(list(parts()))


class Predictive:
    """Linear predictors, means and responses of rows for draws of a posterior.

    Args:
      posterior: that draws are of.
      theta: coordinates, `[C, draws, D]`.
      seed: of the run, which responses follow from.
    """

    def __init__(self, posterior: Posterior, theta: np.ndarray, seed: int):
        self._posterior, self._theta, self._seed = posterior, theta, seed

    def kept(self, rows: int) -> Kept:
        """The draws that are looked at for so many rows."""
        chains, draws, _ = self._theta.shape
        return Kept.of(chains, draws, rows)

    def log_likelihood(self) -> np.ndarray:
        """Of each row of the data, for each draw that is kept, `[S, n]`."""
        posterior = self._posterior
        theta = self._some(len(posterior.regression.rows.response))
        return evaluated(posterior.log_likelihood, theta, posterior.dtype)

    def mean(self, data: Any = None) -> np.ndarray:
        """Expected responses `[S, n]`, see `responses`."""
        _, eta = self._predictor(data)
        return self._posterior.regression.family.link.mean(tf.constant(eta)).numpy()

    def responses(self, data: Any = None, weight: float = 1.0) -> np.ndarray:
        """Responses that the model makes, `[S, n]`: one for each draw that is kept and each row.

        Args:
          data: a data frame, or columns by name; None is the data that the model was fitted to.
          weight: the variance weight of new rows; of shares of successes, their trials.

        Raises:
          ConfigError: for columns that are missing, and categories and groups not seen before.
        """
        theta, eta = self._predictor(data)
        own = self._posterior.regression.rows.weight
        return self._made(theta, eta, own if data is None else np.full([1], weight))

    def counted(self) -> tuple[np.ndarray, np.ndarray]:
        """The data's responses and those that the model makes, rows as often as they were seen."""
        rows = self._posterior.regression.rows
        often = np.round(np.broadcast_to(rows.frequency, rows.response.shape)).astype(np.int64)
        if np.all(often == 1):
            return rows.response, self.responses()
        places = np.repeat(np.arange(len(often)), often)
        theta, eta = self._predictor(None, len(places))
        weight = np.broadcast_to(rows.weight, often.shape)
        return rows.response[places], self._made(theta, eta[:, places], weight[places])

    def _some(self, rows: int) -> np.ndarray:
        kept = self.kept(rows)
        if not kept.count:
            raise ConfigError(f"{rows:,} rows are too many at once for predictions")
        return kept.of_all(self._theta)

    def _predictor(self, data: Any, rows: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Coordinates `[S, D]` of draws that are kept for a number of rows, and η `[S, n]`."""
        design, offset, groupings = self._columns(data)
        theta = self._some(rows or len(design))
        parameters = self._posterior.constrained(theta)
        eta = parameters["beta"] @ design.T + offset
        for grouping in groupings:
            effects = parameters[f"b_{grouping.factor}"][:, grouping.codes]
            eta += np.einsum("snq,nq->sn", effects, grouping.design)
        return theta, eta

    def _columns(self, data: Any) -> tuple[np.ndarray, np.ndarray, list[Grouping]]:
        regression = self._posterior.regression
        if data is None:
            return regression.rows.design, regression.rows.offset, regression.groupings
        frame = data if isinstance(data, pd.DataFrame) else pd.DataFrame(data)
        return *columns_of(regression, frame), groups_of(regression, frame)

    def _made(self, theta: np.ndarray, eta: np.ndarray, weight: np.ndarray) -> np.ndarray:
        family, phi = self._posterior.responses(tf.constant(theta, tf.float64))
        generator = np.random.default_rng(stream_key(self._seed, "predictive"))
        return checks.replicate(family, eta, phi.numpy(), weight, generator)
