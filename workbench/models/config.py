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

    def __post_init__(self) -> None:
        require(self, layers=AT_LEAST_ONE, activation=("relu", "tanh"))
