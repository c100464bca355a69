"""Residuals of the rows, one of each copy.

McCullagh & Nelder 1989, section 2.4; the working, Pearson, deviance and Anscombe ones are for
φ = 1, as R and statsmodels have them.
"""

import numpy as np
from scipy import special

from workbench.core.config import ConfigError
from workbench.glm.families import Family, NegativeBinomial, Tweedie
from workbench.glm.inference import distributions
from workbench.glm.inference.rowwise import Rowwise
from workbench.glm.rows import Rows

KINDS = ("response", "working", "pearson", "deviance", "anscombe", "quantile")
# p of V(μ) = μ^p.
POWERS = {"gaussian": 0.0, "poisson": 1.0, "gamma": 2.0, "inverse_gaussian": 3.0}


def residuals(
    kind: str, family: Family, rows: Rows, found: Rowwise, dispersion: float, seed: int = 0
) -> np.ndarray:
    """Residuals of a kind, `[n]`.

    Args:
      kind: one of `KINDS`.
      dispersion: φ, of quantile residuals.
      seed: of quantile residuals of distributions that are not continuous.
    """
    if kind not in KINDS:
        raise ConfigError(f"residuals={kind!r} are none; choose from {', '.join(KINDS)}")
    apart = rows.response - found.mean
    if kind == "response":
        return apart
    if kind == "working":
        return apart / found.slope
    if kind == "pearson":
        return apart * np.sqrt(rows.weight / found.variance)
    if kind == "deviance":
        return np.sign(apart) * np.sqrt(np.maximum(found.deviance, 0.0))
    if kind == "anscombe":
        return _anscombe(family, rows, found)
    return _quantile(family, rows, found, dispersion, seed)


def _anscombe(family: Family, rows: Rows, found: Rowwise) -> np.ndarray:
    """(A(y) - A(μ)) / V(μ)^(1/6), A' = V^(-1/3): about normal."""
    apart = _normalised(family, rows.response) - _normalised(family, found.mean)
    return np.sqrt(rows.weight) * apart / found.variance ** (1 / 6)


def _normalised(family: Family, y: np.ndarray) -> np.ndarray:
    """A(y)."""
    if family.key == "binomial":
        return special.betainc(2 / 3, 2 / 3, y) * special.beta(2 / 3, 2 / 3)
    if isinstance(family, NegativeBinomial):
        return 1.5 * y ** (2 / 3) * special.hyp2f1(1 / 3, 2 / 3, 5 / 3, -float(family.alpha) * y)
    power = family.power if isinstance(family, Tweedie) else POWERS[family.key]
    return np.log(y) if power == 3 else y ** (1 - power / 3) / (1 - power / 3)


def _quantile(
    family: Family, rows: Rows, found: Rowwise, dispersion: float, seed: int
) -> np.ndarray:
    """Dunn & Smyth 1996: exactly normal where the model is true, whatever the distribution.

    Where the distribution function jumps at a response, a point of the jump is drawn.
    """
    place = distributions.place(family, rows, found.mean, dispersion)
    share = np.random.default_rng(seed).uniform(size=len(found.mean))
    below = place.before + share * (place.below - place.before)
    above = place.above + (1 - share) * (place.after - place.above)
    tiny = np.finfo(np.float64).tiny
    lower = special.ndtri(np.maximum(below, tiny))
    upper = -special.ndtri(np.maximum(above, tiny))
    return np.where(below < 0.5, lower, upper)
