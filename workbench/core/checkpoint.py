"""Atomic save and restore of everything that a run needs to go on."""

import json
import os
import shutil
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import tensorflow as tf

from workbench.core import replicas
from workbench.core.config import ConfigError, flat
from workbench.core.events import Position
from workbench.core.learner import Feed, Learner
from workbench.core.runtime import Runtime

STATE = "state.json"


class CheckpointError(Exception):
    """A checkpoint that cannot be written or read, with the reason in one line."""


class Checkpoints:
    """The checkpoints of one run: `FOLDER/step-N/`, the last few and the best.

    A checkpoint is written beside its final place, flushed to disk and renamed, so that a name
    always stands for a whole one; sizes and checksums show later damage. The chief of several
    processes writes it, and the others only what their replicas keep for themselves.
    """

    def __init__(
        self,
        folder: Path,
        learner: Learner,
        feed: Feed | None = None,
        runtime: Runtime | None = None,
        config: Mapping[str, Any] | None = None,
        keep: int = 2,
    ):
        self.folder = folder
        self._runtime = runtime or Runtime()
        with self._runtime.scope():
            parts = [list(part.here) for part in replicas.parts_of(learner)]
        self._shared = None
        if self._runtime.chief:
            self._checkpoint = tf.train.Checkpoint(learner=learner, parts=parts)
        else:
            self._checkpoint = tf.train.Checkpoint(parts=parts)
            self._shared = tf.train.Checkpoint(learner=learner)
        self._feed = feed
        # As they come back from JSON.
        self._config = {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in flat(config or {}).items()
        }
        self._keep = keep

    def save(self, position: Position) -> Path:
        """Writes the state at `position`; old checkpoints go only after it stands.

        Raises:
          CheckpointError: when it cannot be written; what was there before is untouched.
        """
        target = checkpoint_path(self.folder, position.step)
        partial, before = (target.with_name(f".{target.name}.{part}") for part in ("new", "old"))
        try:
            with self._together():
                if self._runtime.chief:
                    self._remove_leftovers()
                    partial.mkdir(parents=True)
            with self._together():
                self._checkpoint.write(str(partial / self._variables))
            if not self._runtime.chief:
                return target
            self._complete(partial, position)
            if target.exists():  # the same step, written before an interruption
                target.rename(before)
            partial.rename(target)
            _flush(self.folder)
        except (OSError, tf.errors.OpError) as error:
            if self._runtime.chief:
                if before.exists() and not target.exists():
                    before.rename(target)
                shutil.rmtree(partial, ignore_errors=True)
            raise CheckpointError(f"could not save {target.name}: {_reason(error)}") from error
        self._prune(position)
        return target

    @contextmanager
    def _together(self) -> Iterator[None]:
        """What has to succeed in all processes before one goes on."""
        problem = None
        try:
            yield
        except (OSError, tf.errors.OpError) as error:
            problem = error
        (failed,) = self._runtime.any(problem is not None)
        if failed:
            raise problem or OSError("another worker could not write its part")

    @property
    def _variables(self) -> str:
        """The name of what this process writes."""
        worker = self._runtime.worker
        return f"variables-{worker}" if worker else "variables"

    def _complete(self, partial: Path, position: Position) -> None:
        if self._feed is not None:
            (partial / "feed").write_bytes(self._feed.state())
        state: dict[str, Any] = {
            "position": asdict(position),
            "config": self._config,
            "files": {file.name: _checksum(file) for file in sorted(partial.iterdir())},
        }
        state["checksum"] = _state_checksum(state)
        (partial / STATE).write_text(json.dumps(state, indent=1))
        for path in (*partial.iterdir(), partial):
            _flush(path)

    def _prune(self, position: Position) -> None:
        steps = sorted(_steps(self.folder))
        # Later ones are there only if they were damaged and passed over.
        last = [step for step in steps if step <= position.step][-self._keep :]
        for step in {*steps} - {*last, position.best_step}:
            shutil.rmtree(checkpoint_path(self.folder, step), ignore_errors=True)
        self._remove_leftovers()

    def _remove_leftovers(self) -> None:
        for leftover in self.folder.glob(".step-*"):
            shutil.rmtree(leftover, ignore_errors=True)

    def restore(self) -> tuple[Position, list[str]] | None:
        """Goes back to the newest whole checkpoint; None where there is none.

        Returns:
          The position, and a line for every damaged checkpoint that was passed over.

        Raises:
          ConfigError: when the checkpoint was made under another configuration.
          CheckpointError: when there are checkpoints and none is whole.
        """
        path, damaged = self._newest() if self._runtime.chief else (None, [])
        step = self._runtime.told(-1 if path is None else int(path.name.removeprefix("step-")))
        if step < 0:
            if damaged:
                raise CheckpointError(f"no checkpoint is whole: {'; '.join(damaged)}")
            return None
        path = checkpoint_path(self.folder, step)
        state = read_state(path)
        self._refuse_other_config(path, state["config"])
        if self._shared is not None:
            self._shared.read(str(path / "variables")).assert_existing_objects_matched()
        status = self._checkpoint.read(str(path / self._variables))
        status.assert_existing_objects_matched().assert_consumed()
        if self._feed is not None:
            self._feed.restore((path / "feed").read_bytes())
        return Position(**state["position"]), damaged

    def _newest(self) -> tuple[Path | None, list[str]]:
        """The newest whole checkpoint, and what is wrong with those after it."""
        damaged = []
        for path in newest_first(self.folder):
            try:
                read_state(path)
            except CheckpointError as error:
                damaged.append(str(error))
            else:
                return path, damaged
        return None, damaged

    def _refuse_other_config(self, path: Path, saved: Mapping[str, Any]) -> None:
        absent = object()
        differing = [
            f"{key} ({saved.get(key)} there, {self._config.get(key)} here)"
            for key in sorted({*saved, *self._config})
            if saved.get(key, absent) != self._config.get(key, absent)
        ]
        if differing:
            raise ConfigError(f"{path} is of another configuration: {', '.join(differing)}")


