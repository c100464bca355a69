"""Your own files: CSV tables, NPZ arrays and IDX images as one kind of data set."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from workbench.core.config import ConfigError, located, nearest
from workbench.datasets.base import Dataset, Examples, checked, split
from workbench.datasets.config import FilesConfig, held_out
from workbench.datasets.readers import Raw, labels_of, one_line, read_images, reader_of


def build(config: FilesConfig) -> Dataset:
    """The data set in the files of a configuration.

    Raises:
      ConfigError: when a file cannot be read or does not fit.
    """
    with located("dataset"):
        check(config)
    raw = _read(config, config.train, config.features)
    numbers = _class_numbers(config, raw.labels)
    train = _examples(config, config.train, raw, numbers)
    if config.test is None:
        tests = held_out(len(train), config.test_fraction)
        if tests == len(train):
            raise ConfigError(
                f"dataset.test_fraction={config.test_fraction} leaves none of the {len(train)} "
                "examples for training; lower it"
            )
        train, test = split(train, tests)
    else:
        raw = _read(config, config.test, raw.columns or config.features)
        test = _examples(config, config.test, raw, numbers)
        if test.features.shape[1:] != train.features.shape[1:]:
            raise ConfigError(
                f"{config.test} holds examples of shape {list(test.features.shape[1:])}, "
                f"and {config.train} of {list(train.features.shape[1:])}; they have to be the same"
            )
    return Dataset(config.name, train.first(config.limit), test, len(numbers))


def check(config: FilesConfig) -> None:
    """Whether the files are there and of a known kind.

    Raises:
      ConfigError: naming the first that is not.
    """
    if not config.train:
        raise ConfigError("train is empty: name a CSV, NPZ or IDX file, as in dataset.train=FILE")
    for key, file in (("train", config.train), ("test", config.test)):
        if file is None:
            continue
        path = Path(file).expanduser()
        if reader_of(path) is None:
            raise ConfigError(
                f"{key}={file} is of no known kind: .csv, .csv.gz, .npz, or idx in its name"
            )
        if not path.is_file():
            raise ConfigError(f"{key}={file} is not there{_neighbour(path)}")
        if reader_of(path) is read_images and not labels_of(path).is_file():
            raise ConfigError(f"{key}={file} has no labels; put them into {labels_of(path)}")


def _examples(config: FilesConfig, file: str, raw: Raw, numbers: Mapping[str, int]) -> Examples:
    values, places = np.unique(raw.labels, return_inverse=True)
    for value in values:
        if str(value) not in numbers:
            why = f"is in no example of {config.train}; drop it or say dataset.classes"
            if config.classes is not None:
                last = config.classes - 1
                why = f"is out of range: dataset.classes={config.classes} are 0 to {last}"
            raise ConfigError(f"{file}: label {value} {why}")
    labels = np.array([numbers[str(value)] for value in values], np.int32)[places]
    return checked(_scaled(config, raw), labels, file)


def _class_numbers(config: FilesConfig, labels: np.ndarray) -> dict[str, int]:
    """Each label's class."""
    found = range(config.classes) if config.classes else np.unique(labels)
    if len(found) < 2:
        raise ConfigError(f"{config.train} has labels of one class only; it takes two to learn")
    return {str(label): number for number, label in enumerate(found)}


def _scaled(config: FilesConfig, raw: Raw) -> np.ndarray:
    """Features, from what they are said to lie between to [0, 1]."""
    features, bounds = raw.features, config.range
    if bounds is None and features.dtype == np.uint8:
        bounds = [0, 255]
    low, high = bounds or (0, 1)
    if not config.ranges:
        return (features - np.float32(low)) / np.float32(high - low)
    if raw.columns is None:
        raise ConfigError("dataset.ranges is for the columns of CSV files; use dataset.range")
    for name in config.ranges:
        if name not in raw.columns:
            raise ConfigError(f"dataset.ranges.{name} is no feature{nearest(name, raw.columns)}")
    lows, highs = np.array([config.ranges.get(name, (low, high)) for name in raw.columns]).T
    return (features - lows) / (highs - lows)


def _read(config: FilesConfig, file: str, features: list[str] | None) -> Raw:
    path = Path(file).expanduser()
    read = reader_of(path)
    assert read is not None  # or `check` would have said so
    with one_line(file):
        raw = read(path, config.label, features)
    if len(raw.labels) == 0:
        raise ConfigError(f"{file} holds no examples; name another file")
    return Raw(raw.features, _label_values(raw.labels, file, config.label), raw.columns)


def _label_values(labels: np.ndarray, file: str, name: str) -> np.ndarray:
    """Labels as whole numbers where all of them are, and as words elsewhere, `[n]`."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or labels.dtype.kind not in "buifU":
        raise ConfigError(
            f"{file}: labels are {labels.dtype} of shape {list(labels.shape)}, "
            "and one word or whole number is needed for each example"
        )
    try:
        numbers = labels.astype(np.float64)
    except ValueError:
        return labels
    if not (numbers == np.round(numbers)).all():  # NaN is not what it is rounded to
        odd = numbers[numbers != np.round(numbers)][0]
        raise ConfigError(
            f"{file}: {name} holds {odd:g}; labels are words or whole numbers: name another by "
            "dataset.label"
        )
    return numbers.astype(np.int64)


def _neighbour(path: Path) -> str:
    """The file beside it that could have been meant."""
    return nearest(path.name, (p.name for p in path.parent.glob("*"))) if path.name else ""
