"""Settings in the form that tools for comparing runs take them in."""

from collections.abc import Mapping
from typing import Any


def flat_scalars(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The settings that can be compared, by dotted name; lists become text."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flat_scalars(value, f"{prefix}{key}.")
        elif isinstance(value, bool | int | float | str):
            flat[f"{prefix}{key}"] = value
        elif value is not None:
            flat[f"{prefix}{key}"] = str(value)
    return flat
