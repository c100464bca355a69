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
UNIFORM = "algorithm.weighting=uniform"
SMALL_FED = [
    "experiment=fedavg/digits",
    "network.layers=[8]",
    "dataset.limit=200",
    "partition.clients=12",
    "cohort.size=4",
    "algorithm.client.epochs=2",
]
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
    "fed-avg": SMALL_FED,
    "fed-sgd": [*SMALL_FED, "algorithm=fed_sgd"],
    "fed-adam": [*SMALL_FED, "algorithm=fed_adam", "algorithm.client.schedule=cosine"],
    "fed-prox": [*SMALL_FED, "algorithm=fed_prox", "algorithm.client.optimizer=adam"],
    "scaffold": [*SMALL_FED, "algorithm=scaffold"],
    "fed-nova": [*SMALL_FED, "algorithm=fed_nova", "algorithm.client.momentum=0.5"],
    "mime": [*SMALL_FED, "algorithm=mime", "algorithm.client.momentum=0.5"],
    "mime-lite": [
        *SMALL_FED,
        "algorithm=mime_lite",
        "algorithm.client.optimizer=adam",
        "algorithm.client.learning_rate=0.01",
    ],
    "fed-dyn": [*SMALL_FED, "algorithm=fed_dyn"],
    "fed-per": [*SMALL_FED, "algorithm=fed_per", "algorithm.personalisation.steps=3"],
    "fed-median": [*SMALL_FED, "aggregator=median", "cohort.dropout=0.2"],
    "fed-trimmed-mean": [*SMALL_FED, "aggregator=trimmed_mean", "aggregator.trimmed=0.25"],
    "fed-krum": [*SMALL_FED, "aggregator=multi_krum", "aggregator.wrong=0", "aggregator.chosen=2"],
    "fed-quantised": [*SMALL_FED, "aggregator=quantised"],
    "fed-top-k": [*SMALL_FED, "aggregator=top_k", "aggregator.share=0.5"],
    "fed-secure": [*SMALL_FED, UNIFORM, "aggregator=secure", "aggregator.bits=20"],
    "fed-client-dp": [*SMALL_FED, UNIFORM, "privacy=client_dp", "cohort=poisson"],
    "fed-client-dp-adaptive": [
        *SMALL_FED,
        UNIFORM,
        "privacy=client_dp",
        "privacy.adjacency=replace_one",
        "privacy.clipping.kind=quantile",
        "privacy.clipping.count_noise=2",
    ],
    "fed-client-dp-ftrl": [*SMALL_FED, UNIFORM, "privacy=client_dp_ftrl", "cohort=shuffled"],
    "fed-local-dp": [*SMALL_FED, UNIFORM, "privacy=local_dp"],
    "fed-distributed-dp": [
        *SMALL_FED,
        UNIFORM,
        "aggregator=secure",
        "aggregator.bias=0.6",
        "privacy=distributed_dp",
    ],
    "fed-poisson": [
        *SMALL_FED,
        "algorithm=scaffold",
        "cohort=poisson",
        "cohort.capacity=8",
        "cohort.dropout=0.2",
    ],
    "fed-available": [*SMALL_FED, "cohort=available", "algorithm.evaluation.clients=train"],
    "fed-stragglers": [
        *SMALL_FED,
        "cohort.over_selection=0.5",
        "cohort.stragglers.share=0.5",
        "cohort.stragglers.parts=2",
    ],
    "fed-lstm": [
        *SMALL_FED[:1],
        *SMALL_FED[2:],
        "network=lstm",
        "network.units=5",
        "network.depth=2",
    ],
    "fed-cnn-mapped": [
        *SMALL_FED[:1],
        *SMALL_FED[2:],
        "network=cnn",
        "network.filters=[4]",
        "network.kernels=[3]",
        "network.strides=[2]",
        "network.padding=[same]",
        "network.groups=2",
        "network.layers=[6]",
        "engine.execution=mapped",
    ],
    "glm-mle": ["experiment=glm/star98", "algorithm.block=1024"],
    "glm-qr": ["experiment=glm/star98", "algorithm.block=1024", "method.solver=qr"],
    "glm-lbfgs": ["experiment=glm/spector", "method.solver=lbfgs"],
    "glm-path": ["experiment=glm/path_star98", "method.lambdas=45", "method.folds=3"],
    "glm-advi": ["experiment=glm/approximate_spector", "method.sampler=advi_full"],
    "glm-chees": [
        "experiment=glm/bayes_spector",
        "method.chains=8",
        "method.warm_up=20",
        "method.draws=20",
    ],
}
each_learner = pytest.mark.parametrize("overrides", LEARNERS.values(), ids=LEARNERS.keys())


def assembled(overrides: list[str]) -> Assembly:
    experiment = instantiate(compose_experiment(overrides))
    return build(experiment.algorithm, seed=experiment.seed, **experiment.parts)
