"""Every example is in a lot at its rate, independently; and no lot is silently cut."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from workbench.core.replay.lots import PoissonLots, ShuffledLots

ERROR_RATE = 1e-6  # of each statistical test, where lots are what they should be
DRAWS = 4000


def lots(examples, rate, size, jit=False):
    """Inclusions `[DRAWS, examples]`, counts and overflows."""
    sampler = PoissonLots(examples, rate, size)

    @tf.function(jit_compile=jit)
    def draw(step):
        return sampler.sample(tf.stack([tf.constant(77, tf.int64), step]))

    included = np.zeros([DRAWS, examples], bool)
    counts, overflows = np.zeros(DRAWS, int), np.zeros(DRAWS, bool)
    for step in range(DRAWS):
        indices, count, overflowed = draw(tf.constant(step, tf.int64))
        counts[step], overflows[step] = int(count), bool(overflowed)
        taken = indices.numpy()[: counts[step]]
        assert (np.diff(taken) > 0).all()
        included[step, taken] = True
    return included, counts, overflows


@pytest.fixture(scope="module", params=[(60, 0.1), (20, 0.5), (400, 0.004)])
def drawn(request):
    examples, rate = request.param
    return examples, rate, *lots(examples, rate, examples)


def test_counts_are_binomial(drawn):
    examples, rate, included, counts, overflows = drawn
    assert not overflows.any()
    np.testing.assert_array_equal(counts, included.sum(1))
    law = scipy.stats.binom(examples, rate)
    values = np.arange(law.ppf(0.01), law.ppf(0.99) + 1)
    edges = np.concatenate([[-1], values, [examples]])
    expected = np.diff(law.cdf(edges)) * DRAWS
    observed = np.histogram(counts, edges + 0.5)[0]
    assert scipy.stats.chisquare(observed, expected).pvalue > ERROR_RATE


def test_every_example_is_as_probable_wherever_it_stands(drawn):
    examples, rate, included, *_ = drawn
    z = (included.mean(0) - rate) / np.sqrt(rate * (1 - rate) / DRAWS)
    assert scipy.stats.chi2.sf((z**2).sum(), examples) > ERROR_RATE
    assert np.abs(z).max() < scipy.stats.norm.isf(ERROR_RATE / 2 / examples)


def test_neighbours_and_draws_are_independent(drawn):
    _, rate, included, *_ = drawn
    standard = (included - rate) / np.sqrt(rate * (1 - rate))
    for products in (standard[:, 1:] * standard[:, :-1], standard[1:] * standard[:-1]):
        z = products.sum() / np.sqrt(products.size)
        assert abs(z) < scipy.stats.norm.isf(ERROR_RATE / 2)


def test_what_exceeds_the_size_is_told():
    included, counts, overflows = lots(20, 0.5, 12)
    assert counts.max() == 12
    expected = scipy.stats.binom.sf(12, 20, 0.5)
    assert scipy.stats.binomtest(int(overflows.sum()), DRAWS, expected).pvalue > ERROR_RATE
    assert (included[overflows].sum(1) == 12).all()


def test_a_rate_of_one_takes_everything():
    indices, count, overflowed = PoissonLots(7, 1.0, 7).sample(tf.constant([1, 2], tf.int64))
    np.testing.assert_array_equal(indices, np.arange(7))
    assert (int(count), bool(overflowed)) == (7, False)


def test_lots_are_the_same_compiled_or_not():
    one, other = lots(60, 0.1, 20)[0], lots(60, 0.1, 20, jit=True)[0]
    np.testing.assert_array_equal(one, other)


def test_millions_of_examples_are_reached_to_the_last():
    examples, rate = 50_000_000, 1e-5
    sampler = PoissonLots(examples, rate, 700)
    found = [sampler.sample(tf.constant([5, step], tf.int64)) for step in range(200)]
    taken = np.concatenate([lot.indices[: lot.count] for lot in found])
    assert scipy.stats.kstest(taken / examples, "uniform").pvalue > ERROR_RATE


def test_shuffled_lots_hold_every_example_once_an_epoch():
    lots = ShuffledLots(12, 4)
    for epoch in range(3):
        seeds = [tf.constant([8, 3 * epoch + place], tf.int64) for place in range(3)]
        drawn = [lots.sample(seed) for seed in seeds]
        assert sorted(np.concatenate([lot.indices for lot in drawn])) == list(range(12))
        assert all(lot.count == 4 and not lot.overflowed for lot in drawn)
