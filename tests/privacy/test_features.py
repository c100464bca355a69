"""Features that are found privately: what one example can change, what is released, and of what."""

import dataclasses

import numpy as np
import pytest
from kymatio.numpy import Scattering2D
from sklearn.decomposition import TruncatedSVD

from workbench.core.config import ConfigError
from workbench.core.news import heard_by
from workbench.datasets.base import Dataset, Examples
from workbench.privacy import scattering
from workbench.privacy.accounting import Accountant
from workbench.privacy.config import PcaConfig, PrivacyConfig, RawConfig, ScatteringConfig
from workbench.privacy.features import Prepared, pca, raw
from workbench.privacy.features import scattering as scattering_features
from workbench.privacy.ledger import Ledger
from workbench.privacy.normalisation import (
    BOUNDS,
    EPSILON,
    Statistics,
    clipped_sum,
    group_normalise,
    norm_counts,
    released_mean,
)
from workbench.privacy.principal import covariance, principal_directions


def data(train, test=None, classes=2):
    """A data set with these features."""
    test = train[:5] if test is None else test
    parts = (Examples(np.float32(x), np.zeros(len(x), np.int32)) for x in (train, test))
    return Dataset("toys", *parts, classes)


def images(count, size=12, channels=1, seed=0):
    return np.float32(np.random.default_rng(seed).random((count, size, size, channels)))


def rows(count, width, seed=0):
    """Correlated, of different lengths, and none around 0."""
    draw = np.random.default_rng(seed)
    return draw.normal(1, 1, (count, width)) @ draw.normal(0, 1, (width, width))


def farthest(release, examples):
    """The largest distance from what a data set releases to what a neighbour does: one row less,
    and another in its place."""
    whole = release(examples)
    less = [release(np.delete(examples, i, axis=0)) for i in range(len(examples))]
    removed = max(np.linalg.norm(whole - other) for other in less)
    replaced = max(np.linalg.norm(one - other) for one in less for other in less)
    return removed, replaced


def extremes(width):
    """Rows that are 0, tiny, huge, and at right angles."""
    return np.concatenate([np.zeros((1, width)), 1e-3 * np.eye(width), 1e3 * np.eye(width)])


def test_an_example_moves_the_covariance_by_its_unit():
    removed, replaced = farthest(covariance, np.concatenate([extremes(4), rows(10, 4)]))
    assert removed == pytest.approx(1)
    assert replaced == pytest.approx(np.sqrt(2))


def test_an_example_moves_a_clipped_sum_by_the_clipping_norm():
    """And by two, with its opposite in its place."""
    examples = np.concatenate([extremes(4), -extremes(4), rows(10, 4)])
    removed, replaced = farthest(lambda rows: clipped_sum(rows, 0.5), examples)
    assert removed == pytest.approx(0.5)
    assert replaced == pytest.approx(1.0)


def test_an_example_is_in_one_count():
    removed, replaced = farthest(norm_counts, np.concatenate([extremes(4), rows(10, 4)]))
    assert removed == pytest.approx(1)
    assert replaced == pytest.approx(np.sqrt(2))


def test_without_noise_directions_are_those_of_an_exact_decomposition():
    examples = rows(200, 6)
    unit = examples / np.linalg.norm(examples, axis=1, keepdims=True)
    exact = TruncatedSVD(3, algorithm="arpack").fit(unit).components_.T
    found = principal_directions(examples, 3, 1e-9, np.random.default_rng(0))
    np.testing.assert_allclose(np.abs((found * exact).sum(axis=0)), 1, rtol=1e-5)
    assert (found.max(axis=0) == np.abs(found).max(axis=0)).all(), "a library's sign stayed"


def test_features_are_coordinates_along_the_directions():
    examples, tests = rows(300, 6), rows(20, 6, seed=1)
    prepared = pca(PcaConfig(components=2, noise_multiplier=1e-9), data(examples, tests), seed=3)
    directions = principal_directions(examples, 2, 1e-9, np.random.default_rng(0))
    np.testing.assert_allclose(prepared.data.train.features, examples @ directions, 1e-4, 1e-4)
    np.testing.assert_allclose(prepared.data.test.features, tests @ directions, 1e-4, 1e-4)
    assert prepared.data.test.features.dtype == np.float32


