"""Folders of runs and sweeps such as the recorder and the sweeps write them."""

import json

import pytest
import yaml

from workbench.sweeps.folder import Cell, SweepFolder

CONFIG = {
    "name": "dqn/cartpole",
    "description": "CartPole",
    "seed": 0,
    "run": {"dir": "runs/a"},
    "train": {
        "budget": 100,
        "log_every": 10,
        "judge": "evaluate/return",
        "mode": "max",
        "stop": {"target": None},
        "keep": 2,
    },
    "algorithm": {"_component_": "dqn", "learning_rate": 0.001, "double": False},
    "environment": {"_component_": "cartpole"},
    "network": {"_component_": "mlp", "layers": [120, 84]},
    "recorder": {"_component_": "standard", "plots": True},
    "baseline": {
        "name": "CleanRL",
        "metric": "evaluate/return",
        "value": 100.0,
        "spread": 5.0,
        "mode": "max",
        "source": "docs.cleanrl.dev",
    },
}
MANIFEST = {
    "code": {"commit": "d631dab8", "modified": False},
    "packages": {"tensorflow": "2.14.1"},
    "python": "3.11.7",
    "machine": {"platform": "Linux", "cpu": "EPYC", "cores": 2, "memory_gib": 24.0},
    "devices": ["/physical_device:CPU:0"],
    "parts": [{"command": "workbench experiment=dqn/cartpole", "first_step": 0, "host": "vm"}],
}


def changed(config, **changes):
    """A copy of nested values with some replaced, by key with __ for a dot; None takes away."""
    copy = json.loads(json.dumps(config))
    for key, value in changes.items():
        *path, last = key.split("__")
        node = copy
        for name in path:
            node = node.setdefault(name, {})
        if value is None and last in node:
            del node[last]
        else:
            node[last] = value
    return copy


@pytest.fixture
def make_run():
    """Writes a run's folder: `make_run(path, seed, value, algorithm__double=True, …)`."""

    def make(path, seed=0, value=100.0, *, status="finished", error=None, points=5, **changes):
        path.mkdir(parents=True)
        config = changed(CONFIG, seed=seed, run__dir=str(path), **changes)
        (path / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
        (path / "manifest.json").write_text(json.dumps(MANIFEST))
        records = [
            {
                "step": 100 * at // points,
                "time": 1e9 - at,  # a clock that runs backwards
                config["train"]["judge"]: value * at / points if value is not None else None,
            }
            for at in range(1, points + 1)
        ]
        lines = "".join(json.dumps(record) + "\n" for record in records)
        (path / "metrics.jsonl").write_text(lines)
        summary = {
            "experiment": config["name"],
            "status": status,
            "seed": seed,
            "steps": 100,
            "unit": "environment steps",
            "seconds": {"train": 1.0, "total": 2.0},
            "throughput": {"environment steps": 50.0},
            "metrics": {config["train"]["judge"]: value, "evaluate/length": 7.0},
            "stopped_by": "budget",
            "error": error,
            "baseline": None,
        }
        if status is not None:
            (path / "summary.json").write_text(json.dumps(summary))
        return path

    return make


@pytest.fixture
def make_sweep(make_run):
    """Writes a sweep of cells that differ in their seeds, without runs for `missing` ones."""

    def make(path, values, missing=()):
        cells = []
        for seed, value in enumerate(values):
            cells.append(Cell(f"seed={seed}", (f"seed={seed}",)))
            frozen = path / "configs" / f"seed={seed}.yaml"
            frozen.parent.mkdir(parents=True, exist_ok=True)
            frozen.write_text(yaml.safe_dump(changed(CONFIG, seed=seed)))
            if seed not in missing:
                make_run(path / f"seed={seed}", seed, value)
        SweepFolder(path).write("workbench -m experiment=dqn/cartpole", "2026-11-21", cells)
        return path

    return make
