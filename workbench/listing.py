"""What there is to run, and what a run would be: `workbench list` and `workbench show`."""

import sys
from collections.abc import Sequence

from omegaconf import DictConfig, OmegaConf

from workbench.compose import (
    compose_experiment,
    conf_dir,
    dump_experiment,
    experiments,
    instantiate,
)
from workbench.core.config import ConfigError, nearest


def list_experiments(family: str | None = None) -> None:
    """Prints the shipped experiments, one line each.

    Raises:
      ConfigError: when no experiment is of this family.
    """
    names = list(experiments())
    families = {name.split("/")[0] for name in names}
    if family is not None and family not in families:
        raise ConfigError(f"there is no family {family}{nearest(family, families)}")
    shown = [name for name in names if family in (None, name.split("/")[0])]
    width = max(map(len, shown))
    for name in shown:
        print(f"{name:{width}}  {_description(name)}")


def show_experiment(overrides: Sequence[str]) -> None:
    """Prints the composed configuration as YAML, checked as a run would check it.

    Raises:
      ConfigError: as a run would.
    """
    experiment = instantiate(compose_experiment(overrides))
    experiment.check()
    OmegaConf.save(OmegaConf.create(dump_experiment(experiment)), sys.stdout)


def _description(name: str) -> str:
    values = OmegaConf.load(conf_dir() / "experiment" / f"{name}.yaml")
    assert isinstance(values, DictConfig)
    return str(values.get("description", ""))
