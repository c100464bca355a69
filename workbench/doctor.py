"""`workbench doctor`: what this machine has for the workbench."""

import importlib.metadata
import os
import platform
import shutil
from pathlib import Path

from rich.console import Console
from rich.table import Table

from workbench.recording.quiet import quiet

STACK = (
    "tensorflow",
    "tf-agents",
    "tensorflow-federated",
    "tensorflow-privacy",
    "tensorflow-probability",
    "gymnasium",
    "hydra-core",
)
EXTRAS = {"box2d": "LunarLander and its kin: pip install 'workbench[box2d]'"}
DATA_SETS = ("mnist", "fashion_mnist", "shakespeare", "posteriordb", "nist_strd")


def examine() -> bool:
    """Prints what was found; false when something is missing that every run needs."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column()
    table.add_row("workbench", importlib.metadata.version("workbench"))
    table.add_row("python", f"{platform.python_version()} on {platform.platform(terse=True)}")
    sound = True
    for package in STACK:
        version = _version(package)
        sound &= version is not None
        table.add_row(package, version or "missing: set the environment up anew")
    for package, remedy in EXTRAS.items():
        table.add_row(package, _version(package) or f"not installed ({remedy})")
    for kind, names in _devices().items():
        table.add_row(f"{kind.lower()} devices", ", ".join(names))
    table.add_row("runtimes", ", ".join(_runtimes()))
    table.add_row("data", _data())
    table.add_row("cluster", "Slurm" if shutil.which("sbatch") else "none found (no sbatch)")
    Console().print(table)
    return sound


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _devices() -> dict[str, list[str]]:
    with quiet():
        import tensorflow as tf

        devices = tf.config.list_physical_devices()
    found: dict[str, list[str]] = {}
    for device in devices:
        found.setdefault(device.device_type, []).append(device.name.split(":", 1)[1])
    return found


def _runtimes() -> list[str]:
    devices = _devices()
    return [name for name in ("cpu", "gpu") if name.upper() in devices]


def _data() -> str:
    folder = os.environ.get("WORKBENCH_DATA")
    if not folder:
        return "WORKBENCH_DATA is not set"
    if not Path(folder).is_dir():
        return f"WORKBENCH_DATA={folder} is no folder"
    found = [name for name in DATA_SETS if (Path(folder) / name).is_dir()]
    return f"{', '.join(found) or 'none of the known sets'} in {folder}"
