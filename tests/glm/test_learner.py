"""Maximum likelihood against statsmodels, TFP and closed forms, and what can go wrong with it."""

import numpy as np
import pytest
import statsmodels.api as sm
import tensorflow as tf
import tensorflow_probability as tfp
from glm.fits import design_of, fitted, names_of, numbers, respond, run
from scipy import optimize

from workbench.glm import scoring
from workbench.glm.config import LINKS, MleConfig, ModelConfig
from workbench.glm.families import Binomial, Gamma, Gaussian, NegativeBinomial, Poisson, family_of
from workbench.glm.lbfgs import LimitedMemory
from workbench.glm.learner import MaximumLikelihood
from workbench.glm.rows import Blocks, Rows
from workbench.glm.search import Facts
from workbench.glm.streaming import RowsFeed, StreamedLikelihood

from .test_families import PEERS, PEERS_LINKS

EFFECTS = np.array([0.4, 0.3, -0.2, 0.1])


def regression(family: str, link: str, count: int = 400):
    """A design and responses for which the link has an estimate."""
    design = design_of(count, 4)
    if link in ("inverse", "inverse_squared", "identity", "sqrt") or (family, link) == (
        "binomial",
        "log",
    ):
        design[:, 1:] = np.random.default_rng(0).uniform(size=[count, 3])
    y = respond(family, design @ EFFECTS)
    if family == "gaussian" and link == "log":
        y = np.exp(design @ EFFECTS) + 0.1 * np.random.default_rng(2).standard_normal(count)
    return design, y


CASES = [
    (family, link)
    for family, choices in LINKS.items()
    for link in choices
    if (family, link) not in (("binomial", "identity"), ("binomial", "log"))
]


@pytest.mark.parametrize(("family", "link"), CASES)
def test_estimates_are_statsmodels(family, link):
    design, y = regression(family, link)
    ours = family_of(ModelConfig(formula="y ~ x", family=family, link=link, alpha=1.0))
    found = fitted(ours, Rows.of(design, y), iterations=100, solver="cholesky")
    peer = sm.GLM(y, design, family=PEERS[family](link=PEERS_LINKS[link]()))
    expected = peer.fit(start_params=found.estimate.coefficients, tol=1e-13)
    errors = (found.estimate.coefficients - expected.params) / expected.bse
    assert np.abs(errors).max() < 1e-5
    assert found.estimate.deviance == pytest.approx(expected.deviance, rel=1e-9)


@pytest.mark.parametrize("solver", ["cholesky", "qr"])
def test_weights_and_offsets_count_as_in_statsmodels(solver):
    design, draws = design_of(300, 4), np.random.default_rng(3)
    y = respond("poisson", design @ EFFECTS)
    offset, frequency = draws.standard_normal(300), draws.integers(0, 4, 300)
    weight = draws.uniform(0.5, 2, 300)
    rows = Rows.of(design, y, offset, frequency, weight)
    found = fitted(Poisson(), rows, solver=solver).estimate
    expected = sm.GLM(
        y,
        design,
        family=sm.families.Poisson(),
        offset=offset,
        freq_weights=frequency,
        var_weights=weight,
    ).fit(tol=1e-13)
    np.testing.assert_allclose(found.coefficients, expected.params, rtol=1e-8)
    assert rows.observations == frequency.sum()


def test_estimates_are_tfps():
    design = design_of(300, 3)
    y = respond("binomial", design @ EFFECTS[:3])
    expected, *_ = tfp.glm.fit(
        tf.constant(design), tf.constant(y), tfp.glm.Bernoulli(), maximum_iterations=50
    )
    found = fitted(Binomial(), Rows.of(design, y)).estimate
    np.testing.assert_allclose(found.coefficients, expected, rtol=1e-6)


