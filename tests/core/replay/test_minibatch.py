"""Every example once an epoch, in an order that seed and epoch alone decide."""

import itertools

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from workbench.core.config import ConfigError
from workbench.core.replay.minibatch import ShuffledMinibatches

ERROR_RATE = 1e-6  # of a statistical test on shuffles that are uniform


class Batches:
    """Minibatches of the examples 0 … n - 1, sampled by compiled calls."""

    def __init__(self, examples: int, batch_size: int, jit: bool = True):
        self.source = ShuffledMinibatches(tf.range(examples), batch_size)
        self._sample = tf.function(self.source.sample, jit_compile=jit or None)

    def at(self, step: int, stream: int = 0) -> list[int]:
        return self._sample(tf.constant([stream, step], tf.int64)).numpy().tolist()

    def epoch(self, epoch: int, stream: int = 0) -> list[int]:
        steps = self.source.steps_per_epoch
        return [x for i in range(steps) for x in self.at(epoch * steps + i, stream)]


@pytest.mark.parametrize("batch_size", [1, 4, 12])
def test_epoch_holds_every_example_once(batch_size):
    batches = Batches(12, batch_size)
    for epoch in range(3):
        assert sorted(batches.epoch(epoch)) == list(range(12))


def test_remainder_is_left_out_and_is_another_one_each_epoch():
    batches = Batches(11, 4)
    assert batches.source.steps_per_epoch == 2
    epochs = [batches.epoch(epoch) for epoch in range(20)]
    assert all(len(set(epoch)) == 8 for epoch in epochs)
    assert set().union(*epochs) == set(range(11))
    assert len({frozenset(epoch) for epoch in epochs}) > 1


def test_order_is_new_each_epoch_and_in_each_stream():
    batches = Batches(20, 5)
    orders = [tuple(batches.epoch(epoch, stream)) for epoch in range(5) for stream in range(5)]
    assert len(set(orders)) == 25


def test_same_seed_gives_the_same_order_compiled_or_not():
    compiled, plain = Batches(20, 5), Batches(20, 5, jit=False)
    assert [compiled.at(step, stream=3) for step in range(12)] == [
        plain.at(step, stream=3) for step in range(12)
    ]


@pytest.mark.parametrize("stopped", [4, 6, 7])
def test_fresh_object_goes_on_from_the_middle_of_an_epoch(stopped, tmp_path):
    batches = Batches(20, 5)
    for step in range(stopped):
        batches.at(step)
    saved = tf.train.Checkpoint(source=batches.source).write(str(tmp_path / "order"))
    fresh = Batches(20, 5)
    tf.train.Checkpoint(source=fresh.source).read(saved).assert_consumed()
    rest = range(stopped, 13)
    assert [fresh.at(step) for step in rest] == [batches.at(step) for step in rest]


def test_every_order_is_as_likely_as_another():
    source, epochs = ShuffledMinibatches(tf.range(4), batch_size=4), 24_000

    @tf.function(jit_compile=True)
    def orders():
        steps = tf.stack([tf.zeros(epochs, tf.int64), tf.range(epochs, dtype=tf.int64)], axis=1)
        return tf.map_fn(source.sample, steps, fn_output_signature=tf.int32)

    found = [tuple(order) for order in orders().numpy().tolist()]
    counts = [found.count(order) for order in itertools.permutations(range(4))]
    assert sum(counts) == epochs
    assert scipy.stats.chisquare(counts).pvalue > ERROR_RATE


def test_one_compilation_serves_every_step():
    sample = tf.function(ShuffledMinibatches(tf.range(20), 5).sample, jit_compile=True)
    first, later = (
        sample.experimental_get_compiler_ir(tf.constant([0, step], tf.int64))(stage="hlo")
        for step in (0, 7)
    )
    assert first == later


def test_parts_of_an_example_stay_together():
    labels = np.arange(10)
    source = ShuffledMinibatches({"x": np.stack([labels, -labels], axis=1), "y": labels}, 3)
    batch = source.sample(tf.constant([0, 0], tf.int64))
    assert batch["x"].shape == (3, 2)
    np.testing.assert_array_equal(batch["x"], np.stack([batch["y"], -batch["y"]], axis=1))


def test_batch_larger_than_the_data_is_refused():
    with pytest.raises(ConfigError, match="batch_size=6 exceeds the 5 examples; lower it"):
        ShuffledMinibatches(tf.range(5), batch_size=6)
