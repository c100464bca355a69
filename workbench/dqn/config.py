"""What a user may say about DQN agents; imports no TensorFlow."""

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


@dataclass
class ExplorationConfig:
    """The epsilon of epsilon-greedy acting, from `start` to `end` over `steps`."""

    # "linear", or "exponential": a constant factor a step that reaches `end` at `steps`.
    schedule: str = "linear"
    start: float = 1.0
    end: float = 0.05
    # Environment steps until `end` is reached.
    steps: int = 250_000

    def __post_init__(self) -> None:
        require(
            self,
            schedule=("linear", "exponential"),
            start=PROBABILITY,
            end=PROBABILITY,
            steps=AT_LEAST_ONE,
        )
        if self.schedule == "exponential" and min(self.start, self.end) == 0:
            raise ConfigError("end=0 is out of reach for an exponential schedule; use linear")


@dataclass
class EvaluationConfig:
    """How the greedy policy is judged."""

    episodes: int = 100
    # Write a GIF of one greedy episode into the run folder at the end.
    gif: bool = False

    def __post_init__(self) -> None:
        require(self, episodes=AT_LEAST_ONE)


@register("algorithm", "dqn", builder="workbench.dqn.build:build")
@dataclass
class DqnConfig:
    """Deep Q-network (Mnih et al. 2015), with the usual choices."""

    family: ClassVar[str] = "dqn"
    parts: ClassVar[tuple[str, ...]] = ("environment", "network")

    # Double Q-learning targets (van Hasselt, Guez & Silver 2016).
    double: bool = False
    optimizer: str = "adam"
    learning_rate: float = 2.5e-4
    # The denominator's addend in Adam or RMSProp.
    optimizer_epsilon: float = 1e-8
    # Largest global norm of the gradient; null leaves it alone.
    gradient_clipping: float | None = None
    loss: str = "squared"
    gamma: float = 0.99
    n_step: int = 1
    batch_size: int = 128
    # Transitions kept.
    replay_capacity: int = 10_000
    # Environment steps before the first update.
    learning_starts: int = 10_000
    num_envs: int = 1
    # Steps of each environment between training phases, and updates in such a phase.
    train_every: int = 10
    gradient_steps: int = 1
    # Updates between changes of the target network, and how far it then moves (1: copies).
    target_update_period: int = 50
    target_update_tau: float = 1.0
    exploration: ExplorationConfig = field(default_factory=ExplorationConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    def __post_init__(self) -> None:
        require(
            self,
            optimizer=("adam", "rmsprop", "sgd"),
            learning_rate=POSITIVE,
            optimizer_epsilon=POSITIVE,
            gradient_clipping=POSITIVE,
            loss=("squared", "huber"),
            gamma=PROBABILITY,
            n_step=AT_LEAST_ONE,
            batch_size=AT_LEAST_ONE,
            replay_capacity=AT_LEAST_ONE,
            learning_starts=NON_NEGATIVE,
            num_envs=AT_LEAST_ONE,
            train_every=AT_LEAST_ONE,
            gradient_steps=AT_LEAST_ONE,
            target_update_period=AT_LEAST_ONE,
            target_update_tau=Limits(low=0, high=1, open_low=True),
        )
        if self.batch_size > self.replay_capacity:
            raise ConfigError(
                f"batch_size={self.batch_size} exceeds replay_capacity={self.replay_capacity}; "
                "lower it or raise the capacity"
            )
        rows = self.replay_capacity // self.num_envs
        needed = max(self.n_step, self.train_every)
        if rows < needed:
            raise ConfigError(
                f"replay_capacity={self.replay_capacity} is {rows} steps of {self.num_envs} "
                f"environments, and n_step and train_every need {needed}; raise it"
            )
