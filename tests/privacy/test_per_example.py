"""Every path to clipped sums equals the plain loop over examples."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_privacy.privacy.fast_gradient_clipping import clip_grads, layer_registry

from workbench.core.config import ConfigError
from workbench.privacy.clipping import clipping_of
from workbench.privacy.config import ClippingConfig
from workbench.privacy.gradients.per_example import PerExample

L = tf.keras.layers
B = 6


class Twice(L.Layer):
    """A layer without a rule that has a variable of its own."""

    def build(self, shape):
        self.scale = self.add_weight("scale", [shape[-1]], initializer="random_normal")
        super().build(shape)

    def call(self, inputs):
        return tf.sin(inputs * self.scale) * self.scale


def image_model(*layers):
    return tf.keras.Sequential([tf.keras.Input([9, 9, 3]), *layers, L.Flatten(), L.Dense(4)])


def sequence_model(*layers):
    return tf.keras.Sequential([tf.keras.Input([7, 5]), *layers, L.Flatten(), L.Dense(4)])


def token_model(*layers):
    tokens = tf.keras.Input([7], dtype=tf.int32)
    x = L.Embedding(11, 6)(tokens)
    for layer in layers:
        x = layer(x)
    return tf.keras.Model(tokens, L.Dense(4)(L.Flatten()(x)))


def attention():
    inputs = tf.keras.Input([7, 5])
    mixed = L.MultiHeadAttention(2, 3, output_shape=5)(inputs, inputs)
    x = L.LayerNormalization()(inputs + mixed)
    return tf.keras.Model(inputs, L.Dense(4)(L.GlobalAveragePooling1D()(x)))


def used_twice():
    inputs = tf.keras.Input([9, 9, 3])
    convolution = L.Conv2D(3, 3, padding="same", activation="tanh")
    dense = L.Dense(243, activation="tanh")
    x = L.Flatten()(convolution(convolution(inputs)))
    return tf.keras.Model(inputs, L.Dense(4)(dense(dense(x))))


def tied():
    tokens = tf.keras.Input([7], dtype=tf.int32)
    table = L.Embedding(11, 6)
    x = table(tokens) + tf.reverse(table(tokens), [1])
    x = L.Dense(6, activation="tanh")(x)
    return tf.keras.Model(tokens, L.Dense(4)(L.GlobalMaxPooling1D()(x)))


class Subclassed(tf.keras.Model):
    """Calls one layer in a way of its own, and another in a nested model."""

    def __init__(self):
        super().__init__()
        self.inner = tf.keras.Sequential([L.Dense(5, activation="relu")])
        self.heads = [L.Dense(4), L.Dense(4, use_bias=False)]

    def call(self, inputs):
        x = tf.reduce_mean(self.inner(inputs) * inputs, 1)
        return self.heads[0](x) * tf.sigmoid(self.heads[1](x))


def frozen():
    model = sequence_model(L.Dense(5), L.LSTM(4, return_sequences=True))
    model.layers[0].trainable = False
    return model


MODELS = {
    "dense": lambda: tf.keras.Sequential([tf.keras.Input([8]), L.Dense(6, "relu"), L.Dense(4)]),
    "dense on places": lambda: sequence_model(L.Dense(30, "tanh"), L.Dense(3, use_bias=False)),
    "conv": lambda: image_model(L.Conv2D(8, 3, 2, "same", activation="relu"), L.Conv2D(4, 2)),
    "conv of many channels": lambda: image_model(L.Conv2D(9, 1), L.Conv2D(4, (3, 2), (2, 1))),
    "dilated": lambda: image_model(
        L.Conv2D(8, 3, dilation_rate=2), L.Conv2D(8, 2, dilation_rate=2)
    ),
    "grouped": lambda: image_model(L.Conv2D(6, 3, groups=3)),
    "depthwise": lambda: image_model(
        L.DepthwiseConv2D(3, 2, "same", depth_multiplier=2, activation="relu")
    ),
    "separable": lambda: image_model(L.SeparableConv2D(5, 3)),
    "transposed": lambda: image_model(L.Conv2DTranspose(2, 3, 2)),
    "conv1d": lambda: sequence_model(L.Conv1D(6, 3, padding="causal"), L.Conv1D(4, 2, 2, "same")),
    "depthwise1d": lambda: sequence_model(L.DepthwiseConv1D(3, 1, "same", depth_multiplier=2)),
    "layer norm": lambda: sequence_model(L.LayerNormalization(), L.LayerNormalization([1, 2])),
    "group norm": lambda: image_model(L.Conv2D(8, 3), L.GroupNormalization(4), L.ReLU()),
    "norm without scale": lambda: sequence_model(
        L.LayerNormalization(scale=False), L.GroupNormalization(5, center=False)
    ),
    "embedding": lambda: token_model(),
    "lstm": lambda: token_model(L.LSTM(6, return_sequences=True), L.LSTM(3, go_backwards=True)),
    "lstm unrolled": lambda: token_model(
        L.GRU(4, return_sequences=True, unroll=True), L.LSTM(3, unroll=True, go_backwards=True)
    ),
    "lstm of other options": lambda: sequence_model(
        L.LSTM(4, activation="relu", recurrent_activation="hard_sigmoid", use_bias=False)
    ),
    "gru": lambda: token_model(L.GRU(6, return_sequences=True), L.GRU(3, use_bias=False)),
    "gru before": lambda: sequence_model(L.GRU(4, reset_after=False)),
    "simple rnn": lambda: sequence_model(L.SimpleRNN(4)),
    "bidirectional": lambda: sequence_model(L.Bidirectional(L.LSTM(3, return_sequences=True))),
    "masked": lambda: tf.keras.Sequential(
        [
            tf.keras.Input([7], dtype=tf.int32),
            L.Embedding(11, 5, mask_zero=True),
            L.GRU(3, return_sequences=True),
            L.LSTM(3, go_backwards=True),
            L.Dense(4),
        ]
    ),
    "bidirectional and masked": lambda: tf.keras.Sequential(
        [
            tf.keras.Input([7], dtype=tf.int32),
            L.Embedding(11, 5, mask_zero=True),
            L.Bidirectional(L.LSTM(3, return_sequences=True)),
            L.Flatten(),
            L.Dense(4),
        ]
    ),
    "time distributed": lambda: sequence_model(L.TimeDistributed(L.Dense(3, "relu"))),
    "attention": attention,
    "einsum of last first": lambda: sequence_model(
        L.EinsumDense("abc,dc->abd", [7, 4], bias_axes="d")
    ),
    "einsum with ellipsis": lambda: sequence_model(
        L.EinsumDense("...c,cd->...d", [7, 4], bias_axes="d")
    ),
    "einsum with bias of places": lambda: sequence_model(
        L.EinsumDense("abc,cd->abd", [7, 4], bias_axes="bd")
    ),
    "own variables": lambda: sequence_model(Twice(), L.PReLU()),
    "used twice": used_twice,
    "tied": tied,
    "subclassed": Subclassed,
    "frozen": frozen,
}


def example_inputs(model, rows=B):
    rng = np.random.default_rng(1)
    if isinstance(model, Subclassed):
        return tf.constant(rng.normal(size=[rows, 7, 5]), tf.float32)
    spec = model.inputs[0]
    shape = [rows, *spec.shape[1:]]
    if spec.dtype == tf.int32:
        return tf.constant(rng.integers(0, 11, shape), tf.int32)
    return tf.constant(rng.normal(size=shape), tf.float32)


def losses(labels):
    def loss(outputs):
        return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, outputs)

    return loss


def loop(model, inputs, labels, copies=1):
    """One backward pass for each example: lists of gradients, and all losses."""
    found = []
    for i in range(0, len(inputs), copies):
        with tf.GradientTape() as tape:
            values = losses(labels[i : i + copies])(model(inputs[i : i + copies], training=True))
            total = tf.reduce_sum(values)
        gradients = tape.gradient(total, model.trainable_variables)
        found.append([tf.convert_to_tensor(g) for g in gradients])
    return found


@pytest.fixture(params=MODELS.values(), ids=MODELS.keys())
def model(request):
    tf.keras.utils.set_random_seed(0)
    model = request.param()
    model(example_inputs(model))
    for variable in model.trainable_variables:  # biases and offsets begin at 0, which hides much
        variable.assign_add(
            0.1 * tf.random.stateless_normal(variable.shape, [0, variable.shape.rank])
        )
    return model


@pytest.mark.parametrize("copies", [1, 2])
def test_norms_and_weighted_sums_are_those_of_a_loop_over_examples(model, copies):
    inputs, labels = example_inputs(model, B * copies), tf.range(B * copies) % 4
    expected = loop(model, inputs, labels, copies)
    per_example = PerExample(model)
    values, gradients = tf.function(lambda x, y: _all(per_example, x, y))(inputs, labels)
    np.testing.assert_allclose(values, losses(labels)(model(inputs, training=True)), rtol=1e-5)
    norms, sums = gradients
    weights = np.linspace(0.2, 1.5, B).astype(np.float32)
    for k, variable in enumerate(model.trainable_variables):
        each = np.stack([gradients[k] for gradients in expected])
        rows = each.reshape(B, -1)
        np.testing.assert_allclose(norms[k], (rows**2).sum(1), rtol=2e-5, atol=1e-8)
        total = np.tensordot(weights, each, 1)
        scale = np.abs(each).max() + 0.1
        np.testing.assert_allclose(
            sums[k], total, rtol=1e-5, atol=1e-5 * scale, err_msg=variable.name
        )


def _all(per_example, inputs, labels):
    values, gradients = per_example(inputs, losses(labels), B)
    weights = [tf.linspace(0.2, 1.5, B)] * len(per_example.variables)
    return values, (gradients.squared_norms(), gradients.weighted_sums(weights))


def test_a_layer_that_mixes_examples_is_refused():
    with pytest.raises(ConfigError, match="use GroupNormalization"):
        PerExample(image_model(L.BatchNormalization()))


def test_a_model_is_left_as_it_was():
    model = image_model(L.Conv2D(3, 3))
    before = [dict(vars(layer)) for layer in model.layers]
    _all(PerExample(model), example_inputs(model), tf.range(B) % 4)
    assert [dict(vars(layer)) for layer in model.layers] == before


@pytest.mark.parametrize("kind", ["dense", "dense on places", "embedding"])
def test_clipped_sums_are_tf_privacys_where_it_has_them(kind):
    tf.keras.utils.set_random_seed(0)
    model = MODELS[kind]()
    registry = layer_registry.make_default_layer_registry()
    inputs, labels = example_inputs(model), tf.range(B) % 4
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="none")
    model.compile(loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    norms = clip_grads.compute_gradient_norms(
        model, registry, inputs, labels, per_example_loss_fn=loss
    )
    _, gradients = PerExample(model)(inputs, losses(labels))
    squares = gradients.squared_norms()
    np.testing.assert_allclose(np.sqrt(sum(squares)), norms, rtol=1e-5)
    bound = float(np.median(norms))
    theirs, *_ = clip_grads.compute_clipped_gradients_and_outputs(
        model, bound, registry, inputs, labels
    )
    weights = clipping_of(ClippingConfig(norm=bound)).weights(squares)
    for ours, mean in zip(gradients.weighted_sums(weights), theirs, strict=True):
        mean = tf.convert_to_tensor(mean)
        np.testing.assert_allclose(ours / B, mean, rtol=1e-4, atol=1e-5 * np.abs(mean).max())
