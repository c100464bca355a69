"""The compiled replay against a list in Python that is read one step at a time."""

from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from workbench.core.replay.transitions import NStep, TransitionReplay, Transitions

ERROR_RATE = 1e-6  # of a statistical test on samples that are uniform
GAMMA = 0.9
ROWS = 20  # of the ring

each_shape = pytest.mark.parametrize(
    ("num_envs", "n_step"), [(envs, n) for envs in (1, 3) for n in (1, 3, 5)]
)


def history(rows: int, num_envs: int) -> Transitions:
    """Random episodes, fields `[rows, N, ...]`; observations are (row, env) and name a step.

    What a step leads to is half a row later, so that it differs from what the next step observes.
    """
    rng = np.random.default_rng(rows)
    row, env = np.meshgrid(np.arange(rows), np.arange(num_envs), indexing="ij")
    ends = rng.random([rows, num_envs])
    return Transitions(
        observation=np.stack([row, env], axis=-1).astype(np.float32),
        action=rng.integers(4, size=[rows, num_envs], dtype=np.int32),
        reward=rng.normal(size=[rows, num_envs]).astype(np.float32),
        next_observation=np.stack([row + 0.5, env], axis=-1).astype(np.float32),
        terminated=ends < 0.2,
        truncated=(ends > 0.1) & (ends < 0.35),  # some steps are both
    )


def replay(num_envs: int, n_step: int, batch_size: int = 256) -> TransitionReplay:
    return TransitionReplay(
        tf.TensorSpec([2]),
        capacity=ROWS * num_envs,
        num_envs=num_envs,
        batch_size=batch_size,
        n_step=n_step,
        gamma=GAMMA,
    )


def insert(target: TransitionReplay, items: Transitions, rows_at_once: int = 1) -> None:
    for row in range(0, len(items.reward), rows_at_once):
        target.insert(Transitions(*(tf.constant(f[row : row + rows_at_once]) for f in items)))


def filling(target: TransitionReplay, items: Transitions, n_step: int) -> Iterator[int]:
    """Inserts one window of rows, half of the ring, all of it, and more; yields how many so far."""
    before = 0
    for inserted in (n_step, 13, 20, 33, 60):
        insert(target, Transitions(*(field[before:inserted] for field in items)))
        yield inserted
        before = inserted


def window(items: Transitions, row: int, env: int, n_step: int) -> tuple[float, float, np.ndarray]:
    """Reward, discount and next observation of the window that starts at a step."""
    total = 0.0
    for k in range(n_step):
        step = (row + k, env)
        total += GAMMA**k * items.reward[step]
        if items.terminated[step]:
            return total, 0.0, items.next_observation[step]
        if items.truncated[step]:
            break
    return total, GAMMA ** (k + 1), items.next_observation[step]


def starts(inserted: int, num_envs: int, n_step: int) -> set[tuple[int, int]]:
    """Every (row, env) that is still stored and has n - 1 rows after it."""
    rows = range(max(0, inserted - ROWS), inserted - n_step + 1)
    return {(row, env) for row in rows for env in range(num_envs)}


@cache
def compiled_sample(target: TransitionReplay, jit: bool) -> Callable[[tf.Tensor], NStep]:
    return tf.function(target.sample, jit_compile=jit or None)


def sampled(target: TransitionReplay, batches: int, jit: bool = True) -> Iterator[NStep]:
    """The windows of some batches, one at a time."""
    for i in range(batches):
        batch = compiled_sample(target, jit)(tf.constant([9, i], tf.int64))
        yield from map(NStep._make, zip(*(field.numpy() for field in batch), strict=True))


def start_of(sample: NStep) -> tuple[int, int]:
    row, env = sample.observation
    return int(row), int(env)


@each_shape
def test_every_sample_is_a_window_of_the_history(num_envs, n_step):
    target, items = replay(num_envs, n_step), history(60, num_envs)
    for _ in filling(target, items, n_step):
        for sample in sampled(target, batches=2):
            start = start_of(sample)
            reward, discount, following = window(items, *start, n_step)
            assert sample.action == items.action[start]
            assert sample.reward == pytest.approx(reward, rel=1e-5, abs=1e-6)
            assert sample.discount == pytest.approx(discount, rel=1e-6)
            np.testing.assert_array_equal(sample.next_observation, following)


@each_shape
def test_every_start_with_enough_rows_after_it_is_equally_likely(num_envs, n_step):
    target, items = replay(num_envs, n_step, batch_size=10_000), history(60, num_envs)
    for inserted in filling(target, items, n_step):
        counts = Counter(start_of(sample) for sample in sampled(target, batches=1))
        assert set(counts) == starts(inserted, num_envs, n_step)
        if len(counts) > 1:  # too even is wrong as well: the draws are with replacement
            p = scipy.stats.chisquare(list(counts.values())).pvalue
            assert ERROR_RATE < p < 1 - ERROR_RATE


