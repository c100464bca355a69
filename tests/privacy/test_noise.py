"""Tree noise is TF Privacy's, drawn without keeping a tree."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_privacy import TreeResidualSumQuery
from tensorflow_privacy.privacy.dp_query.tree_aggregation import ValueGenerator

from workbench.core.random import Seed
from workbench.privacy.noise import gaussian, tree

SHAPES = [tf.TensorShape([2, 3]), tf.TensorShape([]), tf.TensorShape([5])]


class Nodes(ValueGenerator):
    """The noise of each step as the value of the node that it completes."""

    def initialize(self):
        return 0

    def next(self, state):
        return gaussian(SHAPES, Seed(7, state)), state + 1


def theirs(steps):
    """Noise of TF Privacy's query for sums of zeros."""
    zeros = [tf.zeros(shape) for shape in SHAPES]
    query = TreeResidualSumQuery(
        clip_fn=lambda record, _: record,
        clip_value=1.0,
        noise_generator=Nodes(),
        record_specs=[tf.TensorSpec(shape) for shape in SHAPES],
        use_efficient=False,
    )
    state = query.initial_global_state()
    for _ in range(steps):
        noise, state, _ = query.get_noised_result(zeros, state)
        yield noise


def ours(steps, period):
    draw = tf.function(lambda step: tree(SHAPES, Seed(7, step), period), jit_compile=True)
    return [draw(tf.constant(step, tf.int64)) for step in range(steps)]


def test_the_noise_is_that_of_tf_privacys_query():
    for expected, found in zip(theirs(20), ours(20, period=100), strict=True):
        for one, other in zip(expected, found, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("period", [1, 5, 8])
def test_after_a_restart_the_first_tree_stays_in_the_sum(period):
    """The sum's noise: a node for every bit of the steps since, of trees that were left as well."""
    steps = 2 * period + 3
    total = np.cumsum([noise[2].numpy() for noise in ours(steps, period)], axis=0)
    for step in range(steps):
        expected = np.zeros(5)
        for begin in range(0, step + 1, period):
            leaves = min(step + 1 - begin, period)
            done = 0
            for bit in reversed(range(leaves.bit_length())):
                if leaves >> bit & 1:
                    done += 2**bit
                    expected += gaussian(SHAPES, Seed(7, begin + done - 1))[2].numpy()
        np.testing.assert_allclose(total[step], expected, rtol=1e-4, atol=1e-5)


def test_parts_of_one_step_are_drawn_apart():
    first, _, last = gaussian([tf.TensorShape([4])] * 3, Seed(0, 5))
    assert not np.isin(first, last).any()
