"""What a user may say about privacy and DP-SGD; imports no TensorFlow."""

from dataclasses import dataclass, field
from typing import ClassVar

from workbench.core.config import (
    AT_LEAST_ONE,
    NON_NEGATIVE,
    POSITIVE,
    PROBABILITY,
    ConfigError,
    Limits,
    register,
    require,
)

FRACTION = Limits(low=0, high=1, open_low=True)


@dataclass
class SamplingConfig:
    """How examples come into a step."""

    # "poisson": each by itself, with probability batch_size / examples. "truncated": the same, but
    # no more than `capacity` of them. "shuffled": each once an epoch, without amplification.
    kind: str = "poisson"
    # The most examples in a step. Null: so many that more are not to be expected in a lifetime.
    capacity: int | None = None

    def __post_init__(self) -> None:
        require(self, kind=("poisson", "truncated", "shuffled"), capacity=AT_LEAST_ONE)
        if self.kind == "truncated" and self.capacity is None:
            raise ConfigError("kind=truncated needs a capacity")
        if self.kind != "truncated" and self.capacity is not None:
            raise ConfigError(f"kind={self.kind} has no capacity; did you mean kind=truncated?")


@dataclass
class ClippingConfig:
    """How far one example may move the model: the sensitivity of a step's sum."""

    # "flat": g · min(1, C/‖g‖). "per_layer": each variable of L to C/√L. "automatic": g · C/(‖g‖ +
    # stability) (Bu et al. 2023). "quantile": flat, with a C that follows a quantile of the norms
    # (Andrew et al. 2021).
    kind: str = "flat"
    # C; where it starts, for "quantile".
    norm: float = 1.0
    stability: float = 0.01
    # The share of examples that is to stay below C, how fast C follows it, and the standard
    # deviation of the noise on how many did, which null makes batch_size / 20.
    quantile: float = 0.5
    rate: float = 0.2
    count_noise: float | None = None

    def __post_init__(self) -> None:
        require(
            self,
            kind=("flat", "per_layer", "automatic", "quantile"),
            norm=POSITIVE,
            stability=POSITIVE,
            quantile=PROBABILITY,
            rate=POSITIVE,
            count_noise=POSITIVE,
        )


@dataclass
class NoiseConfig:
    """Noise on a step's sum: Gaussian, in units of the sensitivity."""

    # "gaussian": new in each step. "tree": of DP-FTRL (Kairouz et al. 2021), which adds up slowly;
    # its tree is restarted every epoch.
    kind: str = "gaussian"
    # The multiplier's way from its start to `end` times it, in as many stages.
    schedule: str = "constant"
    end: float = 1.0
    stages: int = 20

    def __post_init__(self) -> None:
        require(
            self,
            kind=("gaussian", "tree"),
            schedule=("constant", "linear", "exponential"),
            end=POSITIVE,
            stages=AT_LEAST_ONE,
        )
        if self.kind == "tree" and self.schedule != "constant":
            raise ConfigError(f"schedule={self.schedule} is for kind=gaussian only")


@register("privacy", "dp")
@dataclass
class PrivacyConfig:
    """A guarantee of (ε, δ)-differential privacy for every example."""

    # σ. Null: what `epsilon` takes after `steps` steps.
    noise_multiplier: float | None = 1.0
    # ε. With a noise multiplier: training stops before it would be exceeded.
    epsilon: float | None = None
    delta: float = 1e-5
    # Steps of the whole training, which σ is found for.
    steps: int | None = None
    # "pld" (privacy loss distributions) or "rdp" (Rényi).
    accountant: str = "pld"
    # What one example more or less is: "add_remove", "replace_one", or "zero_out" (its gradient).
    adjacency: str = "add_remove"
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    clipping: ClippingConfig = field(default_factory=ClippingConfig)
    noise: NoiseConfig = field(default_factory=NoiseConfig)

    def __post_init__(self) -> None:
        require(
            self,
            noise_multiplier=POSITIVE,
            epsilon=POSITIVE,
            delta=Limits(low=0, high=1, open_low=True),
            steps=AT_LEAST_ONE,
            accountant=("pld", "rdp"),
            adjacency=("add_remove", "replace_one", "zero_out"),
        )
        if self.noise_multiplier is None and self.epsilon is None:
            raise ConfigError("noise_multiplier and epsilon are both null; give one of them")


@register("privacy", "none")
@dataclass
class NoPrivacyConfig:
    """No clipping and no noise: the same training without a guarantee, to compare with."""


@register("algorithm", "dp_sgd", builder="workbench.privacy.build:build")
@dataclass
class DpSgdConfig:
    """DP-SGD (Abadi et al. 2016): clipped per-example gradients, summed, with noise."""

    family: ClassVar[str] = "dp_sgd"
    parts: ClassVar[tuple[str, ...]] = ("dataset", "features", "network", "privacy")

    # Examples in a step: expected, where sampling is random. Sums are divided by it.
    batch_size: int = 256
    # Examples that are in memory at once; a step goes through as many such chunks as it needs.
    # Null: chosen for the device.
    chunk_size: int | None = None
    optimizer: str = "sgd"
    learning_rate: float = 0.25
    momentum: float = 0.0
    # Learning rate over training: "constant", "linear" or "cosine" towards 0.
    schedule: str = "constant"
    warmup: int = 0
    # Augmented copies of an example, whose gradients are averaged before they are clipped
    # (De et al. 2022): 1 is the example itself.
    augmentations: int = 1
    # Weight of the past in the moving average of parameters that is evaluated; 0 is none.
    ema: float = 0.0

    def __post_init__(self) -> None:
        require(
            self,
            batch_size=AT_LEAST_ONE,
            chunk_size=AT_LEAST_ONE,
            optimizer=("sgd", "adam", "adamw", "rmsprop", "adagrad"),
            learning_rate=POSITIVE,
            momentum=PROBABILITY,
            schedule=("constant", "linear", "cosine"),
            warmup=NON_NEGATIVE,
            augmentations=AT_LEAST_ONE,
            ema=PROBABILITY,
        )
