"""The training loop: a generator of events, which recorders, progress bars and tests consume."""

import math
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

from workbench.core.checkpoint import CheckpointError, Checkpoints
from workbench.core.config import ConfigError, nearest
from workbench.core.events import (
    BlockDone,
    Checkpointed,
    CheckpointFailed,
    Compiled,
    Evaluated,
    Event,
    Position,
    Stopped,
)
from workbench.core.every import EverySeconds, next_multiple
from workbench.core.interruption import SIGNALS, AbandonedError, Interruption
from workbench.core.options import TrainConfig
from workbench.core.program import Program


def train(
    program: Program,
    config: TrainConfig,
    checkpoints: Checkpoints,
    position: Position,
    interruption: Interruption,
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[Event]:
    """Trains from `position` until the budget is spent, a rule stops it, or a signal came.

    Blocks end on multiples of `log_every` and `evaluate_every` whatever the start, so that a
    resumed run goes through the blocks of an uninterrupted one. Faults in the numbers (NaN) end
    the run before anything is saved: the last checkpoint stays good.
    """
    return _Training(program, config, checkpoints, position, interruption, clock).events()


class _Training:
    def __init__(
        self,
        program: Program,
        config: TrainConfig,
        checkpoints: Checkpoints,
        position: Position,
        interruption: Interruption,
        clock: Callable[[], float],
    ):
        per_step = program.learner.units_per_step
        self._units_per_step = per_step
        budget, limit = math.ceil(config.budget / per_step), program.learner.limit
        self._budget = budget if limit is None else min(budget, limit)
        self._limited = self._budget < budget
        self._block = max(1, config.log_every // per_step)
        self._evaluate_every = (
            max(1, config.evaluate_every // per_step) if config.evaluate_every else None
        )
        self._program = program
        self._config = config
        self._checkpoints = checkpoints
        self._position = position
        self._interruption = interruption
        self._clock = clock
        self._done: str | None = None

    def events(self) -> Iterator[Event]:
        position = self._position
        stopped = self._stop_reason()
        try:
            if stopped is None:
                started = self._clock()
                self._unless_interrupted(self._program.compile)
                seconds = self._clock() - started
                position.spend("compile", seconds)
                yield Compiled(seconds)
                stopped = self._stop_reason()
            save_due = EverySeconds(self._config.checkpoint_every, clock=self._clock)
            while stopped is None:
                if not self._evaluation_due():  # it is, where an evaluation was interrupted
                    done = self._train_block()
                    yield done
                    if bad := self._program.learner.fault(done.metrics):
                        yield self._failed(bad)
                        return
                    self._done = self._program.learner.done(done.metrics)
                best = False
                if self._evaluation_due():
                    evaluated = self._evaluate()
                    yield evaluated
                    if bad := self._program.learner.fault(evaluated.metrics):
                        yield self._failed(bad)
                        return
                    best = evaluated.best
                stopped = self._stop_reason()
                if stopped is None and self._program.runtime.any(best or save_due.due())[0]:
                    yield self._save()

            status, reason = stopped
            if status == "finished" and position.evaluated != position.step:
                evaluated = self._evaluate()
                yield evaluated
                if bad := self._program.learner.fault(evaluated.metrics):
                    yield self._failed(bad)
                    return
        except AbandonedError:
            assert self._interruption.signal is not None
            status, reason = self._interrupted(self._interruption.signal)
        saved = self._save()
        yield saved
        if isinstance(saved, CheckpointFailed):
            status, reason = "failed", saved.reason
        yield Stopped(status, reason, position)

    def _train_block(self) -> BlockDone:
        position = self._position
        end = min(self._budget, next_multiple(position.step, self._block))
        if self._evaluate_every:
            end = min(end, next_multiple(position.step, self._evaluate_every))
        started = self._clock()
        metrics = self._program.run(position.step, end - position.step)
        seconds = self._clock() - started
        units = (end - position.step) * self._units_per_step
        position.step = end
        position.spend("train", seconds)
        return BlockDone(end, self._units(), metrics, seconds, units / seconds)

    def _evaluation_due(self) -> bool:
        every, position = self._evaluate_every, self._position
        if every is None or position.evaluated == position.step:
            return False
        return position.step > 0 and position.step % every == 0

    def _evaluate(self) -> Evaluated:
        position = self._position
        started = self._clock()
        metrics = self._unless_interrupted(lambda: self._program.evaluate(position.step))
        seconds = self._clock() - started
        position.spend("evaluate", seconds)
        position.evaluated = position.step
        best = self._judge(metrics)
        return Evaluated(position.step, self._units(), metrics, seconds, best)

    def _judge(self, metrics: dict[str, float]) -> bool:
        position = self._position
        name = self._config.judge.removeprefix("evaluate/")
        if name not in metrics:
            measured = nearest(name, metrics)
            raise ConfigError(f"train.judge={self._config.judge} is not measured{measured}")
        value = metrics[name]
        if not math.isfinite(value):
            return False
        if position.best is None or self._gain(value, position.best) > self._config.stop.min_delta:
            position.best, position.best_step, position.stale = value, position.step, 0
            return True
        position.stale += 1
        return False

    def _gain(self, value: float, reference: float) -> float:
        return value - reference if self._config.mode == "max" else reference - value

    def _stop_reason(self) -> tuple[str, str] | None:
        position, stop = self._position, self._config.stop
        late = stop.seconds is not None and sum(position.seconds.values()) >= stop.seconds
        # Of several processes one may be late or have heard a signal, and all have to stop.
        *heard, late = self._program.runtime.any(
            *(self._interruption.signal == number for number in SIGNALS), late
        )
        for number, was_heard in zip(SIGNALS, heard, strict=True):
            if was_heard:
                return self._interrupted(number)
        if (
            stop.target is not None
            and position.best is not None
            and self._gain(position.best, stop.target) >= 0
        ):
            return "finished", "target reached"
        if self._done is not None:
            return "finished", self._done
        if stop.patience is not None and position.stale >= stop.patience:
            return "finished", "early stopping"
        if position.step >= self._budget:
            return "finished", self._program.learner.limited_by if self._limited else "budget"
        if late:
            return "finished", "time limit"
        return None

    def _interrupted(self, number: signal.Signals) -> tuple[str, str]:
        return "interrupted" if number == signal.SIGINT else "preempted", number.name

    def _unless_interrupted(self, call: Callable[[], Any]) -> Any:
        """What a call returns that changes no state, and takes as long as it takes.

        Raises:
          AbandonedError: when a signal comes first. Of several processes all have to end the call.
        """
        if self._program.runtime.processes > 1:
            return call()
        return self._interruption.unless_interrupted(call)

    def _save(self) -> Checkpointed | CheckpointFailed:
        try:
            path = self._checkpoints.save(self._position)
        except CheckpointError as error:
            return CheckpointFailed(self._position.step, str(error))
        return Checkpointed(self._position.step, path)

    def _failed(self, fault: str) -> Stopped:
        at = f"{self._units()} {self._program.learner.unit}"
        return Stopped("failed", f"{fault} at {at}", self._position)

    def _units(self) -> int:
        return self._position.step * self._units_per_step
