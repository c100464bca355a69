"""A few ragged clients, a small network, and learners over them."""

from typing import Any

import numpy as np
import tensorflow as tf
from federated.references import CLASSES, HIDDEN, INPUTS, Visit

from workbench.core.config import imported
from workbench.core.random import Seed
from workbench.datasets.base import Examples
from workbench.datasets.population import Population, offsets_of
from workbench.federated.aggregation.mean import Mean
from workbench.federated.cohorts import uniform
from workbench.federated.config import (
    ClientConfig,
    CompiledConfig,
    StragglersConfig,
    UniformConfig,
)
from workbench.federated.learner import FederatedLearner

SIZES = [7, 3, 0, 12, 5, 9]
ROUNDS = 6
PLAIN = {"epochs": 2, "batch_size": 4, "learning_rate": 0.2}


def population(sizes: list[int] = SIZES) -> Population:
    draw = np.random.default_rng(5)
    total = sum(sizes)
    features = draw.normal(size=[total, INPUTS]).astype(np.float32)
    labels = draw.integers(CLASSES, size=total).astype(np.int32)
    train = Examples(features, labels)
    return Population("synthetic", train, offsets_of(np.array(sizes)), train, CLASSES)


def network() -> tf.keras.Model:
    tf.keras.utils.set_random_seed(3)
    layers = [
        tf.keras.layers.Dense(HIDDEN, "tanh", bias_initializer="normal"),
        tf.keras.layers.Dense(CLASSES, bias_initializer="normal"),
    ]
    return tf.keras.Sequential([tf.keras.Input([INPUTS]), *layers])


def made(
    config: Any,
    execution: str = "batched",
    people: Population | None = None,
    cohort: int = 3,
    stragglers: StragglersConfig | None = None,
) -> FederatedLearner:
    people, model = people or population(), network()
    algorithm = imported(config.algorithm)(config, model, people.clients)
    asked = UniformConfig(size=cohort, stragglers=stragglers or StragglersConfig())
    cohorts = uniform(asked, people.sizes, 0)
    engine = CompiledConfig(execution=execution)
    return FederatedLearner(config, engine, model, people, cohorts, algorithm, Mean())


def flat(weights: Any) -> np.ndarray:
    return np.concatenate([np.ravel(w) for w in weights]).astype(np.float64)


def trained(learner: FederatedLearner, rounds: int = ROUNDS) -> np.ndarray:
    step = tf.function(lambda index: learner.train_step(Seed(0, index)), autograph=False)
    for index in range(rounds):
        step(tf.constant(index, tf.int64))
    return flat(learner.model.trainable_variables)


def visits(learner: FederatedLearner, people: Population, index: int) -> list[Visit]:
    """Who is asked in a round, and in which batches they go through what they have."""
    seed = Seed(0, index)
    cohort = learner._cohorts.sample(seed)
    orders = learner._clients.orders(cohort.clients, seed).numpy()
    found = []
    for place, k in enumerate(cohort.clients.numpy()):
        visit = visited(people, k, orders[place], learner.config.client)
        steps = learner.config.client.steps or len(visit.batches)
        steps = max(1, int(np.ceil(steps * float(cohort.effort[place]) - 1e-3)))
        found.append(visit._replace(batches=visit.batches[:steps]))
    return found


def visited(people: Population, k: int, order: np.ndarray, config: ClientConfig) -> Visit:
    """All batches of a client, given the order in which it goes through its examples."""
    begin, end = people.offsets[k : k + 2]
    features = people.train.features[begin:end].astype(np.float64)
    labels = people.train.labels[begin:end]
    held, batches = end - begin, []
    size = config.batch_size or held
    epochs = config.epochs or -(-config.steps // -(-held // size))
    for begun in range(0, epochs * held, held):
        epoch = order[begun : begun + held] if config.batch_size else order[:held]
        assert sorted(epoch) == list(range(held))
        for first in range(0, held, size):
            rows = epoch[first : first + size]
            batches.append((features[rows], labels[rows]))
    return Visit(int(k), (features, labels), batches)


def client(**settings: Any) -> ClientConfig:
    return ClientConfig(**(PLAIN | settings))
