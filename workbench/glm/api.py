"""Generalised linear models from Python, without a run folder."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.core.config import ConfigError, components, nearest
from workbench.core.options import TrainConfig
from workbench.datasets.tables.config import FileConfig
from workbench.glm.config import GlmConfig, ModelConfig

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from workbench.core.assembly import Assembly
    from workbench.datasets.tables.base import Table

# Fields of the model that are no arguments of their own, because few families have them.
RARE = ("alpha", "power")
# Blocks in which a learner goes to its limit: it is asked so often whether it is done.
BLOCKS = 100


def fit(
    formula: str,
    data: "pd.DataFrame | Mapping[str, Any] | str | os.PathLike[str] | Table",
    family: str = "gaussian",
    *,
    method: str = "mle",
    link: str | None = None,
    offset: "str | np.ndarray | None" = None,
    exposure: "str | np.ndarray | None" = None,
    frequency_weights: "str | np.ndarray | None" = None,
    variance_weights: "str | np.ndarray | None" = None,
    na: str = "drop",
    seed: int = 0,
    **options: Any,
) -> Any:
    """Estimates a generalised linear model.

    Args:
      formula: in Wilkinson's notation, as in "y ~ x + C(group)"; of successes and failures,
        "successes + failures ~ x"; in a hierarchical model, "y ~ x + (1 + x | group)".
      data: a data frame, arrays `[n]` by name, or the path of a table.
      family: the distribution of the response: "gaussian", "binomial", "poisson", "gamma",
        "inverse_gaussian", "negative_binomial" or "tweedie".
      method: "mle", "path" or "bayes".
      link: None is the family's usual one.
      offset: a part of the linear predictor: a column, or numbers `[n]`, as are the next three.
      exposure: whose logarithm is a part of it.
      frequency_weights: how many times a row was seen.
      variance_weights: how many times as precise as others a row is.
      na: what becomes of rows with missing values, "drop" or "fail".
      seed: of methods that draw.
      **options: fields of the method's configuration, such as `ridge` or `chains`; `alpha` of
        negative binomial responses and `power` of Tweedie's.

    Returns:
      What the method finds: it can `predict` and has a `summary`; of a posterior, `sample`, too.

    Raises:
      ConfigError: for whatever is wrong with model, data or estimation, in one line.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # its notices of graphics cards
    from workbench.glm.build import on_table

    roles = {
        "offset": offset,
        "exposure": exposure,
        "frequency_weights": frequency_weights,
        "variance_weights": variance_weights,
    }
    table, columns = _table(data, roles)
    chosen = _method(method, {name: options[name] for name in options if name not in RARE})
    rare = {name: options[name] for name in RARE if name in options}
    model = _made(ModelConfig, formula=formula, family=family, link=link, **columns, **rare)
    return _estimated(on_table(table, na, GlmConfig(), model, chosen, seed), seed)


def _estimated(assembly: "Assembly", seed: int) -> Any:
    """What a learner has found when it is done, or at its limit."""
    from workbench.core.program import Program
    from workbench.core.runtime import Runtime

    learner = assembly.learner
    limit = learner.limit or TrainConfig().budget
    block = -(-limit // BLOCKS)
    program = Program(learner, Runtime(), seed, assembly.feed)
    with assembly.closing():
        for step in range(0, limit, block):
            metrics = program.run(step, min(block, limit - step))
            if fault := learner.fault(metrics):
                raise ConfigError(fault)
            if learner.done(metrics):
                break
        assert assembly.result is not None
        return assembly.result()


def _table(
    data: Any, roles: dict[str, "str | np.ndarray | None"]
) -> tuple["Table", dict[str, str | None]]:
    """The data as a table, and the columns that have a role."""
    from workbench.datasets.tables.base import Table
    from workbench.datasets.tables.files import build
    from workbench.datasets.tables.frame import FrameTable

    columns = {role: name for role, name in roles.items() if name is None or isinstance(name, str)}
    arrays = {f"({role})": value for role, value in roles.items() if role not in columns}
    if isinstance(data, Table):
        table = data
    elif isinstance(data, str | os.PathLike):
        table = build(FileConfig(path=str(Path(data))))
    else:
        table = FrameTable(_frame(data))
    if arrays:
        try:
            table = FrameTable(table.frame().assign(**arrays), table.name)
        except ValueError as error:
            raise ConfigError(f"{' and '.join(arrays)}: {error}") from None
    return table, columns | {name.strip("()"): name for name in arrays}


def _frame(data: Any) -> "pd.DataFrame":
    import pandas as pd

    if not isinstance(data, pd.DataFrame | Mapping):
        raise ConfigError(
            f"data is {type(data).__name__}: give a data frame, arrays by name, or a path"
        )
    try:
        return pd.DataFrame(data)
    except ValueError as error:
        raise ConfigError(f"data: {error}") from None


def _method(name: str, options: dict[str, Any]) -> Any:
    """The configuration of a method."""
    methods = {found.name: found.config for found in components() if found.group == "method"}
    if name not in methods:
        raise ConfigError(f"method={name} is not a choice{nearest(name, methods)}")
    return _made(methods[name], **options)


def _made(kind: Any, **values: Any) -> Any:
    """A configuration, checked."""
    names = [field.name for field in dataclasses.fields(kind)]
    for name in values:
        if name not in names:
            raise ConfigError(f"there is no option {name}{nearest(name, names)}")
    try:
        return kind(**values)
    except TypeError as error:
        raise ConfigError(f"an option is of the wrong kind: {error}") from None
