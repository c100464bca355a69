import json
import os

import pytest

from workbench.core.config import ConfigError
from workbench.studies.reading import find, read_curves


def names(found):
    return [run.path.name for run in found.runs]


def test_runs_are_found_below_folders_in_the_order_that_people_count(tmp_path, make_run):
    for name in ("a/seed=10", "a/seed=2", "b/c/seed=1"):
        make_run(tmp_path / name)
    assert names(find([tmp_path])) == ["seed=2", "seed=10", "seed=1"]


def test_a_run_is_not_searched_for_runs(tmp_path, make_run):
    run = make_run(tmp_path / "run")
    make_run(run / "plots" / "inner")
    assert names(find([tmp_path])) == ["run"]


def test_hidden_folders_and_links_are_not_searched(tmp_path, make_run):
    run = make_run(tmp_path / "runs" / "a")
    make_run(tmp_path / "runs" / ".old" / "b")
    (tmp_path / "runs" / "latest").symlink_to(run)
    assert names(find([tmp_path / "runs"])) == ["a"]


def test_a_run_that_is_named_twice_counts_once(tmp_path, make_run, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "runs" / "a")
    assert names(find(["runs", "runs/a", tmp_path / "runs"])) == ["a"]


def test_cells_without_a_run_are_missing_with_their_configuration(tmp_path, make_sweep):
    sweep = make_sweep(tmp_path / "sweep", [1.0, 2.0, 3.0], missing=[1, 2])
    (sweep / "seed=2").mkdir()
    found = find([sweep])
    assert [run.status for run in found.runs] == ["finished", "missing", "missing"]
    assert [run.seed for run in found.runs] == [0, 1, 2]
    assert "folder is gone" in found.runs[1].reason
    assert "holds no run yet" in found.runs[2].reason
    assert found.sweeps[0].command == "workbench -m experiment=dqn/cartpole"
    assert found.sweeps[0].cells == 3


def test_a_sweep_of_which_all_cells_are_gone_is_told_of(tmp_path, make_sweep):
    found = find([make_sweep(tmp_path / "sweep", [1.0], missing=[0])])
    assert [run.status for run in found.runs] == ["missing"]


def test_a_damaged_index_costs_the_missing_cells_only(tmp_path, make_sweep):
    sweep = make_sweep(tmp_path / "sweep", [1.0, 2.0], missing=[1])
    for text in ('{"cells": [{"na', "[]", '{"cells": 3}', '{"cells": [{"name": "a"}]}'):
        (sweep / "sweep.json").write_text(text)
        found = find([sweep])
        assert names(found) == ["seed=0"]
        assert len(found.notes) == 1
        assert "missing cells are not known" in found.notes[0]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("summary.json", '{"status": "fini'),
        ("summary.json", "[1]"),
        ("summary.json", "\x00\x00"),
        ("manifest.json", "null"),
        ("config.yaml", "name: [dqn"),
        ("config.yaml", "just words"),
    ],
)
def test_a_damaged_file_costs_one_line(name, text, tmp_path, make_run):
    make_run(tmp_path / "good")
    (make_run(tmp_path / "bad") / name).write_text(text)
    found = find([tmp_path])
    assert len(found.runs) == 2
    assert len(found.notes) == 1
    assert str(tmp_path / "bad" / name) in found.notes[0]
    assert "\n" not in found.notes[0]
    (bad,) = (run for run in found.runs if run.path.name == "bad")
    assert bad.status == ("unfinished" if name == "summary.json" else "finished")


def test_a_summary_of_nonsense_is_read_for_what_makes_sense(tmp_path, make_run):
    path = make_run(tmp_path / "run") / "summary.json"
    path.write_text(
        json.dumps(
            {
                "status": "finished",
                "seed": "three",
                "metrics": {"a": "x", "b": 2, "c": None, "d": float("nan"), "e": True},
                "seconds": [1],
                "throughput": {"steps": None},
                "steps": {},
            }
        )
    )
    (run,) = find([tmp_path]).runs
    assert run.metrics == {"a": None, "b": 2.0, "c": None, "d": None, "e": None}
    assert (run.seed, run.seconds, run.throughput, run.steps) == (None, {}, None, None)


def test_a_run_without_a_summary_is_unfinished(tmp_path, make_run):
    make_run(tmp_path / "run", status=None)
    (run,) = find([tmp_path]).runs
    assert run.status == "unfinished"
    assert "killed" in run.reason


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_costs_one_line(tmp_path, make_run):
    make_run(tmp_path / "a")
    (tmp_path / "b").mkdir(mode=0)
    assert len(find([tmp_path]).notes) == 1


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("rusn", "rusn is not there; did you mean runs?"),
        ("runs/cartpol", "did you mean cartpole?"),
        ("notes.txt", "notes.txt is a file"),
        ("empty", "empty holds no runs"),
        ("runs/cartpole/run/checkpoints", "holds no runs"),
    ],
)
def test_a_path_without_runs_is_refused(path, said, tmp_path, make_run, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (make_run(tmp_path / "runs" / "cartpole" / "run") / "checkpoints").mkdir()
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ConfigError) as refusal:
        find(["runs", path])
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_damaged_lines_cost_themselves(tmp_path):
    path = tmp_path / "metrics.jsonl"
    lines = [
        b'{"step": 10, "a": 1.0}',
        b'{"step": 20, "a": 2.0, "b"',  # a full disk
        b'\x00\xff{"a"',
        b"12",
        b'{"step": 25, "b": 1',
        b'{"step": 30, "b": 5}',
        b"",
        b'{"step": null, "a": 3}',
        b'{"step": 40, "a": null}',
        b'{"step": 50, "a": 5.0}',
        b'{"step": 60, "a": 6',  # the last one was cut off
    ]
    path.write_bytes(b"\n".join(lines))
    curves, damaged = read_curves(path, ["a", "c"])
    assert damaged == 5
    steps, values = curves["a"]
    assert steps.tolist() == [10.0, 50.0]
    assert values.tolist() == [1.0, 5.0]
    assert "c" not in curves


def test_records_that_a_lost_part_left_behind_are_overwritten_in_order(tmp_path):
    path = tmp_path / "metrics.jsonl"
    steps = [10, 20, 30, 20, 30]
    path.write_text("".join(f'{{"step": {s}, "a": {n}}}\n' for n, s in enumerate(steps)))
    curves, _ = read_curves(path, ["a"])
    assert curves["a"][0].tolist() == [10, 20, 30]
    assert curves["a"][1].tolist() == [0, 3, 4]
