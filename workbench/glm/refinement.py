"""Linear least squares to the last digits: iterative refinement in extended precision.

Björck 1967 (BIT 7): residuals r and coefficients x of min |b - Ax| solve

    [I  A] [r]   [b]
    [A' 0] [x] = [0],

and what the left side misses of the right, computed with more digits, is solved for by the same
QR decomposition. Without it, digits are lost by the square of A's condition where r is large.
"""

from dataclasses import replace

import numpy as np
from scipy.linalg import qr, solve_triangular

from workbench.glm import links
from workbench.glm.families import Family, Gaussian
from workbench.glm.rows import Rows
from workbench.glm.search import Estimate

# Numbers of the design matrix beyond which nobody waits for arithmetic without kernels.
MOST = 2**21
ROUNDS = 10


def refined(family: Family, rows: Rows, estimate: Estimate) -> Estimate:
    """The estimate with the digits that rounding took, of linear models of moderate size."""
    linear = isinstance(family, Gaussian) and family.link is links.identity
    if not linear or rows.design.size > MOST or not estimate.converged:
        return estimate
    root = np.sqrt(np.asarray(rows.precision, np.longdouble))[:, None]
    design = np.vstack([root * rows.design, np.diag(np.sqrt(estimate.penalty))])
    response = root[:, 0] * (rows.response - rows.offset)
    response = np.append(response, np.zeros(len(estimate.penalty), np.longdouble))
    beta = _least_squares(design, response, estimate.coefficients)
    return replace(estimate, coefficients=beta)


def _least_squares(a: np.ndarray, b: np.ndarray, start: np.ndarray) -> np.ndarray:
    q, upper = qr(a.astype(np.float64), mode="economic")
    x = start.astype(np.longdouble)
    r = b - a @ x
    for _ in range(ROUNDS):
        f, g = (b - r - a @ x).astype(np.float64), (-(a.T @ r)).astype(np.float64)
        h, along = solve_triangular(upper, g, trans="T"), q.T @ f
        step = solve_triangular(upper, along - h)
        x += step
        r += f + q @ (h - along)
        if np.all(np.abs(step) <= np.finfo(np.float64).eps / 4 * np.abs(x)):
            break
    return x.astype(np.float64)
