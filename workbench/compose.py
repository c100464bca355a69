"""Composes experiments with Hydra into typed dataclasses; imports no TensorFlow."""

import functools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from workbench.core.config import ConfigError, components, load_plugins, located, nearest
from workbench.schema import ExperimentConfig

COMPONENT = "_component_"

T = TypeVar("T")


def conf_dir() -> Path:
    """The folder of the Hydra groups, in an installed package or in a checkout."""
    package = Path(__file__).parent
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent / "conf"


def store_schemas() -> None:
    """Puts every registered configuration class where the YAML of conf/ finds it."""
    load_plugins()
    _drop_overridden_schemas()
    store = ConfigStore.instance()
    store.store(name="schema", node=ExperimentConfig)
    for component in components():
        store.store(group=f"{component.group}/schema", name=component.name, node=component.config)


def compose_experiment(overrides: Sequence[str]) -> DictConfig:
    """The composed configuration of one run.

    Raises:
      ConfigError: in one line, with the nearest valid choice.
    """
    try:
        return _compose(overrides)
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise ConfigError(_explain(error, overrides)) from error


def compose_hydra(overrides: Sequence[str]) -> DictConfig:
    """A configuration with Hydra's own settings, its launcher and sweeper among them.

    Args:
      overrides: of which Hydra's are taken.

    Raises:
      ConfigError: in one line, with the nearest valid choice; for unknown keys too, which Hydra
        accepts in silence in some of its groups.
    """
    parsed = parse_overrides(overrides)
    hydras = [o for o in parsed if o.key_or_group.startswith(("hydra.", "hydra/"))]
    choices = [o.input_line or "" for o in hydras if "/" in o.key_or_group]
    lines = [o.input_line or "" for o in hydras]
    try:
        config = _compose(choices, return_hydra_config=True)
        for override in hydras:
            if override.key_or_group.startswith("hydra."):
                _refuse_unknown(config, override.key_or_group)
        return _compose(lines, return_hydra_config=True)
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise ConfigError(_explain(error, lines)) from error


def check_overrides(overrides: Sequence[str]) -> ExperimentConfig:
    """The experiment that a command line asks for, composed and checked.

    Raises:
      ConfigError: for the first thing that is wrong.
    """
    experiment = instantiate(compose_experiment(overrides))
    experiment.check()
    if any("hydra" in override for override in overrides):
        compose_hydra(overrides)
    return experiment


def instantiate(config: DictConfig) -> ExperimentConfig:
    """The typed experiment of a composed configuration; ranges are checked here.

    Raises:
      ConfigError: naming the full key, the value and its limit.
    """
    try:
        experiment = _object(config, "")
    except OmegaConfBaseException as error:
        raise ConfigError(_explain(error, [])) from error
    assert isinstance(experiment, ExperimentConfig)
    return experiment


def typed(kind: type[T], values: Mapping[str, Any], path: str) -> T:
    """A dataclass with checked values.

    Args:
      path: of the values in the configuration, for errors.

    Raises:
      ConfigError: naming the full key, the value and its limit.
    """
    try:
        plain = OmegaConf.to_container(OmegaConf.create(dict(values)))
        config = OmegaConf.merge(OmegaConf.structured(kind), plain)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{path}.{_explain(error, [])}") from error
    return _object(config, path)


def dump_experiment(experiment: ExperimentConfig) -> dict[str, Any]:
    """An experiment as plain values, each part with the name that it is registered by."""
    values = asdict(experiment)
    del values["sweep"]  # of the command, not of a run
    for component in components():
        if type(getattr(experiment, component.group, None)) is component.config:
            values[component.group] = {COMPONENT: component.name, **values[component.group]}
    return values


def load_experiment(path: Path) -> ExperimentConfig:
    """The experiment that `dump_experiment` wrote as YAML; reading it runs no code.

    Raises:
      ConfigError: when the file holds none.
    """
    load_plugins()
    try:
        saved = OmegaConf.load(path)
        assert isinstance(saved, DictConfig)
        for key, value in saved.items():
            if isinstance(value, DictConfig) and COMPONENT in value:
                saved[key] = _component_node(str(key), value)
        config = OmegaConf.merge(OmegaConf.structured(ExperimentConfig), saved)
    except (OSError, ValueError, AttributeError, OmegaConfBaseException) as error:
        raise ConfigError(f"{path} is no run's configuration: {_first_line(error)}") from error
    assert isinstance(config, DictConfig)
    return instantiate(config)


def amend(experiment: ExperimentConfig, overrides: Sequence[str]) -> ExperimentConfig:
    """An experiment with some of its values changed by `KEY=VALUE`.

    Raises:
      ConfigError: for an unknown key or a value that does not fit.
    """
    config = OmegaConf.structured(experiment)
    for override in parse_overrides(overrides):
        key, value = override.key_or_group, override.value()
        _refuse_unknown(config, key)
        try:
            OmegaConf.update(config, key, value)
        except OmegaConfBaseException as error:
            raise ConfigError(_explain(error, [])) from error
    return instantiate(config)


def parse_overrides(overrides: Sequence[str]) -> list[Override]:
    """What Hydra's grammar makes of `KEY=VALUE` words.

    Raises:
      ConfigError: where it cannot be read.
    """
    try:
        return [_parse_override(override) for override in overrides]
    except HydraException as error:
        raise ConfigError(_explain(error, overrides)) from error


