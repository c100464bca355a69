"""Products with a design matrix, block by block on the host, that keep their digits.

All of them go through R, where R'R = X'WX + Λ. With Z = X R⁻¹, whose columns are about orthogonal
under W, nothing is squared that was badly conditioned.
"""

from collections.abc import Iterator

import numpy as np
from scipy import linalg

# Numbers of the design matrix that are gone through at once: 8 MB.
NUMBERS = 2**20
# 1 - R² of a column on those before it, below which normal equations lose too many digits.
SAFE = 1e-6


def blocks(design: np.ndarray) -> Iterator[slice]:
    """Consecutive rows, few enough to be copied."""
    rows, columns = design.shape
    size = max(1, NUMBERS // max(1, columns))
    return (slice(begin, begin + size) for begin in range(0, rows, size))


def triangle(design: np.ndarray, weight: np.ndarray, penalty: np.ndarray) -> np.ndarray:
    """R, upper triangular, by Cholesky's decomposition where that is safe and else by QR.

    Args:
      design: X, `[n, p]`.
      weight: the diagonal of W, `[n]`, not negative.
      penalty: the diagonal of Λ, `[p]`.
    """
    gram = np.diag(penalty)
    for part in blocks(design):
        gram = gram + design[part].T @ (weight[part, None] * design[part])
    diagonal = np.diag(gram)
    scale = np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    try:
        upper = linalg.cholesky(gram / scale / scale[:, None])
    except linalg.LinAlgError:
        return _by_qr(design, weight, penalty)
    if np.min(np.diag(upper), initial=1.0) ** 2 < SAFE:
        return _by_qr(design, weight, penalty)
    return upper * scale


def _by_qr(design: np.ndarray, weight: np.ndarray, penalty: np.ndarray) -> np.ndarray:
    upper: np.ndarray = np.diag(np.sqrt(penalty))
    for part in blocks(design):
        rows = np.sqrt(weight[part, None]) * design[part]
        upper = np.asarray(np.linalg.qr(np.vstack([upper, rows]), mode="r"))
    return upper


def inverse(upper: np.ndarray) -> np.ndarray:
    """R⁻¹."""
    return linalg.solve_triangular(upper, np.eye(len(upper)))


def solved(upper: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(R'R)⁻¹ b."""
    if not len(right):
        return right
    half = linalg.solve_triangular(upper, right, trans="T")
    return np.asarray(linalg.solve_triangular(upper, half))


def lengths(design: np.ndarray, root: np.ndarray) -> np.ndarray:
    """x'Fx of every row x, where F = root root', `[n]`."""
    squares = [np.sum((design[part] @ root) ** 2, 1) for part in blocks(design)]
    return np.concatenate(squares) if squares else np.zeros(0)


def square_root(matrix: np.ndarray) -> np.ndarray:
    """A root F of a symmetric matrix without negative eigenvalues, FF' = M."""
    values, vectors = linalg.eigh(matrix)
    return vectors * np.sqrt(np.maximum(values, 0.0))
