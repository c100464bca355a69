"""Clients are judged with models of their own, on what they would see themselves."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from federated import references
from federated.small import (
    ROUNDS,
    SIZES,
    client,
    flat,
    made,
    population,
    trained,
    visited,
    visits,
)
from learners import SMALL_FED, assembled

from workbench.core.config import ConfigError
from workbench.core.random import Seed
from workbench.datasets.base import Examples
from workbench.datasets.population import Population
from workbench.federated.cohorts import without_replacement
from workbench.federated.config import (
    FedAvgConfig,
    FedPerConfig,
    PersonalisationConfig,
)

HOLDERS = [k for k, size in enumerate(SIZES) if size]
TEST = np.array([0, 4, 9, 10, 10, 130, 135])  # offsets: one has none, one more than are looked at


def with_tests(own: bool) -> Population:
    """With test examples of clients, or of nobody."""
    people, draw = population(), np.random.default_rng(9)
    features = draw.normal(size=[TEST[-1], references.INPUTS]).astype(np.float32)
    labels = draw.integers(references.CLASSES, size=TEST[-1]).astype(np.int32)
    return replace(people, test=Examples(features, labels), test_offsets=TEST if own else None)


def judged(w: np.ndarray, people: Population, k: int) -> tuple[float, float, float]:
    """How much of what a client sees is right, its loss, and how much it is."""
    features, labels = people.test.features, people.test.labels
    if people.test_offsets is not None:
        begin, end = people.test_offsets[k : k + 2]
        features, labels = features[begin:end], labels[begin:end]
        counts = np.ones(len(labels))
    else:
        held = people.train.labels[people.offsets[k] : people.offsets[k + 1]]
        counts = np.array([(held == y).sum() / (labels == y).sum() for y in labels])
    logits = references.logits(w, features.astype(np.float64))
    odds = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    right = (logits.argmax(1) == labels) * counts
    loss = -np.log(odds[np.arange(len(labels)), labels]) * counts
    return right.sum(), loss.sum(), counts.sum()


def assert_metrics(found: dict[str, Any], rows: list[tuple[float, float, float]]) -> None:
    right, loss, seen = np.array(rows).T
    assert float(found["personal_accuracy"]) == pytest.approx(right.sum() / seen.sum(), rel=1e-5)
    assert float(found["personal_loss"]) == pytest.approx(loss.sum() / seen.sum(), rel=1e-5)
    means = float(found["personal_accuracy_mean"]), float(found["personal_accuracy_worst_10"])
    assert means == pytest.approx(((right / seen).mean(), (right / seen).min()), rel=1e-5)


@pytest.mark.parametrize("execution", ["batched", "mapped"])
@pytest.mark.parametrize("own", [True, False])
def test_clients_fine_tune_the_server_s_model_before_they_are_judged(own, execution):
    people = with_tests(own)
    tuning = PersonalisationConfig(clients=100, steps=5, learning_rate=0.3)
    learner = made(FedAvgConfig(client=client(), personalisation=tuning), execution, people)
    x, seed, rows, before = trained(learner, rounds=1), Seed(0, 7), [], []
    able = [k for k in HOLDERS if not own or TEST[k + 1] > TEST[k]]
    found = learner.evaluate(seed)
    plan = {v.k: v for v in personal_visits(learner, people, seed)}
    assert sorted(plan) == able
    for k in able:
        y, batches = x, plan[k].batches
        later = batches[len(batches) // 2 :]  # the second epoch, which goes on as long as needed
        for step in range(5):
            b = batches[step] if step < len(batches) else later[step % len(later)]
            y = y - 0.3 * references.grad(y, b)
        rows.append(judged(y, people, k))
        before.append(judged(x, people, k))
    assert_metrics(found, rows)
    gain = (sum(r[0] for r in rows) - sum(r[0] for r in before)) / sum(r[2] for r in rows)
    assert float(found["personal_gain"]) == pytest.approx(gain, abs=1e-5)
    assert abs(gain) > 0.01
    np.testing.assert_array_equal(x, flat(learner.model.trainable_variables))


def personal_visits(learner: Any, people: Population, seed: Seed) -> list[references.Visit]:
    """In which batches those who are judged go through what they have."""
    holders = learner._personal._holders.variables[0].numpy()
    drawn = without_replacement(len(holders), len(holders), seed("personal")).numpy()
    clients = holders[drawn]
    orders = learner._clients.orders(clients, seed).numpy()
    return [
        visited(people, k, order, learner.config.client)
        for k, order in zip(clients, orders, strict=True)
    ]


@pytest.mark.parametrize("own", [True, False])
def test_fed_per_judges_each_client_with_its_own_head(own):
    people = with_tests(own)
    learner = made(FedPerConfig(client=client()), people=people)
    rounds = [visits(learner, people, index) for index in range(ROUNDS)]
    known = SimpleNamespace(eta=lambda t: 0.2, rho=0, weighting="examples", clients=len(SIZES))
    truth = references.fed_per(flat(learner.model.trainable_variables), rounds, known)
    base = truth[: -references.HEAD * len(SIZES)]
    heads = np.split(truth[len(base) :], len(SIZES))
    trained(learner)
    found = learner.evaluate(Seed(0, 1))
    able = [k for k in HOLDERS if not own or TEST[k + 1] > TEST[k]]
    assert_metrics(found, [judged(np.append(base, heads[k]), people, k) for k in able])
    assert found["accuracy"] is found["personal_accuracy"]
    assert "personal_gain" not in found


def test_as_many_clients_are_judged_as_are_asked_for():
    people = with_tests(own=False)
    few = FedAvgConfig(client=client(), personalisation=PersonalisationConfig(clients=1))
    learner = made(few, people=people)
    values = {round(float(learner.evaluate(Seed(0, i))["personal_loss"]), 4) for i in range(40)}
    x = flat(learner.model.trainable_variables)
    each = [judged(x, people, k) for k in HOLDERS]
    assert values == {round(loss / seen, 4) for _, loss, seen in each}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["algorithm.personalisation.steps=-1"], "algorithm.personalisation.steps=-1"),
        (
            ["algorithm=fed_per", "algorithm.personalisation.clients=0"],
            "personalisation.clients=0 leaves nothing to judge",
        ),
        (["algorithm=fed_per", "algorithm.evaluation.clients=train"], "evaluation.clients=train"),
    ],
)
def test_settings_that_make_no_sense_are_refused(overrides, message):
    with pytest.raises(ConfigError) as error:
        assembled([*SMALL_FED, *overrides])
    assert message in str(error.value)
