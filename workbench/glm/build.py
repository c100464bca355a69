"""From the configuration of a generalised linear model to a running learner."""

from typing import Any

from workbench.core.assembly import Assembly
from workbench.core.config import ConfigError, component_of
from workbench.core.config import build as build_component
from workbench.datasets.tables.base import Table
from workbench.datasets.tables.config import TableConfig
from workbench.glm.config import GlmConfig, MleConfig, ModelConfig
from workbench.glm.formula import regression_of
from workbench.glm.mle import build_streamed
from workbench.glm.streamed import Streamed


def build(config: GlmConfig, *, dataset: Any, glm: ModelConfig, method: Any, seed: int) -> Assembly:
    """The regression of a formula on a table, by the method that was chosen.

    Raises:
      ConfigError: for data that are no table, and whatever does not fit.
    """
    if not isinstance(dataset, TableConfig):
        name = component_of(dataset).name
        raise ConfigError(f"dataset={name} is no table; choose from table, statsmodels, nist")
    return on_table(build_component(dataset), dataset.na, config, glm, method, seed)


def on_table(
    table: Table, na: str, config: GlmConfig, glm: ModelConfig, method: Any, seed: int
) -> Assembly:
    """The regression of a model on a table, by a method.

    Args:
      na: what becomes of rows with missing values, "drop" or "fail".
    """
    if table.streamed:
        if not isinstance(method, MleConfig):
            raise ConfigError(
                f"{table.name} is larger than memory, and only method=mle does without it there"
            )
        streamed = Streamed.of(table, glm, na)
        return _noted(build_streamed(method, streamed, config, seed), streamed.dropped)
    clusters = getattr(method, "clusters", None)
    regression = regression_of(table, glm, na=na, clusters=clusters)
    assembly: Assembly = build_component(method, regression, config, seed)
    return _noted(assembly, regression.dropped)


def _noted(assembly: Assembly, dropped: int) -> Assembly:
    if dropped:
        assembly.notes.append(f"{dropped:,} rows with missing values are left out")
    return assembly
