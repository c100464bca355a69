"""A model as a function of its weights is the model with them, and so are its gradients."""

import numpy as np
import pytest
import tensorflow as tf

from workbench.core.config import ConfigError
from workbench.models.classifier import classifier
from workbench.models.config import ResNetConfig
from workbench.models.functional import Functional

keras = tf.keras.layers
RELU = {"activation": "relu"}


def stacked(*layers):
    return lambda: tf.keras.Sequential([layer() for layer in layers])


def shared():
    """One dense layer in two places."""
    inputs = tf.keras.Input([6])
    layer = keras.Dense(6, activation="tanh")
    return tf.keras.Model(inputs, layer(layer(inputs)) + inputs)


def nested():
    """A model in a model."""
    inner = tf.keras.Sequential([keras.Input([6]), keras.Dense(5, **RELU), keras.Dense(4)])
    inputs = tf.keras.Input([6])
    return tf.keras.Model(inputs, keras.Dense(3)(inner(inputs)))


class Residual(tf.keras.Model):
    """A model by subclassing, with layers in a list."""

    def __init__(self):
        super().__init__()
        self.blocks = [keras.Dense(6, activation="tanh") for _ in range(2)]
        self.last = keras.Dense(3)

    def call(self, inputs):
        for block in self.blocks:
            inputs = inputs + block(inputs)
        return self.last(inputs)


class Bilinear(keras.Layer):
    """A layer that no rule knows."""

    def build(self, shape):
        self.form = self.add_weight("form", [shape[-1], shape[-1], 3])

    def call(self, inputs):
        return tf.einsum("bi,ijk,bj->bk", inputs, self.form, inputs)


def attention():
    inputs = tf.keras.Input([5, 4])
    heads = keras.MultiHeadAttention(2, 3)(inputs, inputs, use_causal_mask=True)
    scored = keras.Attention(use_scale=True, score_mode="concat")([heads, inputs])
    return tf.keras.Model(inputs, scored)


IMAGES, SERIES, TOKENS = (6, 7, 3), (5, 4), (5,)
MODELS = {
    "dense": (stacked(lambda: keras.Dense(5, **RELU), lambda: keras.Dense(3)), (6,)),
    "dense without bias": (stacked(lambda: keras.Dense(5, use_bias=False)), (6,)),
    "dense on sequences": (stacked(lambda: keras.Dense(3)), SERIES),
    "convolution": (stacked(lambda: keras.Conv2D(4, 3, **RELU)), IMAGES),
    "padded": (stacked(lambda: keras.Conv2D(4, 3, padding="same")), IMAGES),
    "strided": (stacked(lambda: keras.Conv2D(4, 3, 2, padding="same")), IMAGES),
    "oblong": (stacked(lambda: keras.Conv2D(4, (2, 3), (1, 2), use_bias=False)), IMAGES),
    "dilated": (stacked(lambda: keras.Conv2D(4, 2, dilation_rate=2)), IMAGES),
    "grouped": (stacked(lambda: keras.Conv2D(6, 3, groups=3)), IMAGES),
    # of 7 columns the last one is in no window
    "pooled": (stacked(lambda: keras.Conv2D(4, 3, padding="same"), keras.MaxPool2D), IMAGES),
    "depthwise": (stacked(lambda: keras.DepthwiseConv2D(3, depth_multiplier=2)), IMAGES),
    "separable": (stacked(lambda: keras.SeparableConv2D(4, 3)), IMAGES),
    "transposed": (stacked(lambda: keras.Conv2DTranspose(4, 3, 2)), IMAGES),
    "series": (stacked(lambda: keras.Conv1D(4, 3, padding="causal")), SERIES),
    "embedding": (stacked(lambda: keras.Embedding(9, 4), keras.Flatten), TOKENS),
    "layer norm": (stacked(keras.LayerNormalization, lambda: keras.Dense(3)), SERIES),
    "layer norm of two axes": (stacked(lambda: keras.LayerNormalization([1, 2])), SERIES),
    "group norm": (stacked(lambda: keras.GroupNormalization(3)), IMAGES),
    "group norm without offset": (
        stacked(lambda: keras.GroupNormalization(1, center=False)),
        IMAGES,
    ),
    "prelu": (stacked(lambda: keras.Dense(5), keras.PReLU), (6,)),
    "lstm": (stacked(lambda: keras.LSTM(3)), SERIES),
    "lstm at all steps": (stacked(lambda: keras.LSTM(3, return_sequences=True)), SERIES),
    "lstm backwards": (
        stacked(lambda: keras.LSTM(3, return_sequences=True, go_backwards=True)),
        SERIES,
    ),
    "lstm without bias": (stacked(lambda: keras.LSTM(3, use_bias=False)), SERIES),
    "odd lstm": (stacked(lambda: keras.LSTM(3, activation="relu")), SERIES),
    "bidirectional": (stacked(lambda: keras.Bidirectional(keras.LSTM(3))), SERIES),
    "two lstms": (
        stacked(
            lambda: keras.Embedding(9, 4),
            lambda: keras.LSTM(3, return_sequences=True),
            lambda: keras.LSTM(3, return_sequences=True),
            lambda: keras.Dense(9),
        ),
        TOKENS,
    ),
    "gru at all steps": (stacked(lambda: keras.GRU(3, return_sequences=True)), SERIES),
    "simple rnn": (stacked(lambda: keras.SimpleRNN(3)), SERIES),
    "attention": (attention, SERIES),
    "shared": (shared, (6,)),
    "nested": (nested, (6,)),
    "subclassed": (Residual, (6,)),
    "residual network": (
        lambda: classifier(ResNetConfig([4, 6], [1, 1]), IMAGES, 5, seed=0),
        IMAGES,
    ),
    "one's own": (stacked(Bilinear), (4,)),
    "wrapped": (stacked(lambda: keras.TimeDistributed(keras.Dense(3))), SERIES),
}
# Those with a way of their own for one set, or for a batch of unknown size.
SINGLE = ("dense", "pooled", "lstm backwards", "lstm without bias", "two lstms", "nested")
DYNAMIC = ("dense on sequences", "padded", "embedding", "layer norm", "group norm", "two lstms")
CASES = [(name, 3) for name in MODELS] + [(name, 1) for name in SINGLE]


