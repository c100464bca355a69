"""Settings in the forms that tools take them in."""

from collections.abc import Mapping
from typing import Any

import yaml  # type: ignore[import-untyped]

from workbench.core.config import flat

# libyaml's are ten times as fast, where PyYAML was built with it.
YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
YAML_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def flat_scalars(values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that can be compared, by dotted name; lists become text."""
    return {
        name: value if isinstance(value, bool | int | float | str) else str(value)
        for name, value in flat(values).items()
        if value is not None
    }
