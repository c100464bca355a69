"""What the overrides of a sweep span: fixed keys, and keys with several values."""

import itertools
from collections.abc import Callable, Iterator, Sequence

from hydra.core.override_parser.types import Glob, IntervalSweep, Override, OverrideType

from workbench.compose import options, parse_overrides
from workbench.core.config import ConfigError
from workbench.schema import ExperimentConfig

# What cells share, and the command decides.
UNSWEPT = ("hydra.", "hydra/", "sweep.")


class Space:
    """The overrides of a sweep.

    Args:
      lines: `KEY=VALUE` in Hydra's grammar: lists, `choice()`, `range()`, `glob()`, `interval()`.

    Attributes:
      lines: that take effect, with the names that a `glob()` matches in its place.
      fixed: the keys that have one value, and `fixed_lines` their overrides.
      searched: the overrides of the others.

    Raises:
      ConfigError: for a key that cannot be swept over, and a glob that nothing matches.
    """

    def __init__(self, lines: Sequence[str]):
        self.lines = [_without_glob(override) for override in _effective(parse_overrides(lines))]
        self._overrides = parse_overrides(self.lines)
        for override in self._overrides:
            _check_key(override)
        fixed = [o for o in self._overrides if not o.is_sweep_override()]
        self.fixed = {key_of(override) for override in fixed}
        self.fixed_lines = [override.input_line or "" for override in fixed]
        self.searched = [o for o in self._overrides if o.is_sweep_override()]

    def combinations(self) -> Iterator[list[str]]:
        """The overrides of every combination of values, the last key varying first.

        Raises:
          ConfigError: for an interval, of which there is no list of values.
        """
        return map(list, itertools.product(*map(_listed, self._overrides)))

    def first(self) -> list[str]:
        """The overrides with the first value of each key, or the low end of an interval."""
        return [_probed(override)[0] for override in self._overrides]

    def tried(self, compose: Callable[[Sequence[str]], ExperimentConfig]) -> ExperimentConfig:
        """Composes every value, and both ends of intervals, in a combination that can run.

        Returns:
          One of the experiments.

        Raises:
          ConfigError: for a value that goes with neither the first nor the last of the others.
        """
        values = [_probed(override) for override in self._overrides]
        sides = [[choices[end] for choices in values] for end in (0, -1)]
        for place, choices in enumerate(values):
            for choice in choices:
                candidates = [[*side[:place], choice, *side[place + 1 :]] for side in sides]
                experiment = _first_that_composes(candidates, compose)
        return experiment

    def values(self, key: str) -> list[str]:
        """The values of a key, as they are written; none when it is not among the overrides."""
        lines = (_listed(o) for o in self._overrides if key_of(o) == key)
        return [line.partition("=")[2] for line in next(lines, [])]


def key_of(override: Override) -> str:
    """The key of an override, without what Hydra marks it by when it is added or removed."""
    return override.get_key_element().lstrip("+~")


def without_hydra(lines: Sequence[str]) -> list[str]:
    """The overrides that are an experiment's."""
    return [line for line in lines if not line.startswith(("hydra.", "hydra/"))]


def _effective(overrides: Sequence[Override]) -> list[Override]:
    """The overrides without those that a later one of the same key replaces."""
    last = {override.key_or_group: override for override in overrides}
    return [
        override
        for override in overrides
        if override is last[override.key_or_group]
        or override.type != OverrideType.CHANGE
        or last[override.key_or_group].type != OverrideType.CHANGE
        or isinstance(last[override.key_or_group].value(), dict)
    ]


def _without_glob(override: Override) -> str:
    """An override with its `glob()` replaced by the names that match, below folders too."""
    line, value = override.input_line or "", override.value()
    if not isinstance(value, Glob):
        return line
    names = value.filter(options(override.key_or_group))
    if not names:
        raise ConfigError(f"{line} matches nothing in conf/{override.key_or_group}")
    return f"{override.get_key_element()}={','.join(names)}"


def _check_key(override: Override) -> None:
    key = key_of(override)
    if key in ("run.dir", "hydra.run.dir"):
        raise ConfigError(f"{key} is a single run's; the folder of a sweep is sweep.dir")
    if key == "hydra.sweep.subdir":
        raise ConfigError(f"{key} is no choice: cells are named by what differs between them")
    if override.is_sweep_override():
        if key.startswith(UNSWEPT):
            raise ConfigError(f"{override.input_line}: {key} is the sweep's, and has one value")
        if override.type == OverrideType.DEL:
            raise ConfigError(f"{override.input_line}: what is taken away has no values")


def _listed(override: Override) -> list[str]:
    """An override once for each of its values."""
    if not override.is_sweep_override():
        return [override.input_line or ""]
    if isinstance(override.value(), IntervalSweep):
        raise ConfigError(f"{override.input_line} has no list of values; add hydra/sweeper=optuna")
    key = override.get_key_element()
    values = [f"{key}={value}" for value in override.sweep_string_iterator()]
    if not values:
        raise ConfigError(f"{override.input_line} has no values")
    return values


def _probed(override: Override) -> list[str]:
    """An override once for each of its values, or for both ends of its interval."""
    value = override.value()
    if not isinstance(value, IntervalSweep):
        return _listed(override)
    low, high = value.start, value.end
    if low is None or high is None or low >= high:
        raise ConfigError(f"{override.input_line}: the interval is empty")
    if "log" in value.tags and low <= 0:
        raise ConfigError(f"{override.input_line}: an interval in logarithms lies above 0")
    # Hydra makes 1.0 of 1, which would be none of an integer's values.
    ends = (int(end) if float(end).is_integer() else end for end in (low, high))
    return [f"{override.get_key_element()}={end}" for end in ends]


def _first_that_composes(
    candidates: Sequence[Sequence[str]], compose: Callable[[Sequence[str]], ExperimentConfig]
) -> ExperimentConfig:
    errors = []
    for lines in candidates:
        try:
            return compose(without_hydra(lines))
        except ConfigError as error:
            errors.append(error)
    raise errors[0]
