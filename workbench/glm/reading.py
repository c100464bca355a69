"""What a model says of a table: which columns are what, and how rows of them become numbers."""

import dataclasses
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from formulaic import ModelSpec, SimpleFormula
from formulaic.errors import DataMismatchWarning
from formulaic.parser.types import Factor

from workbench.core.config import ConfigError
from workbench.datasets.tables.base import Table
from workbench.glm import columns
from workbench.glm.config import ModelConfig
from workbench.glm.families import Family, family_of
from workbench.glm.notation import Notation, one_line
from workbench.glm.regression import INTERCEPT
from workbench.glm.rows import Rows


@dataclass(frozen=True, eq=False)
class Reading:
    """A model that is checked against a table's columns.

    Attributes:
      model: what the user said, and where nothing was, what the table is known for.
      family: distribution and link.
      notation: the formula.
      clusters: the column that says whose a row is.
    """

    model: ModelConfig
    family: Family
    notation: Notation
    clusters: str | None = None

    @classmethod
    def of(cls, table: Table, model: ModelConfig, clusters: str | None = None) -> "Reading":
        """Reads a model for a table.

        Raises:
          ConfigError: when there is no formula, or one of other columns.
        """
        model = dataclasses.replace(
            model,
            formula=model.formula or table.formula,
            family=model.family or table.family or "gaussian",
        )
        if not model.formula:
            raise ConfigError(
                f"{table.name} is known for no model; say one by glm.formula, as in "
                'glm.formula="y ~ x1 + x2"'
            )
        roles = {**_numeric_roles(model), "clusters": clusters}
        columns.known(table, roles)
        taken = [name for name in roles.values() if name is not None]
        notation = Notation.of(model.formula, table.columns, taken)
        return cls(model, family_of(model), notation, clusters)

    @property
    def columns(self) -> list[str]:
        """That are used, in order."""
        roles = {**_numeric_roles(self.model), "clusters": self.clusters}
        return list(dict.fromkeys([*self.notation.columns, *filter(None, roles.values())]))

    @property
    def categories(self) -> set[str]:
        """The columns that are used as categories, whatever they hold."""
        found = {*self.notation.categories, *filter(None, [self.clusters])}
        return found - set(_numeric_roles(self.model).values())

    def typed(self, frame: pd.DataFrame, places: np.ndarray) -> pd.DataFrame:
        """Rows without missing values, as numbers and categories."""
        return columns.typed(frame, self.categories, places)

    def rows(self, design: np.ndarray, frame: pd.DataFrame, places: np.ndarray) -> Rows:
        """Rows of a design, with what their other columns say.

        Args:
          design: float64 `[n, p]`.
          frame: typed.
          places: of the rows in the data, `[n]`, from 0.

        Raises:
          ConfigError: for responses that the family does not have, and weights that are none.
        """
        model = self.model
        response, trials = self._response(frame, places)
        weight = self._positive(frame, "variance_weights", places)
        if trials is not None:
            weight = trials if weight is None else trials * weight
        frequency = self._positive(frame, "frequency_weights", places)
        return Rows.of(design, response, offset(model, frame, places), frequency, weight)

    def _positive(self, frame: pd.DataFrame, role: str, places: np.ndarray) -> np.ndarray | None:
        name = getattr(self.model, role)
        return (
            None if name is None else columns.above_zero(numbers(frame, name), name, role, places)
        )

    def _response(
        self, frame: pd.DataFrame, places: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Responses, and trials where these are shares of them."""
        left, name, family = self.notation.left, self.notation.response, self.family
        for factor in (factor for term in left for factor in term.factors):
            if factor.eval_method is Factor.EvalMethod.LOOKUP and frame[factor.expr].dtype != float:
                words = list(dict.fromkeys(frame[factor.expr].astype(str)))[:2]
                raise ConfigError(
                    f"{factor.expr} holds words ({', '.join(words)}, …), and the response of a "
                    "regression is numbers, as 0 and 1"
                )
        found = encoded(ModelSpec(formula=left), frame)[0]
        if found.shape[1] != len(left):
            raise ConfigError(f"{name} is no single number in each row, and a response is")
        if found.shape[1] == 2 and family.key == "binomial":
            return self._shares(found, places)
        if found.shape[1] != 1:
            raise ConfigError(
                f"{name} is {found.shape[1]} columns, and a {family.key} response is one; "
                'family=binomial takes "successes + failures ~ x"'
            )
        response = columns.finite(found[:, 0], name, places)
        family.refuse(response, name, places)
        return response, None

    def _shares(self, counts: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        for term, values in zip(self.notation.left, counts.T, strict=True):
            columns.finite(values, str(term), places)
            bad = (values < 0) | (values != np.floor(values))
            if bad.any():
                row = int(np.argmax(bad))
                raise ConfigError(
                    f"{term} is {values[row]:g} in row {places[row] + 1}: successes and failures "
                    "are counts, whole and not negative"
                )
        trials = counts.sum(axis=1)
        if not trials.all():
            row = places[int(np.argmin(trials))] + 1
            raise ConfigError(f"row {row} has neither successes nor failures; leave it out")
        return counts[:, 0] / trials, trials


def _numeric_roles(model: ModelConfig) -> dict[str, str | None]:
    names = ("offset", "exposure", "frequency_weights", "variance_weights")
    return {name: getattr(model, name) for name in names}


def numbers(frame: pd.DataFrame, name: str) -> np.ndarray:
    """A column that has to be of numbers.

    Raises:
      ConfigError: when it is not.
    """
    found = frame[name].to_numpy()
    if found.dtype.kind not in "fiub":
        raise ConfigError(f"{name} holds words, and has to be numbers")
    return found.astype(np.float64, copy=False)


def offset(model: ModelConfig, frame: pd.DataFrame, places: np.ndarray) -> np.ndarray | None:
    """What is added to the linear predictor, `[n]`: the offset and the exposure's logarithm.

    Raises:
      ConfigError: for exposures that are not above 0.
    """
    found = None if model.offset is None else numbers(frame, model.offset)
    if model.exposure is None:
        return found
    exposure = numbers(frame, model.exposure)
    logs = np.log(columns.above_zero(exposure, model.exposure, "exposure", places))
    return logs if found is None else found + logs


def encoded(spec: ModelSpec, frame: pd.DataFrame) -> tuple[np.ndarray, ModelSpec]:
    """The columns of a specification, float64 `[n, p]`, and the specification of what was seen.

    Raises:
      ConfigError: when formulaic cannot compute them, and for unseen categories.
    """
    spec = spec.update(output="numpy", na_action="ignore")
    if spec.structure:
        _refuse_unseen(spec, frame)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", DataMismatchWarning)
            matrix = spec.get_model_matrix(frame)
    except DataMismatchWarning as error:
        unknown = re.search(r"\{.*?\}", str(error))
        raise ConfigError(
            f"formula: categories that are none of the levels: {unknown and unknown[0]}"
        ) from None
    except Exception as error:
        raise ConfigError(f"formula: {one_line(error)}") from None
    return np.asarray(matrix, np.float64), matrix.model_spec


def design_of(
    spec: ModelSpec, frame: pd.DataFrame, places: np.ndarray
) -> tuple[np.ndarray, ModelSpec]:
    """The design matrix of typed rows, and the specification of what was seen.

    Raises:
      ConfigError: also when a function of a column is not finite.
    """
    design, spec = encoded(spec, frame)
    if not np.isfinite(design.sum()):
        for name, values in zip(spec.column_names, design.T, strict=True):
            columns.finite(values, name, places)
    return design, spec


def terms_of(spec: ModelSpec) -> dict[str, list[int]]:
    """Terms, and the numbers of their columns.

    Raises:
      ConfigError: for a term that adds none: it has one category.
    """
    terms = {
        INTERCEPT if str(term) == "1" else str(term): list(places)
        for term, places in spec.term_indices.items()
    }
    for term, places in terms.items():
        if not places:
            raise ConfigError(f"{term} is the same in all rows, as the intercept is; leave it out")
    return terms


def _refuse_unseen(spec: ModelSpec, frame: pd.DataFrame) -> None:
    for name, levels, values in _categorical(spec, frame):
        unseen = set(pd.unique(values)) - set(levels)
        if unseen:
            some = ", ".join(sorted(str(level) for level in unseen)[: columns.FEW])
            raise ConfigError(
                f"{name} has categories that the estimation has not seen ({some}); it knows "
                f"{', '.join(str(level) for level in levels[:10])}"
            )


def _categorical(
    spec: ModelSpec, frame: pd.DataFrame
) -> Iterator[tuple[str, list[object], pd.Series]]:
    """Columns that are categories by themselves, with the levels that were seen."""
    for factor in spec.factors:
        kind, state = spec.encoder_state.get(factor.expr, (None, {}))
        name = factor.expr.removeprefix("C(").split(",")[0].strip(" )`")
        if kind is Factor.Kind.CATEGORICAL and name in frame and "categories" in state:
            yield name, state["categories"], frame[name]


def spec_of(formula: SimpleFormula) -> ModelSpec:
    """A specification that has seen no rows."""
    return ModelSpec(formula=formula)
