"""A research workbench for reinforcement and federated learning on one compiled core."""

from typing import Any

__all__ = ["fit", "load_run"]


def __getattr__(name: str) -> Any:
    # Imported when asked for, so that the command line starts at once.
    if name == "fit":
        from workbench.glm.api import fit

        return fit
    if name == "load_run":
        from workbench.runs import load_run

        return load_run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
