"""No example moves a sum by more than the norm, and quantiles are found."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from workbench.privacy.clipping import clipping_of
from workbench.privacy.config import ClippingConfig

NORMS = np.array([[3.0, 0.0, 1e-4, 40.0, 0.6], [4.0, 0.0, 0.0, 9.0, 0.8]], np.float32)  # [L, B]


def clipped(kind, norm, **options):
    """Norms after clipping, `[L, B]`."""
    clipping = clipping_of(ClippingConfig(kind=kind, norm=float(norm), **options))
    weights = clipping.weights([tf.constant(squares) for squares in NORMS**2])
    return NORMS * np.stack(weights)


@pytest.mark.parametrize("kind", ["flat", "per_layer", "automatic", "quantile"])
@pytest.mark.parametrize("norm", [0.01, 1.0, 7.0])
def test_no_example_exceeds_the_norm(kind, norm):
    found = np.sqrt((clipped(kind, norm) ** 2).sum(0))
    assert np.isfinite(found).all()
    assert found.max() <= norm * (1 + 1e-6)


def test_flat_clipping_keeps_directions_and_what_is_small():
    found = clipped("flat", 2.5)
    np.testing.assert_allclose(found[:, 0], [1.5, 2.0], rtol=1e-6)
    np.testing.assert_allclose(found[:, [1, 2, 4]], NORMS[:, [1, 2, 4]], rtol=1e-6)


def test_per_layer_clipping_bounds_each_variable():
    found = clipped("per_layer", np.sqrt(2.0))
    np.testing.assert_allclose(found[:, 0], [1.0, 1.0], rtol=1e-6)
    np.testing.assert_allclose(found[:, 4], [0.6, 0.8], rtol=1e-6)


def test_automatic_clipping_makes_norms_alike():
    found = np.sqrt((clipped("automatic", 2.0, stability=0.01) ** 2).sum(0))
    np.testing.assert_allclose(
        found, 2 * np.array([5 / 5.01, 0, 1e-4 / 0.0101, 41 / 41.01, 1 / 1.01])
    )


def test_the_norm_follows_a_quantile():
    clipping = clipping_of(ClippingConfig(kind="quantile", norm=0.1, quantile=0.7, rate=0.2))
    rng = np.random.default_rng(0)
    for _ in range(150):
        below = rng.lognormal(size=4000) <= clipping.norm.numpy()
        clipping.adapt(tf.constant(below.mean(), tf.float32))
    assert clipping.norm.numpy() == pytest.approx(scipy.stats.lognorm(1).ppf(0.7), rel=0.05)
