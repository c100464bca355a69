"""Means of new rows, and how far off they may be."""

from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from workbench.core.config import ConfigError
from workbench.glm.inference import algebra

if TYPE_CHECKING:
    import pandas as pd

    from workbench.glm.inference.fit import Fit


def predict(
    fit: "Fit",
    new: "pd.DataFrame | np.ndarray | None",
    offset: np.ndarray | float | None,
    level: float | None,
) -> "pd.DataFrame":
    """A frame with a row for each one of `new`, by its index."""
    import pandas as pd

    index = new.index if isinstance(new, pd.DataFrame) else None
    design, offset = _columns(fit, new, offset)
    linear = design @ fit.coefficients + offset
    error = np.sqrt(algebra.lengths(design, fit.root_of_predictor()))
    half = fit.quantile(level) * error
    mean, low, high = (_mean(fit, eta) for eta in (linear, linear - half, linear + half))
    slope = np.asarray(fit.family.link.slope(tf.constant(linear)))
    return pd.DataFrame(
        {
            "mean": mean,
            "se": np.abs(slope) * error,
            # Links such as 1/μ fall.
            "low": np.minimum(low, high),
            "high": np.maximum(low, high),
            "linear": linear,
            "linear_se": error,
        },
        index=index,
    )


def _columns(
    fit: "Fit", new: "pd.DataFrame | np.ndarray | None", offset: np.ndarray | float | None
) -> tuple[np.ndarray, np.ndarray | float]:
    if new is None:
        return fit.rows.design, fit.rows.offset
    if not isinstance(new, np.ndarray):
        from workbench.glm.formula import columns_of

        return columns_of(fit.regression, new)
    if new.ndim != 2 or new.shape[1] != len(fit.coefficients):
        raise ConfigError(
            f"new rows of shape {new.shape} do not have the model's {len(fit.coefficients)} columns"
        )
    return new, 0.0 if offset is None else offset


def _mean(fit: "Fit", eta: np.ndarray) -> np.ndarray:
    place = tf.constant(eta)
    possible = fit.family.possible(place).numpy()
    return np.where(possible, fit.family.link.mean(place).numpy(), np.nan)
