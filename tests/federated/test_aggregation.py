"""Aggregates are those of their papers: NumPy takes the same from those clients that report."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from learners import SMALL_FED, assembled

from workbench.core.config import ConfigError
from workbench.core.program import Program
from workbench.core.random import Seed
from workbench.core.runtime import Runtime
from workbench.federated.aggregation import build
from workbench.federated.aggregation.slots import by_slot, stream
from workbench.federated.config import (
    KrumConfig,
    MeanConfig,
    MedianConfig,
    QuantisedConfig,
    SecureConfig,
    TopKConfig,
    TrimmedMeanConfig,
)

SHAPES = [tf.TensorShape([3, 4]), tf.TensorShape([5]), tf.TensorShape([])]
ERROR_RATE = 1e-6  # of each statistical test
REPORTING = [
    [1, 1, 1, 1, 1, 1, 1, 1, 1],
    [1, 1, 0, 1, 0, 1, 1, 1, 1],
    [0, 1, 1, 1, 1, 1, 0, 0, 1],
    [0, 0, 0, 0, 1, 0, 0, 0, 0],
    [0] * 9,
]


def updates(clients: int, seed: int = 0) -> list[np.ndarray]:
    draw = np.random.default_rng(seed)
    return [draw.normal(size=[clients, *shape]).astype(np.float32) for shape in SHAPES]


def rows(delta) -> np.ndarray:
    return np.concatenate([np.reshape(u, [len(u), -1]) for u in delta], 1)


def vector(weights) -> np.ndarray:
    return np.concatenate([np.ravel(w) for w in weights])


def combined(aggregator, delta, reports, jit=False) -> np.ndarray:
    """The aggregate of the clients that report; what the others hold is of no importance."""
    weight = np.asarray(reports, np.float32) * np.arange(3, 3 + len(reports))
    combine = tf.function(
        lambda delta, weight: aggregator.combined(delta, weight, {}, Seed(0))[0], jit_compile=jit
    )
    return vector(combine([tf.constant(u) for u in delta], tf.constant(weight)))


def krum_of(values: np.ndarray, wrong: int, chosen: int) -> np.ndarray:
    """Blanchard et al. 2017, section 4, one update after the other."""
    n = len(values)
    scores = []
    for i in range(n):
        distances = sorted(np.sum((values[i] - values[j]) ** 2) for j in range(n) if j != i)
        scores.append(sum(distances[: min(max(n - wrong - 2, 1), n - 1)]))
    return values[np.argsort(scores, kind="stable")[:chosen]].mean(0)


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("reports", REPORTING)
@pytest.mark.parametrize(
    ("aggregator", "reference"),
    [
        (build.median(MedianConfig(), 9, SHAPES), lambda v: np.median(v, 0)),
        (
            build.trimmed_mean(TrimmedMeanConfig(0.2), 9, SHAPES),
            lambda v: scipy.stats.trim_mean(v, 0.2),
        ),
        (build.krum(KrumConfig(2, 1), 9, SHAPES), lambda v: krum_of(v, 2, 1)),
        (build.krum(KrumConfig(1, 4), 9, SHAPES), lambda v: krum_of(v, 1, 4)),
    ],
    ids=["median", "trimmed-mean", "krum", "multi-krum"],
)
def test_robust_aggregates_are_numpys_over_those_that_report(aggregator, reference, reports, jit):
    delta = updates(9)
    values = rows(delta).astype(np.float64)[np.array(reports) > 0]
    expected = reference(values) if len(values) else np.zeros(rows(delta).shape[1])
    np.testing.assert_allclose(combined(aggregator, delta, reports, jit), expected, atol=1e-6)


def test_a_share_is_trimmed_of_those_that_report_exactly():
    """0.29 · 100 is a little less than 29, as computers have it, and 0.3 · 10 is no less than 3."""
    for share, clients in ((0.29, 100), (0.3, 10), (0.1, 10)):
        values = np.random.default_rng(1).normal(size=[clients, 7]).astype(np.float32)
        aggregator = build.trimmed_mean(TrimmedMeanConfig(share), clients, [tf.TensorShape([7])])
        expected = scipy.stats.trim_mean(values.astype(float), share)
        found = combined(aggregator, [values], [1] * clients)
        np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(
    "aggregator",
    [
        build.median(MedianConfig(), 9, SHAPES),
        build.trimmed_mean(TrimmedMeanConfig(0.25), 9, SHAPES),
        build.krum(KrumConfig(2), 9, SHAPES),
    ],
    ids=["median", "trimmed-mean", "krum"],
)
def test_two_wrong_updates_of_nine_do_not_carry_the_aggregate_away(aggregator):
    delta = updates(9)
    for u in delta:
        u[[2, 6]] = 1e6
    assert np.abs(combined(aggregator, delta, [1] * 9)).max() < 4


def test_krum_refuses_a_cohort_that_wrong_clients_could_lead():
    with pytest.raises(ConfigError, match=r"aggregator.wrong=4 of cohort.size=10 .* take 3"):
        build.krum(KrumConfig(4), 10, SHAPES)
    build.krum(KrumConfig(3), 9, SHAPES)


# Compression.


def encoded(aggregator, delta, slots=None, seed=(11, 40)):
    slots = tf.range(len(delta[0])) if slots is None else tf.constant(slots, tf.int32)
    weight = tf.ones([len(delta[0])])
    found = aggregator.encoded(
        [tf.constant(u) for u in delta], weight, slots, tf.constant(seed, tf.int64)
    )
    return rows([u.numpy() for u in found.delta])


@pytest.mark.parametrize("bits", [1, 3, 8])
def test_quantised_updates_are_on_the_grid_and_next_to_what_was_meant(bits):
    delta = updates(4)
    found = encoded(build.quantised(QuantisedConfig(bits), 4, SHAPES), delta)
    for client in range(4):
        start = 0
        for u in delta:
            exact = np.ravel(u[client])
            sent = found[client, start : start + exact.size]
            start += exact.size
            step = (exact.max() - exact.min()) / (2**bits - 1)
            if exact.size == 1:
                assert sent == exact
                continue
            levels = (sent - exact.min()) / step
            np.testing.assert_allclose(levels, np.round(levels), atol=1e-3)
            assert np.abs(sent - exact).max() <= step * (1 + 1e-3)
            assert len(np.unique(np.round(levels))) <= 2**bits


def test_quantised_updates_are_right_in_expectation():
    """The mean of 4,000 draws is within what 12 numbers leave at the error rate."""
    shape, draws = [tf.TensorShape([12])], 4000
    exact = np.random.default_rng(2).normal(size=12).astype(np.float32)
    aggregator = build.quantised(QuantisedConfig(2), draws, shape)
    found = encoded(aggregator, [np.tile(exact, [draws, 1])])
    step = (exact.max() - exact.min()) / 3
    part = (exact - exact.min()) / step % 1
    deviation = step * np.sqrt(part * (1 - part) / draws)
    z = scipy.stats.norm.isf(ERROR_RATE / 2 / 12)
    assert (np.abs(found.mean(0, dtype=float) - exact) <= z * deviation + 1e-5).all()
    np.testing.assert_allclose(found.std(0), deviation * draws**0.5, atol=0.05 * step)


@pytest.mark.parametrize(("share", "kept"), [(0.25, 4), (1.0, 18), (0.001, 1)])
def test_top_k_sends_the_largest_numbers_as_they_are(share, kept):
    delta = updates(5)
    exact, found = rows(delta), encoded(build.top_k(TopKConfig(share), 5, SHAPES), delta)
    for whole, sent in zip(exact, found, strict=True):
        largest = np.sort(np.argsort(-np.abs(whole))[:kept])
        np.testing.assert_array_equal(np.flatnonzero(sent), largest)
        np.testing.assert_array_equal(sent[largest], whole[largest])


AGGREGATORS = {
    "quantised": build.quantised(QuantisedConfig(3), 6, SHAPES),
    "top-k": build.top_k(TopKConfig(0.3), 6, SHAPES),
    "secure": build.secure(SecureConfig(bits=12), 6, SHAPES),
    "secure-biased": build.secure(SecureConfig(bits=12, bias=0.6, rotation=False), 6, SHAPES),
}


@pytest.mark.parametrize("name", AGGREGATORS)
def test_what_a_client_sends_does_not_depend_on_who_is_gone_through_with_it(name):
    delta = updates(6)
    whole = encoded(AGGREGATORS[name], delta)
    for group in ([4], [1, 3], [5, 0, 2]):
        part = encoded(AGGREGATORS[name], [u[group] for u in delta], group)
        np.testing.assert_array_equal(part, whole[group])


def test_draws_of_slots_rounds_and_streams_are_apart():
    def draw(_, seed):
        bits = tf.random.stateless_uniform([2], seed, None, None, tf.int64)
        more = tf.random.stateless_uniform([2], stream(seed, 1), None, None, tf.int64)
        return tf.concat([bits, more], 0)

    slots = tf.range(4)
    found = [
        by_slot(draw, slots, slots, tf.constant([7, 4 * t], tf.int64), tf.int64) for t in range(3)
    ]
    numbers = np.ravel([part.numpy() for part in found])
    assert len(np.unique(numbers)) == len(numbers) == 48


# Bytes.


@pytest.mark.parametrize(
    ("aggregator", "expected"),
    [
        (build.mean(MeanConfig(), 6, SHAPES), 4 * 18),
        (build.median(MedianConfig(), 6, SHAPES), 4 * 18),
        (build.quantised(QuantisedConfig(3), 6, SHAPES), 5 + 2 + 1 + 3 * 8),
        (build.top_k(TopKConfig(0.25), 6, SHAPES), 4 * 8),
        (build.secure(SecureConfig(bits=12), 6, SHAPES), 32 * 12 / 8),
    ],
    ids=["mean", "median", "quantised", "top-k", "secure"],
)
def test_an_update_takes_so_many_bytes(aggregator, expected):
    assert aggregator.bytes(SHAPES) == expected


@pytest.mark.parametrize(
    ("overrides", "up", "down"),
    [
        ([], 4, 4),
        (["aggregator=top_k", "aggregator.share=0.5"], 4, 4),
        (["algorithm=scaffold"], 8, 8),
        (["algorithm=mime"], 8, 8),
        (["algorithm=mime", "algorithm.client.momentum=0.9"], 8, 12),
        (["cohort.over_selection=0.5"], 4, 6),
    ],
    ids=["mean", "top-k", "scaffold", "mime", "mime with momentum", "over-selection"],
)
def test_bytes_are_counted_by_the_round_and_in_all(overrides, up, down):
    learner = assembled([*SMALL_FED, *overrides]).learner
    weights = sum(v.shape.num_elements() for v in learner.model.trainable_variables)
    metrics = Program(learner, Runtime(), seed=1).run(0, 5)
    assert metrics["bytes_up"] == up * weights * 4
    assert metrics["bytes_down"] == down * weights * 4
    assert learner.examine()["bytes_up"] == 5 * up * weights * 4


def test_clients_that_drop_out_were_sent_the_model():
    learner = assembled([*SMALL_FED, "cohort.dropout=0.5"]).learner
    weights = sum(v.shape.num_elements() for v in learner.model.trainable_variables)
    metrics = Program(learner, Runtime(), seed=1).run(0, 5)
    assert metrics["bytes_down"] == 4 * weights * 4
    assert metrics["bytes_up"] == metrics["clients"] * weights * 4 < 4 * weights * 4
