import numpy as np
import pytest
import tensorflow as tf

from workbench.models.dense import Dense, sum_rows


@pytest.mark.parametrize("jit", [None, True])
@pytest.mark.parametrize("outputs", [1, 2, 8, 9, 40])
@pytest.mark.parametrize("batch", [1, 7, 24, 128])
def test_values_and_gradients_are_keras_own(batch, outputs, jit):
    draw = np.random.default_rng(0)
    x = tf.constant(draw.normal(size=(batch, 12)), tf.float32)
    weight = tf.constant(draw.normal(size=(batch, outputs)), tf.float32)
    results = []
    for kind in (Dense, tf.keras.layers.Dense):
        initializer = tf.keras.initializers.GlorotNormal(seed=1)
        layer = kind(outputs, activation="tanh", kernel_initializer=initializer)
        layer.build(x.shape)
        layer.bias.assign_add(tf.linspace(-1.0, 1.0, outputs))

        def differentiate(layer=layer):
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = layer(x)
                loss = tf.reduce_sum(weight * y)
            return y, *tape.gradient(loss, [x, *layer.trainable_variables])

        results.append(tf.function(differentiate, jit_compile=jit)())
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("rows", [1, 2, 3, 6, 96, 128, 131])
def test_rows_are_summed_whatever_their_number(rows):
    x = np.random.default_rng(0).integers(-9, 9, size=(rows, 5)).astype(np.float32)
    np.testing.assert_array_equal(sum_rows(tf.constant(x)), x.sum(axis=0))


def test_a_copy_from_its_configuration_is_the_same_layer():
    layer = Dense(3, activation="relu")
    copy = Dense.from_config(layer.get_config())
    assert (copy.units, copy.activation) == (3, tf.keras.activations.relu)
