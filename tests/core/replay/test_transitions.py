"""The compiled replay against a list in Python that is read one step at a time."""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from workbench.core.replay.transitions import NStep, TransitionReplay, Transitions

ERROR_RATE = 1e-6  # of a statistical test on samples that are uniform
GAMMA = 0.9
ROWS = 20


class Case(NamedTuple):
    """A shape of replay and how many rows were inserted into its ring of `ROWS`."""

    num_envs: int
    n_step: int
    inserted: int


CASES = [
    Case(num_envs, n_step, inserted)
    for num_envs in (1, 3)
    for n_step in (1, 3, 5)
    for inserted in (n_step, 13, 20, 33, 60)  # one window, half full, full, and written over
]
each_case = pytest.mark.parametrize(
    "case", CASES, ids=lambda c: f"envs{c.num_envs}-n{c.n_step}-rows{c.inserted}"
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


def replay(case: Case, batch_size: int = 256) -> TransitionReplay:
    return TransitionReplay(
        tf.TensorSpec([2]),
        capacity=ROWS * case.num_envs,
        num_envs=case.num_envs,
        batch_size=batch_size,
        n_step=case.n_step,
        gamma=GAMMA,
    )


def insert(target: TransitionReplay, items: Transitions, rows_at_once: int = 1) -> None:
    for row in range(0, len(items.reward), rows_at_once):
        target.insert(Transitions(*(tf.constant(f[row : row + rows_at_once]) for f in items)))


def filled(case: Case, **options: int) -> TransitionReplay:
    target = replay(case, **options)
    insert(target, history(case.inserted, case.num_envs))
    return target


def window(items: Transitions, row: int, env: int, n_step: int) -> tuple[float, float, np.ndarray]:
    """Reward, discount and next observation of the window that starts at a step: eq. 7.1."""
    total = 0.0
    for k in range(n_step):
        step = (row + k, env)
        total += GAMMA**k * items.reward[step]
        if items.terminated[step]:
            return total, 0.0, items.next_observation[step]
        if items.truncated[step]:
            break
    return total, GAMMA ** (k + 1), items.next_observation[step]


def starts(case: Case) -> set[tuple[int, int]]:
    """Every (row, env) that is still stored and has n - 1 rows after it."""
    oldest = max(0, case.inserted - ROWS)
    rows = range(oldest, case.inserted - case.n_step + 1)
    return {(row, env) for row in rows for env in range(case.num_envs)}


def sampled(target: TransitionReplay, draws: int, jit: bool = True) -> Iterator[NStep]:
    """`draws` windows of independent batches, one at a time."""
    sample = tf.function(target.sample, jit_compile=jit or None)
    for i in range(-(-draws // target._batch_size)):
        batch = NStep(*(field.numpy() for field in sample(tf.constant([9, i], tf.int64))))
        yield from map(NStep._make, zip(*batch, strict=True))


def start_of(sample: NStep) -> tuple[int, int]:
    row, env = sample.observation
    return int(row), int(env)


@each_case
def test_every_sample_is_a_window_of_the_history(case):
    items = history(case.inserted, case.num_envs)
    for sample in sampled(filled(case), draws=512):
        start = start_of(sample)
        reward, discount, following = window(items, *start, case.n_step)
        assert sample.action == items.action[start]
        assert sample.reward == pytest.approx(reward, rel=1e-5, abs=1e-6)
        assert sample.discount == pytest.approx(discount, rel=1e-6)
        np.testing.assert_array_equal(sample.next_observation, following)


@each_case
def test_every_start_with_enough_rows_after_it_is_equally_likely(case):
    counts = Counter(start_of(sample) for sample in sampled(filled(case), 20_000))
    assert set(counts) == starts(case)
    # Too even would be wrong as well: samples are drawn with replacement.
    statistic = sum((c - counts.total() / len(counts)) ** 2 for c in counts.values())
    p = scipy.stats.chi2(len(counts) - 1).sf(statistic * len(counts) / counts.total())
    assert ERROR_RATE < p < 1 - ERROR_RATE or len(counts) == 1


def test_history_holds_every_kind_of_window():
    items, kinds = history(60, 3), Counter()
    for row, env in starts(Case(3, 5, 60)):
        _, discount, following = window(items, row, env, 5)
        kinds["terminated" if discount == 0 else following[0] - row + 0.5] += 1
    assert set(kinds) == {"terminated", 1, 2, 3, 4, 5}


def one_env(rewards: list[float], **ends: list[int]) -> tuple[TransitionReplay, Transitions]:
    """A replay of three-step windows over the steps of one environment, as they were inserted."""
    rows = len(rewards)
    items = history(rows, 1)._replace(
        reward=np.array(rewards, np.float32)[:, None],
        **{k: np.isin(np.arange(rows), ends.get(k, []))[:, None] for k in ("terminated", "truncated")},
    )
    target = replay(Case(1, 3, rows), batch_size=64)
    insert(target, items)
    return target, items


def first_window(target: TransitionReplay) -> NStep:
    return next(sample for sample in sampled(target, 512) if start_of(sample) == (0, 0))


def test_truncated_episode_bootstraps_from_its_final_observation():
    sample = first_window(one_env([1, 10, 100, 1000], truncated=[1])[0])
    assert sample.reward == pytest.approx(1 + 0.9 * 10)
    assert sample.discount == pytest.approx(0.9**2)
    assert sample.next_observation.tolist() == [1.5, 0]


def test_terminated_episode_is_worth_nothing_after_its_end():
    sample = first_window(one_env([1, 10, 100, 1000], terminated=[1])[0])
    assert sample.reward == pytest.approx(1 + 0.9 * 10)
    assert sample.discount == 0


def test_end_that_is_both_counts_as_terminated():
    sample = first_window(one_env([1, 10, 100, 1000], terminated=[1], truncated=[1])[0])
    assert sample.discount == 0


def test_window_that_meets_no_end_is_whole():
    sample = first_window(one_env([1, 10, 100, 1000], truncated=[3])[0])
    assert sample.reward == pytest.approx(1 + 0.9 * 10 + 0.81 * 100)
    assert sample.discount == pytest.approx(0.9**3)
    assert sample.next_observation.tolist() == [2.5, 0]


@pytest.mark.parametrize("num_envs", [1, 3])
def test_compiled_sample_equals_uncompiled_one(num_envs):
    target = filled(Case(num_envs, 3, 33))
    for compiled, plain in zip(sampled(target, 512), sampled(target, 512, jit=False), strict=True):
        assert start_of(compiled) == start_of(plain)
        for a, b in zip(compiled, plain, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("rows_at_once", [2, 7, 20])
@pytest.mark.parametrize("num_envs", [1, 3])
def test_many_rows_at_once_are_the_same_rows_one_by_one(num_envs, rows_at_once):
    items = history(3 * rows_at_once, num_envs)
    many, single = (replay(Case(num_envs, 3, 0)) for _ in range(2))
    insert(many, items, rows_at_once)
    insert(single, items)
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
    assert {start_of(sample)[0] for sample in sampled(target, 512)} == {2, 3, 4}


def test_row_spec_is_what_insert_takes():
    target = replay(Case(3, 1, 0))
    spec = target.row_spec(4)
    assert [field.shape.as_list() for field in spec] == [
        *([4, 3, 2], [4, 3], [4, 3], [4, 3, 2], [4, 3], [4, 3])
    ]
    target.insert(tf.nest.map_structure(lambda field: tf.zeros(field.shape, field.dtype), spec))
    assert int(target.size) == 12


def test_one_compilation_serves_every_step():
    sample = tf.function(filled(Case(3, 3, 33)).sample, jit_compile=True)
    first, later = (
        sample.experimental_get_compiler_ir(tf.constant([0, step], tf.int64))(stage="hlo")
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

    operations = step.get_concrete_function(target.row_spec(4)).graph.get_operations()
    sizes = [output.shape.num_elements() or 0 for op in operations for output in op.outputs]
    assert 8 * 5 <= max(sizes) < 1_000
