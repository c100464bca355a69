"""What a network gets to see of a data set, and what finding it out has cost in privacy."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from workbench.core.config import ConfigError
from workbench.core.streams import stream_key
from workbench.datasets.base import Dataset, Examples
from workbench.privacy.config import PcaConfig, RawConfig, ScatteringConfig
from workbench.privacy.mechanism import gaussians
from workbench.privacy.normalisation import Statistics, group_normalise
from workbench.privacy.principal import principal_directions
from workbench.privacy.scattering import scattered

if TYPE_CHECKING:
    from dp_accounting import DpEvent


@dataclass(frozen=True)
class Prepared:
    """A data set to train on.

    Attributes:
      events: what was released of the training examples to prepare it.
    """

    data: Dataset
    events: tuple["DpEvent", ...] = ()


def raw(config: RawConfig, data: Dataset, seed: int) -> Prepared:
    """The data set as it is."""
    return Prepared(data)


def pca(config: PcaConfig, data: Dataset, seed: int) -> Prepared:
    """Features `[n, components]`: coordinates along the training examples' noisy principal axes.

    Raises:
      ConfigError: when there are not as many.
    """
    train, test = (part.features.reshape(len(part), -1) for part in (data.train, data.test))
    if config.components > train.shape[1]:
        raise ConfigError(
            f"features.components={config.components} exceeds the {train.shape[1]} features of "
            f"{data.name}; lower it"
        )
    directions = principal_directions(
        train, config.components, config.noise_multiplier, _generator(seed)
    )
    return _prepared(data, train @ directions, test @ directions, config.noise_multipliers)


def scattering(config: ScatteringConfig, data: Dataset, seed: int) -> Prepared:
    """Scattering features `[n, height / 4, width / 4, 81 · channels]` of images, normalised.

    Raises:
      ConfigError: when examples are no images, or groups do not divide the channels.
    """
    train, test = (scattered(part.features, data.name) for part in (data.train, data.test))
    if config.normalisation == "group":
        group_normalise(train, config.groups)
        group_normalise(test, config.groups)
    elif config.normalisation == "private":
        statistics = Statistics.released(train, config.noise_multiplier, _generator(seed))
        statistics.normalise(train)
        statistics.normalise(test)
    return _prepared(data, train, test, config.noise_multipliers)


def _prepared(
    data: Dataset, train: np.ndarray, test: np.ndarray, noise_multipliers: tuple[float, ...]
) -> Prepared:
    prepared = Dataset(
        data.name,
        Examples(train, data.train.labels),
        Examples(test, data.test.labels),
        data.classes,
    )
    return Prepared(prepared, gaussians(noise_multipliers))


def _generator(seed: int) -> np.random.Generator:
    return np.random.default_rng(stream_key(seed, "features"))