def quoted(override: str) -> str:
    """A word in quotes where it holds a ~, as formulas do: Hydra's grammar has none in values."""
    key, _, value = override.partition("=")
    if "~" not in re.sub(r"\"[^\"]*\"|'[^']*'", "", value) or value.startswith(('"', "'")):
        return override
    text = value.replace('"', '\\"')
    return f'{key}="{text}"'


def experiments() -> Iterator[str]:
    """The names of the shipped experiments: files below conf/experiment."""
    yield from options("experiment")


def groups() -> list[str]:
    """The groups of conf/, Hydra's own launcher and sweeper among them."""
    parents = {path.parent.relative_to(conf_dir()) for path in conf_dir().glob("*/**/*.yaml")}
    return sorted({"experiment", *(p.as_posix() for p in parents if p.parts[0] != "experiment")})


def options(group: str) -> list[str]:
    """The names that a group of conf/ can be set to."""
    folder = conf_dir() / group
    paths = (path.relative_to(folder) for path in folder.rglob("*.yaml"))
    return sorted(path.with_suffix("").as_posix() for path in paths)


def _compose(overrides: Sequence[str], **options: bool) -> DictConfig:
    store_schemas()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose("config", overrides=list(map(quoted, overrides)), **options)


def _drop_overridden_schemas() -> None:
    """What conf/ says of a launcher or sweeper replaces what a plugin stored under its name."""
    Plugins.instance()  # which has them store it
    stored: Any = ConfigStore.instance().repo["hydra"]
    for group in ("launcher", "sweeper"):
        for name in options(f"hydra/{group}"):
            stored[group].pop(f"{name}.yaml", None)


def _component_node(group: str, node: DictConfig) -> DictConfig:
    name = node.pop(COMPONENT)
    of_group = {c.name: c for c in components() if c.group == group}
    if name not in of_group:
        raise ConfigError(f"{group}: nothing is registered as {name}{nearest(name, of_group)}")
    typed = OmegaConf.merge(OmegaConf.structured(of_group[name].config), node)
    assert isinstance(typed, DictConfig)
    return typed


def _object(node: Any, path: str) -> Any:
    """What `OmegaConf.to_object` does, with the path of the node in errors."""
    kind: Any = OmegaConf.get_type(node) if OmegaConf.is_config(node) else None
    if not is_dataclass(kind):
        return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
    names = [f.name for f in fields(kind)]
    for name in node:
        if name not in names:  # added by +KEY=VALUE
            raise ConfigError(_no_key(path, str(name), names))
    values = {name: _object(node[name], _join(path, name)) for name in names}
    with located(path):
        return kind(**values)


@functools.cache  # the cells of a sweep share most of theirs
def _parse_override(override: str) -> Override:
    return OverridesParser.create().parse_override(quoted(override))


def _refuse_unknown(config: DictConfig, key: str) -> None:
    """Raises a ConfigError that names the first part of a dotted key that is not there."""
    node: Any = config
    parts = key.split(".")
    for depth, name in enumerate(parts):
        if not isinstance(node, DictConfig) or (not node and depth):
            return  # a value, or an open dictionary such as hydra.job.env_set
        if name not in node:
            raise ConfigError(_no_key(".".join(parts[:depth]), name, map(str, node)))
        node = node._get_node(name)


def _no_key(path: str, name: str, choices: Iterable[str]) -> str:
    where = f" in {path}" if path else ""
    return f"there is no key {name}{where}" + nearest(
        _join(path, name), (_join(path, choice) for choice in choices)
    )


def _explain(error: Exception, overrides: Sequence[str]) -> str:
    """One line for what Hydra and OmegaConf say in several."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return _explain_missing(error.missing_cfg_file)
    message = str(error.__cause__ or error)
    key = re.search(r"full_key: (\S+)", message)
    unknown = re.search(r"Could not (?:override|delete from config\.) '([^']+)'", str(error))
    if unknown:
        name = unknown[1]
        if "/" in name:
            return f"there is no group {name}{nearest(name, groups())}"
        rest = [o for o in overrides if o.lstrip("+~").split("=")[0] != name]
        try:
            _refuse_unknown(_compose(rest, return_hydra_config=True), name)
        except ConfigError as refusal:
            return str(refusal)
        except (HydraException, OmegaConfBaseException):
            pass  # another override is wrong too; it will be told when this one is mended
    line = _first_line(error.__cause__ or error)
    if "Config group override must be" in line:
        return "a group takes a name; to choose none, write ~GROUP instead of GROUP=null"
    if "Ambiguous value" in line:
        return f"{line}: add -m to sweep over it, or brackets to make it a list"
    return f"{key[1]}: {line}" if key else line


def _explain_missing(wanted: str) -> str:
    group, _, name = wanted.rpartition("/")
    if wanted.startswith("experiment/"):
        group, name = "experiment", wanted.removeprefix("experiment/")
    try:
        names = options(group) or [
            file.removesuffix(".yaml") for file in ConfigStore.instance().list(group)
        ]
    except OSError:  # there is no such group
        names = []
    return f"{group}={name} does not exist{nearest(name, names)}"


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
