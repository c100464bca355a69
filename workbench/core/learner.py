"""The contract between the core and an algorithm family."""

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple

import tensorflow as tf

from workbench.core.random import Seed


class Mean(NamedTuple):
    """A metric that averages over events, not over steps: e.g. the return of finished episodes.

    Over a block it becomes sum(total) / sum(weight), and is left out where no event happened.
    """

    total: tf.Tensor
    weight: tf.Tensor


Metrics = Mapping[str, tf.Tensor | Mean]


class Learner(tf.Module):
    """An algorithm with all of its state in variables.

    Attributes:
      unit: what the algorithm's budget counts, in the plural ("environment steps").
      units_per_step: how many of them one `train_step` takes.
      kernels: whether `runtime.jit=auto` leaves XLA out on a CPU, where TensorFlow's own kernels
        were measured to do such steps more quickly.
      limit: the most steps that may ever be taken, whatever the budget; None is any number.
      limited_by: what ends a run that has taken them.
    """

    unit: str = "steps"
    units_per_step: int = 1
    kernels: bool = False
    limit: int | None = None
    limited_by: str = ""

    @abstractmethod
    def train_step(self, seed: Seed) -> Metrics:
        """Advances the state by one step.

        Traceable; static shapes, and XLA-compilable wherever its ops allow.

        Args:
          seed: this step's randomness; `seed.step` is the int64 step count.

        Returns:
          Scalars by name; the core averages them over a block.
        """

    @abstractmethod
    def evaluate(self, seed: Seed) -> Metrics:
        """Judges the current state without changing it; traceable."""

    def account(self, step: int) -> dict[str, float]:
        """What is known of the state after `step` steps without looking at it: a budget spent."""
        return {}

    def examine(self) -> dict[str, float]:
        """What the host finds in the state at an evaluation, beside what `evaluate` judges."""
        return {}

    def fault(self, metrics: dict[str, float]) -> str | None:
        """What in a block's metrics or an evaluation's ends the run; None where nothing does."""
        bad = (name for name, value in metrics.items() if not math.isfinite(value))
        return next((f"{name} is not finite" for name in bad), None)

    def done(self, metrics: dict[str, float]) -> str | None:
        """What in a block's metrics ends the run well before its budget; None: nothing does."""
        return None

    def absorb(self, chunk: Any) -> None:
        """Takes a feed's chunk of host data into the state; traceable."""
        raise NotImplementedError(f"{type(self).__name__} takes no feed")

    def publish(self) -> Any:
        """What a feed needs to know of the state after each step, as a nest of tensors.

        They come out of the compiled step itself: reading a variable from Python costs more.
        """
        return ()


class Feed:
    """The host's side of a learner whose data cannot be compiled (optional).

    The program calls `next(step)` before each step and hands the chunk, a nest of arrays of
    fixed shapes, to `Learner.absorb` inside the compiled step; what `Learner.publish` gives after
    the step, and once before the first, goes to `receive`.

    Attributes:
      spec: a nest of `tf.TensorSpec` that every chunk matches.
    """

    spec: Any = None

    def next(self, step: int) -> Any:
        """The chunk for this step."""
        raise NotImplementedError

    def receive(self, published: Any) -> None:
        """Takes what the learner published, as tensors."""

    def metrics(self) -> dict[str, float]:
        """What the host measured since the last call, once a block: means by name."""
        return {}

    def evaluate(self, index: int) -> dict[str, float] | None:
        """Metrics of a host-side evaluation; None leaves it to `Learner.evaluate`."""
        return None

    def state(self) -> bytes:
        """What `restore` needs to go on exactly here."""
        return b""

    def restore(self, state: bytes) -> None:
        """Goes back to where `state` was taken."""

    def close(self) -> None:
        """Frees what the feed holds outside of Python: processes, windows, files."""
