"""What a user may say about training and the runtime; imports no TensorFlow."""

import json
import os
from dataclasses import dataclass, field

from workbench.core.config import (
    AT_LEAST_ONE,
    NON_NEGATIVE,
    POSITIVE,
    ConfigError,
    Limits,
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


@dataclass
class RuntimeOptions:
    """How programs are compiled, whatever they run on."""

    # XLA: "auto" decides by program and device, "on" and "off" insist.
    jit: str = "auto"
    # "float32", or "bfloat16": networks compute in it, and keep their weights in float32.
    precision: str = "float32"
    # Deterministic kernels only; slower on some devices, and what makes a run repeatable there.
    deterministic: bool = True
    # Threads inside one operation; null lets TensorFlow take every core.
    threads: int | None = None

    def __post_init__(self) -> None:
        require(
            self,
            jit=("auto", "on", "off"),
            precision=("float32", "bfloat16"),
            threads=AT_LEAST_ONE,
        )

    @property
    def worker(self) -> int:
        """The number of this process among those of the run; 0 keeps its records."""
        return 0


@register("runtime", "device", builder="workbench.core.devices:one_device")
@dataclass
class RuntimeConfig(RuntimeOptions):
    """One device."""

    # "cpu" or "gpu".
    device: str = "cpu"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, device=("cpu", "gpu"))


@register("runtime", "mirrored", builder="workbench.core.devices:mirrored")
@dataclass
class MirroredConfig(RuntimeOptions):
    """Several devices of this machine (tf.distribute.MirroredStrategy)."""

    # "gpu", or "cpu": the processor as several logical devices, to try things with.
    device: str = "gpu"
    # Null takes every GPU, or a logical device for each core.
    replicas: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, device=("cpu", "gpu"), replicas=AT_LEAST_ONE)


@register("runtime", "multi_worker", builder="workbench.core.devices:multi_worker")
@dataclass
class MultiWorkerConfig(RuntimeOptions):
    """Several processes, on one machine or many (MultiWorkerMirroredStrategy).

    Every process is started with the same command, and sees the run's folder.
    """

    # "cpu", or "gpu": every GPU that a process sees is a replica.
    device: str = "cpu"
    # What says who the workers are: "tf_config", the variable TF_CONFIG, or "slurm", the job step.
    cluster: str = "tf_config"
    # With "slurm", the first port that workers listen on.
    port: int = 8888

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self,
            device=("cpu", "gpu"),
            cluster=("tf_config", "slurm"),
            port=Limits(low=1024, high=65535),
        )

    @property
    def worker(self) -> int:
        """The number of this process; a chief comes before the workers.

        Raises:
          ConfigError: when the surroundings do not say.
        """
        return _slurm_worker() if self.cluster == "slurm" else _tf_config_worker()


def _slurm_worker() -> int:
    try:
        return int(os.environ["SLURM_PROCID"])
    except (KeyError, ValueError):
        raise ConfigError(
            "runtime.cluster=slurm needs a job step: start it by srun, or choose "
            "runtime.cluster=tf_config"
        ) from None


def _tf_config_worker() -> int:
    text = os.environ.get("TF_CONFIG")
    if not text:
        raise ConfigError(
            "runtime.cluster=tf_config needs the variable TF_CONFIG, such as "
            '{"cluster": {"worker": ["host:port", "host:port"]}, '
            '"task": {"type": "worker", "index": 0}}'
        )
    try:
        values = json.loads(text)
        cluster, kind = values["cluster"], values["task"]["type"]
        number = int(values["task"]["index"])
        address = cluster[kind][number]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise ConfigError(f"TF_CONFIG does not describe a cluster and this task: {error}") from None
    if kind not in ("chief", "worker"):
        raise ConfigError(f"TF_CONFIG makes {address} a {kind}; runs have a chief and workers only")
    return number + (len(cluster.get("chief", [])) if kind == "worker" else 0)


@register("runtime", "tpu", builder="workbench.core.devices:tpu")
@dataclass
class TpuConfig(RuntimeOptions):
    """The cores of a TPU (tf.distribute.TPUStrategy)."""

    # Its name or grpc:// address; "local" on a TPU machine itself.
    name: str = "local"
    zone: str | None = None
    project: str | None = None


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