@pytest.mark.parametrize("block", [1024, 3000, 2**18])
@pytest.mark.parametrize("start", [1 / 16, 1.0])
def test_blocks_and_the_share_to_start_from_change_nothing(block, start):
    design = design_of(3001, 4)
    y = respond("poisson", design @ EFFECTS)
    rows = Rows.of(design, y)
    found = fitted(Poisson(), rows, block=block, start=start, tolerance=1e-14)
    assert found.search.stride.numpy() == 1
    assert found.blocks.count == -(-3001 // (block // 4))
    expected = fitted(Poisson(), rows, start=1.0, tolerance=1e-14).estimate
    np.testing.assert_allclose(found.estimate.coefficients, expected.coefficients, rtol=1e-7)


def test_a_share_of_many_rows_saves_passes_over_all():
    design = design_of(40_000, 4)
    y = respond("gamma", design @ EFFECTS)
    rows, family = Rows.of(design, y), Gamma(family_link("log"))
    few = fitted(family, rows, block=4096).estimate.iterations
    assert few < fitted(family, rows, block=4096, start=1.0).estimate.iterations


def family_link(name: str):
    from workbench.glm import links

    return links.link(name)


def test_blocks_hold_each_row_once():
    rows = Rows.of(np.arange(70.0).reshape(35, 2), np.arange(35.0))
    blocks = Blocks(rows, 20)
    seen = np.concatenate(
        [numbers(part.response)[numbers(part.frequency) > 0] for part in map(blocks.at, range(4))]
    )
    assert (blocks.size, blocks.count) == (10, 4)
    np.testing.assert_array_equal(seen, np.arange(35))


@pytest.mark.parametrize("columns", [5, 130, 200])
def test_half_of_a_symmetric_product_is_enough(columns):
    design = tf.constant(np.random.default_rng(0).standard_normal([50, columns]))
    weight = tf.constant(np.linspace(0, 1, 50))
    found = scoring.whole(scoring.half_product(design, weight))
    expected = tf.matmul(design, weight[:, None] * design, transpose_a=True)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_a_ridge_penalty_is_the_minimum_of_its_objective():
    design = design_of(80, 3)
    y = respond("poisson", design @ EFFECTS[:3])
    penalty = np.array([0.0, 7.0, 7.0])

    def objective(beta):
        eta = design @ beta
        return np.sum(np.exp(eta) - y * eta) + penalty @ beta**2 / 2

    expected = optimize.minimize(objective, np.zeros(3), tol=1e-14)
    for solver in ("cholesky", "qr"):
        found = fitted(Poisson(), Rows.of(design, y), penalty, solver=solver).estimate
        np.testing.assert_allclose(found.coefficients, expected.x, atol=1e-6)


def test_dispersion_of_negative_binomial_counts_is_statsmodels():
    design = design_of(500, 3)
    y = respond("negative_binomial", design @ EFFECTS[:3])
    found = fitted(NegativeBinomial(), Rows.of(design, y), estimate_alpha=True).estimate
    expected = sm.NegativeBinomial(y, design).fit(disp=0, gtol=1e-11, method="newton")
    np.testing.assert_allclose([*found.coefficients, found.alpha], expected.params, rtol=1e-6)


def test_counts_that_vary_no_more_than_poissons_have_no_dispersion():
    design = design_of(200, 2)
    y = np.round(np.exp(design @ [1.0, 0.2]))
    config = MleConfig(iterations=200)
    learner = MaximumLikelihood(
        config, NegativeBinomial(), Rows.of(design, y), names_of(2), estimate_alpha=True
    )
    assert "family=poisson" in run(learner)


def test_limited_memory_finds_the_same():
    design = design_of(500, 4) * [1, 10, 1, 0.01]
    y = respond("poisson", design @ (EFFECTS / [1, 10, 1, 0.01]))
    rows, penalty = Rows.of(design, y), np.array([0, 1.0, 1.0, 1e-4])
    config = MleConfig(solver="lbfgs", iterations=200)
    learner = LimitedMemory(config, Poisson(), rows, names_of(4), penalty)
    assert run(learner) == "converged"
    expected = fitted(Poisson(), rows, penalty).estimate
    np.testing.assert_allclose(learner.estimate.coefficients, expected.coefficients, rtol=1e-5)
    assert learner.estimate.deviance == pytest.approx(expected.deviance, rel=1e-9)


def test_single_precision_is_enough_for_four_digits():
    design = design_of(2000, 4)
    y = respond("poisson", design @ EFFECTS)
    found = fitted(Poisson(), Rows.of(design, y, dtype="float32"), tolerance=1e-6).estimate
    expected = fitted(Poisson(), Rows.of(design, y)).estimate
    np.testing.assert_allclose(found.coefficients, expected.coefficients, atol=1e-4)


# What can go wrong.


@pytest.mark.parametrize("solver", ["auto", "cholesky", "qr"])
def test_a_combination_of_columns_is_named(solver):
    design = design_of(100, 3)
    design = np.column_stack([design, design[:, 1] - 2 * design[:, 2]])
    learner = MaximumLikelihood(
        MleConfig(solver=solver), Gaussian(), Rows.of(design, design[:, 1] + 1), names_of(4)
    )
    said = run(learner)
    assert "x3 is a combination of other columns (1 x1 + -2 x2)" in said
    assert "method.ridge" in said


def test_a_penalty_tells_equal_columns_apart():
    design = design_of(100, 2)
    design = np.column_stack([design, design[:, 1]])
    y = design[:, 1] + 1
    found = fitted(Gaussian(), Rows.of(design, y), np.array([0, 1e-3, 1e-3])).estimate
    np.testing.assert_allclose(found.coefficients, [1, 0.5, 0.5], rtol=1e-4)


@pytest.mark.parametrize("family", ["binomial", "poisson"])
@pytest.mark.parametrize("complete", [True, False])
def test_columns_that_separate_are_named(family, complete):
    design, draws = design_of(200, 3), np.random.default_rng(0)
    design[:, 2] = draws.integers(0, 2, 200)
    y = design[:, 2] * (1 if complete else draws.integers(0, 2, 200))
    learner = MaximumLikelihood(
        MleConfig(), family_of(ModelConfig(family=family)), Rows.of(design, y), names_of(3)
    )
    said = run(learner)
    assert "perfect separation: x2 tells" in said


def test_a_penalty_makes_separated_responses_finite():
    design = design_of(200, 2)
    y = (design[:, 1] > 0).astype(float)
    found = fitted(Binomial(), Rows.of(design, y), np.array([0.0, 2.0])).estimate
    gradient = design.T @ (y - 1 / (1 + np.exp(-design @ found.coefficients)))
    np.testing.assert_allclose(gradient, [0, 2 * found.coefficients[1]], atol=1e-6)


def test_overlapping_responses_are_not_called_separated():
    design = design_of(60, 2)
    y = (design[:, 1] > 0).astype(float)
    y[np.argmax(design[:, 1])] = 0
    assert np.isfinite(fitted(Binomial(), Rows.of(design, y)).estimate.coefficients).all()


def test_steps_that_leave_the_family_are_halved():
    # The first step of this fit goes to means below 0.
    x = np.array([0.01, 0.02, 5.0, 6.0])
    design, y = np.column_stack([np.ones(4), x]), np.array([30.0, 20.0, 0.1, 0.02])
    learner = MaximumLikelihood(
        MleConfig(iterations=200),
        family_of(ModelConfig(family="poisson", link="identity")),
        Rows.of(design, np.round(y)),
        names_of(2),
    )
    run(learner)
    mean = design @ learner.estimate.coefficients
    assert (mean > 0).all()


def test_iterations_end_where_nothing_converges():
    design = design_of(300, 3)
    y = respond("poisson", design @ EFFECTS[:3])
    learner = MaximumLikelihood(MleConfig(iterations=2), Poisson(), Rows.of(design, y), names_of(3))
    assert run(learner) == "iterations"
    assert not learner.estimate.converged


# Rows that come in chunks.


def chunks(rows: Rows, size: int):
    """Chunks of one size, the last one filled up with rows of frequency 0."""
    count = len(rows.response)
    whole = Rows(*(np.broadcast_to(a, [count, *a.shape[1:]]) if a.ndim == 1 else a for a in rows))
    for begin in range(0, count, size):
        part = [array[begin : begin + size] for array in whole]
        room = size - len(part[1])
        yield Rows(*(np.pad(a, [(0, room)] + [(0, 0)] * (a.ndim - 1)) for a in part))


@pytest.mark.parametrize("solver", ["auto", "cholesky", "qr"])
def test_chunks_give_what_rows_in_memory_give(solver):
    design = design_of(1000, 4)
    rows = Rows.of(design, respond("gamma", design @ EFFECTS))
    family, names = Gamma(family_link("log")), names_of(4)
    learner = StreamedLikelihood(
        MleConfig(solver=solver), family, names, Facts.of(rows), chunks=8, size=128
    )
    feed = RowsFeed(lambda: chunks(rows, 128), 8, 128, learner)
    assert run(learner, feed, every=8) == "converged"
    expected = fitted(family, rows, solver=solver).estimate
    found = learner.estimate
    np.testing.assert_allclose(found.coefficients, expected.coefficients, rtol=1e-9)
    assert found.iterations == expected.iterations
    judged = feed.evaluate(0)
    assert judged["deviance"] == pytest.approx(expected.deviance, rel=1e-9)
    feed.close()


def test_a_feed_goes_on_at_any_chunk():
    rows = Rows.of(design_of(500, 2), np.arange(500.0))
    learner = StreamedLikelihood(
        MleConfig(), Gaussian(), names_of(2), Facts.of(rows), chunks=4, size=128
    )
    feed = RowsFeed(lambda: chunks(rows, 128), 4, 128, learner)
    for step in (0, 1, 6, 7, 8, 3):
        chunk = feed.next(step)
        assert chunk.rows.response[0] == 128 * (step % 4)
        assert bool(chunk.last) == (step % 4 == 3)
    feed.close()


def test_columns_that_separate_in_all_chunks_are_named():
    design = design_of(300, 2)
    rows = Rows.of(design, (design[:, 1] > 0).astype(float))
    source = lambda: chunks(rows, 128)  # noqa: E731
    learner = StreamedLikelihood(
        MleConfig(), Binomial(), names_of(2), Facts.of(rows), chunks=3, size=128, source=source
    )
    feed = RowsFeed(source, 3, 128, learner)
    assert "perfect separation: x1 tells" in run(learner, feed, every=3)
    feed.close()