def checkpoint_path(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step stands."""
    return folder / f"step-{step:012d}"


def newest_first(folder: Path) -> Iterator[Path]:
    """The checkpoints of a folder, whole or not."""
    for step in sorted(_steps(folder), reverse=True):
        yield checkpoint_path(folder, step)


def choose(folder: Path, best: bool) -> Path:
    """The best whole checkpoint of a folder, or the newest.

    Raises:
      CheckpointError: when there is none.
    """
    for path in newest_first(folder):
        try:
            state = read_state(path)
        except CheckpointError:
            continue
        best_step = state["position"]["best_step"]
        best_path = checkpoint_path(folder, best_step)
        if not best or best_path == path:
            return path
        if best_step < 0:
            raise CheckpointError("there is no best checkpoint: no evaluation was judged yet")
        read_state(best_path)
        return best_path
    raise CheckpointError("there is no whole checkpoint")


def read_state(path: Path) -> dict[str, Any]:
    """A checkpoint's `state.json`, after checking every file against it.

    Raises:
      CheckpointError: when a file is missing, short or altered.
    """
    try:
        state = json.loads((path / STATE).read_text())
        if state.pop("checksum", None) != _state_checksum(state):
            raise CheckpointError(f"{path.name} is damaged: {STATE} does not match its checksum")
        for name, checksum in state["files"].items():
            if _checksum(path / name) != checksum:
                raise CheckpointError(f"{path.name} is damaged: {name} does not match its checksum")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path.name} is damaged: {_reason(error)}") from error
    return state


def _steps(folder: Path) -> list[int]:
    names = [path.name.removeprefix("step-") for path in folder.glob("step-*")]
    return [int(name) for name in names if name.isdigit()]


def _checksum(file: Path) -> list[int]:
    crc = 0
    with file.open("rb") as stream:
        while piece := stream.read(1 << 20):
            crc = zlib.crc32(piece, crc)
    return [file.stat().st_size, crc]


def _state_checksum(state: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(state).encode())


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error).splitlines() or [type(error).__name__])[0]
