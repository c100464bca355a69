"""A checkpoint holds everything, is there whole or not at all, and is never trusted blindly."""

import errno
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from learners import assembled, each_learner

from workbench.core.checkpoint import (
    STATE,
    CheckpointError,
    Checkpoints,
    checkpoint_path,
    choose,
    newest_first,
)
from workbench.core.config import ConfigError
from workbench.core.events import Position
from workbench.core.learner import Feed, Learner
from workbench.core.program import Program
from workbench.core.random import Seed
from workbench.core.replay.minibatch import ShuffledMinibatches
from workbench.core.replay.transitions import TransitionReplay
from workbench.core.replicas import given_to, parts_of
from workbench.core.runtime import Runtime


class Everything(Learner):
    """One of each thing that keeps state, all of it a function of one number."""

    def __init__(self, number: int = 0):
        super().__init__()
        self.weight = tf.Variable(tf.zeros([2000]))
        self.optimizer = tf.keras.optimizers.Adam(jit_compile=False)
        self.optimizer.build([self.weight])
        self.layer = tf.keras.layers.Dense(2)
        self.layer.build([3])
        self.counters = [tf.Variable(0), tf.Variable(0, dtype=tf.int64)]
        self.batches = ShuffledMinibatches(tf.range(8), batch_size=2)
        self.replay = TransitionReplay(
            tf.TensorSpec([2]), capacity=60, num_envs=2, batch_size=2, n_step=1, gamma=0.9
        )
        rng = np.random.default_rng(number)
        for variable in self.everything():
            values = rng.integers(2 if variable.dtype == tf.bool else 100, size=variable.shape)
            variable.assign(tf.cast(values, variable.dtype))

    def everything(self) -> list[tf.Variable]:
        parts = [part.variable for part in parts_of(self)]
        return [*self.variables, *self.optimizer.variables, *parts]


class Number(Feed):
    """A feed whose state is one number."""

    def __init__(self, number: int = 0):
        self.number = number

    def state(self) -> bytes:
        return self.number.to_bytes(4, "little")

    def restore(self, state: bytes) -> None:
        self.number = int.from_bytes(state, "little")


def save(folder: Path, step: int, **options: Any) -> Path:
    """Saves `Everything(step)` at that step."""
    best = options.pop("best_step", -1)
    checkpoints = Checkpoints(folder, Everything(step), Number(step), **options)
    return checkpoints.save(Position(step=step, best_step=best))


def restored_step(folder: Path) -> int | None:
    """The step that a fresh learner goes back to, when all that it then holds is of that step."""
    learner, feed = Everything(), Number()
    found = Checkpoints(folder, learner, feed).restore()
    if found is None:
        return None
    step = found[0].step
    assert feed.number == step
    for a, b in zip(learner.everything(), Everything(step).everything(), strict=True):
        np.testing.assert_array_equal(a, b)
    return step


def steps(folder: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("step-")) for path in newest_first(folder))


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_fresh_learner_and_feed_take_over_everything(tmp_path):
    assert restored_step(tmp_path) is None
    save(tmp_path, 7)
    assert restored_step(tmp_path) == 7


def test_states_that_should_be_equal_are_not_so_by_doing_nothing():
    for a, b in zip(Everything(7).everything(), Everything(0).everything(), strict=True):
        assert a.shape.rank == 0 or not np.array_equal(a, b)


def test_position_comes_back_as_it_was(tmp_path):
    position = Position(
        step=7,
        evaluated=5,
        best=1 / 3,
        best_step=4,
        stale=2,
        seconds={"train": 0.1 + 0.2, "compile": 1e-9},
    )
    Checkpoints(tmp_path, Everything()).save(position)
    assert Checkpoints(tmp_path, Everything()).restore() == (position, [])


def test_newest_checkpoint_is_the_one_of_the_latest_step(tmp_path):
    for step in (9, 10, 100):  # not in the order of their names as text
        save(tmp_path, step)
    assert restored_step(tmp_path) == 100


def test_last_few_and_the_best_stay(tmp_path):
    for step in range(1, 7):
        save(tmp_path, step, best_step=2, keep=3)
    assert steps(tmp_path) == [2, 4, 5, 6]


def test_old_checkpoints_go_only_after_the_new_one_stands(tmp_path, monkeypatch):
    save(tmp_path, 1, keep=1)
    seen = []
    rename = Path.rename

    def spy(path: Path, target: Path) -> Path:
        seen.append(steps(tmp_path))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", spy)
    save(tmp_path, 2, keep=1)
    assert seen == [[1]]
    assert steps(tmp_path) == [2]


def fail(error: BaseException) -> Callable[..., Any]:
    def call(*args: Any) -> Any:
        raise error

    return call


