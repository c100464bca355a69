"""Limits, errors that name the remedy, and components found by name."""

import math
import sys
from dataclasses import dataclass
from typing import Any

import pytest

from workbench.core import config as config_module
from workbench.core.config import (
    AT_LEAST_ONE,
    NON_NEGATIVE,
    POSITIVE,
    PROBABILITY,
    ConfigError,
    Limits,
    build,
    component_of,
    components,
    load_plugins,
    located,
    nearest,
    register,
    require,
)

PAINTER = """
def paint(config, wall, coats=1):
    return f"{coats} coats of {config.shade} on {wall}"
"""

PLUGIN = """
from dataclasses import dataclass
from workbench.core.config import register

@register("paint", "plaid", builder="painter:paint")
@dataclass
class Plaid:
    shade: str = "tartan"
"""


@dataclass
class Paint:
    shade: Any = "red"
    gloss: Any = 0.5


@pytest.fixture
def registry(monkeypatch):
    """An empty registry, so that a test's components stay its own."""
    monkeypatch.setattr(config_module, "_components", {})


@pytest.fixture
def painter(tmp_path, monkeypatch):
    """The importable module `painter`, not imported yet."""
    (tmp_path / "painter.py").write_text(PAINTER)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("painter", None)


@pytest.mark.parametrize(
    ("limits", "accepted", "refused"),
    [
        (POSITIVE, [1e-300, 1, math.inf], [0, -1]),
        (NON_NEGATIVE, [0, 1], [-1e-300]),
        (PROBABILITY, [0, 0.5, 1], [-1e-9, 1 + 1e-9]),
        (AT_LEAST_ONE, [1, 2], [0, 0.999]),
        (Limits(low=0, high=1, open_low=True), [1e-9, 1], [0, 1.1]),
        (Limits(high=3), [-1e9, 3], [3.1]),
        (Limits(), [-math.inf, 0, math.inf], []),
    ],
)
def test_bounds_are_inclusive_unless_open_and_nothing_accepts_nan(limits, accepted, refused):
    assert [value for value in [*accepted, *refused, math.nan] if limits.accepts(value)] == accepted


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (POSITIVE, "above 0"),
        (AT_LEAST_ONE, "at least 1"),
        (PROBABILITY, "at least 0 and at most 1"),
        (Limits(low=0, high=1, open_low=True), "above 0 and at most 1"),
        (Limits(high=3), "at most 3"),
        (Limits(), "a number"),
    ],
)
def test_limits_read_as_words(limits, words):
    assert str(limits) == words


def test_require_names_field_value_and_limit():
    with pytest.raises(ConfigError) as error:
        require(Paint(gloss=1.5), gloss=PROBABILITY)
    assert str(error.value) == "gloss=1.5 is out of range: it must be at least 0 and at most 1"


def test_require_checks_every_number_of_a_list():
    require(Paint(gloss=[0.1, 0.2]), gloss=PROBABILITY)
    with pytest.raises(ConfigError, match=r"^gloss=7 is out of range"):
        require(Paint(gloss=(0.1, 7)), gloss=PROBABILITY)


def test_require_offers_the_nearest_word():
    require(Paint(), shade=("red", "green"))
    with pytest.raises(ConfigError) as error:
        require(Paint(shade="gren"), shade=("red", "green"))
    assert str(error.value) == "shade=gren is not a choice; did you mean green?"


def test_require_leaves_none_alone():
    require(Paint(shade=None, gloss=None), shade=("red",), gloss=POSITIVE)


def test_nearest_names_the_closest_choice_or_the_few_there_are():
    assert nearest("cartpol", ["acrobot", "cartpole"]) == "; did you mean cartpole?"
    assert nearest("xyz", ["b", "a", "a"]) == "; choose from a, b"
    assert nearest("xyz", [f"choice{i}" for i in range(13)]) == ""
    assert nearest("xyz", []) == ""


def test_build_calls_the_registered_builder_and_imports_it_only_then(registry, painter):
    paint = register("paint", "plain", builder="painter:paint")(Paint)
    assert paint is Paint
    assert "painter" not in sys.modules
    assert build(Paint("blue"), "the door", coats=2) == "2 coats of blue on the door"


def test_components_are_listed_in_order_of_registration(registry):
    names = ["b", "a", "c"]
    for name in names:
        register("paint", name)(dataclass(type(name, (), {})))
    assert [(component.group, component.name) for component in components()] == [
        ("paint", name) for name in names
    ]


def test_unregistered_configuration_is_refused(registry):
    with pytest.raises(ConfigError, match="no builder is registered for Paint"):
        component_of(Paint())


def test_component_without_a_builder_is_not_built_on_its_own(registry):
    register("paint", "plain")(Paint)
    assert component_of(Paint()).name == "plain"
    with pytest.raises(ConfigError, match="paint=plain is not built on its own"):
        build(Paint())


def test_installed_distribution_registers_its_components(registry, painter, tmp_path):
    (tmp_path / "plaid_config.py").write_text(PLUGIN)
    installed = tmp_path / "plaid-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: plaid\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("[workbench.components]\nplaid = plaid_config\n")
    load_plugins()
    (component,) = components()
    assert (component.group, component.name) == ("paint", "plaid")
    assert build(component.config(), "the wall") == "1 coats of tartan on the wall"
    del sys.modules["plaid_config"]


def test_located_puts_the_path_before_what_an_inner_check_said():
    said = pytest.raises(ConfigError, match=r"^house\.door\.gloss=2 is out of range")
    with said, located(""), located("house"), located("door"):
        require(Paint(gloss=2), gloss=PROBABILITY)


def test_located_leaves_other_errors_alone():
    with pytest.raises(KeyError), located("house"):
        raise KeyError("door")
