"""What a run goes through, told by its events; and that stopping and resuming leaves no trace."""

import math
import os
import signal
from collections.abc import Callable, Iterable
from copy import deepcopy
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from workbench.core.checkpoint import CheckpointError, Checkpoints
from workbench.core.config import ConfigError
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
from workbench.core.interruption import Interruption
from workbench.core.learner import Feed, Learner
from workbench.core.loop import train
from workbench.core.options import StopConfig, TrainConfig
from workbench.core.program import Program
from workbench.core.random import Seed
from workbench.core.replay.minibatch import ShuffledMinibatches
from workbench.core.runtime import Runtime


class Script:
    """A program that plays what it is told, on a clock of its own.

    Compiling takes 5 seconds, a step 1 and an evaluation 2.

    Args:
      loss: metric of a block by the step that it ends on.
      score: metric of an evaluation by its step.
      during: called with the first step of every block.
    """

    def __init__(
        self,
        *,
        loss: Callable[[int], float] = lambda step: 1.0,
        score: Callable[[int], float] = float,
        during: Callable[[int], None] = lambda first: None,
        units_per_step: int = 1,
    ):
        self.learner = SimpleNamespace(
            unit="steps",
            units_per_step=units_per_step,
            limit=None,
            limited_by="a limit",
            fault=partial(Learner.fault, None),
            done=lambda metrics: None,
        )
        self.runtime = Runtime()
        self.now = 1000.0
        self._loss, self._score, self._during = loss, score, during

    def compile(self) -> None:
        self.now += 5

    def run(self, first_step: int, steps: int) -> dict[str, float]:
        self._during(first_step)
        self.now += steps
        return {"loss": self._loss(first_step + steps)}

    def evaluate(self, index: int) -> dict[str, float]:
        self.now += 2
        return {"return": self._score(index)}


class Shelf:
    """Checkpoints in memory, on a disk that is full at some steps."""

    def __init__(self, full_at: Iterable[int] = ()):
        self.saved: list[Position] = []
        self._full_at = full_at

    def save(self, position: Position) -> Path:
        if position.step in self._full_at:
            raise CheckpointError("no space")
        self.saved.append(deepcopy(position))
        return Path(f"step-{position.step}")


def play(
    script: Script | None = None,
    *,
    start: Position | None = None,
    shelf: Shelf | None = None,
    interruption: Interruption | None = None,
    **options: Any,
) -> list[Event]:
    """The events of a run of 20 steps with an evaluation every 5, unless `options` differ."""
    script = script or Script()
    config = TrainConfig(
        **{"budget": 20, "log_every": 5, "evaluate_every": 5, "checkpoint_every": 1e9} | options
    )
    return list(
        train(
            script,
            config,
            shelf or Shelf(),
            start or Position(),
            interruption or Interruption(),
            clock=lambda: script.now,
        )
    )


def told(events: Iterable[Event]) -> list[str]:
    """Events in a word each."""
    return [_told(event) for event in events]


def _told(event: Event) -> str:
    match event:
        case Compiled():
            return "compiled"
        case BlockDone():
            return f"trained {event.step}"
        case Evaluated():
            return f"evaluated {event.step}" + (", the best" if event.best else "")
        case Checkpointed():
            return f"saved {event.step}"
        case CheckpointFailed():
            return f"not saved {event.step}: {event.reason}"
        case Stopped():
            return f"{event.status}: {event.reason}"
    raise TypeError(event)


def ends(events: Iterable[Event], kind: type = BlockDone) -> list[int]:
    return [event.step for event in events if isinstance(event, kind)]


def test_events_come_in_order():
    assert told(play(Script(score=lambda step: -step), log_every=4, budget=12)) == [
        "compiled",
        "trained 4",
        "trained 5",
        "evaluated 5, the best",
        "saved 5",
        "trained 8",
        "trained 10",
        "evaluated 10",
        "trained 12",
        "evaluated 12",
        "saved 12",
        "finished: budget",
    ]


@pytest.mark.parametrize("start", range(20))
def test_blocks_end_on_the_same_multiples_whatever_the_start(start):
    events = play(start=Position(step=start), log_every=4, budget=22)
    whole = [4, 5, 8, 10, 12, 15, 16, 20, 22]
    assert ends(events) == [step for step in whole if step > start]


