"""Data of posteriordb's regressions, and a summary of their reference posteriors.

Magnusson et al. 2024 (arXiv:2407.04967), https://github.com/stan-dev/posteriordb.
"""

import json
from typing import Any

import numpy as np
import pandas as pd

from workbench.core.config import ConfigError, located
from workbench.datasets.tables.config import PosteriordbConfig
from workbench.datasets.tables.frame import FrameTable
from workbench.datasets.tables.shared import file_of


class PosteriordbTable(FrameTable):
    """A table with what is known of a posterior.

    Attributes:
      constants: of the data, those that are no columns, as a prior's scale.
      reference: of each parameter, by its name in Stan's model: mean, sd, mcse_mean, quantiles.
      draws: that the reference is made of.
    """

    def __init__(
        self,
        frame: pd.DataFrame,
        name: str,
        constants: dict[str, Any],
        reference: dict[str, dict[str, float]],
        draws: int,
    ):
        super().__init__(frame, name)
        self.constants, self.reference, self.draws = constants, reference, draws


def build(config: PosteriordbConfig) -> PosteriordbTable:
    """Reads a file of the collection; a matrix X becomes columns X1, X2, ….

    Raises:
      ConfigError: when it is not there, or is no such file.
    """
    with located("dataset"):
        path = file_of("posteriordb", config.path, config.name, ".json")
    try:
        found = json.loads(path.read_text())
        values, reference = found["data_values"], found["summary"]
        draws = found["n_chains"] * found["n_draws_per_chain"]
    except (ValueError, KeyError, TypeError):
        raise ConfigError(f"{path} is no file of posteriordb's; get it again") from None
    columns: dict[str, np.ndarray] = {}
    for name, array in ((name, np.asarray(value)) for name, value in values.items()):
        if array.ndim == 1:
            columns[name] = array
        elif array.ndim == 2:
            columns |= {f"{name}{number}": part for number, part in enumerate(array.T, 1)}
    constants = {name: value for name, value in values.items() if np.ndim(value) == 0}
    return PosteriordbTable(pd.DataFrame(columns), path.stem, constants, reference, draws)
