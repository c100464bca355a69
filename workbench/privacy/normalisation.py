"""Normalisation of channels: by groups within an example, or by statistics released privately."""

from dataclasses import dataclass

import numpy as np

from workbench.core.config import ConfigError
from workbench.privacy.config import COUNT_NOISE

# What PyTorch adds to a variance, and so Tramèr and Boneh.
EPSILON = 1e-5

# Examples that are normalised together.
CHUNK = 1000

# Bounds between which norms are counted, each 2^(1/8) times the last.
BOUNDS = 2.0 ** np.arange(-10, 10, 0.125)


def group_normalise(features: np.ndarray, groups: int) -> None:
    """Normalises groups of channels of each example, in place (Wu & He 2018).

    No example has a say in what becomes of another, so that it costs no privacy.

    Args:
      features: float32 `[n, height, width, channels]`.

    Raises:
      ConfigError: when the groups do not divide the channels.
    """
    channels = features.shape[-1]
    if channels % groups:
        raise ConfigError(
            f"features.groups={groups} do not divide {channels} channels; choose a divisor"
        )
    grouped = features.reshape(*features.shape[:-1], groups, channels // groups)
    for first in range(0, len(grouped), CHUNK):
        chunk = grouped[first : first + CHUNK]  # a view
        chunk -= chunk.mean(axis=(1, 2, 4), keepdims=True)
        chunk /= np.sqrt(np.square(chunk).mean(axis=(1, 2, 4), keepdims=True) + EPSILON)


@dataclass(frozen=True)
class Statistics:
    """Mean and variance of each channel, float32 `[channels]`."""

    mean: np.ndarray
    variance: np.ndarray

    @classmethod
    def released(
        cls, features: np.ndarray, noise_multiplier: float, generator: np.random.Generator
    ) -> "Statistics":
        """Of all examples and places, with noise (Tramèr & Boneh 2021).

        Four Gaussian releases: sums of the examples' means and mean squares, each example's being
        clipped; and, with `COUNT_NOISE` times the noise, counts that the clipping norms are from.

        Args:
          features: float32 `[n, height, width, channels]`; n is public.
          noise_multiplier: of the sums.
        """
        places = features.shape[1] * features.shape[2]
        means = np.einsum("nhwc->nc", features) / places
        squares = np.einsum("nhwc,nhwc->nc", features, features) / places
        mean, square = (
            released_mean(rows, noise_multiplier, generator) for rows in (means, squares)
        )
        variance = np.maximum(square - mean**2, 0)
        return cls(mean.astype(np.float32), variance.astype(np.float32))

    def normalise(self, features: np.ndarray) -> None:
        """Centres and scales channels in place; one whose variance drowned in noise becomes 0."""
        scale = np.where(self.variance > 0, 1 / np.sqrt(self.variance + np.float32(EPSILON)), 0)
        features -= self.mean
        features *= scale


def released_mean(
    rows: np.ndarray, noise_multiplier: float, generator: np.random.Generator
) -> np.ndarray:
    """The mean of rows, clipped to about the median of their norms, with noise.

    Args:
      rows: `[n, d]`; n is public.
    """
    counts = norm_counts(rows)
    counts = counts + COUNT_NOISE * noise_multiplier * generator.standard_normal(counts.shape)
    norm = BOUNDS[min(int(np.argmax(np.cumsum(counts) >= len(rows) / 2)), len(BOUNDS) - 1)]
    noise = noise_multiplier * norm * generator.standard_normal(rows.shape[1])
    return (clipped_sum(rows, norm) + noise) / len(rows)


def norm_counts(rows: np.ndarray) -> np.ndarray:
    """How many rows are of a norm up to each bound but above the last; one row is in one count."""
    norms = np.linalg.norm(rows.astype(np.float64), axis=1)
    return np.bincount(np.searchsorted(BOUNDS, norms), minlength=len(BOUNDS) + 1)


def clipped_sum(rows: np.ndarray, norm: float) -> np.ndarray:
    """The sum of rows, none of which adds more than `norm`, float64 `[d]`."""
    rows = rows.astype(np.float64)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows * (norm / np.maximum(norms, norm))).sum(axis=0)
