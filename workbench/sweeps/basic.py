"""`hydra/sweeper=basic`: every combination of the values."""

from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from workbench.sweeps.space import Space


class BasicSweeper(Sweeper):
    """Hydra's own sweeper, but for two things: it writes nothing before all is known to be right,
    and leaves checking to the launcher, which composes many cells quickly.

    Args:
      params: keys to sweep over, beside the command's.
    """

    def __init__(self, params: Mapping[str, Any] | None = None):
        self._params = [f"{key}={value}" for key, value in (params or {}).items()]
        self._launcher: Launcher

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self._launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Sequence[JobReturn]:
        cells = list(Space([*self._params, *arguments]).combinations())
        return self._launcher.launch(cells, initial_job_idx=0)
