"""A fit of rows that memory does not hold: what one or two more passes over them tell."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import tensorflow as tf

from workbench.core.config import ConfigError
from workbench.glm import scoring
from workbench.glm.config import MleConfig
from workbench.glm.families import Family
from workbench.glm.inference import report
from workbench.glm.inference.fit import Fit
from workbench.glm.rows import Rows
from workbench.glm.scoring import Sums
from workbench.glm.search import Estimate
from workbench.glm.streamed import Streamed

Source = Callable[[], Iterator[Rows]]


@dataclass(frozen=True)
class Totals:
    """Sums over all rows at the estimate.

    Attributes:
      deviance: D(β).
      pearson_chi2: Σ w (y - μ)² / V(μ).
      null_deviance: D of the mean response, which is an intercept's where there is no offset.
      upper: R of the QR decomposition of √W X, `[p, p]`.
    """

    deviance: float
    pearson_chi2: float
    null_deviance: float
    upper: np.ndarray


class StreamedFit(Fit):
    """An estimate with its model-based inference; residuals are not to be had of it.

    Args:
      streamed: the model and its rows.
      estimate: of the coefficients.
      options: which test and level are the usual ones.
      size: rows that are gone through at once.
    """

    def __init__(self, streamed: Streamed, estimate: Estimate, options: MleConfig, size: int):
        super().__init__(streamed, estimate, options)  # type: ignore[arg-type]
        self._source: Source = lambda: streamed.blocks(size)
        self._facts = streamed.facts

    @property
    def rows(self) -> Rows:
        raise ConfigError("these rows are not in memory; set dataset.stream=false to have them")

    @cached_property
    def observations(self) -> float:
        return self._facts.observations

    @cached_property
    def totals(self) -> Totals:
        """By a pass over the rows."""
        return _totals(self._source, self.family, self.estimate, self._facts.mean)

    @cached_property
    def deviance(self) -> float:
        return self.totals.deviance

    @cached_property
    def pearson_chi2(self) -> float:
        return self.totals.pearson_chi2

    @cached_property
    def null_deviance(self) -> float:
        return np.nan if self._facts.offset else self.totals.null_deviance

    @cached_property
    def log_likelihood(self) -> float:
        linear = self.family.key == "gaussian" and self.family.link.name == "identity"
        dispersion = self.deviance / self.observations if linear else self.dispersion
        return _log_likelihood(self._source, self.family, self.estimate, dispersion)

    @cached_property
    def _root(self) -> np.ndarray:
        root = np.sqrt(self.dispersion) * np.linalg.inv(self.totals.upper)
        # Of α, nothing is known: its row is not a number.
        return np.pad(root, [(0, int(self.estimates_alpha)), (0, 0)], constant_values=np.nan)

    @cached_property
    def model_freedom(self) -> float:
        if not self.penalised:
            return float(len(self.coefficients))
        root = np.linalg.inv(self.totals.upper)
        return float(len(self.coefficients) - np.sum(self.estimate.penalty * np.sum(root**2, 1)))

    @property
    def warnings(self) -> list[str]:
        return []

    def write(self, folder: Path) -> list[Path]:
        """Coefficients in full precision, and the summary."""
        folder.mkdir(parents=True, exist_ok=True)
        self.to_frame().to_csv(folder / "coefficients.csv")
        (folder / "summary.txt").write_text(report.summary(self), encoding="utf-8")
        return [folder / "coefficients.csv", folder / "summary.txt"]


def _totals(source: Source, family: Family, estimate: Estimate, mean: float) -> Totals:
    beta = tf.constant(estimate.coefficients)
    constant = family.link.of(tf.constant([mean], tf.float64))

    @tf.function(autograph=False)
    def look(rows: Rows, sums: Sums) -> tuple[Sums, tf.Tensor, tf.Tensor]:
        null = rows.precision * family.deviance(
            rows.response, tf.zeros_like(rows.offset) + constant
        )
        null = tf.reduce_sum(tf.where(rows.precision > 0, null, tf.zeros_like(null)))
        found = scoring.added(family, rows, beta, sums, orthogonal=True)
        return found, scoring.fit_of(family, rows, beta)[1], null

    sums, pearson, null = Sums.zeros(len(estimate.coefficients), tf.float64, True), 0.0, 0.0
    for rows in source():
        sums, chi2, more = look(rows, sums)
        pearson, null = pearson + float(chi2), null + float(more)
    upper = sums.information.numpy()[:-1, :-1]
    if estimate.penalty.any():
        upper = np.linalg.qr(np.vstack([upper, np.diag(np.sqrt(estimate.penalty))]), mode="r")
    return Totals(float(sums.deviance), pearson, null, upper)


def _log_likelihood(source: Source, family: Family, estimate: Estimate, dispersion: float) -> float:
    beta, phi = tf.constant(estimate.coefficients), tf.constant(dispersion, tf.float64)

    @tf.function(autograph=False)
    def look(rows: Rows) -> tf.Tensor:
        eta = scoring.predictor(rows, beta)
        each = rows.frequency * family.log_likelihood(rows.response, eta, phi, rows.weight)
        return tf.reduce_sum(tf.where(rows.precision > 0, each, tf.zeros_like(each)))

    return sum(float(look(rows)) for rows in source())
