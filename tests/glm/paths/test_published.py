"""glmnet's numbers, as statsmodels ships them, and those of tfp.glm's proximal method."""

from pathlib import Path

import numpy as np
import pytest
import statsmodels.genmod.tests.results.glmnet_r_results as generalised
import statsmodels.regression.tests.results.glmnet_r_results as linear
import tensorflow as tf
import tensorflow_probability as tfp
from glm.paths.small import regression, walked

from workbench.glm.config import ModelConfig

EXACT = {"standardise": False, "folds": 0, "tolerance": 1e-16}


def objective(found, mix, strength, beta):
    eta = found.rows.design @ beta
    deviance = np.mean(found.family.deviance(tf.constant(found.rows.response), eta))
    return deviance / 2 + strength * (mix * np.abs(beta).sum() + (1 - mix) * (beta @ beta) / 2)


@pytest.mark.parametrize("mix", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("family", ["binomial", "poisson"])
def test_generalised_models_are_glmnets(family, mix):
    data = np.loadtxt(Path(generalised.__file__).parent / f"enet_{family}.csv", delimiter=",")
    # R took the first row for a header.
    y, x = data[1:, 0], data[1:, 1:]
    x = (x - x.mean(0)) / x.std(0, ddof=1)
    found = regression(x, y, ModelConfig(family=family), intercept=False)
    published = [
        values for name, values in vars(generalised).items() if name.startswith(f"rslt_{family}")
    ]
    published = [values for values in published if values[0] == mix]
    assert len(published) == 3
    fit = walked(found, mix=mix, values=[values[1] for values in published], **EXACT)
    for ours, (_, strength, *theirs) in zip(fit.coefficients, published, strict=True):
        # glmnet stops at 1e-7 of the null deviance.
        np.testing.assert_allclose(ours, theirs, atol=2e-5)
        best, other = (objective(found, mix, strength, np.array(b)) for b in (ours, theirs))
        assert other - 1e-8 < best <= other


@pytest.mark.parametrize("size", [(100, 2), (200, 3), (300, 5)])
@pytest.mark.parametrize("mix", [0.0, 0.5, 1.0])
def test_linear_models_are_glmnets(size, mix):
    data = np.loadtxt(Path(linear.__file__).parent / "lasso_data.csv", delimiter=",")
    n, p = size
    y, x = data[:n, 0], data[:n, 1 : p + 1]
    y, x = ((z - z.mean(0)) / z.std(0, ddof=1) for z in (y, x))
    # For glmnet λ is one for responses of variance 1, by n.
    spread = y.std()
    found = regression(x, y / spread, ModelConfig(family="gaussian"), intercept=False)
    published = [values for name, values in vars(linear).items() if name.startswith("rslt_")]
    published = [values for values in published if tuple(values[:3]) == (n, p, mix)]
    assert len(published) == 3
    fit = walked(found, mix=mix, values=[values[3] / spread for values in published], **EXACT)
    for ours, values in zip(spread * fit.coefficients, published, strict=True):
        np.testing.assert_allclose(ours, values[4:], atol=1e-6)


def test_coefficients_are_those_of_tfps_proximal_method():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(120, 4))
    y = rng.binomial(1, 1 / (1 + np.exp(-x[:, 0] + 0.7 * x[:, 1]))).astype(float)
    strength, mix = 0.08, 0.6
    fit = walked(
        regression(x, y, ModelConfig(family="binomial"), intercept=False),
        mix=mix,
        values=[strength],
        **EXACT,
    )
    theirs, converged, _ = tfp.glm.fit_sparse(
        model_matrix=tf.constant(x),
        response=tf.constant(y),
        model=tfp.glm.Bernoulli(),
        model_coefficients_start=tf.zeros(4, tf.float64),
        tolerance=1e-14,
        # Its loss is a sum over rows, and its penalty the square, of which ours is half.
        l1_regularizer=len(y) * strength * mix,
        l2_regularizer=len(y) * strength * (1 - mix) / 2,
        maximum_iterations=200,
        # With more sweeps, it stops after one iteration.
        maximum_full_sweeps_per_iteration=1,
    )
    assert converged
    np.testing.assert_allclose(fit.coefficients[0], theirs, atol=1e-6)