@pytest.mark.parametrize(
    ("log_every", "expected"), [(20, [20, 40, 60, 80, 100]), (3, range(10, 101, 10))]
)
def test_lengths_are_in_units_and_blocks_in_whole_steps(log_every, expected):
    script = Script(units_per_step=10)
    events = play(script, budget=95, log_every=log_every, evaluate_every=None)
    blocks = [event for event in events if isinstance(event, BlockDone)]
    assert [block.units for block in blocks] == list(expected)
    assert [block.units for block in blocks] == [10 * block.step for block in blocks]
    assert {block.units_per_second for block in blocks} == {10.0}


def test_seconds_are_counted_by_phase():
    stopped = play(budget=10, start=Position(seconds={"train": 7.0}))[-1]
    assert stopped.position.seconds == {"compile": 5.0, "train": 17.0, "evaluate": 4.0}


@pytest.mark.parametrize(
    ("evaluate_every", "steps"), [(None, [20]), (5, [5, 10, 15, 20]), (8, [8, 16, 20])]
)
def test_evaluation_is_every_so_often_and_once_at_the_end(evaluate_every, steps):
    assert ends(play(evaluate_every=evaluate_every), Evaluated) == steps


def test_finished_run_that_is_resumed_has_nothing_left_to_do():
    position = Position(step=20, evaluated=20, best=20.0, best_step=20)
    assert told(play(start=position)) == ["saved 20", "finished: budget"]


def test_run_cut_off_before_its_last_evaluation_catches_up_on_it():
    events = told(play(start=Position(step=20, evaluated=15)))
    assert events == ["evaluated 20, the best", "saved 20", "finished: budget"]


@pytest.mark.parametrize(
    ("score", "mode", "rules", "ending"),
    [
        (lambda step: step, "max", {"target": 15.0}, (15, "target reached")),
        (lambda step: -step, "min", {"target": -15.0}, (15, "target reached")),
        (lambda step: step, "max", {"target": 99.0}, (20, "budget")),
        (lambda step: 1.0, "max", {"patience": 2}, (15, "early stopping")),
        (lambda step: step, "min", {"patience": 2}, (15, "early stopping")),
        (lambda step: step, "max", {"patience": 1}, (20, "budget")),
        (lambda step: step, "max", {"patience": 2, "min_delta": 10.0}, (15, "early stopping")),
        (lambda step: step, "max", {"patience": 2, "min_delta": 9.9}, (20, "budget")),
        (lambda step: -step, "min", {"patience": 2, "min_delta": 9.9}, (20, "budget")),
        (lambda step: 1.0, "max", {"seconds": 19.0}, (10, "time limit")),  # 5 + 2 (5 + 2)
        (lambda step: 1.0, "max", {"seconds": 19.1}, (15, "time limit")),
    ],
)
def test_run_stops_by_its_rule(score, mode, rules, ending):
    events = play(Script(score=score), mode=mode, stop=StopConfig(**rules))
    assert (ends(events)[-1], events[-1].reason) == ending
    assert events[-1].status == "finished"
    assert events[-1].position.evaluated == ending[0]


def test_time_limit_counts_the_parts_before_a_resumption():
    start = Position(step=5, evaluated=5, seconds={"train": 100.0, "setup": 1.0})
    events = play(start=start, stop=StopConfig(seconds=112.9))  # 101 + 5 to compile + 5 + 2
    assert ends(events) == [10]
    assert events[-1].reason == "time limit"


def test_best_is_the_best_judged_value_and_where_it_was():
    scores = {5: 3.0, 10: 8.0, 15: 8.0, 20: 1.0}
    position = play(Script(score=scores.get))[-1].position
    assert (position.best, position.best_step, position.stale) == (8.0, 10, 2)


def test_a_judged_metric_that_is_not_measured_is_refused():
    with pytest.raises(ConfigError, match="evaluate/accuracy is not measured"):
        play(judge="evaluate/accuracy")


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_fault_in_training_fails_the_run_and_saves_nothing(bad):
    shelf = Shelf()
    script = Script(loss=lambda step: bad if step == 10 else 1.0)
    events = play(script, shelf=shelf, evaluate_every=None, checkpoint_every=0.0)
    assert told(events)[-2:] == ["trained 10", "failed: loss is not finite at 10 steps"]
    assert [position.step for position in shelf.saved] == [5]


@pytest.mark.parametrize("evaluate_every", [5, None])
def test_fault_in_an_evaluation_fails_the_run_and_saves_nothing(evaluate_every):
    shelf = Shelf()
    script = Script(score=lambda step: math.nan if step == 20 else 1.0)
    events = play(script, shelf=shelf, evaluate_every=evaluate_every)
    assert told(events)[-2:] == ["evaluated 20", "failed: return is not finite at 20 steps"]
    assert 20 not in [position.step for position in shelf.saved]


