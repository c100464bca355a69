"""Composes experiments with Hydra into typed dataclasses; imports no TensorFlow."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from workbench.core.config import ConfigError, components, load_plugins, located, nearest
from workbench.schema import ExperimentConfig

COMPONENT = "_component_"


def conf_dir() -> Path:
    """The folder of the Hydra groups, in an installed package or in a checkout."""
    package = Path(__file__).parent
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent / "conf"


def store_schemas() -> None:
    """Puts every registered configuration class where the YAML of conf/ finds it."""
    load_plugins()
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


def check_overrides(overrides: Sequence[str], sweep: bool = False) -> None:
    """Composes and checks what a command line asks for, every value of a sweep included.

    Raises:
      ConfigError: for the first thing that is wrong.
    """
    parsed = _parse(overrides)
    for cell in _cells(parsed) if sweep else [overrides]:
        instantiate(compose_experiment(cell)).check()
    _check_hydra_keys(parsed)


def fixed_keys(overrides: Sequence[str]) -> list[str]:
    """The keys that a sweep's overrides give one value, and so do not tell its cells apart."""
    return [
        o.get_key_element().lstrip("+~") for o in _parse(overrides) if not o.is_sweep_override()
    ]


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


def dump_experiment(experiment: ExperimentConfig) -> dict[str, Any]:
    """An experiment as plain values, each part with the name that it is registered by."""
    values = OmegaConf.to_container(OmegaConf.structured(experiment), resolve=True)
    assert isinstance(values, dict)
    for component in components():
        if type(getattr(experiment, component.group, None)) is component.config:
            values[component.group] = {COMPONENT: component.name, **values[component.group]}
    return {str(key): value for key, value in values.items()}


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
    for override in _parse(overrides):
        key, value = override.key_or_group, override.value()
        _refuse_unknown(config, key)
        try:
            OmegaConf.update(config, key, value)
        except OmegaConfBaseException as error:
            raise ConfigError(_explain(error, [])) from error
    return instantiate(config)


def experiments() -> Iterator[str]:
    """The names of the shipped experiments: files below conf/experiment."""
    folder = conf_dir() / "experiment"
    for path in sorted(folder.rglob("*.yaml")):
        yield path.relative_to(folder).with_suffix("").as_posix()


def _compose(overrides: Sequence[str], **options: bool) -> DictConfig:
    store_schemas()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose("config", overrides=list(overrides), **options)


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


def _parse(overrides: Sequence[str]) -> list[Override]:
    try:
        return OverridesParser.create().parse_overrides(list(overrides))
    except HydraException as error:
        raise ConfigError(_explain(error, overrides)) from error


def _cells(overrides: list[Override]) -> Iterator[list[str]]:
    """The first cell of a sweep, then one for every further value of each swept key."""
    values = []
    for override in overrides:
        if override.is_sweep_override():
            key = override.get_key_element()
            values.append([f"{key}={value}" for value in override.sweep_string_iterator()])
        else:
            values.append([override.input_line or ""])
    first = [options[0] for options in values]
    yield first
    for place, options in enumerate(values):
        for option in options[1:]:
            yield [*first[:place], option, *first[place + 1 :]]


def _check_hydra_keys(overrides: list[Override]) -> None:
    """Hydra accepts unknown keys in some of its own groups in silence; here they are refused."""
    keys = [o.key_or_group for o in overrides if o.key_or_group.startswith("hydra.")]
    if not keys:
        return
    choices = [o.input_line or "" for o in overrides if o.key_or_group.startswith("hydra/")]
    config = _compose(choices, return_hydra_config=True)
    for key in keys:
        _refuse_unknown(config, key)


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
        return f"experiment={name} does not exist{nearest(name, experiments())}"
    folder = conf_dir() / group
    if folder.is_dir():
        names: Iterable[str] = (path.stem for path in folder.glob("*.yaml"))
        return f"{group}={name} does not exist{nearest(name, names)}"
    return f"{group}={name} does not exist"


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
