"""What a user may say about training and the runtime; imports no TensorFlow."""

from dataclasses import dataclass, field

from workbench.core.config import (
    AT_LEAST_ONE,
    NON_NEGATIVE,
    POSITIVE,
    ConfigError,
    register,
    require,
)


@dataclass
class StopConfig:
    """When to stop before the budget is spent; null switches a rule off."""

    # Stop once the judged metric reaches this value.
    target: float | None = None
    # Stop after this many evaluations in a row without a new best.
    patience: int | None = None
    # What counts as a new best: an improvement by more than this.
    min_delta: float = 0.0
    # Wall-clock limit on the run, resumed parts included, in seconds.
    seconds: float | None = None

    def __post_init__(self) -> None:
        require(self, patience=AT_LEAST_ONE, min_delta=NON_NEGATIVE, seconds=POSITIVE)


@dataclass
class TrainConfig:
    """How long to train and what happens on the way; lengths are in the algorithm's unit."""

    budget: int = 100_000
    log_every: int = 10_000
    # Null evaluates at the end only.
    evaluate_every: int | None = None
    # The metric that "best", `stop.target` and `stop.patience` judge by.
    judge: str = "evaluate/return"
    # Whether a larger value of it is better ("max") or a smaller one ("min").
    mode: str = "max"
    stop: StopConfig = field(default_factory=StopConfig)
    # Seconds of training between checkpoints; the end and an interruption always make one.
    checkpoint_every: float = 60.0
    # How many of the last checkpoints stay, besides the best.
    keep: int = 2

    def __post_init__(self) -> None:
        require(
            self,
            budget=AT_LEAST_ONE,
            log_every=AT_LEAST_ONE,
            evaluate_every=AT_LEAST_ONE,
            mode=("max", "min"),
            checkpoint_every=NON_NEGATIVE,
            keep=AT_LEAST_ONE,
        )


@register("runtime", "device", builder="workbench.core.runtime:build")
@dataclass
class RuntimeConfig:
    """The devices of a run and how programs are compiled for them."""

    # "cpu" or "gpu".
    device: str = "cpu"
    # XLA: "auto" decides by program and device, "on" and "off" insist.
    jit: str = "auto"
    # Deterministic kernels only; slower on some devices, and what makes a run repeatable there.
    deterministic: bool = True
    # Threads inside one operation; null lets TensorFlow take every core.
    threads: int | None = None

    def __post_init__(self) -> None:
        require(self, device=("cpu", "gpu"), jit=("auto", "on", "off"), threads=AT_LEAST_ONE)


@dataclass
class BaselineConfig:
    """A published number that the run's result is held against.

    `spread` is the source's own uncertainty: a result within it of `value` matches.
    """

    name: str = ""
    metric: str = "evaluate/return"
    value: float = 0.0
    spread: float = 0.0
    mode: str = "max"
    source: str = ""

    def __post_init__(self) -> None:
        require(self, spread=NON_NEGATIVE, mode=("max", "min"))
        if not self.name:
            raise ConfigError("a baseline needs a name: set baseline.name, or baseline=null")

    def verdict(self, measured: float) -> str:
        """How a measured value compares: "better", "matches" or "worse"."""
        gain = measured - self.value if self.mode == "max" else self.value - measured
        if abs(gain) <= self.spread:
            return "matches"
        return "better" if gain > 0 else "worse"
