"""How much each row matters: one copy of it left out, in one step from the estimate."""

import numpy as np

from workbench.glm.inference import algebra
from workbench.glm.inference.rowwise import Rowwise
from workbench.glm.rows import Rows


def leverage(rows: Rows, found: Rowwise, whitening: np.ndarray) -> np.ndarray:
    """The diagonal of the hat matrix √W X (X'WX)⁻¹ X'√W, `[n]`."""
    return found.weight * algebra.lengths(rows.design, whitening)


def studentised(
    deviance: np.ndarray, pearson: np.ndarray, leverage: np.ndarray, freedom: float, dispersed: bool
) -> np.ndarray:
    """Williams 1987: about the deviance's root change as a row is left out; R's rstudent.

    Args:
      deviance: residuals, `[n]`.
      pearson: residuals, `[n]`.
      leverage: of the rows, `[n]`.
      freedom: n - p.
      dispersed: whether φ was estimated: it is, without the row.
    """
    left = 1 - leverage
    size = np.sqrt(deviance**2 + leverage * pearson**2 / left)
    if not dispersed:
        return np.sign(deviance) * size
    without = (np.sum(deviance**2) - deviance**2 / left) / (freedom - 1)
    return np.sign(deviance) * size / np.sqrt(without)


def moves(rows: Rows, found: Rowwise, whitening: np.ndarray, leverage: np.ndarray) -> np.ndarray:
    """By how much the estimates fall as a row is left out, `[n, p]` (Pregibon 1981)."""
    pull = found.pull / (1 - leverage)
    return (pull[:, None] * rows.design) @ whitening @ whitening.T
