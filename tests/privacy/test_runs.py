"""Whole private runs, from a command to a folder."""

import json
import os
import subprocess

import numpy as np
import pytest
from short_runs import assert_same_run, command, summary

from workbench.cli import main
from workbench.privacy.accounting import Accountant
from workbench.privacy.mechanism import Mechanism, Poisson

PRIVATE = [
    "experiment=dp_sgd/digits",
    "network.layers=[8]",
    "train.budget=60",
    "train.log_every=10",
    "train.evaluate_every=30",
    "privacy.noise_multiplier=2.0",
    "privacy.epsilon=null",
    "recorder=minimal",
]
EXAMPLES = 1437


def run(folder, *arguments):
    environment = {k: v for k, v in os.environ.items() if k != "WORKBENCH_DATA"}
    environment["XDG_CACHE_HOME"] = str(folder / "cache")
    return subprocess.run(
        command(*PRIVATE, *arguments),
        capture_output=True,
        text=True,
        timeout=300,
        env=environment,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "finished"
    done = run(folder.parent, f"run.dir={folder}")
    assert done.returncode == 0, done.stderr
    return folder, done


def epsilon(steps):
    mechanism = Mechanism(Poisson(EXAMPLES, 256), 2.0)
    return Accountant("pld", "add_remove").epsilon(mechanism, steps, 1e-4)


def test_what_it_has_cost_is_in_every_record(finished):
    folder, done = finished
    values = summary(folder)
    assert values["family"] == "dp_sgd"
    assert values["metrics"]["evaluate/epsilon"] == pytest.approx(epsilon(60))
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    spent = {r["step"]: r["train/epsilon"] for r in records if "train/epsilon" in r}
    assert spent == pytest.approx({step: epsilon(step) for step in range(10, 61, 10)})
    assert f"ε = {np.ceil(epsilon(60) * 1e4) / 1e4:.4f} at δ = 0.0001 after 60 steps" in done.stdout
    assert done.stderr == ""


def test_the_guarantee_is_in_the_folder_in_words(finished):
    text = (finished[0] / "privacy.txt").read_text()
    assert "After 60 steps" in text
    assert "Each step takes each of 1437 examples independently" in text


def test_a_budget_ends_a_run(tmp_path):
    limit = epsilon(35)
    done = run(tmp_path, f"run.dir={tmp_path / 'run'}", f"privacy.epsilon={limit + 1e-6}")
    assert done.returncode == 0, done.stderr
    values = summary(tmp_path / "run")
    assert (values["steps"], values["stopped_by"]) == (35, "privacy budget")
    assert values["metrics"]["evaluate/epsilon"] <= limit + 1e-6


def test_a_run_that_was_cut_goes_on_exactly(finished, tmp_path):
    folder = tmp_path / "run"
    done = run(tmp_path, f"run.dir={folder}", "train.budget=30", "algorithm.steps=60")
    assert done.returncode == 0, done.stderr
    for changed in ("privacy.noise_multiplier=1", "algorithm.batch_size=100", "dataset.limit=99"):
        assert main(["resume", str(folder), changed]) == 2
    done = subprocess.run(
        command("resume", str(folder), "train.budget=60"),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert_same_run(folder, finished[0])
    assert "After 60 steps" in (folder / "privacy.txt").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["privacy.delta=1.5"], "privacy.delta=1.5 is out of range"),
        (["privacy.delta=0"], "privacy.delta=0"),
        (["privacy.clipping.kind=flt"], "did you mean flat?"),
        (["privacy.noise_multiplier=null"], "give one of them"),
        (["privacy.clippng.norm=1"], "did you mean privacy.clipping?"),
        (["privacy.sampling.kind=truncated"], "needs a capacity"),
        (["network=mnist_cnn", "~network.layers", "network.kernels=[9,9]"], "network"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(arguments, message, tmp_path, capsys):
    assert main([*PRIVATE, f"run.dir={tmp_path / 'run'}", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["algorithm.batch_size=2000"], "batch_size=2000 exceeds the 1437 examples; lower it"),
        (["privacy.epsilon=0.001"], "of one step; raise it or noise_multiplier"),
        (["dataset=mnist", "dataset.path=/nowhere"], "/nowhere"),
    ],
)
def test_what_only_the_data_tell_is_refused_too(arguments, message, tmp_path):
    done = run(tmp_path, f"run.dir={tmp_path / 'run'}", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_delta_that_means_little_is_warned_of(tmp_path):
    done = run(tmp_path, f"run.dir={tmp_path / 'run'}", "privacy.delta=1e-2", "train.budget=10")
    assert done.returncode == 0
    assert "warning: delta=0.01 is not below 1/1437" in done.stdout


def test_cells_that_share_a_compiled_program_state_their_own_guarantee(tmp_path):
    sweep = tmp_path / "sweep"
    done = run(tmp_path, "-m", "seed=0,1", f"sweep.dir={sweep}", "hydra.launcher.jobs=1")
    assert done.returncode == 0, done.stderr
    for seed in (0, 1):
        assert "After 60 steps" in (sweep / f"seed={seed}" / "privacy.txt").read_text()
