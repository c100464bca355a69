"""Blocks of steps on toy learners: the same numbers however they are cut and compiled."""

import math
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from workbench.core.learner import Feed, Learner, Mean
from workbench.core.program import Program
from workbench.core.random import Keys, Seed
from workbench.core.runtime import Runtime

JITS = ["on", "off", "auto"]


class Walk(Learner):
    """A weight that decays and is kicked: it depends on the order of the steps and their noise.

    The numbers are sums of few powers of two, so that no rounding hides a difference.
    """

    def __init__(self) -> None:
        super().__init__()
        self.weight = tf.Variable(tf.ones([3]))

    def train_step(self, seed: Seed) -> dict[str, tf.Tensor]:
        kick = tf.random.stateless_uniform([3], seed("kick"), -8, 8, tf.int32)
        self.weight.assign(self.weight / 2 + tf.cast(kick, tf.float32))
        return {"weight": self.weight[0]}

    def evaluate(self, seed: Seed) -> dict[str, tf.Tensor]:
        return {
            "weight": self.weight[0],
            "draw": tf.random.stateless_uniform([], seed("kick"), 0, 2**31 - 1, tf.int32),
        }


class Convolution(Learner):
    def train_step(self, seed: Seed) -> dict[str, tf.Tensor]:
        image = tf.ones([1, 4, 4, 1]) * tf.cast(seed.step, tf.float32)
        return {"sum": tf.reduce_sum(tf.nn.conv2d(image, tf.ones([2, 2, 1, 1]), 1, "VALID"))}

    evaluate = train_step


class HostCall(Learner):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[int] = []

    def train_step(self, seed: Seed) -> dict[str, tf.Tensor]:
        def call(step: np.ndarray) -> np.ndarray:
            self.calls.append(int(step))
            return np.float32(10 * step)

        return {"ten": tf.ensure_shape(tf.numpy_function(call, [seed.step], tf.float32), [])}

    evaluate = train_step


class Reporting(Learner):
    """Every kind of metric, as functions of the step."""

    def absorb(self, chunk: Any) -> None:
        del chunk

    def train_step(self, seed: Seed) -> dict[str, tf.Tensor | Mean]:
        step = tf.cast(seed.step, tf.float32)
        odd = tf.cast(seed.step % 2, tf.float32)
        return {
            "step": seed.step,
            "odd steps": Mean(10 * step * odd, odd),
            "never": Mean(0.0, 0.0),
            "NaN at 7": tf.where(seed.step == 7, math.nan, 1.0),
            "NaN without an event": Mean(tf.where(seed.step == 7, math.nan, 0.0), 0.0),
        }

    def evaluate(self, seed: Seed) -> dict[str, tf.Tensor | Mean]:
        return self.train_step(seed)


class Squares(Feed):
    """Chunks (step, step squared); remembers what it was asked for and told."""

    spec = tf.TensorSpec([2])
    judgement: dict[str, float] | None = None

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.told: list[float] = []

    def next(self, step: int) -> np.ndarray:
        self.asked.append(step)
        return np.array([step, step**2], np.float32)

    def receive(self, published: tf.Tensor) -> None:
        self.told.append(float(published))

    def metrics(self) -> dict[str, float]:
        return {"asked": float(len(self.asked))}

    def evaluate(self, index: int) -> dict[str, float] | None:
        return self.judgement


class Diary(Learner):
    """Writes down every chunk and publishes how many there are."""

    def __init__(self) -> None:
        super().__init__()
        self.chunks = tf.Variable(tf.zeros([9, 2]))
        self.count = tf.Variable(0)

    def absorb(self, chunk: tf.Tensor) -> None:
        self.chunks.scatter_update(tf.IndexedSlices(chunk[None], self.count[None]))
        self.count.assign_add(1)

    def train_step(self, seed: Seed) -> dict[str, tf.Tensor]:
        newest = tf.gather(self.chunks, self.count - 1)
        return {"lag": tf.cast(seed.step, tf.float32) - newest[0]}

    def evaluate(self, seed: Seed) -> dict[str, tf.Tensor]:
        return {"chunks": self.count}

    def publish(self) -> tf.Tensor:
        return self.count.read_value()


