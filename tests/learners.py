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
SMALL_DP_SGD = [
    "experiment=dp_sgd/digits",
    "network.layers=[8]",
    "dataset.limit=200",
    "algorithm.batch_size=32",
    "algorithm.chunk_size=16",
    "privacy.noise_multiplier=1.0",
    "privacy.epsilon=null",
]
SHUFFLED = ["privacy.sampling.kind=shuffled", "privacy.adjacency=zero_out"]
LEARNERS = {
    "dqn": SMALL_DQN,
    "dqn-rmsprop": [*SMALL_DQN, "algorithm.optimizer=rmsprop", "algorithm.double=true"],
    "dqn-envs": [*SMALL_DQN, "algorithm.num_envs=4", "algorithm.n_step=3"],
    "dp-sgd": SMALL_DP_SGD,
    "dp-sgd-adaptive": [
        *SMALL_DP_SGD,
        "privacy.clipping.kind=quantile",
        "privacy.noise.schedule=linear",
        "privacy.noise.end=0.5",
        "algorithm.optimizer=adam",
        "algorithm.learning_rate=0.01",
        "algorithm.ema=0.9",
        "algorithm.augmentation.copies=2",
    ],
    "dp-sgd-convolutions": [
        *SMALL_DP_SGD[:1],
        *SMALL_DP_SGD[2:],
        "network=cnn",
        "network.filters=[4]",
        "network.kernels=[3]",
        "network.strides=[2]",
        "network.padding=[same]",
        "network.layers=[6]",
        "privacy.clipping.kind=per_layer",
        "algorithm.schedule=cosine",
    ],
    "dp-sgd-audited": [*SMALL_DP_SGD, "privacy.audit.canaries=100"],
    "dp-sgd-lstm": [
        *SMALL_DP_SGD[:1],
        *SMALL_DP_SGD[2:],
        "network=lstm",
        "network.units=5",
        "privacy.clipping.kind=automatic",
    ],
    "dp-ftrl": [*SMALL_DP_SGD, *SHUFFLED, "privacy.noise.kind=tree", "algorithm.momentum=0.9"],
    "dp-sgd-none": [*SMALL_DP_SGD, "privacy.enabled=false"],
    "dqn-fed": [*SMALL_DQN, "environment=gymnasium", "environment.id=CartPole-v1"],
}
each_learner = pytest.mark.parametrize("overrides", LEARNERS.values(), ids=LEARNERS.keys())


def assembled(overrides: list[str]) -> Assembly:
    experiment = instantiate(compose_experiment(overrides))
    return build(experiment.algorithm, seed=experiment.seed, **experiment.parts)
