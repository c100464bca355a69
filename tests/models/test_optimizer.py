import numpy as np
import pytest
import tensorflow as tf

from workbench.models.optimizer import ClippedOptimizer, Optimizer, global_norm


def tensors():
    draw = np.random.default_rng(0)
    return [tf.constant(draw.normal(size=s), tf.float32) for s in [(6, 5), (5,), (7, 3)]]


def zeros():
    return [tf.Variable(tf.zeros(t.shape)) for t in tensors()]


def test_the_global_norm_is_tensorflows():
    assert float(global_norm(tensors())) == pytest.approx(float(tf.linalg.global_norm(tensors())))


@pytest.mark.parametrize("norm", [0.1, 1.0, 1e6])
def test_a_clipped_step_equals_keras_global_clipnorm(norm):
    ours, theirs = zeros(), zeros()
    optimizer = ClippedOptimizer(tf.keras.optimizers.Adam(0.1), ours, norm)
    keras = tf.keras.optimizers.Adam(0.1, global_clipnorm=norm)
    for scale in (1.0, -3.0, 0.01):
        gradients = [scale * g for g in tensors()]
        optimizer.apply(gradients)
        keras.apply_gradients(zip(gradients, theirs, strict=True))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "make",
    [
        lambda: tf.keras.optimizers.Adam(0.1),
        lambda: tf.keras.optimizers.RMSprop(0.1, rho=0.95, centered=True),
        lambda: tf.keras.optimizers.SGD(0.1, momentum=0.9),
    ],
)
def test_a_step_equals_keras_apply_gradients(make):
    ours, theirs = zeros(), zeros()
    optimizer, keras = Optimizer(make(), ours), make()
    for scale in (1.0, -3.0, 0.01):
        gradients = [scale * g for g in tensors()]
        optimizer.apply(gradients)
        keras.apply_gradients(zip(gradients, theirs, strict=True))
    assert int(optimizer.optimizer.iterations) == int(keras.iterations) == 3
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_the_length_of_the_last_step_is_known():
    optimizer = ClippedOptimizer(tf.keras.optimizers.SGD(0.5), zeros(), 0.2)
    optimizer.apply(tensors())
    assert float(optimizer.update_norm) == pytest.approx(0.5 * 0.2, rel=1e-5)


def test_gradients_of_zero_move_nothing():
    variable = tf.Variable([1.0, 2.0])
    optimizer = ClippedOptimizer(tf.keras.optimizers.SGD(1.0), [variable], 1.0)
    optimizer.apply([tf.zeros(2)])
    assert variable.numpy().tolist() == [1.0, 2.0]
