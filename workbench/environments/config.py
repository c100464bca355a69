"""What a user may say about environments; imports no TensorFlow."""

from dataclasses import dataclass, field
from typing import Any

from workbench.core.config import ConfigError, Limits, register, require


@register("environment", "cartpole", builder="workbench.environments.classic_control:build")
@dataclass
class CartPoleConfig:
    """CartPole-v1, compiled."""


@register("environment", "acrobot", builder="workbench.environments.classic_control:build")
@dataclass
class AcrobotConfig:
    """Acrobot-v1, compiled."""


@register("environment", "mountain_car", builder="workbench.environments.classic_control:build")
@dataclass
class MountainCarConfig:
    """MountainCar-v0, compiled."""


@register("environment", "pendulum", builder="workbench.environments.classic_control:build")
@dataclass
class PendulumConfig:
    """Pendulum-v1 with discrete torques, compiled."""

    # Torques to choose from, evenly spaced over the environment's range.
    torques: int = 5

    def __post_init__(self) -> None:
        require(self, torques=Limits(low=2))


@register("environment", "gymnasium", builder="workbench.environments.gymnasium_vector:build")
@dataclass
class GymnasiumConfig:
    """Any gymnasium environment with discrete actions and a box of observations, by id."""

    id: str = ""
    # Keyword arguments of the environment.
    kwargs: dict[str, Any] = field(default_factory=dict)
    # Time limit in steps; null keeps the environment's own.
    max_episode_steps: int | None = None

    def __post_init__(self) -> None:
        require(self, max_episode_steps=Limits(low=1))

    def check(self) -> None:
        """Whether the environment exists and suits the workbench.

        Raises:
          ConfigError: when it does not.
        """
        if not self.id:
            raise ConfigError("id is empty: name an environment, as in environment.id=CartPole-v1")
        from workbench.environments.gymnasium_vector import check

        check(self.id, self.kwargs, self.max_episode_steps)
