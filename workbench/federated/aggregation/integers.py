"""Random integers of symmetric distributions, by their inverse.

Probabilities are multiples of 2⁻⁶², and every draw takes 62 bits: no distribution that is sampled
in floating point comes as close to its own.
"""

import math
from typing import TYPE_CHECKING

import tensorflow as tf

from workbench.core import replicas

if TYPE_CHECKING:
    import numpy as np

BITS = 62


class Symmetric(tf.Module):
    """A distribution of integers, symmetric about 0.

    Args:
      probabilities: of -T, …, 0, which with those of 1, …, T are all.
    """

    def __init__(self, probabilities: "np.ndarray"):
        import numpy as np

        super().__init__(name="integers")
        self._farthest = len(probabilities) - 1
        both = 2 * probabilities.sum() - probabilities[-1]
        # P[X ≤ k] for k = -T … -1; beyond it is 1 - P[X ≤ -k - 1].
        low = np.floor(np.cumsum(probabilities[:-1]) / both * 2.0**BITS).astype(np.int64)
        bounds = np.concatenate([low, 2**BITS - low[::-1]])
        self._levels = max(1, math.ceil(math.log2(len(bounds) + 1)))
        filled = np.full(2**self._levels - 1, np.iinfo(np.int64).max)
        filled[: len(bounds)] = bounds
        self._bounds = replicas.Given(filled)

    def draw(self, count: int, seed: tf.Tensor) -> tf.Tensor:
        """Independent numbers, int32 `[count]`."""
        bits = tf.random.stateless_uniform([count], seed, None, None, tf.int64)
        bits &= 2**BITS - 1
        (bounds,) = self._bounds.values
        below = tf.zeros([count], tf.int32)  # how many bounds the number is not below
        for level in reversed(range(self._levels)):
            further = below + 2**level
            below = tf.where(tf.gather(bounds, further - 1) <= bits, further, below)
        return below - self._farthest


def discrete_gaussian(deviation: float) -> Symmetric:
    """P[k] ∝ exp(-k²/2σ²) (Canonne, Kamath & Steinke 2020)."""
    import numpy as np

    k = np.arange(-_farthest(deviation), 1.0)
    return Symmetric(np.exp(-(k**2) / (2 * deviation**2)))


def skellam(deviation: float) -> Symmetric:
    """The difference of two Poisson numbers, P[k] = exp(-σ²) I_k(σ²)."""
    import numpy as np
    from scipy.special import ive

    k = np.arange(-_farthest(deviation), 1.0)
    return Symmetric(ive(-k, deviation**2))


def _farthest(deviation: float) -> int:
    """What no more than 2⁻⁶² is beyond."""
    return math.ceil(10 * deviation + 40)
