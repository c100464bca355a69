"""Profile-likelihood intervals: how far a coefficient can be moved before the fit suffers.

With β_j held at b and the others at their best, ζ(b) = sign(b - β_j) √((D(b) - D) / φ) is nearly a
straight line, whose crossings of ± the quantile are the interval's ends. Newton's method finds
them: the slope of D(b) is -2 times the score of the column that is held.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from workbench.glm.rows import Rows

if TYPE_CHECKING:
    import pandas as pd

    from workbench.glm.inference.fit import Fit

# Refits for an end, and how well ζ is met there.
REFITS, CLOSE = 60, 1e-9


def intervals(fit: "Fit", names: Sequence[str], level: float | None) -> "pd.DataFrame":
    """Low and high by name; infinite where the likelihood does not fall."""
    import pandas as pd

    quantile = fit.quantile(level)
    ends = [
        [_end(_Profile(fit, fit.column(name)), sign * quantile) for sign in (-1, 1)]
        for name in names
    ]
    return pd.DataFrame(ends, index=list(names), columns=["low", "high"]).rename_axis("term")


class _Profile:
    """ζ and its slope as functions of one coefficient."""

    def __init__(self, fit: "Fit", column: int):
        self._fit, self._held = fit, fit.rows.design[:, column]
        self._kept = np.delete(np.arange(len(fit.coefficients)), column)
        self._rows = fit.rows._replace(design=fit.rows.design[:, self._kept])
        self._others = fit.coefficients[self._kept]
        self._penalty = fit.estimate.penalty[column]
        self.best = float(fit.coefficients[column])
        self.error = float(np.linalg.norm(fit.model_root[column]))
        self._least = fit.deviance + float(np.sum(fit.estimate.penalty * fit.coefficients**2))

    def __call__(self, value: float) -> tuple[float, float]:
        rows: Rows = self._rows._replace(offset=self._rows.offset + value * self._held)
        found = self._fit.refitted(rows, self._kept, self._others)
        if not np.isfinite(found.objective):
            return np.copysign(np.inf, value - self.best), np.nan
        self._others = found.coefficients
        dispersion = self._fit.dispersion
        rise = found.objective + self._penalty * value**2 - self._least
        height = np.copysign(np.sqrt(max(rise, 0.0) / dispersion), value - self.best)
        frequency = self._rows.frequency
        pull = float(self._held @ (frequency * found.pull)) - self._penalty * value
        slope = -pull / (dispersion * height) if height else 1 / self.error
        return float(height), slope


def _end(profile: _Profile, aim: float) -> float:
    """Where ζ is `aim`: Newton's steps, or halves of the bracket where they leave it.

    The bracket closes on the last possible value where the means run out of the family before the
    deviance has risen enough; where nothing ends it, the interval has no end.
    """
    inside, outside = profile.best, float(np.copysign(np.inf, aim))
    value = profile.best + aim * profile.error
    for _ in range(REFITS):
        height, slope = profile(value)
        if abs(height - aim) <= CLOSE * abs(aim):
            return value
        if abs(height) < abs(aim):
            inside = value
        else:
            outside = value
        value = value + (aim - height) / slope
        if not min(inside, outside) < value < max(inside, outside):
            value = (inside + outside) / 2 if np.isfinite(outside) else 2 * inside - profile.best
    return value if np.isfinite(outside) else outside