def test_history_holds_every_kind_of_window():
    items, kinds = history(60, 3), Counter()
    for row, env in starts(60, 3, 5):
        _, discount, following = window(items, row, env, 5)
        kinds["terminated" if discount == 0 else following[0] - row + 0.5] += 1
    assert set(kinds) == {"terminated", 1, 2, 3, 4, 5}


NEVER, SECOND = [False] * 4, [False, True, False, False]


def first_window(terminated: list[bool], truncated: list[bool]) -> NStep:
    """The three-step window of four steps of one environment, with rewards 1, 10, 100 and 1000."""
    items = history(4, 1)._replace(
        reward=np.array([[1], [10], [100], [1000]], np.float32),
        terminated=np.array(terminated)[:, None],
        truncated=np.array(truncated)[:, None],
    )
    target = replay(1, n_step=3)
    insert(target, items)
    return next(sample for sample in sampled(target, 1) if start_of(sample) == (0, 0))


def test_truncated_episode_bootstraps_from_its_final_observation():
    sample = first_window(terminated=NEVER, truncated=SECOND)
    assert sample.reward == pytest.approx(1 + 0.9 * 10)
    assert sample.discount == pytest.approx(0.9**2)
    assert sample.next_observation.tolist() == [1.5, 0]


def test_terminated_episode_is_worth_nothing_after_its_end():
    sample = first_window(terminated=SECOND, truncated=NEVER)
    assert sample.reward == pytest.approx(1 + 0.9 * 10)
    assert sample.discount == 0


def test_end_that_is_both_counts_as_terminated():
    sample = first_window(terminated=SECOND, truncated=SECOND)
    assert sample.discount == 0


def test_window_that_meets_no_end_is_whole():
    sample = first_window(terminated=NEVER, truncated=NEVER)
    assert sample.reward == pytest.approx(1 + 0.9 * 10 + 0.81 * 100)
    assert sample.discount == pytest.approx(0.9**3)
    assert sample.next_observation.tolist() == [2.5, 0]


@pytest.mark.parametrize("num_envs", [1, 3])
def test_compiled_sample_equals_uncompiled_one(num_envs):
    target = replay(num_envs, n_step=3)
    insert(target, history(33, num_envs))
    for compiled, plain in zip(sampled(target, 2), sampled(target, 2, jit=False), strict=True):
        assert start_of(compiled) == start_of(plain)
        for a, b in zip(compiled, plain, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("rows_at_once", [2, 7, 20])
@pytest.mark.parametrize("num_envs", [1, 3])
def test_many_rows_at_once_are_the_same_rows_one_by_one(num_envs, rows_at_once):
    items = history(3 * rows_at_once, num_envs)
    many, single = replay(num_envs, n_step=1), replay(num_envs, n_step=1)
    insert(many, items, rows_at_once)
    insert(single, items)
    assert int(single.size) == min(ROWS, 3 * rows_at_once) * num_envs
    for a, b in zip(many.variables, single.variables, strict=True):
        np.testing.assert_array_equal(a, b)


def test_capacity_is_of_all_environments_together():
    target = TransitionReplay(
        tf.TensorSpec([2]), capacity=11, num_envs=3, batch_size=64, n_step=1, gamma=GAMMA
    )
    sizes = []
    for row in range(5):
        insert(target, Transitions(*(field[row : row + 1] for field in history(5, 3))))
        sizes.append(int(target.size))
    assert sizes == [3, 6, 9, 9, 9]
    assert {start_of(sample)[0] for sample in sampled(target, 8)} == {2, 3, 4}


def test_one_compilation_serves_every_step():
    target = replay(num_envs=3, n_step=3)
    insert(target, history(33, 3))
    first, later = (
        compiled_sample(target, jit=True).experimental_get_compiler_ir(
            tf.constant([0, step], tf.int64)
        )(stage="hlo")
        for step in (0, 7)
    )
    assert first == later


def test_neither_insert_nor_sample_handles_all_that_is_stored():
    # A tensor of the storage's size would be a copy of it: gigabytes a step for Atari.
    target = TransitionReplay(
        tf.TensorSpec([2]), capacity=3_000, num_envs=3, batch_size=8, n_step=5, gamma=GAMMA
    )

    @tf.function
    def step(items: Transitions) -> NStep:
        target.insert(items)
        return target.sample(tf.constant([0, 0], tf.int64))

    rows = tf.nest.map_structure(tf.constant, history(4, 3))
    operations = step.get_concrete_function(rows).graph.get_operations()
    sizes = [output.shape.num_elements() or 0 for op in operations for output in op.outputs]
    assert 8 * 5 <= max(sizes) < 1_000