def test_checkpoints_are_made_when_due_and_at_the_end():
    events = play(evaluate_every=None, log_every=2, checkpoint_every=6.0)  # a second a step
    assert ends(events, Checkpointed) == [6, 12, 18, 20]


def test_checkpoint_holds_the_evaluation_of_its_step():
    shelf = Shelf()
    play(shelf=shelf)
    assert [(p.step, p.evaluated, p.best_step) for p in shelf.saved] == [
        (step, step, step) for step in (5, 10, 15, 20)
    ]


def test_failing_checkpoint_on_the_way_does_not_end_the_run():
    events = told(play(shelf=Shelf(full_at=[5]), budget=10))
    assert "not saved 5: no space" in events
    assert events[-2:] == ["saved 10", "finished: budget"]


def test_failing_checkpoint_at_the_end_fails_the_run():
    events = told(play(shelf=Shelf(full_at=[10]), budget=10))
    assert events[-2:] == ["not saved 10: no space", "failed: no space"]


def raise_signals(*numbers: int) -> Callable[[int], None]:
    """Sends this process real signals in the middle of the block that starts at step 5."""

    def during(first: int) -> None:
        for number in numbers if first == 5 else ():
            assert callable(signal.getsignal(number))  # or it would end the tests
            os.kill(os.getpid(), number)

    return during


@pytest.mark.parametrize(
    ("number", "status"),
    [
        (signal.SIGINT, "interrupted"),
        (signal.SIGTERM, "preempted"),
        (signal.SIGUSR2, "preempted"),
    ],
)
def test_signal_finishes_the_block_saves_and_stops(number, status):
    with Interruption().listening() as interruption:
        script = Script(during=raise_signals(number))
        events = play(script, interruption=interruption, evaluate_every=None)
    assert told(events) == [
        "compiled",
        "trained 5",
        "trained 10",
        "saved 10",
        f"{status}: {signal.Signals(number).name}",
    ]


def test_second_interrupt_from_the_keyboard_does_not_wait_for_the_block():
    shelf = Shelf()
    script = Script(during=raise_signals(signal.SIGINT, signal.SIGINT))
    with Interruption().listening() as interruption, pytest.raises(KeyboardInterrupt):
        play(script, interruption=interruption, shelf=shelf)
    assert [position.step for position in shelf.saved] == [5]


def test_signal_before_the_first_step_leaves_a_checkpoint_to_start_from():
    interruption = Interruption()
    with interruption.listening():
        os.kill(os.getpid(), signal.SIGTERM)
    assert told(play(interruption=interruption)) == ["saved 0", "preempted: SIGTERM"]


def test_signals_have_their_old_meaning_again_afterwards():
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)
    before = [signal.getsignal(number) for number in numbers]
    with Interruption().listening():
        assert not set(before) & {signal.getsignal(number) for number in numbers}
    assert [signal.getsignal(number) for number in numbers] == before


class Regression(Learner):
    """Minibatches, an optimizer with slots, noise and fed data: all that a checkpoint must hold."""

    def __init__(self) -> None:
        super().__init__()
        data = np.random.default_rng(0).normal(size=[12, 3]).astype(np.float32)
        self.batches = ShuffledMinibatches(data, 4)
        self.weight = tf.Variable(tf.ones([3]))
        self.fed = tf.Variable(0.0)
        self.optimizer = tf.keras.optimizers.Adam(0.1, jit_compile=False)
        self.optimizer.build([self.weight])

    def absorb(self, chunk: tf.Tensor) -> None:
        self.fed.assign(0.9 * self.fed + chunk)

    def train_step(self, seed: Seed) -> dict[str, tf.Tensor]:
        noise = tf.random.stateless_normal([3], seed("noise"))
        with tf.GradientTape() as tape:
            output = tf.linalg.matvec(self.batches.sample(seed("batch")) + noise, self.weight)
            loss = tf.reduce_mean((output - self.fed) ** 2)
        self.optimizer.apply_gradients([(tape.gradient(loss, self.weight), self.weight)])
        return {"loss": loss}

    def evaluate(self, seed: Seed) -> dict[str, tf.Tensor]:
        return {"return": self.weight[0] + tf.random.stateless_normal([], seed("draw"))}

    def numbers(self) -> list[np.ndarray]:
        return [v.numpy() for v in (*self.variables, *self.optimizer.variables)]


