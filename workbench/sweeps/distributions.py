"""What an Optuna study draws values from, made of Hydra's overrides."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep

from workbench.schema import ExperimentConfig

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


def distribution(override: Override, example: ExperimentConfig) -> "BaseDistribution":
    """What a study draws a key's values from.

    Hydra's sweeper is followed in all but two things: a range does not contain its end, as with
    the basic sweeper; and an interval of a key that holds an integer consists of integers.

    Args:
      example: an experiment, whose values show the types of keys.
    """
    from hydra_plugins.hydra_optuna_sweeper._impl import create_optuna_distribution_from_override
    from optuna.distributions import (
        CategoricalDistribution,
        DiscreteUniformDistribution,
        IntUniformDistribution,
    )

    value = override.value()
    if isinstance(value, RangeSweep) and not value.shuffle:
        values = list(value.range())
        if value.step < 0:
            return CategoricalDistribution(values)
        if all(isinstance(number, int) for number in values):
            return IntUniformDistribution(int(values[0]), int(values[-1]), int(value.step))
        return DiscreteUniformDistribution(values[0], values[-1], value.step)
    if isinstance(value, IntervalSweep):
        whole = isinstance(_value_of(example, override.key_or_group), int)
        convert = int if whole else float
        assert value.start is not None
        assert value.end is not None
        value = replace(value, start=convert(value.start), end=convert(value.end))
        override = replace(override, _value=value)
    return create_optuna_distribution_from_override(override)


def _value_of(config: Any, key: str) -> Any:
    for part in key.split("."):
        config = config.get(part) if isinstance(config, Mapping) else getattr(config, part, None)
    return config
