import json
import math

import pytest

from workbench.core.options import BaselineConfig
from workbench.recording.folder import write_json
from workbench.recording.summary import Summary

PAPER = BaselineConfig(name="paper", value=10.0, spread=1.0, source="Table 1")


def make(**changes):
    summary = Summary("dqn/cartpole", "dqn", 3, unit="environment steps", status="finished")
    summary.steps = 500
    summary.seconds["train"] = 2.0
    summary.stopped_by = "budget"
    summary.metrics = {"evaluate/return": 9.5}
    for name, value in changes.items():
        setattr(summary, name, value)
    return summary


def test_summary_has_what_other_tools_rely_on():
    values = make().as_json(PAPER)
    assert {
        "experiment", "family", "status", "seed", "steps", "seconds", "throughput", "metrics",
        "stopped_by", "baseline", "unit",
    } <= set(values)  # fmt: skip
    assert set(values["seconds"]) == {"setup", "compile", "train", "evaluate", "total"}
    assert {"name", "value", "source", "measured", "verdict"} <= set(values["baseline"])


def test_throughput_is_units_per_second_of_training_only():
    summary = make()
    summary.seconds |= {"compile": 100.0, "total": 200.0}
    assert summary.as_json(None)["throughput"] == {"environment steps": 250.0}


def test_run_that_never_trained_has_no_throughput():
    assert Summary("a", "b", 0).as_json(None)["throughput"] == {}


def test_interrupted_is_called_stopped():
    assert make(status="interrupted").as_json(None)["status"] == "stopped"


@pytest.mark.parametrize("status", ["finished", "failed", "preempted"])
def test_other_states_keep_their_name(status):
    assert make(status=status).as_json(None)["status"] == status


@pytest.mark.parametrize(("value", "verdict"), [(9.5, "matches"), (8.0, "worse"), (12, "better")])
def test_result_is_held_against_the_baseline(value, verdict):
    baseline = make(metrics={"evaluate/return": value}).as_json(PAPER)["baseline"]
    assert (baseline["measured"], baseline["verdict"]) == (value, verdict)


def test_no_baseline_is_null():
    assert make().as_json(None)["baseline"] is None


@pytest.mark.parametrize("metrics", [{}, {"evaluate/return": math.nan}])
def test_nothing_measured_gets_no_verdict(metrics):
    baseline = make(metrics=metrics).as_json(PAPER)["baseline"]
    assert baseline["measured"] is baseline["verdict"] is None


def test_nan_is_valid_json(tmp_path):
    write_json(tmp_path / "s", make(metrics={"evaluate/return": math.nan}).as_json(PAPER))
    values = json.loads((tmp_path / "s").read_text(), parse_constant=pytest.fail)
    assert values["metrics"] == {"evaluate/return": None}
