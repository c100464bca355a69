"""Whether draws may be taken for the posterior, in numbers and in words; computed by ArviZ.

Rank-normalised split R-hat, bulk and tail effective sample sizes: Vehtari et al. 2021. E-FMI:
Betancourt 2016.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import arviz as az
import numpy as np
import xarray as xr

# Above and below these, draws are no measure of the posterior.
R_HAT, ESS, E_FMI = 1.01, 400, 0.3
# Coordinates that are named in a sentence.
NAMED = 3
# Draws of a chain below which nothing can be said of them.
FEWEST = 4


@dataclass(frozen=True)
class Diagnosis:
    """What is known of how well draws stand for the posterior.

    Attributes:
      r_hat: by coordinate, e.g. "u[b]"; NaN where one never moved or is not finite. Empty, like the
        next two, when there are hardly any draws.
      ess_bulk: effective draws for the middle of a distribution.
      ess_tail: effective draws for its 5% and 95% quantiles.
      e_fmi: of each chain; empty where no energies are known.
      divergences: draws that ended a trajectory whose energy went off.
      draws: of all chains.
      grouped: whether there are deviations of groups, which "method.centred" is about.
      centred: whether they are drawn centred.
    """

    r_hat: dict[str, float]
    ess_bulk: dict[str, float]
    ess_tail: dict[str, float]
    e_fmi: np.ndarray
    divergences: int
    draws: int
    grouped: bool = False
    centred: bool = False

    @property
    def metrics(self) -> dict[str, float]:
        """The worst of each, by name; what is not known is left out."""
        worst = {
            "r_hat": max(_finite(self.r_hat.values()), default=math.nan),
            "ess_bulk": min(_finite(self.ess_bulk.values()), default=math.nan),
            "ess_tail": min(_finite(self.ess_tail.values()), default=math.nan),
            "e_fmi": min(_finite(self.e_fmi), default=math.nan),
            "divergences": float(self.divergences),
        }
        return {name: value for name, value in worst.items() if math.isfinite(value)}

    @property
    def trusted(self) -> bool:
        """Whether nothing speaks against the draws."""
        return not self.complaints

    @property
    def complaints(self) -> list[str]:
        """What speaks against the draws, each with what to do about it."""
        return [*self._unmoved(), *self._unmixed(), *self._diverged(), *self._rough(), *self._few()]

    @property
    def verdict(self) -> str:
        """Whether the posterior may be trusted, and if not, why and what to do."""
        if not self.trusted:
            return f"the posterior is not to be trusted: {'; '.join(self.complaints)}"
        worst = self.metrics
        return (
            f"the posterior may be trusted: R-hat is at most {worst['r_hat']:.3f}, effective draws "
            f"at least {worst['ess_bulk']:,.0f} (tails {worst['ess_tail']:,.0f}) of "
            f"{self.draws:,}, and there were no divergences"
        )

    def _unmoved(self) -> Iterator[str]:
        still = [name for name, value in self.r_hat.items() if not math.isfinite(value)]
        if still:
            stuck = f"{_listed(still)} did not move, or went out of bounds"
            yield f"{stuck}: {self._steps()}, or run longer (method.warm_up)"

    def _unmixed(self) -> Iterator[str]:
        bad = {name: value for name, value in self.r_hat.items() if value > R_HAT}
        if bad:
            found = [f"R-hat of {name} is {bad[name]:.3g}" for name in _worst(bad)]
            yield f"{_listed(found, len(bad))}: run longer (method.warm_up, method.draws)"

    def _diverged(self) -> Iterator[str]:
        if self.divergences:
            count = f"{self.divergences} divergence{'s' if self.divergences > 1 else ''}"
            yield f"{count}: {self._steps()}"

    def _rough(self) -> Iterator[str]:
        low = np.flatnonzero(self.e_fmi < E_FMI)
        if len(low):
            chains = "chain" if len(low) == 1 else "chains"
            yield (
                f"E-FMI is {np.min(self.e_fmi):.2f} (below {E_FMI} in {len(low)} {chains}): "
                "tails are hardly reached; narrow the priors of scales, or run longer "
                "(method.warm_up)"
            )

    def _few(self) -> Iterator[str]:
        if not self.r_hat:
            yield f"{self.draws} draws say nothing: more of them (method.draws)"
        both = {
            name: min(self.ess_bulk[name], self.ess_tail[name])
            for name, value in self.r_hat.items()
            if math.isfinite(value)
        }
        few = {name: value for name, value in both.items() if value < ESS}
        if few:
            name = min(few, key=few.__getitem__)
            others = f", and {len(few) - 1} more have fewer than {ESS}" if len(few) > 1 else ""
            yield (
                f"only {few[name]:.0f} effective draws of {name}{others}: more draws "
                "(method.draws) or chains (method.chains)"
            )

    def _steps(self) -> str:
        """What makes trajectories keep to the energy."""
        acceptance = "raise method.acceptance"
        if not self.grouped:
            return acceptance
        return f"{acceptance} or set method.centred={'false' if self.centred else 'true'}"


def diagnose(
    draws: Mapping[str, np.ndarray] | xr.Dataset,
    stats: Mapping[str, np.ndarray],
    grouped: bool = False,
    centred: bool = False,
) -> Diagnosis:
    """What draws of Markov chains are worth.

    Args:
      draws: by variable, `[C, draws, ...]`; a Dataset knows names of coordinates, too.
      stats: of the sampler, `[C, draws]`; of them "diverging" and "energy" are looked at.
      grouped: whether the model has deviations of groups.
      centred: whether they are drawn centred.
    """
    data = draws if isinstance(draws, xr.Dataset) else az.convert_to_dataset(dict(draws))
    chains, length = data.sizes["chain"], data.sizes["draw"]
    energy = stats.get("energy")
    diverging = stats.get("diverging", np.zeros(0))
    if length < FEWEST:
        return Diagnosis({}, {}, {}, np.zeros(0), int(np.sum(diverging)), chains * length)
    return Diagnosis(
        by_label(az.rhat(data)),
        by_label(az.ess(data, method="bulk")),
        by_label(az.ess(data, method="tail")),
        np.zeros(0) if energy is None else np.atleast_1d(az.bfmi(np.asarray(energy))),
        int(np.sum(diverging)),
        chains * length,
        grouped,
        centred,
    )


def by_label(data: xr.Dataset) -> dict[str, float]:
    """Numbers by coordinate; variables have no dimensions but those of their coordinates."""
    values = (float(value) for array in data.values() for value in np.ravel(array.values))
    return dict(zip(labels(data), values, strict=True))


def labels(data: xr.Dataset) -> list[str]:
    """Names of all coordinates of all variables, e.g. "sigma", "u[b, x]", in order."""
    return [label for array in data.values() for label in _labels(array)]


def _labels(array: xr.DataArray) -> Iterator[str]:
    dims = [dim for dim in array.dims if dim not in ("chain", "draw")]
    levels = [array[dim].values for dim in dims]
    for place in np.ndindex(*map(len, levels)):
        found = ", ".join(str(level[i]) for level, i in zip(levels, place, strict=True))
        yield f"{array.name}[{found}]" if dims else str(array.name)


def _finite(values: Any) -> list[float]:
    return [float(value) for value in values if math.isfinite(value)]


def _worst(bad: Mapping[str, float]) -> list[str]:
    return sorted(bad, key=bad.__getitem__, reverse=True)[:NAMED]


def _listed(names: list[str], count: int | None = None) -> str:
    """The first names, and how many more there are."""
    more = (len(names) if count is None else count) - NAMED
    return ", ".join(names[:NAMED]) + (f" (and {more} more)" if more > 0 else "")
