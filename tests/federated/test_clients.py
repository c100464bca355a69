"""Each epoch a client goes through all that it holds, once, in batches; memory follows examples."""

from itertools import chain

import numpy as np
import pytest
import tensorflow as tf

from workbench.core.random import Seed
from workbench.core.replicas import given_to
from workbench.datasets.base import Examples
from workbench.datasets.population import Population, offsets_of
from workbench.federated import clients as module
from workbench.federated.clients import Clients
from workbench.federated.config import ClientConfig

SIZES = np.array([7, 1, 0, 20, 3])


def population(sizes: np.ndarray) -> Population:
    """Examples that are their own numbers."""
    numbers = np.arange(sizes.sum(), dtype=np.int32)
    examples = Examples(numbers[:, None].astype(np.float32), numbers)
    return Population("numbers", examples, offsets_of(sizes), examples, len(numbers))


def gone_through(clients: Clients, chosen: list[int], step: int = 0) -> list[list[list[int]]]:
    """The examples of every local step of each client."""
    ids = tf.constant(chosen, tf.int32)
    orders = clients.orders(ids, Seed(3, step))
    steps = clients.steps(ids, tf.ones([len(chosen)])).numpy()
    seen = [[] for _ in chosen]
    plan = clients.plan(ids, orders, steps.max())
    for step in range(steps.max()):
        batch = clients.batch(plan, step)
        rows = zip(batch.features.numpy(), batch.labels.numpy(), batch.mask.numpy(), strict=True)
        for number, (features, labels, mask) in enumerate(rows):
            np.testing.assert_array_equal(features[mask > 0, 0], labels[mask > 0])
            if step < steps[number]:
                seen[number].append(list(labels[mask > 0]))
    return seen


@pytest.mark.parametrize("static", [True, False])
def test_an_epoch_has_every_example_once(static, monkeypatch):
    if not static:
        monkeypatch.setattr(module, "STATIC", 0)
    clients = Clients(population(SIZES), ClientConfig(epochs=3, batch_size=4), cohort=3)
    offsets = offsets_of(SIZES)
    for number, steps in zip([3, 0, 1], gone_through(clients, [3, 0, 1]), strict=True):
        own = list(range(offsets[number], offsets[number + 1]))
        per_epoch = -(-len(own) // 4)
        assert len(steps) == 3 * per_epoch
        starts = range(0, len(steps), per_epoch)
        epochs = [list(chain(*steps[start : start + per_epoch])) for start in starts]
        for epoch in epochs:
            assert sorted(epoch) == own
        assert [len(step) for step in steps[: per_epoch - 1]] == [4] * (per_epoch - 1)
        if len(own) > 3:
            assert epochs[0] != epochs[1]


def test_orders_are_new_in_every_round_and_uniform():
    # The first of 3 examples: a chi-square test of 600 rounds, at 1e-6.
    clients = Clients(population(SIZES), ClientConfig(batch_size=1), cohort=1)
    firsts = [gone_through(clients, [4], step)[0][0][0] for step in range(600)]
    counts = np.bincount(np.array(firsts) - 28, minlength=3)
    assert ((counts - 200) ** 2 / 200).sum() < 27.6


def test_steps_go_on_into_further_epochs():
    clients = Clients(population(SIZES), ClientConfig(epochs=None, steps=5, batch_size=2), cohort=2)
    long, short = gone_through(clients, [0, 1])
    assert [len(step) for step in long] == [2, 2, 2, 1, 2]
    assert short == [[7]] * 5


def test_without_a_batch_size_a_step_takes_all():
    clients = Clients(population(SIZES), ClientConfig(epochs=2, batch_size=None), cohort=2)
    assert gone_through(clients, [4, 1]) == [[[28, 29, 30]] * 2, [[7]] * 2]


@pytest.mark.parametrize(("effort", "steps"), [(1.0, 10), (0.5, 5), (0.01, 1), (0.11, 2)])
def test_effort_is_a_share_of_the_steps(effort, steps):
    clients = Clients(population(SIZES), ClientConfig(epochs=2, batch_size=4), cohort=1)
    assert clients.steps(tf.constant([3]), tf.constant([effort])).numpy() == [steps]


def test_memory_follows_the_examples():
    sizes = np.ones(100_000, int)
    sizes[0] = 50_000
    clients = Clients(population(sizes), ClientConfig(), cohort=100)
    held = sum(v.shape.num_elements() for given in given_to(clients) for v in given.variables)
    assert held == 2 * sizes.sum() + len(sizes) + 1
