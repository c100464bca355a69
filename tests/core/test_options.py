"""What the options refuse, and how a result is held against a published number."""

import pytest

from workbench.core.config import ConfigError
from workbench.core.options import BaselineConfig, RuntimeConfig, StopConfig, TrainConfig


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (TrainConfig, {"budget": 0}),
        (TrainConfig, {"log_every": 0}),
        (TrainConfig, {"evaluate_every": 0}),
        (TrainConfig, {"mode": "most"}),
        (TrainConfig, {"checkpoint_every": -1.0}),
        (TrainConfig, {"keep": 0}),
        (StopConfig, {"patience": 0}),
        (StopConfig, {"min_delta": -0.1}),
        (StopConfig, {"seconds": 0.0}),
        (RuntimeConfig, {"device": "abacus"}),
        (RuntimeConfig, {"jit": "maybe"}),
        (RuntimeConfig, {"threads": 0}),
        (BaselineConfig, {"name": "paper", "spread": -1.0}),
        (BaselineConfig, {"name": "paper", "mode": "most"}),
    ],
)
def test_value_that_cannot_run_is_refused_by_name(kind, wrong):
    with pytest.raises(ConfigError, match=f"^{list(wrong)[-1]}="):
        kind(**wrong)


def test_baseline_needs_a_name():
    with pytest.raises(ConfigError, match=r"set baseline\.name"):
        BaselineConfig(value=1.0)


@pytest.mark.parametrize(
    ("mode", "verdicts"),
    [
        ("max", ["worse", "matches", "matches", "better"]),
        ("min", ["better", "matches", "matches", "worse"]),
    ],
)
def test_result_within_the_spread_matches_and_beyond_it_the_mode_decides(mode, verdicts):
    baseline = BaselineConfig(name="paper", value=10.0, spread=2.0, mode=mode)
    assert [baseline.verdict(measured) for measured in (7.9, 8.0, 12.0, 12.1)] == verdicts
