"""Differentially private principal components (Abadi et al. 2016, section 4)."""

import numpy as np


def principal_directions(
    features: np.ndarray, components: int, noise_multiplier: float, generator: np.random.Generator
) -> np.ndarray:
    """Orthonormal directions in which the rows of a matrix mostly point.

    With the rows scaled to length 1 as A, they are the first eigenvectors of A^T A + N. One row
    more adds a a^T, of Frobenius norm 1; for another row in its place it is sqrt(2) at most. N is
    that of Gaussian noise on every entry, made symmetric as A^T A is: of variance sigma^2 on the
    diagonal and sigma^2 / 2 off it, which is half of the noise of Dwork et al. 2014 ("Analyze
    Gauss"), who draw a triangle and mirror it.

    Args:
      features: `[n, d]`.
      components: k.
      noise_multiplier: sigma.

    Returns:
      float32 `[d, k]`.
    """
    noise = noise_multiplier * generator.standard_normal((features.shape[1], features.shape[1]))
    _, vectors = np.linalg.eigh(covariance(features) + (noise + noise.T) / 2)
    directions = vectors[:, : -components - 1 : -1]
    # An eigenvector's sign is up to the library that finds it.
    largest = np.abs(directions).argmax(axis=0)
    signs = np.sign(directions[largest, np.arange(components)])
    return (directions * signs).astype(np.float32)


def covariance(features: np.ndarray) -> np.ndarray:
    """A^T A of rows at length 1, float64; a row of zeros adds nothing."""
    rows = features.astype(np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    rows /= np.where(lengths > 0, lengths, 1)
    return rows.T @ rows