def test_the_covariances_noise_is_symmetric_and_of_the_variance_that_is_accounted(monkeypatch):
    """sigma^2 along every direction among symmetric matrices, of which (i, j) counts twice."""
    seen = []
    decompose = np.linalg.eigh
    monkeypatch.setattr(np.linalg, "eigh", lambda m: (seen.append(m), decompose(m))[1])
    examples, sigma, draws = rows(30, 4), 5.0, 4000
    generator = np.random.default_rng(1)
    for _ in range(draws):
        principal_directions(examples, 1, sigma, generator)
    noise = np.array(seen) - covariance(examples)
    np.testing.assert_allclose(noise, noise.transpose(0, 2, 1), atol=1e-9)
    # Standard errors of a variance: sqrt(2 / draws) = 2.2%; five of them are never seen.
    diagonal, off = noise[:, range(4), range(4)], noise[:, 0, 1:]
    np.testing.assert_allclose(diagonal.var(axis=0), sigma**2, rtol=0.11)
    np.testing.assert_allclose(off.var(axis=0), sigma**2 / 2, rtol=0.11)
    np.testing.assert_allclose(noise.mean(axis=0), 0, atol=5 * sigma / np.sqrt(draws))
    flat = noise[:, *np.triu_indices(4)]
    correlations = np.corrcoef(flat.T) - np.eye(10)
    assert np.abs(correlations).max() < 5 / np.sqrt(draws)


class Noise:
    """A generator of noise that is chosen: on the counts, then on the sum."""

    def __init__(self, counts, sums):
        self._draws = [counts, sums]

    def standard_normal(self, shape):
        draw = self._draws.pop(0)
        return draw(shape) if callable(draw) else draw


EQUAL = np.full((50, 2), 0.75)  # rows of norm 1.06, where the next bound is 2^(1/8)


def test_a_means_noise_is_in_units_of_the_clipping_norm():
    found = released_mean(EQUAL, 3.0, Noise(np.zeros, np.array([1.0, -2.0])))
    np.testing.assert_allclose(50 * (found - 0.75), 3 * 2**0.125 * np.array([1, -2]))


@pytest.mark.parametrize(("noise", "norm"), [(0.83, 2**0.125), (0.84, 0.5)])
def test_the_counts_noise_is_in_units_of_one_example(noise, norm):
    """Ten times 3 times 0.84 is more than half of 50 examples, and they seem to be of norm 0.5."""
    counts = np.where(BOUNDS == 0.5, noise, 0)
    found = released_mean(EQUAL, 3.0, Noise(np.append(counts, 0), np.zeros))
    np.testing.assert_allclose(np.linalg.norm(found), min(norm, 0.75 * np.sqrt(2)))


def test_scattering_is_kymatios():
    found = scattering.transformed(images(3, size=28))
    expected = Scattering2D(2, (28, 28))(images(3, size=28)[..., 0])
    assert found.shape == (3, 7, 7, 81)
    np.testing.assert_allclose(found, expected.transpose(0, 2, 3, 1), atol=1e-6)


def test_channels_of_an_image_are_transformed_one_by_one():
    colours = images(2, channels=3)
    found = scattering.transformed(colours)
    for channel in range(3):
        alone = scattering.transformed(colours[..., channel : channel + 1])
        np.testing.assert_allclose(found[..., 81 * channel : 81 * channel + 81], alone, atol=1e-6)


def test_scattering_is_kept_and_read_again_unless_the_file_is_broken(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(scattering, "KEPT_FROM", 10)
    said, computed = [], []
    transform = scattering.transformed
    monkeypatch.setattr(scattering, "transformed", lambda x: (computed.append(1), transform(x))[1])
    with heard_by(said.append):
        first = scattering.scattered(images(10), "toys")
        again = scattering.scattered(images(10), "toys")
        assert len(computed) == len(said) == 1
        assert said[0].startswith("scattering 10 images of toys")
        other = images(10)
        other[-1, -1, -1] += 1e-6
        scattering.scattered(other, "toys")
        assert len(computed) == 2, "another pixel"
        for file in (tmp_path / "workbench" / "scattering").iterdir():
            file.write_bytes(file.read_bytes()[:1000])
        mended = scattering.scattered(images(10), "toys")
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first, mended)
    assert len(computed) == 3


def test_groups_are_normalised_within_each_example():
    features = np.float32(rows(2 * 3 * 3, 12)).reshape(2, 3, 3, 12)
    expected = np.empty_like(features)
    for example in range(2):
        for group in range(4):
            part = features[example, :, :, 3 * group : 3 * group + 3]
            scale = np.sqrt(part.var() + EPSILON)
            expected[example, :, :, 3 * group : 3 * group + 3] = (part - part.mean()) / scale
    group_normalise(features, 4)
    np.testing.assert_allclose(features, expected, atol=1e-5)


def test_channels_come_out_centred_and_scaled_but_for_what_clipping_changes():
    draw = np.random.default_rng(0)
    features = np.float32(draw.normal([1, 5, -3], [2, 4, 2], (400, 4, 4, 3)))
    statistics = Statistics.released(features, 1e-9, draw)
    np.testing.assert_allclose(statistics.mean, [1, 5, -3], rtol=0.15)
    np.testing.assert_allclose(np.sqrt(statistics.variance), [2, 4, 2], rtol=0.3)
    expected = (features - statistics.mean) / np.sqrt(statistics.variance + EPSILON)
    statistics.normalise(features)
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-4)


