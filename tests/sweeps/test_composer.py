"""Composing cells quickly must come to what Hydra comes to."""

import pytest

from workbench.compose import compose_experiment, dump_experiment, instantiate
from workbench.core.config import ConfigError
from workbench.sweeps.composer import Composer


@pytest.mark.parametrize(
    "overrides",
    [
        ["experiment=dqn/cartpole", "seed=3", "algorithm.gamma=0.5", "train.budget=5"],
        ["experiment=dqn/acrobot", "environment=cartpole", "network.layers=[8,8]"],
        ["algorithm.gamma=0.5", "experiment=dqn/cartpole", "algorithm={gamma: 0.6}"],
        ["experiment=dqn/cartpole", "algorithm={gamma: 0.6}", "algorithm.gamma=0.5"],
        ["experiment=dqn/pendulum", "+train.stop.target=3", "name=mine"],
        ["experiment=dqn/cartpole", "runtime.threads=1", "sweep.fail_fast=true"],
    ],
)
def test_a_cell_is_composed_as_hydra_composes_it(overrides):
    compose = Composer()
    compose(["experiment=dqn/cartpole", "seed=7", "algorithm.gamma=0.9"])  # leaves no trace
    for _ in range(2):
        experiment = compose(overrides)
        reference = instantiate(compose_experiment(overrides))
        experiment.run.dir = reference.run.dir  # which holds the time
        assert dump_experiment(experiment) == dump_experiment(reference)
        assert experiment.sweep == reference.sweep


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("algorithm.gama=1", "did you mean algorithm.gamma"),
        ("algorithm.gamma=2", "algorithm.gamma=2.0 is out of range"),
        ("algorithm.gamma=x", "algorithm.gamma: Value 'x'"),
        ("environment=cartpol", "did you mean cartpole"),
    ],
)
def test_what_is_wrong_is_said_as_for_a_single_run(override, said):
    with pytest.raises(ConfigError, match=said):
        Composer()(["experiment=dqn/cartpole", override])
