"""Whether a model could have made the data, and how well it foretells data that it has not seen.

Posterior predictive checks: Gelman, Meng & Stern 1996. PSIS-LOO and WAIC, by ArviZ: Vehtari, Gelman
& Gabry 2017.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import arviz as az
import numpy as np
import scipy.special
import tensorflow as tf
import xarray as xr

from workbench.core.config import ConfigError
from workbench.glm.families import Family, NegativeBinomial, Tweedie
from workbench.glm.regression import Regression

Statistic = Callable[[np.ndarray], np.ndarray]

# Of responses `[..., n]`.
STATISTICS: dict[str, Statistic] = {
    "mean": lambda y: np.mean(y, -1),
    "sd": lambda y: np.std(y, -1),
    "min": lambda y: np.min(y, -1),
    "max": lambda y: np.max(y, -1),
}
COUNTED: dict[str, Statistic] = {"zeros": lambda y: np.mean(y == 0, -1)}
# Bayesian p-values beyond which, on either side, data are unlike the model's.
UNLIKELY = 0.005
# The largest mean of counts from which NumPy draws.
MOST = 1e18
# Rows that a sentence names.
NAMED = 3


@dataclass(frozen=True)
class Check:
    """A statistic of the data beside that of data that the model makes.

    Attributes:
      low, high: of 90% of the replicated data.
      p: the share of replicated data in which it is larger; ties count half.
    """

    statistic: str
    observed: float
    replicated: float
    low: float
    high: float
    p: float

    @property
    def odd(self) -> bool:
        """Whether the model hardly ever makes such data."""
        return not UNLIKELY <= self.p <= 1 - UNLIKELY

    def __str__(self) -> str:
        side = "larger" if self.p < 0.5 else "smaller"
        return (
            f"{self.statistic} is {self.observed:.4g}, {side} than in data that the model makes "
            f"({self.low:.4g} to {self.high:.4g})"
        )


def check(observed: np.ndarray, replicated: np.ndarray, counts: bool = False) -> list[Check]:
    """Statistics of responses `[n]` beside those of replicated ones `[S, n]`.

    Args:
      observed: the responses.
      replicated: one data set for each draw of the posterior; those with NaN do not count.
      counts: whether responses can be exactly 0.
    """
    replicated = replicated[np.all(np.isfinite(replicated), -1)]
    return [
        _checked(name, float(statistic(observed)), statistic(replicated))
        for name, statistic in (STATISTICS | (COUNTED if counts else {})).items()
    ]


def check_words(found: list[Check]) -> str:
    """What checks came to, as a sentence."""
    odd = [str(each) for each in found if each.odd]
    if odd:
        return f"the model does not make such data: the response's {'; its '.join(odd)}"
    names = ", ".join(each.statistic for each in found)
    return f"data that the model makes are like the response in {names}"


def _checked(name: str, observed: float, replicated: np.ndarray) -> Check:
    # Sums of other orders differ by rounding, which is no difference.
    close = np.isclose(replicated, observed, rtol=1e-9, atol=0)
    above = np.mean((replicated > observed) & ~close) + np.mean(close) / 2
    low, high = np.quantile(replicated, [0.05, 0.95])
    mean = float(np.mean(replicated))
    return Check(name, observed, mean, float(low), float(high), float(above))


def replicate(
    family: Family,
    eta: np.ndarray,
    dispersion: np.ndarray,
    weight: np.ndarray,
    generator: np.random.Generator,
) -> np.ndarray:
    """Responses that a model makes, float64 `[S, n]`; NaN where it has no mean.

    What has variance weight w is the mean of w that have none (Jørgensen 1987).

    Args:
      family: distribution and link.
      eta: linear predictors, `[S, n]`.
      dispersion: φ, `[S, 1]` or a number.
      weight: w, `[n]` or `[1]`.
      generator: of random numbers.

    Raises:
      ConfigError: for Tweedie distributions from which nobody knows how to draw.
    """
    etas = tf.constant(eta, tf.float64)
    possible = family.possible(etas).numpy()
    mean = np.where(possible, family.link.mean(etas).numpy(), 0.5)
    phi = np.asarray(dispersion, np.float64) / weight
    return np.where(possible, _drawn(family, mean, phi, weight, generator), np.nan)


def _drawn(
    family: Family,
    mean: np.ndarray,
    phi: np.ndarray,
    weight: np.ndarray,
    generator: np.random.Generator,
) -> np.ndarray:
    if family.key == "gaussian":
        return generator.normal(mean, np.sqrt(phi))
    if family.key == "binomial":
        trials = np.maximum(1, np.round(weight)).astype(np.int64)
        return generator.binomial(trials, mean) / trials
    if family.key == "gamma":
        return generator.gamma(1 / phi, mean * phi)
    if family.key == "inverse_gaussian":
        return generator.wald(mean, 1 / phi)
    if isinstance(family, Tweedie):
        return _tweedie(family.power, mean, phi, generator)
    rate = weight * mean
    if isinstance(family, NegativeBinomial):
        alpha = np.asarray(family.alpha, np.float64) / weight
        rate = generator.gamma(1 / alpha, alpha * rate)
    return generator.poisson(np.minimum(rate, MOST)) / weight


def _tweedie(
    power: float, mean: np.ndarray, phi: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """Sums of a Poisson number of gamma variables, 1 < p < 2."""
    if not 1 < power < 2:
        raise ConfigError(f"glm.power={power:g}: there are draws for powers between 1 and 2 only")
    rate = mean ** (2 - power) / (phi * (2 - power))
    number = generator.poisson(np.minimum(rate, MOST))
    scale = phi * (power - 1) * mean ** (power - 1)
    # A gamma distribution of shape 0 is none.
    some = np.maximum(number, 1) * (2 - power) / (power - 1)
    return np.where(number > 0, generator.gamma(some, scale), 0.0)


def leave_one_out(data: az.InferenceData, frequency: np.ndarray) -> az.ELPDData:
    """PSIS-LOO of the draws whose `log_likelihood` was kept, by row.

    Args:
      data: of the posterior.
      frequency: how many times each row was seen, `[n]`; one of them is left out.
    """
    return _found(az.loo, "loo", data, frequency)


def waic(data: az.InferenceData, frequency: np.ndarray) -> az.ELPDData:
    """WAIC of the draws whose `log_likelihood` was kept, by row; see `leave_one_out`."""
    return _found(az.waic, "waic", data, frequency)


def leave_one_out_words(found: az.ELPDData, regression: Regression) -> str:
    """What leaving out rows came to, and how far it is to be relied on."""
    k = np.ravel(found.pareto_k)
    bad = np.flatnonzero(~(k <= found.good_k))
    said = (
        f"expected log predictive density {found.elpd_loo:.1f} ± {found.se:.1f} (PSIS-LOO, "
        f"{found.p_loo:.1f} effective parameters)"
    )
    if not len(bad):
        return f"{said}; Pareto k̂ is at most {np.max(k):.2f} and vouches for it"
    places = regression.source if regression.source is not None else np.arange(len(k))
    worst = bad[np.argsort(-k[bad])][:NAMED]
    named = ", ".join(f"row {places[row] + 1} with {k[row]:.2f}" for row in worst)
    more = f" and {len(bad) - NAMED} more" if len(bad) > NAMED else ""
    return (
        f"{said}, which is not to be relied on: Pareto k̂ is above {found.good_k:.2f} ({named}"
        f"{more}), for the posterior hangs on {'it' if len(bad) == 1 else 'them'}; look at such "
        "rows, or refit without them"
    )


def _found(
    criterion: Callable[..., az.ELPDData], name: str, data: az.InferenceData, often: np.ndarray
) -> az.ELPDData:
    if "log_likelihood" not in data.groups():
        raise ConfigError("too many rows: no draw's log likelihoods were kept")
    # Of these very draws; ArviZ would count those that were not kept as well.
    kept = {dim: data["log_likelihood"][dim].values for dim in ("chain", "draw")}
    same = az.InferenceData(
        posterior=data["posterior"].sel(kept), log_likelihood=data["log_likelihood"]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # said in words, with the rows
        found = criterion(same, pointwise=True)
    if np.any(often != 1):
        _count(found, name, same["log_likelihood"], often)
    return found


def _count(found: az.ELPDData, name: str, likelihood: xr.Dataset, often: np.ndarray) -> None:
    """Counts rows as often as they were seen, which ArviZ takes for once."""
    (values,) = (array.values for array in likelihood.values())
    values = values.reshape([-1, values.shape[-1]])
    own = scipy.special.logsumexp(values, axis=0) - np.log(len(values))
    each, total = found[f"{name}_i"].values, np.sum(often)
    mean = np.sum(often * each) / total
    found[f"elpd_{name}"] = total * mean
    found["se"] = np.sqrt(np.sum(often * (each - mean) ** 2))
    found[f"p_{name}"] = np.sum(often * (own - each))
    found["n_data_points"] = total
