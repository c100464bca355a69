"""What a reader needs to know of how a run came about: code, packages, machine, command."""

import importlib.metadata
import os
import platform
import socket
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PACKAGES = (
    "workbench",
    "tensorflow",
    "tf-agents",
    "tensorflow-federated",
    "tensorflow-privacy",
    "tensorflow-probability",
    "dp-accounting",
    "gymnasium",
    "hydra-core",
    "numpy",
)
SECRETS = ("TOKEN", "JWT", "KEY", "SECRET", "PASSWORD")  # SLURM_JWT opens the cluster
VARIABLES = ("WORKBENCH_", "XLA_", "TF_", "CUDA_VISIBLE_DEVICES", "SLURM_", "OMP_NUM_THREADS")


def manifest(devices: Sequence[str]) -> dict[str, Any]:
    """The surroundings of a run, as JSON values."""
    page, pages = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_PHYS_PAGES")
    return {
        "code": code_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "machine": {
            "platform": platform.platform(),
            "cpu": _cpu(),
            "cores": os.cpu_count(),
            "memory_gib": round(page * pages / 2**30, 1),
        },
        "devices": list(devices),
        "environment": {
            name: value
            for name, value in sorted(os.environ.items())
            if name.startswith(VARIABLES) and not any(word in name for word in SECRETS)
        },
        "parts": [],
    }


def part(command: str, first_step: int) -> dict[str, Any]:
    """One process' share of a run, which begins at `first_step`."""
    return {
        "command": command,
        "first_step": first_step,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "code": code_version(),
    }


def code_version() -> dict[str, Any]:
    """The commit that the package runs from, and whether it was changed; None without git."""
    commit = _git("rev-parse", "HEAD")
    return {"commit": commit, "modified": bool(_git("status", "--porcelain")) if commit else None}


def code_diff() -> str:
    """What differs from the commit; empty without git or changes."""
    diff = _git("diff", "HEAD")
    return f"{diff}\n" if diff else ""


def _git(*arguments: str) -> str | None:
    checkout = Path(__file__).parents[2]
    if not (checkout / ".git").exists():  # an installed package, maybe inside another's checkout
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(checkout), *arguments], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
