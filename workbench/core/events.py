"""What a training loop tells its consumers; imports no TensorFlow."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Position:
    """Where a run stands.

    Attributes:
      step: train steps taken.
      evaluated: the step of the last evaluation, -1 before the first.
      best: the best judged value so far, and `best_step` where it was.
      stale: evaluations since then.
      seconds: spent so far by phase (setup, compile, train, evaluate), over all parts of the run.
    """

    step: int = 0
    evaluated: int = -1
    best: float | None = None
    best_step: int = -1
    stale: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    def spend(self, phase: str, seconds: float) -> None:
        """Adds to the time that a phase has taken."""
        self.seconds[phase] = self.seconds.get(phase, 0.0) + seconds


@dataclass(frozen=True)
class Compiled:
    """The program is ready."""

    seconds: float


@dataclass(frozen=True)
class BlockDone:
    """A block of steps was trained; `units` counts from the run's beginning."""

    step: int
    units: int
    metrics: dict[str, float]
    seconds: float
    units_per_second: float


@dataclass(frozen=True)
class Evaluated:
    """The learner was judged."""

    step: int
    units: int
    metrics: dict[str, float]
    seconds: float
    best: bool


@dataclass(frozen=True)
class Checkpointed:
    """Everything stands on disk."""

    step: int
    path: Path


@dataclass(frozen=True)
class CheckpointFailed:
    """A checkpoint could not be written; the ones before it are untouched."""

    step: int
    reason: str


@dataclass(frozen=True)
class Stopped:
    """The last event.

    `status` is finished, failed, preempted or interrupted; `reason` names the rule or the fault.
    """

    status: str
    reason: str
    position: Position


Event = Compiled | BlockDone | Evaluated | Checkpointed | CheckpointFailed | Stopped
