"""What is known of a posterior: draws with names, summaries, predictions, checks, files."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import arviz as az
import numpy as np
import pandas as pd
import xarray as xr

from workbench.core.assembly import Assembly
from workbench.core.config import ConfigError
from workbench.core.learner import Learner
from workbench.glm.bayes import checks, plots, tables
from workbench.glm.bayes.diagnostics import Diagnosis, diagnose, labels
from workbench.glm.bayes.model import Posterior
from workbench.glm.bayes.predictive import Predictive
from workbench.glm.regression import Regression

# The axis of rows in files; its coordinates count rows of the data from 1.
ROW = "row"
# Rows up to which leaving out each is a part of the report.
LEFT_OUT = 2000
# Of intervals.
LEVEL = 0.94
VERSIONS = ("workbench", "tensorflow", "tensorflow-probability", "arviz")


@dataclass(frozen=True, eq=False)
class Draws:
    """What a sampler or an approximation came to.

    Attributes:
      theta: coordinates, `[C, draws, D]`.
      stats: of a sampler, by ArviZ' names, `[C, draws]`; empty of approximations.
      verdict: whether an approximation may be trusted; None leaves it to diagnostics.
      doubted: whether the verdict is that it may not.
    """

    theta: np.ndarray
    stats: Mapping[str, np.ndarray] = field(default_factory=dict)
    verdict: str | None = None
    doubted: bool = False


class Results:
    """A posterior's draws and what they mean.

    Args:
      posterior: that they are of.
      draws: of it, or of an approximation.
      seed: of the run, which predictions follow from.

    Attributes:
      posterior: that they are of.
      draws: of it.
      predictive: what they say of rows.
    """

    def __init__(self, posterior: Posterior, draws: Draws, seed: int = 0):
        self.posterior, self.draws, self._seed = posterior, draws, seed
        self.predictive = Predictive(posterior, draws.theta, seed)

    def __repr__(self) -> str:
        return f"<Results of {self.regression.response}, {self.count:,} draws>"

    def __str__(self) -> str:
        return self.summary()

    @property
    def regression(self) -> Regression:
        """The model and its data."""
        return self.posterior.regression

    @property
    def count(self) -> int:
        """How many draws there are; 1 is a point estimate."""
        chains, draws, _ = self.draws.theta.shape
        return chains * draws

    @property
    def sampled(self) -> bool:
        """Whether draws are of Markov chains."""
        return self.draws.verdict is None

    @cached_property
    def parameters(self) -> xr.Dataset:
        """Draws of all parameters by name, with the names of their coordinates."""
        posterior = self.posterior
        values = posterior.constrained(self.draws.theta)
        dimensions = {parameter.name: parameter.dimensions for parameter in posterior.parameters}
        found = az.convert_to_dataset(
            {_safe(name): value for name, value in values.items()},
            coords={_safe(name): names for name, names in posterior.coordinates.items()},
            dims={_safe(name): [_safe(dim) for dim in dimensions[name]] for name in values},
        )
        return found[[_safe(name) for name in values]]  # in the model's order

    @cached_property
    def diagnosis(self) -> Diagnosis:
        """What draws of Markov chains are worth.

        Raises:
          ConfigError: for approximations.
        """
        if not self.sampled:
            raise ConfigError("independent draws of an approximation have no chains to diagnose")
        grouped = bool(self.regression.groupings)
        centred = self.posterior.config.centred
        return diagnose(self.parameters, self.draws.stats, grouped, centred)

    @property
    def verdict(self) -> str:
        """Whether the posterior may be trusted, in words."""
        return self.diagnosis.verdict if self.draws.verdict is None else self.draws.verdict

    @cached_property
    def inference_data(self) -> az.InferenceData:
        """All of it, as ArviZ has it."""
        groups: dict[str, Any] = {"posterior": self.parameters}
        if self.draws.stats:
            groups["sample_stats"] = az.convert_to_dataset(dict(self.draws.stats))
        if self.predictive.kept(self._rows).count:
            groups["log_likelihood"] = self._by_row(self.predictive.log_likelihood())
            responses = self.predictive.responses()
            groups["posterior_predictive"] = self._by_row(_whole(responses))
        rows = self.regression.rows
        at = {ROW: self._row_names}
        response = {_safe(self.regression.response): ([ROW], _whole(rows.response))}
        groups["observed_data"] = xr.Dataset(response, at)
        constant = {"offset": rows.offset, "frequency": rows.frequency, "weight": rows.weight}
        groups["constant_data"] = xr.Dataset(
            {name: ([ROW], np.broadcast_to(value, self._rows)) for name, value in constant.items()},
            at,
        )
        return az.InferenceData(**groups, attrs=self._attributes)

    def to_frame(self, level: float = LEVEL) -> pd.DataFrame:
        """Mean, standard deviation and highest-density interval of every parameter.

        Of Markov chains also the errors of mean and standard deviation, effective draws and R-hat;
        of a point, the point.

        Args:
          level: of the interval.
        """
        names = labels(self.parameters)
        if self.count == 1:
            values = [np.ravel(array.values) for array in self.parameters.values()]
            return pd.DataFrame({"mode": np.concatenate(values)}, names)
        table = az.summary(
            self.parameters,
            kind="all" if self.sampled else "stats",
            hdi_prob=level,
            round_to="none",
        )
        return table.set_axis(names)

    def predict(self, data: Any = None, level: float = LEVEL) -> pd.DataFrame:
        """The expected response of every row, with an interval.

        Args:
          data: a data frame, or columns by name; None is the data that the model was fitted to.
          level: of the interval, which leaves out as much on either side.

        Raises:
          ConfigError: for columns that are missing, and categories and groups not seen before.
        """
        mean = self.predictive.mean(data)
        low, high = np.quantile(mean, [(1 - level) / 2, (1 + level) / 2], axis=0)
        return pd.DataFrame(
            {"mean": np.mean(mean, 0), "sd": np.std(mean, 0), "low": low, "high": high}
        )

    def sample(self, data: Any = None, weight: float = 1.0) -> np.ndarray:
        """Responses that the model makes, `[S, n]`; see `Predictive.responses`."""
        return self.predictive.responses(data, weight)

    @cached_property
    def checks(self) -> list[checks.Check]:
        """Statistics of the response beside those of data that the model makes."""
        observed, made = self.predictive.counted()
        counts = self.regression.family.key in ("poisson", "negative_binomial", "tweedie")
        return checks.check(observed, made, counts)

    @cached_property
    def leave_one_out(self) -> az.ELPDData:
        """PSIS-LOO by row, with Pareto's k̂."""
        return checks.leave_one_out(self.inference_data, self._frequency)

    @cached_property
    def waic(self) -> az.ELPDData:
        """WAIC by row."""
        return checks.waic(self.inference_data, self._frequency)

    @cached_property
    def notes(self) -> list[str]:
        """How the model and the data fit together, and what was kept of the draws."""
        if self.count == 1:
            return []
        kept = self.predictive.kept(self._rows).count
        if not kept:
            return [f"{self._rows:,} rows are too many to keep likelihoods and predictions of"]
        said = [checks.check_words(self.checks)]
        # Where draws are not the posterior's, k̂ of a row says nothing about the row.
        if self._rows <= LEFT_OUT and not self.draws.doubted:
            said.append(checks.leave_one_out_words(self.leave_one_out, self.regression))
        if kept < self.count:
            said.append(f"for likelihoods and predictions, {kept:,} of the draws were looked at")
        return said

    def summary(self) -> str:
        """The model, the table of parameters, checks and the verdict."""
        return tables.summary(self)

    def write(self, folder: Path) -> list[Path]:
        """Writes draws, table and plots.

        Returns:
          The files: posterior.nc (netCDF), summary.csv, summary.txt and plots.
        """
        paths = [folder / name for name in ("posterior.nc", "summary.csv", "summary.txt")]
        draws, table, text = paths
        self.inference_data.to_netcdf(str(draws), engine="h5netcdf")
        self.to_frame().to_csv(table, index_label="parameter")
        text.write_text(self.summary())
        return paths + plots.write(folder / "plots", self.inference_data, self.sampled)

    @property
    def _rows(self) -> int:
        return len(self.regression.rows.response)

    @property
    def _row_names(self) -> np.ndarray:
        source = self.regression.source
        return 1 + (np.arange(self._rows) if source is None else source)

    @property
    def _frequency(self) -> np.ndarray:
        return np.broadcast_to(self.regression.rows.frequency, self._rows)

    def _by_row(self, values: np.ndarray) -> xr.Dataset:
        """What there is for each draw that is kept and each row, `[S, n]`."""
        kept = self.predictive.kept(self._rows)
        shaped = values.reshape([len(kept.chains), len(kept.draws), self._rows])
        return xr.Dataset(
            {_safe(self.regression.response): (["chain", "draw", ROW], shaped)},
            {"chain": kept.chains, "draw": kept.draws, ROW: self._row_names},
        )

    @property
    def _attributes(self) -> dict[str, Any]:
        regression = self.regression
        return {
            "formula": regression.model.formula,
            "family": regression.family.key,
            "link": regression.family.link.name,
            "sampler": self.posterior.config.sampler,
            "seed": self._seed,
            "verdict": self.verdict,
            "inference_library": "workbench",
        } | {f"{name.replace('-', '_')}_version": version(name) for name in VERSIONS}


def assembled(learner: Learner, found: Callable[[], Results]) -> Assembly:
    """A learner with what its results write and say.

    Args:
      learner: whose draws they are.
      found: makes the results, once training has ended.
    """
    once = cache(found)
    return Assembly(
        learner,
        artifacts=[lambda folder: once().write(folder)],
        verdicts=[lambda: once().verdict],
        result=once,
    )


def _whole(values: np.ndarray) -> np.ndarray:
    """As integers where all of them are, which plots then know."""
    return values.astype(np.int64) if np.array_equal(values, np.floor(values)) else values


def _safe(name: str) -> str:
    """A name that netCDF takes, in which "/" parts groups."""
    return name.replace("/", "∕")  # noqa: RUF001
