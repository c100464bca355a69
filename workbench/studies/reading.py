"""Runs and sweeps as their folders tell of them; what is damaged costs its own row at most."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml  # type: ignore[import-untyped]

from workbench.core.config import ConfigError, flat, nearest
from workbench.core.options import BaselineConfig
from workbench.recording.folder import RunFolder
from workbench.recording.settings import YAML_LOADER
from workbench.sweeps.folder import SweepFolder

FINISHED, UNFINISHED, MISSING = "finished", "unfinished", "missing"

Curve = tuple[np.ndarray, np.ndarray]  # steps, in order, and values


@dataclass(frozen=True, eq=False)
class RunRecord:
    """What the folder of a run says.

    Attributes:
      path: the folder.
      config: the resolved configuration by dotted key; empty when there is none to read.
      summary: of `summary.json`; empty when there is none to read.
      manifest: of `manifest.json`; empty when there is none to read.
      status: finished, stopped, preempted or failed; "unfinished" without a summary; "missing" for
        a cell of a sweep that has no run.
      reason: why the run is not finished.
    """

    path: Path
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    manifest: dict[str, Any] = field(default_factory=dict)
    status: str = FINISHED
    reason: str = ""

    @property
    def experiment(self) -> str:
        return str(self.config.get("name") or self.summary.get("experiment") or "unknown")

    @property
    def seed(self) -> int | None:
        seed = self.summary.get("seed", self.config.get("seed"))
        return seed if isinstance(seed, int) else None

    @property
    def unit(self) -> str:
        return str(self.summary.get("unit", "steps"))

    @property
    def steps(self) -> int | None:
        steps = _number(self.summary.get("steps"))
        return None if steps is None else int(steps)

    @cached_property
    def metrics(self) -> dict[str, float | None]:
        """The last value of each metric; None is one that was not finite."""
        values = mapping(self.summary.get("metrics"))
        return {str(name): _number(value) for name, value in values.items()}

    @cached_property
    def seconds(self) -> dict[str, float]:
        """By phase: setup, compile, train, evaluate, total."""
        return _numbers(self.summary.get("seconds"))

    @cached_property
    def throughput(self) -> float | None:
        """Units per second of training."""
        return next(iter(_numbers(self.summary.get("throughput")).values()), None)

    @cached_property
    def baseline(self) -> BaselineConfig | None:
        """The published number that the run is held against."""
        prefix = "baseline."
        values = {
            key.removeprefix(prefix): value
            for key, value in self.config.items()
            if key.startswith(prefix)
        }
        try:
            baseline = BaselineConfig(**values)
        except (ConfigError, TypeError):
            return None
        numbers = baseline.value, baseline.spread
        return baseline if None not in map(_number, numbers) else None

    @property
    def commit(self) -> str | None:
        """Of the code, and whether that was changed since."""
        code = mapping(self.manifest.get("code"))
        commit = code.get("commit")
        return f"{commit}{' with changes' * bool(code.get('modified'))}" if commit else None

    @property
    def parts(self) -> list[dict[str, Any]]:
        """The processes that the run ran in."""
        parts = self.manifest.get("parts")
        return [mapping(part) for part in parts] if isinstance(parts, list) else []


@dataclass(frozen=True)
class SweepRecord:
    """What the folder of a sweep says; `study` is an Optuna study's file."""

    path: Path
    command: str
    cells: int
    study: Path | None


@dataclass
class Found:
    """What the folders hold, in order, and what could not be read there, a line each."""

    runs: list[RunRecord] = field(default_factory=list)
    sweeps: list[SweepRecord] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find(paths: Sequence[str | Path]) -> Found:
    """Reads every run and sweep at or below some folders; a run's own folder is not searched.

    Raises:
      ConfigError: for a path that is not there or holds no run, with the nearest name.
    """
    found, seen = Found(), set[Path]()
    for path in map(Path, paths):
        if not path.is_dir():
            what = "is a file" if path.exists() else "is not there"
            raise ConfigError(f"{path} {what}{_beside(path)}")
        before, first = len(seen), len(found.runs)
        for folder in _folders(path, found.notes):
            if (resolved := folder.resolve()) not in seen:
                seen.add(resolved)
                _read(folder, found)
        if before == len(seen) and not any(path.resolve() in (f, *f.parents) for f in seen):
            raise ConfigError(f"{path} holds no runs{_beside(path)}")
        found.runs[first:] = sorted(found.runs[first:], key=lambda run: _natural(str(run.path)))
    return found


