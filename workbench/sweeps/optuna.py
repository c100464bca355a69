"""`hydra/sweeper=optuna`: a study chooses the cells, and goes on where it was left."""

import math
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from hydra.utils import instantiate
from omegaconf import DictConfig

from workbench.compose import typed
from workbench.core.config import AT_LEAST_ONE, ConfigError, nearest, require
from workbench.core.streams import stream_key
from workbench.schema import ExperimentConfig
from workbench.sweeps.distributions import distribution
from workbench.sweeps.folder import Cell
from workbench.sweeps.launcher import SweepLauncher
from workbench.sweeps.result import FINISHED, Result, lacking
from workbench.sweeps.space import Space
from workbench.sweeps.sweep import Sweep

if TYPE_CHECKING:
    from optuna import Study

MAXIMIZE, MINIMIZE = "maximize", "minimize"


@dataclass
class OptunaSettings:
    """What a user may say about a study; see conf/hydra/sweeper/optuna.yaml."""

    n_trials: int = 20
    n_jobs: int = 2
    direction: Any = None
    storage: str | None = None
    study_name: str = "workbench"
    params: dict[str, Any] | None = None
    sampler: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(self, n_trials=AT_LEAST_ONE, n_jobs=AT_LEAST_ONE)
        if self.sampler["_target_"].endswith("GridSampler"):
            raise ConfigError("sampler=grid tries every combination: choose hydra/sweeper=basic")


