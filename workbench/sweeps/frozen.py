"""The configurations of cells as they were submitted, in the sweep's folder."""

from typing import Any

import yaml  # type: ignore[import-untyped]

from workbench.compose import dump_experiment, load_experiment
from workbench.core.config import ConfigError, flat
from workbench.recording.folder import write_text
from workbench.recording.settings import YAML_DUMPER, YAML_LOADER
from workbench.schema import ExperimentConfig
from workbench.sweeps.folder import SweepFolder

# Of a run and not of its numbers: configurations are compared without them.
FREE = ("run.dir", "description")


def freeze(sweep: SweepFolder, name: str, experiment: ExperimentConfig) -> None:
    """Writes a cell's configuration, in the form of a run's `config.yaml`."""
    path = sweep.config(name)
    path.parent.mkdir(exist_ok=True)
    write_text(path, yaml.dump(dump_experiment(experiment), Dumper=YAML_DUMPER, sort_keys=False))


def read_frozen(sweep: SweepFolder, name: str) -> dict[str, Any]:
    """The values of a cell's frozen configuration; empty when there is none to read."""
    try:
        values = yaml.load(sweep.config(name).read_bytes(), YAML_LOADER)
    except (OSError, yaml.YAMLError):
        return {}
    return values if isinstance(values, dict) else {}


def refuse_other(sweep: SweepFolder, name: str, experiment: ExperimentConfig) -> None:
    """Checks that a cell was frozen as it is asked for now.

    Raises:
      ConfigError: naming the first key that differs.
    """
    asked = flat(dump_experiment(experiment))
    there = flat(read_frozen(sweep, name))
    if there != asked:  # maybe for a key that is newer than the sweep
        there = flat(dump_experiment(load_experiment(sweep.config(name))))
    absent = object()
    for key in {**asked, **there}:
        if key not in FREE and asked.get(key, absent) != there.get(key, absent):
            raise ConfigError(
                f"{sweep}: cell {name} was submitted with {key}={there.get(key)}, and is now "
                f"asked for with {asked.get(key)}; choose another sweep.dir"
            )