def read_curves(path: Path, names: Iterable[str]) -> tuple[dict[str, Curve], int]:
    """Some of the metrics of a `metrics.jsonl`, and the number of lines that are damaged.

    Lines without any of these metrics are looked at from outside only, which is quick.
    """
    wanted = {name: json.dumps(name).encode() for name in names}
    values: dict[str, dict[float, float]] = {name: {} for name in wanted}
    damaged = 0
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return {}, 0
    for line in filter(None, map(bytes.strip, lines)):
        record: Any = {}
        if not (line.startswith(b"{") and line.endswith(b"}")):
            damaged += 1
        elif any(name in line for name in wanted.values()):
            try:
                record = json.loads(line)
            except ValueError:
                damaged += 1
        if (step := _number(record.get("step"))) is None:
            continue
        for name, series in values.items():
            if (value := _number(record.get(name))) is not None:
                series[step] = value
    return {name: _curve(series) for name, series in values.items() if series}, damaged


def _folders(path: Path, notes: list[str]) -> Iterator[Path]:
    """The folders of runs and sweeps at or below a folder, a sweep before its cells."""
    is_run = RunFolder(path).is_run
    if is_run or SweepFolder(path).is_sweep:
        yield path
    if is_run:
        return
    try:
        children = [child for child in path.iterdir() if _searched(child)]
    except OSError as error:
        notes.append(f"{path} cannot be read: {error.strerror}")
        return
    for child in sorted(children):
        yield from _folders(child, notes)


def _searched(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink() and not path.name.startswith(".")


def _read(folder: Path, found: Found) -> None:
    if RunFolder(folder).is_run:
        found.runs.append(_read_run(RunFolder(folder), found.notes))
    if (sweep := SweepFolder(folder)).is_sweep:
        _read_sweep(sweep, found)


def _read_run(folder: RunFolder, notes: list[str]) -> RunRecord:
    config = _read_config(folder.config, notes)
    summary = _read_json(folder.summary, notes)
    status = str(summary.get("status", UNFINISHED))
    reason = summary.get("error") or summary.get("stopped_by")
    if status == UNFINISHED:
        reason = "it is still running, or was killed"
        if folder.summary.exists():
            reason = "its summary.json is damaged"
    return RunRecord(
        path=folder.path,
        config=config,
        summary=summary,
        manifest=_read_json(folder.manifest, notes),
        status=status,
        reason="" if status == FINISHED else str(reason or "no reason is recorded"),
    )


def _read_sweep(folder: SweepFolder, found: Found) -> None:
    try:
        cells, command = folder.cells(), str(folder.read().get("command", ""))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        found.notes.append(f"{folder.index} is damaged, so missing cells are not known")
        cells, command = [], ""
    study = folder.study if folder.study.exists() else None
    found.sweeps.append(SweepRecord(folder.path, command, len(cells), study))
    for cell in cells:
        run = folder.run(cell.name)
        if not run.is_run:
            config = folder.config(cell.name)
            found.runs.append(
                RunRecord(
                    path=run.path,
                    config=_read_config(config, found.notes),
                    status=MISSING,
                    reason="its folder holds no run yet"
                    if run.path.is_dir()
                    else "it has not begun, or its folder is gone",
                )
            )


def _read_config(path: Path, notes: list[str]) -> dict[str, Any]:
    try:
        values = yaml.load(path.read_bytes(), YAML_LOADER)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, yaml.YAMLError):
        values = None
    if not isinstance(values, dict):
        notes.append(f"{path} is damaged, so the run is in no group")
        return {}
    return flat(values)


def _read_json(path: Path, notes: list[str]) -> dict[str, Any]:
    try:
        values = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        values = None
    if not isinstance(values, dict):
        notes.append(f"{path} is damaged")
        return {}
    return values


def _curve(series: dict[float, float]) -> Curve:
    steps = np.array(sorted(series))
    return steps, np.array([series[step] for step in steps])


def _number(value: Any) -> float | None:
    """A finite number; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        return None
    return float(value)


def _numbers(values: Any) -> dict[str, float]:
    numbers = {str(name): _number(value) for name, value in mapping(values).items()}
    return {name: value for name, value in numbers.items() if value is not None}


def mapping(values: Any) -> dict[str, Any]:
    """The values, if they are a mapping at all; what is damaged may be anything."""
    return values if isinstance(values, dict) else {}


def _natural(name: str) -> list[tuple[bool, int, str]]:
    """Orders names as people do: seed=2 before seed=10."""
    parts = re.findall(r"\d+|\D+", name)
    return [(not p.isdecimal(), int(p) if p.isdecimal() else 0, p) for p in parts]


def _beside(path: Path) -> str:
    """The nearest name beside a path, as a remedy."""
    parent = path.absolute().parent
    names = [c.name for c in parent.iterdir() if c.is_dir()] if parent.is_dir() else []
    return nearest(path.name, [name for name in names if name != path.absolute().name])
