"""What a cell came to is read from its folder, whatever state that is in."""

import json

import pytest

from workbench.sweeps.composer import Composer
from workbench.sweeps.folder import SweepFolder
from workbench.sweeps.frozen import freeze
from workbench.sweeps.result import lacking, read_result

SUMMARY = {
    "status": "finished",
    "seconds": {"train": 2.0, "total": 3.0},
    "metrics": {"evaluate/return": 4.0, "train/loss": None},
}
RECORDS = (
    '{"step": 1, "evaluate/return": 7.0}\n{"evaluate/re\n{"step": 2, "evaluate/return": 4.0}\n'
)


@pytest.fixture
def sweep(tmp_path):
    folder = SweepFolder(tmp_path)
    for mode in ("max", "min"):
        freeze(folder, mode, Composer()(["experiment=dqn/cartpole", f"train.mode={mode}"]))
        run = folder.run(mode)
        run.path.mkdir()
        run.summary.write_text(json.dumps(SUMMARY))
        run.metrics.write_text(RECORDS)
    return folder


def test_the_objective_is_the_best_judged_value(sweep):
    assert read_result(sweep, "max").objectives == {"evaluate/return": 7.0}
    assert read_result(sweep, "min").objectives == {"evaluate/return": 4.0}
    assert read_result(sweep, "max").seconds == 3.0


def test_objectives_can_be_any_numbers_of_the_summary(sweep):
    result = read_result(sweep, "max", ["evaluate/return", "seconds.train"])
    assert result.numbers == [4.0, 2.0]


def test_a_number_that_is_not_there_is_named(sweep):
    result = read_result(sweep, "max", ["evaluate/return", "seconds.trian"])
    assert result.numbers is None
    assert "no number seconds.trian; did you mean seconds.train?" in lacking(result, sweep)
    assert read_result(sweep, "max", ["train/loss"]).numbers is None  # it was not finite


def test_a_damaged_or_missing_folder_is_a_row_too(sweep):
    sweep.run("max").summary.write_text('{"status": "fini')
    assert read_result(sweep, "max", note="killed").status == "unfinished"
    assert read_result(sweep, "max", note="killed").why == "killed"
    missing = read_result(sweep, "none")
    assert (missing.status, missing.seconds, missing.numbers) == ("missing", None, None)


def test_a_cause_from_the_folder_gives_way_to_what_the_launcher_knows(sweep):
    failed = SUMMARY | {"status": "failed", "error": "loss is not finite"}
    sweep.run("max").summary.write_text(json.dumps(failed))
    assert read_result(sweep, "max").why == "loss is not finite"
    assert read_result(sweep, "max", note="killed by signal 9").why == "killed by signal 9"
