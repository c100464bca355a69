"""Group lasso: the coefficients of a term are in or out together."""

import numpy as np
import pytest
import scipy.optimize
from glm.paths.small import regression, walked
from glm.paths.test_optimality import gradient, spreads

from workbench.core.config import ConfigError
from workbench.glm.config import ModelConfig

TERMS = {"Intercept": [0], "a": [1, 2, 3], "b": [4], "c": [5, 6]}


def grouped(family, rows=160):
    rng = np.random.default_rng(5)
    x = rng.normal(size=(rows, 6)) + 0.7 * rng.normal(size=(rows, 1))
    x[:, :3] = np.eye(4)[rng.integers(0, 4, rows)][:, 1:]
    eta = 0.6 * x[:, 0] - 0.5 * x[:, 2] + 0.3 * x[:, 4]
    y = rng.poisson(np.exp(eta)).astype(float)
    y = np.minimum(y, 1) if family == "binomial" else y
    return regression(x, y, ModelConfig(family=family), TERMS)


@pytest.mark.parametrize("family", ["gaussian", "binomial"])
def test_gradients_are_those_of_the_norms(family):
    found = grouped(family)
    settings = {"penalty": "group_lasso", "lambdas": 10, "ratio": 0.01, "folds": 0}
    fit = walked(found, mix=0.8, factors={"c": 0.5}, tolerance=1e-16, **settings)
    scale = spreads(found)
    counts = set()
    for strength, beta in zip(fit.lambdas, fit.coefficients, strict=True):
        slope = -gradient(found, beta)
        assert abs(slope[0]) < 1e-7
        for term, factor in {"a": 1, "b": 1, "c": 0.5}.items():
            columns = TERMS[term]
            gamma = beta[columns] * scale[columns]
            hard = 0.8 * strength * factor * np.sqrt(len(columns))
            pull = slope[columns] / scale[columns] - 0.2 * strength * factor * gamma
            if np.any(gamma):
                assert np.all(gamma)
                expected = hard * gamma / np.linalg.norm(gamma)
                np.testing.assert_allclose(pull, expected, atol=1e-6 * fit.lambdas[0])
            else:
                assert np.linalg.norm(pull) <= hard * (1 + 1e-6)
        counts.add(np.count_nonzero(beta[1:]))
    assert {0, 6} < counts


def test_estimates_are_those_of_a_plain_minimiser():
    found = grouped("gaussian", 60)
    fit = walked(
        found,
        penalty="group_lasso",
        values=[0.08],
        folds=0,
        standardise=False,
        tolerance=1e-16,
    )
    x, y = found.rows.design, found.rows.response

    def objective(beta):
        norms = sum(np.sqrt(len(c)) * np.linalg.norm(beta[c]) for c in list(TERMS.values())[1:])
        return np.mean((y - x @ beta) ** 2) / 2 + 0.08 * norms

    options = {"maxiter": 40_000, "xatol": 1e-10, "fatol": 1e-15}
    found = (
        scipy.optimize.minimize(objective, start, method="Nelder-Mead", options=options)
        for start in (fit.at(), np.ones(7))
    )
    best = min(found, key=lambda result: result.fun)
    assert objective(fit.at()) <= best.fun + 1e-12
    assert objective(fit.at()) == pytest.approx(best.fun, rel=1e-4)


def test_wide_groups_are_in_or_out_together():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(30, 60))
    y = x[:, 0] - x[:, 1] + x[:, 2] + 0.3 * rng.normal(size=30)
    terms = {"Intercept": [0]} | {f"t{g}": list(range(1 + 3 * g, 4 + 3 * g)) for g in range(20)}
    found = regression(x, y, ModelConfig(family="gaussian"), terms)
    fit = walked(found, penalty="group_lasso", lambdas=10, ratio=0.1, folds=0, tolerance=1e-14)
    inside = fit.coefficients[:, 1:].reshape(10, 20, 3) != 0
    assert np.all(inside.all(2) == inside.any(2))
    assert inside[-1, 0].all()
    scale = spreads(found)[1:]
    slope = (-gradient(found, fit.coefficients[-1])[1:] / scale).reshape(20, 3)
    norms = np.linalg.norm(slope, axis=1) / np.sqrt(3) / fit.lambdas[-1]
    np.testing.assert_allclose(norms[inside[-1, :, 0]], 1, rtol=1e-5)
    assert np.all(norms[~inside[-1, :, 0]] <= 1 + 1e-6)


def test_factors_of_groups_go_by_term():
    with pytest.raises(ConfigError, match="factors has x1, which is no term of the formula"):
        walked(grouped("gaussian"), penalty="group_lasso", factors={"x1": 0})
