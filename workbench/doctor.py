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
EXTRAS = {
    "box2d": "LunarLander and its kin: pip install 'workbench[box2d]'",
    "ray": "hydra/launcher=ray: pip install 'workbench[ray]'",
    "mlflow": "recorder=mlflow: pip install 'workbench[mlflow]'",
}
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
    runtimes, devices = _runtimes()
    for kind, names in devices.items():
        table.add_row(f"{kind.lower()} devices", ", ".join(names))
    for name, found in runtimes.items():
        table.add_row(f"runtime={name}", found)
    table.add_row("data", _data())
    table.add_row("cluster", "Slurm" if shutil.which("sbatch") else "none found (no sbatch)")
    Console().print(table)
    return sound


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _runtimes() -> tuple[dict[str, str], dict[str, list[str]]]:
    """What each runtime did with a sum over its replicas, and the devices by type."""
    with quiet():
        import tensorflow as tf

        from workbench.core.devices import try_out

        found: dict[str, list[str]] = {}
        for device in tf.config.list_physical_devices():
            found.setdefault(device.device_type, []).append(device.name.split(":", 1)[1])
        cpus = try_out("CPU", 2)  # the first, for the processor is divided before it is used
        runtimes = {"cpu": try_out("CPU", 1)}
        runtimes["gpu"] = try_out("GPU", 1) if "GPU" in found else "no: TensorFlow sees no GPU"
        gpus = len(found.get("GPU", []))
        runtimes["mirrored"] = (
            f"{gpus} GPUs: {try_out('GPU', gpus)}" if gpus > 1 else "one GPU or none"
        ) + f"; 2 logical CPUs (runtime.device=cpu): {cpus}"
    runtimes["multi_worker"] = _workers()
    tpu = os.environ.get("TPU_NAME")
    runtimes["tpu"] = f"TPU_NAME={tpu}; not tried" if tpu else "no: TPU_NAME is not set"
    return runtimes, found


def _workers() -> str:
    if "TF_CONFIG" in os.environ:
        return "TF_CONFIG is set"
    if "SLURM_PROCID" in os.environ:
        return "in a Slurm job step: runtime.cluster=slurm"
    return "needs TF_CONFIG, or a Slurm job step with runtime.cluster=slurm"


def _data() -> str:
    folder = os.environ.get("WORKBENCH_DATA")
    if not folder:
        return "WORKBENCH_DATA is not set"
    if not Path(folder).is_dir():
        return f"WORKBENCH_DATA={folder} is no folder"
    found = [name for name in DATA_SETS if (Path(folder) / name).is_dir()]
    return f"{', '.join(found) or 'none of the known sets'} in {folder}"