class Chain(Feed):
    """A number a step, each made from the one before."""

    spec = tf.TensorSpec([])

    def __init__(self) -> None:
        self._number = 1

    def next(self, step: int) -> np.ndarray:
        self._number = (5 * self._number + 3) % 256
        return np.float32(self._number / 256)

    def state(self) -> bytes:
        return bytes([self._number])

    def restore(self, state: bytes) -> None:
        (self._number,) = state


class Part(NamedTuple):
    """What a run, or a part of one, recorded, the variables that it ended with, and how."""

    metrics: dict[tuple[str, int], dict[str, float]]
    variables: list[np.ndarray]
    status: str


def go_on(folder: Path, jit: str, fed: bool, interrupt_at: int = -1, kill_at: int = -1) -> Part:
    """A fresh process' part of a run, from the last checkpoint of the folder."""
    learner, feed = Regression(), Chain() if fed else None
    checkpoints = Checkpoints(folder, learner, feed)
    restored = checkpoints.restore()
    program = Program(learner, Runtime(jit=jit), seed=3, feed=feed)
    config = TrainConfig(budget=12, log_every=4, evaluate_every=5, checkpoint_every=0.0)
    position = restored[0] if restored else Position()
    metrics, status = {}, "killed"
    with Interruption().listening() as interruption:
        for event in train(program, config, checkpoints, position, interruption):
            match event:
                case BlockDone() | Evaluated():
                    metrics[type(event).__name__, event.step] = event.metrics
                case Stopped():
                    status = event.status
            if isinstance(event, BlockDone) and event.step == interrupt_at:
                os.kill(os.getpid(), signal.SIGTERM)
            if isinstance(event, BlockDone) and event.step == kill_at:
                break
    return Part(metrics, learner.numbers(), status)


@cache
def uninterrupted(jit: str, fed: bool) -> Part:
    with TemporaryDirectory() as folder:
        return go_on(Path(folder), jit, fed)


def assert_no_trace(parts: list[Part], whole: Part) -> None:
    assert {key: m for part in parts for key, m in part.metrics.items()} == whole.metrics
    for a, b in zip(parts[-1].variables, whole.variables, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("step", "jit", "fed"),
    [(4, "on", False), (5, "off", False), (8, "off", True), (10, "off", True), (12, "off", False)],
)
def test_run_stopped_anywhere_and_resumed_equals_an_uninterrupted_one(tmp_path, step, jit, fed):
    first = go_on(tmp_path, jit, fed, interrupt_at=step)
    second = go_on(tmp_path, jit, fed)
    assert (first.status, second.status) == ("preempted", "finished")
    assert_no_trace([first, second], uninterrupted(jit, fed))


@pytest.mark.parametrize("fed", [False, True])
def test_run_killed_after_its_last_checkpoint_takes_the_same_steps_again(tmp_path, fed):
    first = go_on(tmp_path, "off", fed, kill_at=8)
    second = go_on(tmp_path, "off", fed)
    assert first.status == "killed"
    assert ("BlockDone", 8) in first.metrics
    assert [step for _, step in second.metrics] == [8, 10, 10, 12, 12]
    assert_no_trace([first, second], uninterrupted("off", fed))


def test_runs_that_should_be_equal_are_not_so_by_doing_nothing():
    blocks = [
        m["loss"]
        for (kind, _), m in uninterrupted("off", True).metrics.items()
        if kind == "BlockDone"
    ]
    assert len(set(blocks)) == 5
    for a, b in zip(uninterrupted("off", True).variables, Regression().numbers(), strict=True):
        assert not np.array_equal(a, b)


def test_a_learners_limit_ends_a_run_before_its_budget():
    script = Script()
    script.learner.limit = 12
    events = play(script)
    assert ends(events) == [5, 10, 12]
    assert events[-1].reason == "a limit"
    script.learner.limit = 20
    assert play(script)[-1].reason == "budget"


def test_a_learner_says_what_ends_a_run():
    script = Script()
    script.learner.fault = lambda metrics: "too few clients" if metrics.get("loss") else None
    stopped = play(script)[-1]
    assert (stopped.status, stopped.reason) == ("failed", "too few clients at 5 steps")


def test_a_learner_that_is_done_ends_the_run_well_before_its_budget():
    script = Script(loss=lambda step: 1.0 / (1 + step))
    script.learner.done = lambda metrics: "converged" if metrics["loss"] < 0.15 else None
    events = play(script)
    assert ends(events) == [5, 10]
    assert (events[-1].status, events[-1].reason) == ("finished", "converged")
