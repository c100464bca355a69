"""The data sets that scikit-learn brings along."""

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits

from workbench.datasets.base import Dataset, checked, split
from workbench.datasets.config import BreastCancerConfig, DigitsConfig, EmbeddedConfig, held_out

# The largest values of the 30 features, which scikit-learn's description of the set publishes:
# mean, standard error and worst of each.
# fmt: off
LARGEST = [
    28.11, 39.28, 188.5, 2501.0, 0.163, 0.345, 0.427, 0.201, 0.304, 0.097,
    2.873, 4.885, 21.98, 542.2, 0.031, 0.135, 0.396, 0.053, 0.079, 0.03,
    36.04, 49.54, 251.2, 4254.0, 0.223, 1.058, 1.252, 0.291, 0.664, 0.208,
]
# fmt: on


def digits(config: DigitsConfig) -> Dataset:
    """1,797 digits `[8, 8, 1]` in 10 classes."""
    found = load_digits()
    return _dataset("digits", config, found.images[..., None] / 16, found.target, 10)


def breast_cancer(config: BreastCancerConfig) -> Dataset:
    """569 tumours `[30]`, malignant (0) or benign (1)."""
    found = load_breast_cancer()
    return _dataset("breast_cancer", config, found.data / LARGEST, found.target, 2)


def _dataset(
    name: str, config: EmbeddedConfig, features: np.ndarray, labels: np.ndarray, classes: int
) -> Dataset:
    examples = checked(features, labels, f"scikit-learn's {name}")
    train, test = split(examples, held_out(len(examples), config.test_fraction))
    return Dataset(name, train.first(config.limit), test, classes)