NO_SPACE = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("step", [10, 20], ids=["the same step", "a later step"])
@pytest.mark.parametrize(
    ("owner", "name"), [(os, "fsync"), (Path, "rename"), (Path, "write_text"), (Number, "state")]
)
def test_failed_save_says_why_and_leaves_what_was_there(tmp_path, monkeypatch, owner, name, step):
    save(tmp_path, 10)
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, fail(NO_SPACE))
        with pytest.raises(CheckpointError) as error:
            Checkpoints(tmp_path, Everything(20), Number(20)).save(Position(step=step))
    assert str(error.value) == f"could not save step-{step:012d}: No space left on device"
    assert leftovers(tmp_path) == []
    assert restored_step(tmp_path) == 10


@pytest.mark.parametrize(
    ("owner", "name"), [(os, "fsync"), (Path, "rename"), (Path, "write_text"), (Number, "state")]
)
def test_process_killed_while_saving_leaves_the_one_before(tmp_path, monkeypatch, owner, name):
    save(tmp_path, 10)
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, fail(KeyboardInterrupt()))  # nobody is left to tidy up
        with pytest.raises(KeyboardInterrupt):
            save(tmp_path, 20)
    assert len(leftovers(tmp_path)) == 1
    assert restored_step(tmp_path) == 10
    save(tmp_path, 30)
    assert leftovers(tmp_path) == []
    assert restored_step(tmp_path) == 30


def test_checkpoint_that_cannot_be_replaced_is_put_back(tmp_path, monkeypatch):
    save(tmp_path, 10)
    rename, calls = Path.rename, []

    def second_fails(path: Path, target: Path) -> Path:
        calls.append(path)
        return fail(NO_SPACE)() if len(calls) == 2 else rename(path, target)

    monkeypatch.setattr(Path, "rename", second_fails)
    with pytest.raises(CheckpointError):
        save(tmp_path, 10)
    assert leftovers(tmp_path) == []
    assert restored_step(tmp_path) == 10


def test_same_step_is_replaced(tmp_path):
    for evaluated in (-1, 10):
        Checkpoints(tmp_path, Everything()).save(Position(step=10, evaluated=evaluated))
    restored = Checkpoints(tmp_path, Everything()).restore()
    assert restored == (Position(step=10, evaluated=10), [])
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000000010"]


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A disk of 256 KiB; a checkpoint of `Everything` takes some 30."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this user cannot mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("free", [0, 4, 12, 24])  # KiB: nothing fits, then more and more of it
def test_full_disk_leaves_what_was_there_until_there_is_room(small_disk, free):
    save(small_disk, 10)
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space"):
        filler.write_bytes(bytes(256 * 1024))
    os.truncate(filler, filler.stat().st_size - free * 1024)
    with pytest.raises(CheckpointError, match=r"^could not save step-0+20: .*[Nn]o space"):
        save(small_disk, 20)
    assert leftovers(small_disk) == []
    assert restored_step(small_disk) == 10
    filler.unlink()
    save(small_disk, 20)
    assert restored_step(small_disk) == 20


def test_leftovers_of_a_killed_process_make_room_for_the_next(small_disk):
    save(small_disk, 10)
    killed = small_disk / ".step-000000000020.new"
    killed.mkdir()
    with pytest.raises(OSError, match="No space"):
        (killed / "variables.data-00000-of-00001").write_bytes(bytes(256 * 1024))
    save(small_disk, 20)
    assert restored_step(small_disk) == 20


def data(path: Path) -> Path:
    (file,) = path.glob("variables.data-*")
    return file


def truncate(path: Path) -> None:
    os.truncate(data(path), data(path).stat().st_size - 1)


def alter_a_byte(file: Path, place: int) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)


