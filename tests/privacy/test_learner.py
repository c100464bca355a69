"""DP-SGD takes the steps that it should, with the noise that it should, and stops in time."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from learners import SMALL_DP_SGD, assembled

from workbench.compose import compose_experiment, instantiate
from workbench.core.config import ConfigError
from workbench.core.program import Program
from workbench.core.random import Seed
from workbench.core.runtime import Runtime
from workbench.datasets.base import Dataset, Examples
from workbench.privacy.augmentation import augmented
from workbench.privacy.build import learner_on
from workbench.privacy.config import AugmentationConfig

ERROR_RATE = 1e-6


def small(*overrides):
    """A learner on digits, with its experiment."""
    overrides = [*SMALL_DP_SGD, "algorithm.learning_rate=1.0", *overrides]
    return assembled(overrides).learner, instantiate(compose_experiment(overrides))


def trained(*overrides, steps=3):
    """The parameters after a few steps, as one vector, and those before."""
    learner, experiment = small(*overrides)
    before = flat(learner)
    Program(learner, Runtime(), experiment.seed).run(0, steps)
    return flat(learner), before, learner


def flat(learner):
    return np.concatenate([v.numpy().ravel() for v in learner.model.trainable_variables])


EVERYTHING = [
    "algorithm.batch_size=200",
    "privacy.clipping.norm=1e6",
    "privacy.noise_multiplier=1e-12",
]


def test_without_clipping_and_noise_it_is_gradient_descent():
    found, _, _ = trained(*EVERYTHING, "algorithm.momentum=0.9")
    learner, _ = small(*EVERYTHING)
    optimizer = tf.keras.optimizers.SGD(1.0, momentum=0.9)
    features, labels = learner.train.variables
    model = learner.model
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    for _ in range(3):
        with tf.GradientTape() as tape:
            value = loss(labels, model(features))
        gradients = tape.gradient(value, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
    np.testing.assert_allclose(found, flat(learner), rtol=1e-4, atol=1e-5)


def test_training_without_privacy_is_the_same_without_clipping_and_noise():
    found, _, _ = trained(*EVERYTHING)
    plain, _, learner = trained(*EVERYTHING, "privacy.enabled=false")
    np.testing.assert_allclose(found, plain, rtol=1e-4, atol=1e-5)
    assert learner.limit is None
    assert learner.account(5) == {}


@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_chunks_change_nothing(chunk):
    found, _, _ = trained(f"algorithm.chunk_size={chunk}")
    expected, _, _ = trained("algorithm.chunk_size=200")
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_a_sum_is_divided_by_the_expected_size_whatever_was_drawn():
    one, before, _ = trained("algorithm.momentum=0", "privacy.noise_multiplier=1e-12", steps=1)
    learner, experiment = small()
    lot = learner._lots.sample(Seed(experiment.seed, 0, "train/")("lot"))
    assert int(lot.count) != 32
    rows = lot.indices[: lot.count]
    features, labels = (tf.gather(values, rows) for values in learner.train.variables)
    total = 0.0
    for i in range(int(lot.count)):
        with tf.GradientTape() as tape:
            loss = tf.nn.sparse_softmax_cross_entropy_with_logits(
                labels[i : i + 1], learner.model(features[i : i + 1])
            )
        gradients = tape.gradient(loss, learner.model.trainable_variables)
        vector = np.concatenate([g.numpy().ravel() for g in gradients])
        total = total + vector * min(1.0, 1.0 / np.linalg.norm(vector))
    np.testing.assert_allclose(one - before, -total / 32, rtol=1e-3, atol=1e-6)


def test_noise_is_normal_with_the_deviation_that_is_accounted():
    """With σ = 10⁴ noise is all there is: learning rate · σ · C / B on every parameter."""
    overrides = ["privacy.noise_multiplier=1e4", "privacy.clipping.norm=0.5"]
    learner, experiment = small(*overrides)
    program = Program(learner, Runtime(), experiment.seed)
    moves, before = [], flat(learner)
    for step in range(25):
        program.run(step, 1)
        moves.append(flat(learner) - before)
        before = flat(learner)
    z = np.array(moves) / (1e4 * 0.5 / 32)
    assert scipy.stats.kstest(z.ravel(), "norm").pvalue > ERROR_RATE
    square = (np.square(z).mean() - 1) * np.sqrt(z.size / 2)
    assert abs(square) < scipy.stats.norm.isf(ERROR_RATE / 2)
    assert scipy.stats.pearsonr(z[1:].ravel(), z[:-1].ravel()).pvalue > ERROR_RATE


def test_a_schedule_lowers_the_noise_in_stages():
    overrides = ["privacy.noise_multiplier=1e4", "privacy.noise.schedule=linear"]
    overrides += ["privacy.noise.end=0.1", "privacy.noise.stages=3", "algorithm.steps=9"]
    learner, experiment = small(*overrides)
    program = Program(learner, Runtime(), experiment.seed)
    deviations, before = [], flat(learner)
    for step in range(9):
        program.run(step, 1)
        deviations.append((flat(learner) - before).std() * 32 / 1e4)
        before = flat(learner)
    np.testing.assert_allclose(deviations, np.repeat([1.0, 0.55, 0.1], 3), rtol=0.15)


def test_the_adaptive_norm_is_released_with_noise():
    """Its steps follow the noised share: with a large count noise they are mostly noise."""
    overrides = ["privacy.clipping.kind=quantile", "privacy.clipping.count_noise=1e3"]
    learner, experiment = small(*overrides, "privacy.clipping.rate=0.01")
    program = Program(learner, Runtime(), experiment.seed)
    logs = [0.0]
    for step in range(60):
        program.run(step, 1)
        logs.append(float(np.log(learner.release.norm)))
    z = np.diff(logs) / (0.01 * 1e3 / 32)
    assert scipy.stats.kstest(z, "norm", args=(0, 1.0)).pvalue > 1e-4


def test_training_stops_before_the_budget_is_exceeded():
    learner, _ = small("privacy.epsilon=2.0", "privacy.noise_multiplier=2.0")
    assert learner.account(learner.limit)["epsilon"] <= 2.0
    assert learner.account(learner.limit + 1)["epsilon"] > 2.0
    assert learner.limited_by == "privacy budget"


def test_noise_is_found_for_a_budget():
    learner, experiment = small("privacy.epsilon=2.0", "privacy.noise_multiplier=null")
    spent = learner.account(experiment.algorithm.steps)["epsilon"]
    assert 1.99 < spent <= 2.0


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["algorithm.batch_size=500"], "batch_size=500 exceeds the 200 examples; lower it"),
        (["privacy.epsilon=0.001"], "epsilon=0.001 is less than the .* of one step"),
        (["privacy.sampling.kind=shuffled"], "choose adjacency=zero_out"),
        (["privacy.noise.kind=tree"], "choose sampling.kind=shuffled"),
    ],
)
def test_what_cannot_be_private_is_refused(overrides, message):
    with pytest.raises(ConfigError, match=message):
        small(*overrides)


def test_a_model_of_ones_own_that_mixes_examples_is_refused():
    experiment = instantiate(compose_experiment(SMALL_DP_SGD))
    images = np.zeros([200, 8, 8, 1], np.float32)
    data = Dataset("mine", *[Examples(images, np.zeros(200, np.int32))] * 2, classes=2)
    keras = tf.keras.layers
    model = tf.keras.Sequential(
        [tf.keras.Input([8, 8, 1]), keras.BatchNormalization(), keras.Flatten(), keras.Dense(2)]
    )
    with pytest.raises(ConfigError, match="use GroupNormalization"):
        learner_on(experiment.algorithm, model, data, experiment.privacy)
    plain = replace(experiment.privacy, enabled=False)
    learner_on(experiment.algorithm, model, data, plain)


def test_the_average_is_what_is_judged():
    learner, experiment = small("algorithm.ema=0.5")
    program = Program(learner, Runtime(), experiment.seed)
    expected = [w.numpy() for w in learner.model.weights]
    for step in range(4):
        program.run(step, 1)
        weight = min(0.5, (1 + step) / (10 + step))
        expected = [
            weight * old + (1 - weight) * new.numpy()
            for old, new in zip(expected, learner.model.weights, strict=True)
        ]
    for found, value in zip(learner.judged.weights, expected, strict=True):
        np.testing.assert_allclose(found, value, rtol=1e-4, atol=1e-5)


def test_evaluation_is_over_every_test_example_once():
    learner, experiment = small("dataset.test_fraction=0.7")
    found = Program(learner, Runtime(), experiment.seed).evaluate(0)
    features, labels = learner.judge.data.variables
    assert labels.shape[0] > 1000  # more than are looked at together
    logits = learner.model(features)
    assert found["accuracy"] == pytest.approx(np.mean(np.argmax(logits, 1) == labels.numpy()))
    loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    assert found["loss"] == pytest.approx(float(tf.reduce_mean(loss)), rel=1e-5)


class TestAugmentation:
    images = tf.reshape(tf.range(1.0, 2 * 16 + 1), [2, 4, 4, 1])
    seed = tf.constant([3, 9], tf.int64)

    def test_copies_are_the_image_moved(self):
        config = AugmentationConfig(copies=50, shift=1, flip=True)
        found = augmented(config, self.images, self.seed, tf.constant([5, 8])).numpy()
        for image, copies in zip(self.images.numpy(), found.reshape(2, 50, 4, 4, 1), strict=True):
            padded = np.pad(image, [[1, 1], [1, 1], [0, 0]])
            moved = [padded[i : i + 4, j : j + 4] for i in range(3) for j in range(3)]
            kinds = np.array([*moved, *(m[:, ::-1] for m in moved)])
            matches = (copies[:, None] == kinds[None]).all((2, 3, 4))
            assert matches.any(1).all()
            assert matches.any(0).sum() > 12  # of 18

    def test_an_example_moves_the_same_whoever_is_beside_it(self):
        config = AugmentationConfig(copies=3, shift=1)
        both = augmented(config, self.images, self.seed, tf.constant([5, 8]))
        alone = augmented(config, self.images[1:], self.seed, tf.constant([8]))
        np.testing.assert_array_equal(both[3:], alone)