@pytest.fixture
def compiled(monkeypatch) -> list[tuple[Callable[..., Any], bool]]:
    """The functions that runtimes compile in this test, each with whether XLA does it."""
    made = []
    compile_function = Runtime.compile

    def spy(runtime: Runtime, function: Callable[..., Any], jit: bool) -> Callable[..., Any]:
        made.append((compile_function(runtime, function, jit), jit))
        return made[-1][0]

    monkeypatch.setattr(Runtime, "compile", spy)
    return made


def walked(blocks: list[int], jit: str = "auto", seed: int = 5) -> tuple[np.ndarray, list[float]]:
    """Where a walk ends after some blocks, and the mean weight of each."""
    learner = Walk()
    program = Program(learner, Runtime(jit=jit), seed)
    first, means = 0, []
    for steps in blocks:
        means.append(program.run(first, steps)["weight"])
        first += steps
    return learner.weight.numpy(), means


@pytest.mark.parametrize("jit", JITS)
def test_ten_steps_are_the_same_in_blocks_of_any_length(jit):
    whole, [mean] = walked([10], jit)
    for blocks in ([3, 3, 4], [1] * 10):
        parts, means = walked(blocks, jit)
        np.testing.assert_array_equal(parts, whole)
        assert np.average(means, weights=blocks) == pytest.approx(mean, rel=1e-6)


def test_block_equals_a_plain_loop():
    weight = np.ones(3, np.float32)
    for step in range(10):
        seed = Seed(5, step, "train/")("kick")
        weight = weight / 2 + tf.random.stateless_uniform([3], seed, -8, 8, tf.int32).numpy()
    np.testing.assert_array_equal(walked([10])[0], weight)


def test_compiled_and_uncompiled_blocks_agree():
    (on, _), (off, _), (auto, _) = (walked([10], jit) for jit in JITS)
    np.testing.assert_array_equal(on, off)
    np.testing.assert_array_equal(on, auto)


def test_runs_of_different_seeds_differ():
    assert not np.array_equal(walked([10], seed=5)[0], walked([10], seed=6)[0])


@pytest.mark.parametrize(
    ("kind", "jit", "expected"),
    [
        (Walk, "auto", True),
        (Convolution, "auto", False),
        (HostCall, "auto", False),
        (Walk, "off", False),
        (Convolution, "on", True),
    ],
)
def test_auto_compiles_all_but_convolutions_and_host_calls(compiled, kind, jit, expected):
    program = Program(kind(), Runtime(jit=jit), seed=0)
    program.run(0, 2)
    program.evaluate(2)
    assert [decision for _, decision in compiled] == [expected, expected]


def test_host_is_called_once_a_step_in_order():
    learner = HostCall()
    program = Program(learner, Runtime(), seed=0)
    program.compile()
    assert learner.calls == []
    assert program.run(0, 3) == {"ten": 10.0}
    assert program.run(3, 2) == {"ten": 35.0}
    assert learner.calls == [0, 1, 2, 3, 4]


def test_one_compilation_serves_every_block(compiled):
    program = Program(Walk(), Runtime(jit="on"), seed=0)
    for first, steps in ((0, 5), (5, 1), (6, 100)):
        program.run(first, steps)
    (block, _), *others = compiled
    assert others == []
    assert block.experimental_get_tracing_count() == 1
    # Nor does XLA take the place or length of a block for constants, to compile it anew each time.
    short, long = (
        block.experimental_get_compiler_ir(tf.constant(first), tf.constant(steps), Keys().of(0))(
            stage="hlo"
        )
        for first, steps in np.array([(0, 5), (5, 100)])
    )
    assert short == long


@pytest.mark.parametrize("jit", JITS)
def test_compiling_takes_no_step(jit):
    learner = Walk()
    Program(learner, Runtime(jit=jit), seed=0).compile()
    np.testing.assert_array_equal(learner.weight, np.ones(3))


def test_evaluation_has_draws_of_its_own_at_each_index_and_changes_nothing():
    learner = Walk()
    program = Program(learner, Runtime(), seed=5)
    program.run(0, 3)
    weight = learner.weight.numpy()
    assert program.evaluate(3) == program.evaluate(3)
    assert program.evaluate(3)["draw"] != program.evaluate(4)["draw"]
    assert program.evaluate(3)["weight"] == weight[0]
    np.testing.assert_array_equal(learner.weight, weight)