def test_a_channel_whose_variance_drowned_in_noise_becomes_nothing():
    features = np.ones((2, 1, 1, 2), np.float32)
    Statistics(np.float32([0, 0]), np.float32([0, 1])).normalise(features)
    np.testing.assert_allclose(features[..., 0], 0)
    np.testing.assert_allclose(features[..., 1], 1, rtol=1e-5)


PRIVATE = ScatteringConfig(normalisation="private", noise_multiplier=8.0)


@pytest.mark.parametrize(
    ("builder", "config", "expected"),
    [
        (raw, RawConfig(), []),
        (pca, PcaConfig(components=2, noise_multiplier=7.0), [7.0]),
        (scattering_features, ScatteringConfig(normalisation="group"), []),
        (scattering_features, ScatteringConfig(normalisation="none"), []),
        (scattering_features, PRIVATE, [8.0, 80.0, 8.0, 80.0]),
    ],
)
def test_what_is_released_is_what_is_drawn(builder, config, expected, monkeypatch):
    """An event for every draw of noise, and none without."""
    draws = []
    original = np.random.default_rng

    def counting(seed):
        generator = original(seed)

        class Counting:
            def standard_normal(self, shape):
                draws.append(shape)
                return generator.standard_normal(shape)

        return Counting()

    monkeypatch.setattr(np.random, "default_rng", counting)
    prepared = builder(config, data(images_of_toys()), 0)
    assert [event.noise_multiplier for event in prepared.events] == expected
    assert len(draws) == len(expected)
    assert list(getattr(config, "noise_multipliers", ())) == expected


def images_of_toys():
    return np.float32(np.linspace(0, 1, 20 * 8 * 8).reshape(20, 8, 8, 1) ** 2)


@pytest.mark.parametrize(
    "config", [PcaConfig(components=3, noise_multiplier=7.0), PRIVATE], ids=["pca", "scattering"]
)
def test_the_same_seed_prepares_the_same_and_another_does_not(config):
    builder = pca if isinstance(config, PcaConfig) else scattering_features
    first, again, other = (builder(config, data(images_of_toys()), seed).data for seed in (5, 5, 6))
    np.testing.assert_array_equal(first.train.features, again.train.features)
    np.testing.assert_array_equal(first.test.features, again.test.features)
    assert np.abs(first.train.features - other.train.features).max() > 1e-3


def test_a_test_example_has_no_part_in_the_statistics():
    train = images_of_toys()
    for builder, config in ((pca, PcaConfig(components=2)), (scattering_features, PRIVATE)):
        one, other = (builder(config, data(train, t), 0).data for t in (train[:1], 9 * train[1:2]))
        np.testing.assert_array_equal(one.train.features, other.train.features)


@pytest.mark.parametrize("adjacency", ["add_remove", "zero_out", "replace_one"])
def test_preparing_is_counted_in_the_trainings_epsilon(adjacency):
    config = PrivacyConfig(noise_multiplier=4.0, adjacency=adjacency)
    before = pca(PcaConfig(components=2, noise_multiplier=7.0), data(images_of_toys()), 0).events
    alone = Ledger.planned(config, 60_000, 600, 100)
    with_pca = Ledger.planned(config, 60_000, 600, 100, before)
    assert with_pca.epsilon(100) > alone.epsilon(100)
    # A Gaussian of multiplier 7, or of less where a replacement counts as two examples.
    assert with_pca.epsilon(100) > Accountant("pld", adjacency).epsilon(
        with_pca.mechanism, 0, config.delta, before
    )


def refused(builder, config, features):
    with pytest.raises(ConfigError) as caught:
        builder(config, data(features), 0)
    return str(caught.value)


def test_refusals_say_what_where_and_what_instead():
    assert refused(pca, PcaConfig(components=65), images_of_toys()) == (
        "features.components=65 exceeds the 64 features of toys; lower it"
    )
    assert refused(scattering_features, ScatteringConfig(), rows(4, 30)) == (
        "features=scattering is for images, [height, width, channels], and the examples of toys "
        "are [30]; choose features=raw or features=pca"
    )
    assert refused(scattering_features, ScatteringConfig(), images(4, size=3)) == (
        "features=scattering needs images from 4x4, and those of toys are 3x3; choose "
        "features=raw or features=pca"
    )
    assert refused(scattering_features, ScatteringConfig(groups=7), images(4)) == (
        "features.groups=7 do not divide 81 channels; choose a divisor"
    )
    for wrong in ({"normalisation": "batch"}, {"noise_multiplier": 0}, {"groups": 0}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            dataclasses.replace(ScatteringConfig(), **wrong)


def test_raw_features_are_the_data():
    prepared = raw(RawConfig(), given := data(images_of_toys()), 0)
    assert prepared == Prepared(given)
