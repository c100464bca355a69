"""How far an example may move a sum: weights for its gradients, from their norms."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import tensorflow as tf

from workbench.privacy.config import ClippingConfig


class Clipping(tf.Module):
    """Weights that bound each example's gradient over all variables by `norm`.

    Attributes:
      norm: C, the sensitivity of the sum, float32 scalar.
    """

    norm: Any

    @abstractmethod
    def weights(self, squared_norms: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """A factor for each example's gradient by each variable, `[B]` each.

        Args:
          squared_norms: of them, `[B]` each.
        """

    @contextmanager
    def read(self) -> Iterator[None]:
        """Inside, `norm` is a tensor: turns of a loop that read variables wait for each other."""
        norm = self.norm
        self.norm = tf.convert_to_tensor(norm)
        try:
            yield
        finally:
            self.norm = norm

    def adapt(self, share: tf.Tensor) -> None:
        """Follows the noised share of a step's examples that were not clipped; inside of `each`."""


class Flat(Clipping):
    """g · min(1, C / |g|), with |g| over all variables (Abadi et al. 2016, Algorithm 1)."""

    def __init__(self, norm: float):
        super().__init__(name="clipping")
        self.norm = tf.constant(norm)

    def weights(self, squared_norms: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        factor = tf.minimum(1.0, self.norm * tf.math.rsqrt(tf.add_n(squared_norms)))
        return [factor] * len(squared_norms)


class PerLayer(Clipping):
    """Each of L variables to C / sqrt(L), which together are C (McMahan et al. 2018)."""

    def __init__(self, norm: float):
        super().__init__(name="clipping")
        self.norm = tf.constant(norm)

    def weights(self, squared_norms: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        bound = self.norm * len(squared_norms) ** -0.5
        return [tf.minimum(1.0, bound * tf.math.rsqrt(square)) for square in squared_norms]


class Automatic(Clipping):
    """g · C / (|g| + gamma): every gradient counts about the same (Bu et al. 2023, AUTO-S)."""

    def __init__(self, norm: float, stability: float):
        super().__init__(name="clipping")
        self.norm = tf.constant(norm)
        self._stability = stability

    def weights(self, squared_norms: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        factor = self.norm / (tf.sqrt(tf.add_n(squared_norms)) + self._stability)
        return [factor] * len(squared_norms)


class Quantile(Flat):
    """Flat, with a C that goes geometrically to where a share gamma of the norms is below it.

    Andrew et al. 2021, "Differentially Private Learning with Adaptive Clipping": with b the noised
    share of examples below C, C <- C · exp(-eta (b - gamma)).
    """

    def __init__(self, norm: float, quantile: float, rate: float):
        super().__init__(norm)
        self.norm = tf.Variable(norm, trainable=False, name="norm")
        self._quantile = quantile
        self._rate = rate

    def adapt(self, share: tf.Tensor) -> None:
        self.norm.assign(self.norm * tf.exp(-self._rate * (share - self._quantile)))


def clipping_of(config: ClippingConfig) -> Clipping:
    """The clipping that a configuration describes."""
    if config.kind == "flat":
        return Flat(config.norm)
    if config.kind == "per_layer":
        return PerLayer(config.norm)
    if config.kind == "automatic":
        return Automatic(config.norm, config.stability)
    return Quantile(config.norm, config.quantile, config.rate)