def rewrite_state(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        state = json.loads((path / STATE).read_text())
        change(state)
        (path / STATE).write_text(json.dumps(state))

    return damage


DAMAGES = {
    "a truncated file": truncate,
    "an altered first byte": lambda path: alter_a_byte(data(path), 0),
    "an altered last byte": lambda path: alter_a_byte(data(path), -1),
    "an altered byte of the feed": lambda path: alter_a_byte(path / "feed", 0),
    "an altered byte of the index": lambda path: alter_a_byte(path / "variables.index", 40),
    "a missing file": lambda path: (path / "variables.index").unlink(),
    "no files": lambda path: [file.unlink() for file in path.iterdir()],
    "no state": lambda path: (path / STATE).unlink(),
    "an empty state": lambda path: (path / STATE).write_text(""),
    "a binary state": lambda path: (path / STATE).write_bytes(bytes(range(256))),
    "a state that is a list": lambda path: (path / STATE).write_text("[]"),
    "a state of nothing": lambda path: (path / STATE).write_text('{"files": {}}'),
    "another step in the state": rewrite_state(lambda state: state["position"].update(step=21)),
    "another configuration": rewrite_state(lambda state: state["config"].update(seed=1)),
    "a file fewer in the state": rewrite_state(lambda state: state["files"].pop("feed")),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_damaged_checkpoint_is_passed_over_and_named(tmp_path, damage):
    for step in (10, 20):
        save(tmp_path, step)
    damage(checkpoint_path(tmp_path, 20))
    learner = Everything()
    position, damaged = Checkpoints(tmp_path, learner, Number()).restore()
    assert position.step == restored_step(tmp_path) == 10
    (line,) = damaged
    assert line.startswith("step-000000000020 is damaged: ")
    assert "\n" not in line


def test_when_every_checkpoint_is_damaged_none_is_used(tmp_path):
    for step in (10, 20):
        save(tmp_path, step)
        truncate(checkpoint_path(tmp_path, step))
    with pytest.raises(CheckpointError, match=r"^no checkpoint is whole: .*0020 .*; .*0010 ") as e:
        Checkpoints(tmp_path, Everything(), Number()).restore()
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("keep", [1, 2])
def test_damaged_checkpoints_do_not_count_among_those_that_stay(tmp_path, keep):
    for step in (10, 20, 30):
        save(tmp_path, step, keep=9)
    for step in (20, 30):
        truncate(checkpoint_path(tmp_path, step))
    assert restored_step(tmp_path) == 10
    save(tmp_path, 15, keep=keep)
    assert restored_step(tmp_path) == 15
    assert steps(tmp_path) == [10, 15][-keep:]


def test_chosen_is_the_best_whole_checkpoint_or_the_newest(tmp_path):
    for step in (10, 20, 30):
        save(tmp_path, step, keep=9, best_step=10)
    assert choose(tmp_path, best=True) == checkpoint_path(tmp_path, 10)
    assert choose(tmp_path, best=False) == checkpoint_path(tmp_path, 30)
    truncate(checkpoint_path(tmp_path, 30))
    assert choose(tmp_path, best=True) == checkpoint_path(tmp_path, 10)
    assert choose(tmp_path, best=False) == checkpoint_path(tmp_path, 20)
    truncate(checkpoint_path(tmp_path, 10))
    with pytest.raises(CheckpointError, match=r"step-0+10 is damaged"):
        choose(tmp_path, best=True)


def test_best_of_a_run_that_was_never_judged_is_refused(tmp_path):
    save(tmp_path, 10)
    with pytest.raises(CheckpointError, match="there is no best checkpoint"):
        choose(tmp_path, best=True)


def test_nothing_is_chosen_where_there_is_nothing(tmp_path):
    with pytest.raises(CheckpointError, match="no whole checkpoint"):
        choose(tmp_path, best=False)


def test_checkpoint_of_another_configuration_is_refused_naming_the_keys(tmp_path):
    here = {"seed": 0, "algorithm": {"n_step": 3, "layers": (64, 64), "loss": "huber"}}
    there = {"seed": 0, "algorithm": {"n_step": 1, "layers": (64, 64), "double": True}}
    save(tmp_path, 10, config=there)
    assert Checkpoints(tmp_path, Everything(), Number(), config=there).restore() is not None
    with pytest.raises(ConfigError) as error:
        Checkpoints(tmp_path, Everything(), Number(), config=here).restore()
    assert str(error.value).endswith(
        "is of another configuration: algorithm.double (True there, None here), "
        "algorithm.loss (None there, huber here), algorithm.n_step (1 there, 3 here)"
    )


@each_learner
def test_every_variable_that_a_step_touches_is_in_the_checkpoint(overrides):
    assembly = assembled(overrides)
    learner, feed = assembly.learner, assembly.feed

    def step(index: tf.Tensor, *chunk: Any) -> Any:
        if feed:
            learner.absorb(*chunk)
        return learner.train_step(Seed(0, index))

    traced = tf.function(step, autograph=False).get_concrete_function(
        tf.TensorSpec([], tf.int64), *([feed.spec] if feed else [])
    )
    touched = {id(handle) for handle in traced.captured_inputs if handle.dtype == tf.resource}
    tracked = tf.train.TrackableView(learner).descendants()
    saved = {id(thing.handle) for thing in tracked if isinstance(thing, tf.Variable)}
    saved |= {id(part.variable.handle) for part in parts_of(learner)}
    given = {id(held.handle) for data in given_to(learner) for held in data.variables}
    assert len(touched) > 5
    assert touched <= saved | given
    assert not given & saved


@each_learner
def test_restored_learner_goes_on_exactly(overrides, tmp_path):
    def part(first: int, steps: int) -> tuple[dict[str, float], dict[str, float]]:
        assembly = assembled(overrides)
        checkpoints = Checkpoints(tmp_path, assembly.learner, assembly.feed)
        restored = checkpoints.restore()
        assert (restored[0].step if restored else 0) == first
        program = Program(assembly.learner, Runtime(), seed=3, feed=assembly.feed)
        metrics = program.run(first, steps)
        checkpoints.save(Position(step=first + steps))
        return metrics, program.run(first + steps, 20)

    # Regressions converge in few steps; the middle of them is what counts.
    middle = 2 if "glm/" in overrides[0] else 20
    _, after = part(0, middle)
    assert part(middle, 20)[0] == after
