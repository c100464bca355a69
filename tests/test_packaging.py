"""The wheel works where there is no checkout."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A wheel built from a copy of the sources, unpacked as pip would."""
    source = tmp_path_factory.mktemp("source") / "workbench"
    source.mkdir()
    for name in ("workbench", "conf", "experiments"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = "from setuptools.build_meta import build_wheel; build_wheel('dist')"
    done = subprocess.run([sys.executable, "-c", build], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = source.glob("dist/*.whl")
    target = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    return target


def files(folder):
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder) for path in paths if "__pycache__" not in path.parts}


def test_the_wheel_carries_all_of_conf_and_experiments(installed):
    for name in ("conf", "experiments"):
        ours = {
            path.relative_to(ROOT / name) for path in (ROOT / name).rglob("*") if path.is_file()
        }
        carried = installed / "workbench" / name
        theirs = {path.relative_to(carried) for path in carried.rglob("*") if path.is_file()}
        assert {path for path in ours if "__pycache__" not in path.parts} <= theirs


def test_every_package_is_in_the_wheel(installed):
    ours = {path.relative_to(ROOT) for path in (ROOT / "workbench").rglob("*.py")}
    theirs = {path.relative_to(installed) for path in (installed / "workbench").rglob("*.py")}
    assert ours <= theirs


def test_the_command_runs_from_the_wheel(installed, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(installed)}

    def workbench(*arguments):
        command = [sys.executable, "-m", "workbench", *arguments]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
        )

    assert "dqn/cartpole" in workbench("list").stdout
    run = [
        "experiment=dqn/cartpole",
        "train.budget=1000",
        "train.log_every=1000",
        "algorithm.learning_starts=500",
        "recorder=minimal",
        "run.dir=run",
    ]
    done = workbench(*run)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "summary.json").exists()
    where = "import workbench; print(workbench.__file__)"
    printed = subprocess.run(
        [sys.executable, "-c", where], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert printed.stdout.startswith(str(installed))