def features(shape, *batch):
    draw = np.random.default_rng(1)
    if shape == TOKENS:
        return tf.constant(draw.integers(0, 9, [*batch, *shape]), tf.int32)
    return tf.constant(draw.normal(size=[*batch, *shape]), tf.float32)


def case(make, shape, sets, batch=4):
    """A model, weights in sets, and their features."""
    model, x = make(), features(shape, sets, batch)
    model(x[0])
    draw = np.random.default_rng(2)
    weights = [
        tf.constant(draw.normal(size=[sets, *v.shape], scale=0.5), tf.float32)
        for v in model.trainable_variables
    ]
    return model, weights, x


def weighted(outputs):
    """A number that depends on each output in another way."""
    factors = tf.sin(tf.cast(tf.range(tf.size(outputs)), tf.float32))
    return tf.reduce_sum(outputs * tf.reshape(factors, tf.shape(outputs)))


def by_keras(model, weights, x):
    """Outputs and gradients, set by set."""
    results = []
    for number in range(x.shape[0]):
        for variable, weight in zip(model.trainable_variables, weights, strict=True):
            variable.assign(weight[number])
        with tf.GradientTape() as tape:
            outputs = model(x[number], training=True)
            total = weighted(outputs)
        results.append((outputs, tape.gradient(total, model.trainable_variables)))
    outputs, gradients = zip(*results, strict=True)
    return tf.stack(outputs), [
        tf.stack([tf.convert_to_tensor(g) for g in found]) for found in zip(*gradients, strict=True)
    ]


def by_functional(functional, weights, x):
    with tf.GradientTape() as tape:
        tape.watch(weights)
        outputs = functional(weights, x)
        total = tf.add_n([weighted(outputs[number]) for number in range(len(weights[0]))])
    return outputs, [tf.convert_to_tensor(g) for g in tape.gradient(total, weights)]


def assert_same(found, expected):
    for one, other in zip(tf.nest.flatten(found), tf.nest.flatten(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "sets"), CASES)
def test_it_is_the_model_with_those_weights(name, sets):
    model, weights, x = case(*MODELS[name], sets)
    found = tf.function(by_functional)(Functional(model), weights, x)
    assert_same(found, by_keras(model, weights, x))


@pytest.mark.parametrize("name", [*DYNAMIC, "attention", "one's own"])
def test_batches_may_be_of_any_size(name):
    make, shape = MODELS[name]
    model, weights, x = case(make, shape, sets=3)
    functional = Functional(model)

    @tf.function(input_signature=[tf.TensorSpec([3, None, *shape], x.dtype)])
    def traced(x):
        return by_functional(functional, weights, x)

    assert_same(traced(x), by_keras(model, weights, x))


def test_the_models_own_variables_are_left_alone():
    model, weights, x = case(*MODELS["two lstms"], sets=2)
    before = [variable.numpy() for variable in model.trainable_variables]
    Functional(model)(weights, x)
    for variable, value in zip(model.trainable_variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)
    assert model(x[0]).shape == [4, 5, 9]


def test_after_a_failure_the_model_is_as_it_was():
    model, weights, x = case(*MODELS["dense"], sets=2)
    expected = model(x[0])
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError)):
        Functional(model)(weights, x[..., :2])
    np.testing.assert_array_equal(model(x[0]), expected)


def test_layers_that_mix_the_examples_of_a_batch_are_refused():
    model = tf.keras.Sequential([keras.Input([6]), keras.Dense(3), keras.BatchNormalization()])
    with pytest.raises(ConfigError, match=r"batch_normalization.* use GroupNormalization"):
        Functional(model)


def test_layers_that_draw_numbers_of_their_own_are_refused():
    for layer in (keras.Dropout(0.5), keras.GRU(3, dropout=0.1)):
        with pytest.raises(ConfigError, match="draws numbers that no seed of a run repeats"):
            Functional(tf.keras.Sequential([keras.Input([5, 6]), layer]))
    Functional(tf.keras.Sequential([keras.Input([5, 6]), keras.Dropout(0.0), keras.GRU(3)]))


def test_variables_outside_of_layers_are_refused():
    class Scaled(keras.Layer):
        def build(self, shape):
            self.scales = [self.add_weight("scale", [shape[-1]], initializer="ones")]

        def call(self, inputs):
            return inputs * self.scales[0]

    model = tf.keras.Sequential([keras.Input([6]), Scaled()])
    with pytest.raises(ConfigError, match="scale:0 is no attribute of a layer"):
        Functional(model)


@pytest.mark.parametrize("sets", [1, 2])
def test_a_mask_is_not_ignored(sets):
    make = stacked(lambda: keras.Embedding(9, 4, mask_zero=True), lambda: keras.LSTM(3))
    model, weights, x = case(make, TOKENS, sets)
    x *= tf.constant([1, 1, 1, 0, 0])
    found = by_functional(Functional(model), weights, x)
    assert_same(found, by_keras(model, weights, x))
