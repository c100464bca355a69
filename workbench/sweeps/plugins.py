"""Workbench's launchers and sweepers, where Hydra looks for plugins."""

import importlib
from collections.abc import Sequence

from hydra import initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, open_dict

from workbench.compose import conf_dir, options
from workbench.core.config import ConfigError, nearest
from workbench.sweeps.sweep import Sweep

# The modules of the classes that the YAML of conf/hydra names; one is imported when it is chosen.
MODULES = {
    "BasicSweeper": "workbench.sweeps.basic",
    "OptunaSweeper": "workbench.sweeps.optuna",
    "LocalLauncher": "workbench.sweeps.local",
    "RayLauncher": "workbench.sweeps.ray",
    "SlurmLauncher": "workbench.sweeps.slurm",
}
NAMESPACE = "hydra_plugins.workbench."  # Hydra takes plugins from its own namespace only


def run_sweep(sweep: Sweep, config: DictConfig, overrides: Sequence[str]) -> None:
    """Has the sweeper that is chosen run a sweep through the launcher that is chosen.

    What Hydra's `multirun` does, but for one thing: it would compose the overrides without those
    that have several values, which cannot be done when an experiment is one of them.

    Args:
      config: with Hydra's settings, see `compose_hydra`.
      overrides: of the cells.

    Raises:
      ConfigError: when either cannot do it.
    """
    launcher = str(config.hydra.launcher._target_)
    if not launcher.startswith(NAMESPACE):
        chosen = config.hydra.runtime.choices["hydra/launcher"]
        known = nearest("", options("hydra/launcher"))
        raise ConfigError(f"hydra/launcher={chosen} cannot run a sweep's cells{known}")
    for target in (launcher, str(config.hydra.sweeper._target_)):
        name = target.removeprefix(NAMESPACE)
        if name in MODULES:
            plugin = getattr(importlib.import_module(MODULES[name]), name)
            Plugins.instance().class_name_to_class[target] = plugin
    with open_dict(config.hydra):
        config.hydra.mode = RunMode.MULTIRUN
        config.hydra.sweep.dir = str(sweep.folder)
        config.hydra.overrides.task = list(overrides)
    callbacks = Callbacks(config)
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
    callbacks.on_multirun_start(config=config, config_name="config")
    try:
        sweeper = Plugins.instance().instantiate_sweeper(
            config=config,
            hydra_context=HydraContext(config_loader=loader, callbacks=callbacks),
            task_function=sweep,
        )
        sweeper.sweep(arguments=list(overrides))
    except HydraException as error:
        raise ConfigError(str(error.__cause__ or error).splitlines()[0]) from error
    callbacks.on_multirun_end(config=config, config_name="config")
