"""From the configuration of a generalised linear model to a running learner."""

from typing import Any

from workbench.core.assembly import Assembly
from workbench.core.config import build as build_component
from workbench.glm.config import GlmConfig, ModelConfig
from workbench.glm.formula import regression_of


def build(config: GlmConfig, *, dataset: Any, glm: ModelConfig, method: Any, seed: int) -> Assembly:
    """The regression of a formula on a table, by the method that was chosen."""
    table = build_component(dataset)
    clusters = getattr(method, "clusters", None)
    regression = regression_of(table, glm, na=dataset.na, clusters=clusters)
    assembly: Assembly = build_component(method, regression, config, seed)
    if regression.dropped:
        assembly.notes.append(f"{regression.dropped} rows with missing values are left out")
    return assembly
