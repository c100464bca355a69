"""Everything that a user may say about a run, as dataclasses; imports no TensorFlow."""

from dataclasses import dataclass, field
from typing import Any

from workbench.core.config import ConfigError, Limits, require
from workbench.core.options import BaselineConfig, TrainConfig

# Importing a configuration module registers what is in it.
from workbench.datasets import config as _datasets  # noqa: F401
from workbench.dqn import config as _dqn  # noqa: F401
from workbench.environments import config as _environments  # noqa: F401
from workbench.federated import config as _federated  # noqa: F401
from workbench.glm import config as _glm  # noqa: F401
from workbench.models import config as _models  # noqa: F401
from workbench.privacy import config as _privacy  # noqa: F401
from workbench.recording import config as _recording  # noqa: F401

# Groups that an algorithm may need, and lists in its `parts` when it does.
PARTS = (
    "dataset",
    "environment",
    "partition",
    "cohort",
    "features",
    "network",
    "aggregator",
    "privacy",
    "engine",
    "glm",
    "method",
)


@dataclass
class RunConfig:
    """Where a run is kept."""

    # The run's folder, exactly.
    dir: str = "runs/${name}/${now:%Y-%m-%d_%H-%M-%S}_seed${seed}"


@dataclass
class SweepConfig:
    """How `-m` goes about its cells; no part of a run and of what is kept of it."""

    # The sweep's folder; one that is there already is gone on with. Null is runs/NAME/sweep_DATE.
    dir: str | None = None
    # Whether the first cell that fails stops the others, after a checkpoint.
    fail_fast: bool = False
    # What a sweeper optimises: numbers of summary.json, metrics such as evaluate/return or others
    # such as seconds.train. Null is the best value of train.judge.
    objectives: list[str] | None = None

    def __post_init__(self) -> None:
        if self.objectives == []:
            raise ConfigError("objectives=[] names none; null is the judged metric")


@dataclass
class ExperimentConfig:
    """Everything about a run; what a group's field holds is up to the choice made there."""

    # The name of its file in conf/experiment.
    name: str = "custom"
    # One line for `workbench list`.
    description: str = ""
    seed: int = 0
    run: RunConfig = field(default_factory=RunConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    algorithm: Any = None
    dataset: Any = None
    environment: Any = None
    partition: Any = None
    cohort: Any = None
    features: Any = None
    network: Any = None
    aggregator: Any = None
    privacy: Any = None
    engine: Any = None
    glm: Any = None
    method: Any = None
    runtime: Any = None
    recorder: Any = None
    baseline: BaselineConfig | None = None
    sweep: SweepConfig = field(default_factory=SweepConfig)

    def __post_init__(self) -> None:
        require(self, seed=Limits(low=0, high=2**63 - 1))
        if self.algorithm is None:
            raise ConfigError(
                "nothing to run: choose an experiment, as in experiment=dqn/cartpole "
                "(`workbench list` names them)"
            )
        needed = self.algorithm.parts
        for part in PARTS:
            chosen = getattr(self, part) is not None
            if part in needed and not chosen:
                raise ConfigError(f"{part} is not chosen, and this algorithm needs one")
            if chosen and part not in needed:
                raise ConfigError(f"{part} is chosen, and this algorithm has none; write ~{part}")

    @property
    def parts(self) -> dict[str, Any]:
        """The configurations that the algorithm is built from, by group."""
        return {part: getattr(self, part) for part in self.algorithm.parts}

    def check(self) -> None:
        """Checks that take longer than composing does: that an environment exists, say.

        Raises:
          ConfigError: naming the group and what is wrong with it.
        """
        for name, part in {**self.parts, "recorder": self.recorder}.items():
            if hasattr(part, "check"):
                try:
                    part.check()
                except ConfigError as error:
                    raise ConfigError(f"{name}: {error}") from None
