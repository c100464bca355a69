"""What a user may say about networks; imports no TensorFlow."""

from dataclasses import dataclass, field

from workbench.core.config import AT_LEAST_ONE, register, require


@register("network", "mlp")
@dataclass
class MlpConfig:
    """A multilayer perceptron."""

    # Units of the hidden layers, first to last.
    layers: list[int] = field(default_factory=lambda: [120, 84])
    activation: str = "relu"
    # Where weights start. "fan_in": kernels and biases uniform within 1/√inputs, as PyTorch's
    # layers and so most published baselines; "he": normal with variance 2/inputs and biases 0, the
    # last layer near 0, as tf-agents' networks.
    initializer: str = "he"

    def __post_init__(self) -> None:
        require(
            self,
            layers=AT_LEAST_ONE,
            activation=("relu", "tanh"),
            initializer=("fan_in", "he"),
        )