def test_training_and_evaluation_share_no_draws():
    class Same(Walk):
        def train_step(self, seed: Seed) -> dict[str, tf.Tensor]:
            return self.evaluate(seed)

    program = Program(Same(), Runtime(), seed=5)
    assert program.run(3, 1)["draw"] != program.evaluate(3)["draw"]


@pytest.mark.parametrize("feed", [None, Squares()], ids=["block", "fed"])
def test_metrics_are_means_over_events(feed):
    program = Program(Reporting(), Runtime(), seed=0, feed=feed)
    if feed:  # what it is told, it ignores
        feed.receive = feed.metrics = lambda *_: {}
    assert program.run(1, 4) == {
        "step": 2.5,  # of 1 … 4
        "odd steps": 20.0,  # of 10 and 30
        "NaN at 7": 1.0,
    }


@pytest.mark.parametrize("feed", [None, Squares()], ids=["block", "fed"])
def test_nan_in_one_step_surfaces_even_where_no_event_happened(feed):
    program = Program(Reporting(), Runtime(), seed=0, feed=feed)
    if feed:
        feed.receive = feed.metrics = lambda *_: {}
    metrics = program.run(5, 4)
    assert math.isnan(metrics["NaN at 7"])
    assert math.isnan(metrics["NaN without an event"])
    assert metrics["step"] == 6.5


def test_fed_learner_takes_every_chunk_once_in_order_before_its_step():
    feed, learner = Squares(), Diary()
    program = Program(learner, Runtime(), seed=0, feed=feed)
    metrics = [program.run(0, 3), program.run(3, 4)]
    assert feed.asked == list(range(7))
    expected = [[step, step**2] for step in range(7)] + [[0, 0]] * 2
    np.testing.assert_array_equal(learner.chunks, expected)
    assert metrics == [{"lag": 0.0, "asked": 3.0}, {"lag": 0.0, "asked": 7.0}]


def test_feed_hears_what_the_learner_publishes_before_the_first_step_and_after_each():
    feed = Squares()
    program = Program(Diary(), Runtime(), seed=0, feed=feed)
    program.run(0, 3)
    assert feed.told == [0, 1, 2, 3]


def test_feed_hears_what_the_learner_publishes_before_an_evaluation():
    feed, learner = Squares(), Diary()
    learner.count.assign(7)  # restored, and nothing left to train
    Program(learner, Runtime(), seed=0, feed=feed).evaluate(7)
    assert feed.told == [7]


def test_feed_evaluates_if_it_can():
    feed = Squares()
    program = Program(Diary(), Runtime(), seed=0, feed=feed)
    program.run(0, 3)
    assert program.evaluate(3) == {"chunks": 3.0}
    feed.judgement = {"score": 7.0}
    assert program.evaluate(3) == {"score": 7.0}


PEAKS = """
from pathlib import Path
import tensorflow as tf
from workbench.core.learner import Learner
from workbench.core.program import Program
from workbench.core.runtime import Runtime

rows = tf.Variable(tf.zeros([200, 2**17]))  # 100 MiB

class InPlace(Learner):
    def train_step(self, seed):
        row = tf.cast(seed.step % 200, tf.int32)
        rows.scatter_update(tf.IndexedSlices(tf.ones([1, 2**17]), row[None]))
        return {"other": tf.reduce_sum(tf.gather(rows, [(row + 7) % 200]))}

class Copying(Learner):
    def train_step(self, seed):
        rows.assign(rows[::-1])
        return {}

def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024

for learner, jit in ((InPlace(), "on"), (InPlace(), "off"), (Copying(), "on")):
    program = Program(learner, Runtime(jit=jit), seed=0)
    program.compile()
    before = peak()
    for first in (0, 5):
        program.run(first, 5)
    print(peak() - before)
"""


def test_large_state_is_updated_in_place_compiled_or_not():
    # In a process of its own, for its peak of memory. The last step, which has to copy, shows that
    # a copy would be noticed.
    command = [sys.executable, "-c", PEAKS]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    copies = [round(float(line) / 100) for line in done.stdout.split()]
    assert copies == [0, 0, 1]
