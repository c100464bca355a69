"""A small learner of every kind, for claims that hold for all: one line for each."""

import pytest

from workbench.compose import compose_experiment, instantiate
from workbench.core.assembly import Assembly
from workbench.core.config import build

SMALL_DQN = [
    "experiment=dqn/cartpole",
    "network.layers=[8]",
    "algorithm.replay_capacity=200",
    "algorithm.learning_starts=20",
    "algorithm.num_envs=2",
    "algorithm.batch_size=8",
]
LEARNERS = {
    "dqn": SMALL_DQN,
    "dqn-rmsprop": [*SMALL_DQN, "algorithm.optimizer=rmsprop", "algorithm.double=true"],
    "dqn-envs": [*SMALL_DQN, "algorithm.num_envs=4", "algorithm.n_step=3"],
    "dqn-fed": [*SMALL_DQN, "environment=gymnasium", "environment.id=CartPole-v1"],
}
each_learner = pytest.mark.parametrize("overrides", LEARNERS.values(), ids=LEARNERS.keys())


def assembled(overrides: list[str]) -> Assembly:
    experiment = instantiate(compose_experiment(overrides))
    return build(experiment.algorithm, seed=experiment.seed, **experiment.parts)