class OptunaSweeper(Sweeper):
    """Asks an Optuna study for cells, a few at a time, and tells it what they came to.

    The study is in SQLite in the sweep's folder. A trial whose run fails, or whose objective is
    not finite, is told as failed; one that was killed or interrupted stays open, and is resumed
    when the sweep is started again. Chosen are the same cells whether a sweep was interrupted or
    not: the sampler is made anew for each batch of trials, its seed from the batch's first number.

    Args:
      settings: the fields of `OptunaSettings`.

    Raises:
      ConfigError: for what is wrong with them.
    """

    def __init__(self, **settings: Any):
        self._settings = typed(OptunaSettings, settings, "hydra.sweeper")
        self._sweep: Sweep
        self._launcher: SweepLauncher
        self._directions: list[str] = []

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )
        assert isinstance(launcher, SweepLauncher)
        assert isinstance(task_function, Sweep)
        self._launcher, self._sweep = launcher, task_function

    def sweep(self, arguments: list[str]) -> None:
        sweep, settings = self._sweep, self._settings
        space = Space([*(f"{k}={v}" for k, v in (settings.params or {}).items()), *arguments])
        if not space.searched:
            raise ConfigError("nothing to search: give a key several values, KEY=interval(a,b)")
        example = space.tried(sweep.compose)
        self._directions = self._directions_for(example)
        sweep.final = frozenset({FINISHED, "failed"})
        cells = self._submit_known(space)
        if cells and self._settled(cells):
            for cell in cells:
                sweep.read(cell.name)
        else:
            self._search(space, example, cells)
        self._remark()

    def _search(self, space: Space, example: ExperimentConfig, cells: Sequence[Cell]) -> None:
        """Finishes the cells that are there, then asks for more."""
        sweep, settings = self._sweep, self._settings
        distributions = {
            override.get_key_element(): distribution(override, example)
            for override in space.searched
        }
        study = self._study()
        self._tell_open(study, dict(zip(cells, self._launcher.run(cells), strict=True)))
        while (asked := len(study.trials)) < settings.n_trials and not sweep.stopped:
            study.sampler = self._sampler(asked)
            trials = [study.ask() for _ in range(min(settings.n_jobs, settings.n_trials - asked))]
            for trial in trials:
                for name, kind in distributions.items():
                    trial._suggest(name, kind)
            self._run(study, space, {trial.number: trial.params for trial in trials})

    def _run(self, study: "Study", space: Space, trials: Mapping[int, Mapping[str, Any]]) -> None:
        jobs = {}
        for number, params in trials.items():
            job = [*space.fixed_lines, *(f"{key}={value}" for key, value in params.items())]
            try:
                self._sweep.compose(job)
                jobs[number] = job
            except ConfigError as error:  # values that do not go together
                self._tell(study, number, None)
                self._sweep.console.say(f"trial {number} cannot run: {error}")
        cells = self._sweep.submit(list(jobs.values()), list(jobs))
        for number, result in zip(jobs, self._launcher.run(cells), strict=True):
            self._tell(study, number, result)

    def _submit_known(self, space: Space) -> list[Cell]:
        """The cells of trials of an earlier start, when they are what is asked for now."""
        folder = self._sweep.folder
        folder.check()
        known = [cell for cell in folder.cells() if cell.trials] if folder.is_sweep else []
        jobs = []
        for cell in known:
            keys = {line.partition("=")[0] for line in cell.overrides}
            fixed = [line for line in space.fixed_lines if line.partition("=")[0] not in keys]
            jobs.append([*fixed, *cell.overrides])
        return self._sweep.submit(jobs)

    def _settled(self, cells: Sequence[Cell]) -> bool:
        """Whether there is nothing left to do; importing Optuna to see it would take seconds."""
        folder, settings = self._sweep.folder, self._settings
        if settings.storage is not None or not folder.study.exists():
            return False
        query = (
            "select trials.state from trials join studies using (study_id) "
            "where studies.study_name = ?"
        )
        try:
            with closing(sqlite3.connect(folder.study)) as database:
                states = [state for (state,) in database.execute(query, [settings.study_name])]
        except sqlite3.Error:
            return False
        return (
            len(states) >= settings.n_trials
            and "RUNNING" not in states
            and all(folder.status(cell.name) in self._sweep.final for cell in cells)
        )

    def _study(self) -> "Study":
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        settings = self._settings
        try:
            return optuna.create_study(
                study_name=settings.study_name,
                storage=settings.storage or f"sqlite:///{self._sweep.folder.study.absolute()}",
                directions=self._directions,
                load_if_exists=True,
            )
        except Exception as error:  # the database's, in the words of one of many libraries
            cause = str(error).splitlines()[0]
            raise ConfigError(f"the study {settings.study_name} cannot be used: {cause}") from error

    def _sampler(self, number: int) -> Any:
        config = dict(self._settings.sampler)
        if "seed" in config:
            config["seed"] = stream_key(config["seed"] or 0, f"trial {number}") % 2**32
        return instantiate(config)

    def _tell_open(self, study: "Study", results: Mapping[Cell, Result]) -> None:
        """Tells the study of trials that were open when an earlier start ended."""
        by_number = {number: r for cell, r in results.items() for number in cell.trials}
        for trial in study.trials:
            if not trial.state.is_finished():
                self._tell(study, trial.number, by_number.get(trial.number))

    def _tell(self, study: "Study", number: int, result: Result | None) -> None:
        """Tells the study of a trial; None is one that could not run, or was lost."""
        from optuna.trial import TrialState

        values = result.numbers if result and result.finished else None
        if values and all(map(math.isfinite, values)):
            study.tell(number, values)
        elif result is None or result.status in self._sweep.final:
            study.tell(number, state=TrialState.FAIL)
            if result is not None and result.finished:
                self._sweep.console.say(
                    f"trial {number} has failed: {lacking(result, self._sweep.folder)}"
                )

    def _directions_for(self, example: ExperimentConfig) -> list[str]:
        objectives = self._sweep.settings.objectives or [example.train.judge]
        given = self._settings.direction
        if given is None:
            if objectives != [example.train.judge]:
                raise ConfigError(
                    f"hydra.sweeper.direction: say maximize or minimize for {objectives}"
                )
            given = MAXIMIZE if example.train.mode == "max" else MINIMIZE
        directions = [str(word) for word in given] if isinstance(given, list) else [str(given)]
        for word in directions:
            if word not in (MAXIMIZE, MINIMIZE):
                choices = nearest(word, (MAXIMIZE, MINIMIZE))
                raise ConfigError(f"hydra.sweeper.direction={word} is not a choice{choices}")
        if len(directions) != len(objectives):
            raise ConfigError(
                f"hydra.sweeper.direction names {len(directions)}, and there are "
                f"{len(objectives)} sweep.objectives"
            )
        return directions

    def _remark(self) -> None:
        """Says which cells are best: those that no other is better than in every objective."""
        sweep = self._sweep
        results = [r for r in sweep.results.values() if r.finished]
        front = pareto_front(results, self._directions)
        title = "Best" if len(front) <= 1 else "Best, each in its way"
        if front:
            sweep.remarks.append(f"{title}: {', '.join(result.name for result in front)}")


def pareto_front(results: Sequence[Result], directions: Sequence[str]) -> list[Result]:
    """The results that no other is better than in one objective and as good as in the rest."""
    signs = [1 if direction == MAXIMIZE else -1 for direction in directions]
    gains = {
        result.name: [sign * value for sign, value in zip(signs, result.numbers, strict=True)]
        for result in results
        if result.numbers is not None
    }
    return [
        result
        for result in results
        if result.name in gains
        and not any(_dominates(other, gains[result.name]) for other in gains.values())
    ]


def _dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    return one != other and all(a >= b for a, b in zip(one, other, strict=True))
