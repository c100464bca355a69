"""Cross-validation beside the path is what a loop over folds would find."""

import numpy as np
import pytest
import tensorflow as tf
from glm.paths.small import path_of, regression, walked
from glm.paths.test_optimality import CASES, sample

from workbench.core.config import ConfigError
from workbench.core.program import Program
from workbench.core.runtime import Runtime
from workbench.glm.paths.folds import dealt
from workbench.glm.rows import Rows

BLOCKS = [("gaussian", 1024), ("binomial", 1024), ("gamma", 2**18)]


@pytest.mark.parametrize(("kind", "block"), BLOCKS)
def test_deviances_are_those_of_a_plain_loop(kind, block):
    model = CASES[kind]
    x, y, weights = sample(model, n=300)
    found = regression(x, y, model, **weights)
    settings = {"mix": 0.6, "ratio": 0.01, "tolerance": 1e-15, "standardise": False}
    fit = walked(found, seed=3, block=block, folds=4, lambdas=7, **settings)
    fold = dealt(found.rows, 4, 3)
    means, sizes = [], []
    for number in range(1, 5):
        chosen = (fold != number, fold == number)
        kept, away = (Rows(*(value[rows] for value in found.rows)) for rows in chosen)
        alone = regression(
            kept.design[:, 1:],
            kept.response,
            model,
            offset=kept.offset,
            frequency=kept.frequency,
            weight=kept.weight,
        )
        path = walked(alone, folds=0, values=fit.lambdas.tolist(), **settings)
        eta = path.coefficients @ away.design.T + away.offset
        deviance = found.family.deviance(tf.constant(away.response), tf.constant(eta)).numpy()
        means.append(deviance @ away.precision / away.precision.sum())
        sizes.append(away.precision.sum())
    mean = np.average(means, axis=0, weights=sizes)
    error = np.sqrt(np.average((means - mean) ** 2, axis=0, weights=sizes) / 3)
    np.testing.assert_allclose(fit.held_mean, mean, rtol=1e-6)
    np.testing.assert_allclose(fit.held_error, error, rtol=1e-5)
    assert fit.chosen == np.argmin(mean)
    alone = walked(found, folds=0, lambdas=7, **settings)
    np.testing.assert_allclose(fit.coefficients, alone.coefficients, atol=1e-7)
    assert alone.chosen == 6


def test_one_standard_error_chooses_the_largest_within_it():
    x, y, _ = sample(CASES["gaussian"])
    found = regression(x, y, CASES["gaussian"])
    least = walked(found, folds=5, lambdas=30)
    careful = walked(found, folds=5, lambdas=30, choose="1se")
    np.testing.assert_array_equal(least.held_mean, careful.held_mean)
    limit = least.held_mean.min() + least.held_error[np.argmin(least.held_mean)]
    assert careful.chosen == np.flatnonzero(least.held_mean <= limit)[0]
    assert careful.chosen < least.chosen


def test_folds_are_even_and_go_by_the_seed():
    rows = Rows.of(np.ones((23, 1)), np.arange(23.0))
    counts = np.bincount(dealt(rows, 5, 0))
    assert counts.tolist() == [0, 5, 5, 5, 4, 4]
    assert np.any(dealt(rows, 5, 0) != dealt(rows, 5, 1))


def test_folds_that_cannot_be_are_refused():
    rows = Rows.of(np.ones((4, 1)), np.array([0.0, 0, 0, 1]))
    with pytest.raises(ConfigError, match="folds=5 are more than the 4 rows; take at most 4"):
        dealt(rows, 5, 0)
    with pytest.raises(ConfigError, match=r"without fold \d of 4, all responses are 0"):
        dealt(rows, 4, 0)


@pytest.mark.parametrize("wide", [False, True])
def test_interrupted_path_goes_on_exactly(wide):
    x, y, weights = sample(CASES["poisson"], n=70)
    if wide:
        x, weights = np.tile(x, (1, 13)) + np.random.default_rng(1).normal(size=(70, 78)), {}
    found = regression(x, y, CASES["poisson"], **weights)
    settings = {"folds": 3, "lambdas": 8, "ratio": 0.1}
    whole, parts, again = (path_of(found, **settings) for _ in range(3))
    Program(whole, Runtime(), 0).run(0, 8)
    Program(parts, Runtime(), 0).run(0, 5)
    for ours, theirs in zip(again.variables, parts.variables, strict=True):
        ours.assign(theirs)
    Program(again, Runtime(), 0).run(5, 3)
    for name in ("coefficients", "explained", "held", "lambdas"):
        np.testing.assert_array_equal(getattr(again, name).numpy(), getattr(whole, name).numpy())
