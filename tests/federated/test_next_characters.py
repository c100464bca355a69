"""Next characters by an LSTM: labels at every step, padding that counts nothing, clients' tests."""

import gzip
import itertools
import json

import numpy as np
import pytest
import tensorflow as tf
from learners import assembled

from workbench.core.config import ConfigError
from workbench.core.program import Program
from workbench.core.runtime import Runtime

SPEECHES = {
    "PLAY/FIRST": ["To be, or not to be:\nthat is the question:\nWhether 'tis nobler"],
    "PLAY/SECOND": ["Words, words, words.\nNothing.", "What is the matter?\nBetween who?"],
    "PLAY/THIRD": ["Ay.\nNo."],
}
GROUPS = [
    "algorithm=fed_avg",
    "dataset=shakespeare",
    "dataset.length=6",
    "partition=natural",
    "cohort=uniform",
    "cohort.size=3",
    "network=shakespeare_lstm",
    "network.units=5",
    "aggregator=mean",
    "privacy=none",
    "algorithm.client.batch_size=2",
    "algorithm.client.learning_rate=0.5",
    "algorithm.evaluation.clients=test",
    "train.budget=10",
    "train.judge=evaluate/accuracy",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shakespeare")
    path = folder / "shakespeare_roles.json.gz"
    path.write_bytes(gzip.compress(json.dumps(SPEECHES).encode()))
    return folder


def trained(folder, *overrides):
    """A learner after three rounds, with the last ones' metrics."""
    settings = [*GROUPS, f"dataset.path={folder}", "engine=compiled", *overrides]
    learner = assembled(settings).learner
    program = Program(learner, Runtime(), 0)
    return learner, program.run(0, 3), program.evaluate(3)


def test_clients_are_gone_through_together_or_by_turns_alike(folder):
    batched, metrics, judged = trained(folder, "engine.execution=batched")
    mapped, *others = trained(folder, "engine.execution=mapped")
    assert others[0] == pytest.approx(metrics, rel=1e-4)
    assert others[1] == pytest.approx(judged, rel=1e-4)
    for one, other in zip(batched.model.get_weights(), mapped.model.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    assert metrics["loss"] < np.log(90)


def test_padding_is_nothing_to_be_predicted(folder):
    learner, _, judged = trained(folder)
    features, labels = (values.numpy() for values in learner._judge.data.variables)
    real = labels != 0
    assert not real.all()
    logits = learner.model(features).numpy()[real]
    chances = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    losses = -np.log(chances[np.arange(len(chances)), labels[real]])
    assert judged["loss"] == pytest.approx(losses.mean(), rel=1e-5)
    assert judged["clients_loss"] == pytest.approx(judged["loss"], rel=1e-5)


def test_clients_fine_tune_before_they_are_judged_on_their_own(folder):
    tuning = ["clients=3", "steps=2", "learning_rate=0.5"]
    overrides = ["algorithm.client.batch_size=null"]
    overrides += [f"algorithm.personalisation.{setting}" for setting in tuning]
    learner, _, found = trained(folder, *overrides)
    own, tested = (parts(learner, part) for part in ("train", "test"))
    common, sums = learner.model.get_weights(), []
    for (features, labels), test in zip(own, tested, strict=True):
        if not (test[1] != 0).any():
            continue
        before = right_and_loss(learner.model, *test)[0]
        for _ in range(2):
            with tf.GradientTape() as tape:
                loss = right_and_loss(learner.model, features, labels)[1] / (labels != 0).sum()
            gradients = tape.gradient(loss, learner.model.trainable_variables)
            for variable, gradient in zip(
                learner.model.trainable_variables, gradients, strict=True
            ):
                variable.assign_sub(0.5 * tf.convert_to_tensor(gradient))
        sums.append((before, *right_and_loss(learner.model, *test), (test[1] != 0).sum()))
        learner.model.set_weights(common)
    before, right, loss, seen = np.array(sums, float).T
    assert len(sums) > 1
    assert found["personal_loss"] == pytest.approx(loss.sum() / seen.sum(), rel=1e-4)
    assert found["personal_loss_mean"] == pytest.approx((loss / seen).mean(), rel=1e-4)
    assert found["personal_accuracy"] == pytest.approx(right.sum() / seen.sum(), rel=1e-4)
    assert found["personal_gain"] == pytest.approx((right - before).sum() / seen.sum(), abs=1e-5)


def parts(learner, part):
    """Each client's sequences and what follows in them."""
    if part == "train":
        (features, labels), offsets = learner._clients._data.variables, learner._clients._offsets
    else:
        (features, labels), offsets = learner._judge.data.variables, learner._personal._offsets
    bounds = offsets.variables[0].numpy()
    return [
        (features[begin:end], labels[begin:end].numpy())
        for begin, end in itertools.pairwise(bounds)
    ]


def right_and_loss(model, features, labels):
    """Of the labels that are no padding: how many are predicted, and the sum of their losses."""
    logits = tf.boolean_mask(model(features), labels != 0)
    truth = labels[labels != 0]
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(truth, logits)
    return (np.argmax(logits, -1) == truth).sum(), tf.reduce_sum(losses)


def test_one_prediction_for_an_example_is_refused(folder):
    with pytest.raises(ConfigError, match=r"one label for an example.* one for each step"):
        trained(folder, "network.every_step=false")
