"""Which cells can follow one another in a process."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Kind:
    """What cells must share to run in one process, and to use one compiled program.

    Attributes:
      runtime: TensorFlow cannot change its devices and threads.
      program: all that a cell is, but its seed.
    """

    runtime: Mapping[str, Any]
    program: Mapping[str, Any]

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "Kind":
        """A cell's, by its frozen configuration."""
        program = {key: value for key, value in config.items() if key not in ("seed", "run")}
        return cls(config.get("runtime") or {}, program)
