"""Which hyper-parameters decided an Optuna study, by functional ANOVA (Hutter et al., 2014)."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

FEWEST_TRIALS, MOST_TRIALS = 4, 600
MOST_TREES = 64
# Seconds go with trees and the square of trials; this much takes a few.
WORK = 3_000_000


@dataclass(frozen=True)
class Importance:
    """The share of an objective's variance that each hyper-parameter explains by itself.

    Attributes:
      study: its name.
      objective: e.g. "objective 2"; plainly "objective" of a study with one.
      trials: that were analysed: those completed, or as many of them, spread over the study.
      shares: by parameter, the largest first; they add up to 1.
    """

    study: str
    objective: str
    trials: int
    shares: dict[str, float]


def importances_of(path: Path, seed: int) -> tuple[list[Importance], list[str]]:
    """The importances in every study of an Optuna database, which is read and not written.

    Args:
      path: of the SQLite file.
      seed: of the random forests.

    Returns:
      An entry for each study's objective, and a line for what could not be had.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # optuna 2 has many, of its own imports and its own calls
        import optuna
        from sqlalchemy.exc import SQLAlchemyError

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        try:
            return _read(path, seed)
        except (SQLAlchemyError, RuntimeError, ValueError, KeyError) as error:
            return [], [f"{path} cannot be read: {str(error).splitlines()[0]}"]


def _read(path: Path, seed: int) -> tuple[list[Importance], list[str]]:
    import optuna

    found, notes = [], []
    uri = f"sqlite:///file:{quote(str(path.resolve()))}?mode=ro&uri=true"
    storage = optuna.storages.RDBStorage(uri)
    for summary in optuna.get_all_study_summaries(storage):
        name = summary.study_name
        study = optuna.load_study(study_name=name, storage=storage)
        complete = optuna.trial.TrialState.COMPLETE
        trials = [trial for trial in study.trials if trial.state == complete]
        several = len(study.directions) > 1
        for number in range(len(study.directions)):
            objective = f"objective {number + 1}" if several else "objective"
            outcome = _importance(name, objective, trials, number, seed)
            if isinstance(outcome, Importance):
                found.append(outcome)
            else:
                notes.append(f"{path}, {name}: no importances, for {outcome}")
    return found, notes


def _importance(
    study: str, objective: str, trials: Sequence["FrozenTrial"], number: int, seed: int
) -> Importance | str:
    """The importance, or why there is none."""
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances
    from optuna.study import create_study
    from optuna.trial import create_trial

    rows = [
        (*_linear(trial), trial.values[number])
        for trial in trials
        if trial.values and math.isfinite(trial.values[number])
    ]
    if len(rows) < FEWEST_TRIALS:
        return f"{len(rows)} trials were completed, and {FEWEST_TRIALS} are needed"
    rows = rows[:: math.ceil(len(rows) / MOST_TRIALS)]
    if len({value for *_, value in rows}) == 1:
        return "all trials came to the same value"
    _mend_fanova()
    copy = create_study()
    copy.add_trials([create_trial(params=p, distributions=d, value=value) for p, d, value in rows])
    trees = min(MOST_TREES, WORK // len(rows) ** 2)
    evaluator = FanovaImportanceEvaluator(n_trees=trees, seed=seed)
    shares = get_param_importances(copy, evaluator=evaluator)
    if not shares:
        return "no parameter is common to all trials"
    return Importance(study, objective, len(rows), dict(shares))


def _linear(trial: "FrozenTrial") -> tuple[dict[str, Any], dict[str, "BaseDistribution"]]:
    """A trial with logarithmic parameters as logarithms.

    fANOVA averages over the space that was searched, and optuna 2 has it average over the
    parameters as they are: almost all of [1e-5, 1e-1] would be above 1e-2.
    """
    from optuna.distributions import (
        IntLogUniformDistribution,
        LogUniformDistribution,
        UniformDistribution,
    )

    params, distributions = dict(trial.params), dict(trial.distributions)
    for name, kind in trial.distributions.items():
        if isinstance(kind, LogUniformDistribution | IntLogUniformDistribution):
            params[name] = math.log(params[name])
            distributions[name] = UniformDistribution(math.log(kind.low), math.log(kind.high))
    return params, distributions


def _mend_fanova() -> None:
    """Lets optuna 2.10, the last that Hydra's sweeper takes, work with NumPy 1.24 and later.

    It takes a leaf's value from scikit-learn as an array of one number, which NumPy then refuses to
    put beside another number.
    """
    from optuna.importance._fanova import _tree

    def value(tree: Any, node: int) -> float:
        return tree._tree.value[node].item()

    setattr(_tree._FanovaTree, "_get_node_value", value)  # noqa: B010
