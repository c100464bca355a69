"""The data sets that scikit-learn brings along, as the workbench has them."""

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_digits

from workbench.core.config import ConfigError, build
from workbench.datasets.config import BreastCancerConfig, DigitsConfig

KINDS = [DigitsConfig, BreastCancerConfig]


def test_digits_are_images_with_their_labels():
    digits = build(DigitsConfig())
    assert (digits.name, digits.classes) == ("digits", 10)
    assert digits.train.features.shape == (1437, 8, 8, 1)
    assert digits.test.features.shape == (360, 8, 8, 1)
    assert (digits.train.features.min(), digits.train.features.max()) == (0, 1)
    found = load_digits()
    labels = {
        image.tobytes(): label for image, label in zip(found.images, found.target, strict=True)
    }
    for part in (digits.train, digits.test):
        images = (part.features[..., 0] * 16).astype(np.float64)
        np.testing.assert_array_equal([labels[image.tobytes()] for image in images], part.labels)
        assert np.bincount(part.labels).min() > 0.09 * len(part)


def test_tumours_are_numbers_up_to_one():
    tumours = build(BreastCancerConfig())
    assert (tumours.name, tumours.classes) == ("breast_cancer", 2)
    assert tumours.train.features.shape == (455, 30)
    everything = np.concatenate([tumours.train.features, tumours.test.features])
    # The published maxima have three digits: what is largest comes near to 1, in every column.
    np.testing.assert_allclose(everything.max(axis=0), 1, atol=0.02)
    assert everything.min() >= 0
    sick = np.count_nonzero(load_breast_cancer().target == 0)
    assert np.count_nonzero(tumours.train.labels == 0) == round(sick * 455 / 569)


@pytest.mark.parametrize("config", KINDS)
@pytest.mark.parametrize("settings", [{}, {"test_fraction": 0.5}, {"limit": 100}])
def test_the_number_of_examples_is_known_beforehand(config, settings):
    config = config(**settings)
    assert config.examples == len(build(config).train)


@pytest.mark.parametrize("config", KINDS)
def test_a_limit_leaves_the_test_examples_alone(config):
    np.testing.assert_array_equal(
        build(config(limit=7)).test.features, build(config()).test.features
    )


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"test_fraction": 0}, "leaves 1797 training and 0 test examples"),
        ({"test_fraction": 1}, "leaves 0 training and 1797 test examples"),
        ({"test_fraction": 1.5}, "test_fraction=1.5 is out of range"),
        ({"limit": 0}, "limit=0 is out of range"),
        ({"limit": 1438}, "at least 1 and at most 1437"),
    ],
)
def test_settings_that_leave_nothing_are_refused(settings, said):
    with pytest.raises(ConfigError, match=said):
        DigitsConfig(**settings)
