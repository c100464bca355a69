"""Streams are pure functions of seed, name and step, and as good as their generator."""

import itertools

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from workbench.core.random import Seed, normal
from workbench.core.streams import stream_key

ERROR_RATE = 1e-6  # of each statistical test on draws that are what they should be


def key(seed: Seed, stream: str) -> tuple[int, ...]:
    return tuple(seed(stream).numpy().tolist())


def draws(seed: Seed, stream: str, steps: int) -> np.ndarray:
    """One uniform number from each of the first steps."""

    @tf.function(jit_compile=True)
    def run():
        def draw(step):
            return tf.random.stateless_uniform([], seed.at(step)(stream))

        return tf.map_fn(draw, tf.range(steps, dtype=tf.int64), fn_output_signature=tf.float32)

    return run().numpy()


def test_keys_are_pinned():
    # Changing them would break the resumption of every stored run. From `sha256sum`: the first
    # eight bytes of the hash of "7/train/replay", little-endian, halved; programs use 32 bits.
    assert stream_key(7, "train/replay") == 0xFDCC3D459563FA14 >> 1 == 0x7EE61EA2CAB1FD0A
    assert key(Seed(7, 12, "train/"), "replay") == (0xCAB1FD0A, 12)


def test_keys_fit_a_signed_64_bit_seed():
    keys = [stream_key(0, str(i)) for i in range(1000)]
    assert all(0 <= k < 2**63 for k in keys)
    assert max(keys) > 2**62


def test_equal_names_give_equal_seeds_and_others_do_not():
    def seeds():
        return [
            key(seed, stream)
            for root, path, step in itertools.product(
                (0, 1, 12), ("", "train/", "2"), (0, 1, 2**40)
            )
            for base in [Seed(root, step, path)]
            for seed in (base, base.child("inner"), base.child("inner").child("inner"))
            for stream in ("noise", "replay", "")
        ]

    assert seeds() == seeds()
    assert len(set(seeds())) == len(seeds())


def test_child_and_at_change_one_thing_each():
    seed = Seed(3, 5, "train/")
    assert key(seed.child("actor"), "noise") == key(Seed(3, 5, "train/actor/"), "noise")
    assert key(seed.at(9), "noise") == key(Seed(3, 9, "train/"), "noise")
    assert key(seed, "noise") == key(Seed(3, 5, "train/"), "noise")


def test_integers_drawn_in_compiled_loops_equal_eager_ones():
    def draw(step):
        seed = Seed(5, step, "train/")
        return tf.stack(
            [
                tf.random.stateless_uniform([3], seed("words"), None, None, tf.int64),
                tf.random.stateless_uniform([3], seed("dice"), 1, 7, tf.int64),
            ]
        )

    def loop():
        steps = tf.range(10, dtype=tf.int64)
        return tf.map_fn(draw, steps, fn_output_signature=tf.int64)

    eager = [draw(step).numpy() for step in range(10)]
    for jit in (None, True):
        np.testing.assert_array_equal(tf.function(loop, jit_compile=jit)(), eager)


def test_draws_over_steps_are_uniform():
    sample = draws(Seed(0), "noise", 100_000)
    assert scipy.stats.kstest(sample, "uniform").pvalue > ERROR_RATE


@pytest.mark.parametrize("pair", ["streams", "steps", "roots", "children"])
def test_neighbouring_draws_are_independent(pair):
    steps, cells = 100_000, 20
    one = draws(Seed(0), "a", steps + 1)
    other = {
        "streams": lambda: draws(Seed(0), "b", steps),
        "steps": lambda: one[1:],
        "roots": lambda: draws(Seed(1), "a", steps),
        "children": lambda: draws(Seed(0).child("inner"), "a", steps),
    }[pair]()
    table, _, _ = np.histogram2d(one[:-1], other, bins=cells, range=[[0, 1], [0, 1]])
    assert scipy.stats.chisquare(table.ravel()).pvalue > ERROR_RATE


def test_normal_numbers_are_normal_and_independent():
    rows = np.stack([normal([1001], tf.constant([9, step], tf.int64)) for step in range(400)])
    drawn = rows.ravel().astype(float)
    assert scipy.stats.kstest(drawn, "norm").pvalue > ERROR_RATE
    z = (np.square(drawn).mean() - 1) * np.sqrt(len(drawn) / 2)
    assert abs(z) < scipy.stats.norm.isf(ERROR_RATE / 2)
    # Both numbers of a pair share a radius: their squares would betray a wrong angle.
    for power in (1, 2):
        first, second = rows[:, :500] ** power, rows[:, 501:] ** power
        assert scipy.stats.pearsonr(first.ravel(), second.ravel()).pvalue > ERROR_RATE
        assert scipy.stats.pearsonr(rows[1:].ravel(), rows[:-1].ravel()).pvalue > ERROR_RATE


def test_normal_numbers_have_tails():
    drawn = np.abs(normal([20_000_000], tf.constant([3, 4], tf.int64)))
    for bound in (4, 5):
        beyond, expected = int((drawn > bound).sum()), 2 * scipy.stats.norm.sf(bound)
        assert scipy.stats.binomtest(beyond, len(drawn), expected).pvalue > ERROR_RATE


def test_normal_numbers_are_the_same_compiled_or_not():
    def draw(seed):
        return normal([3, 7], seed)

    seed = tf.constant([2**32 - 1, 2**31 + 1], tf.int64)
    compiled = tf.function(draw, jit_compile=True)(seed)
    np.testing.assert_allclose(tf.function(draw)(seed), compiled, rtol=1e-5, atol=1e-6)
