import numpy as np
import pytest
import tensorflow as tf

from workbench.models.clipping import ClippedOptimizer, global_norm


def tensors():
    draw = np.random.default_rng(0)
    return [tf.constant(draw.normal(size=s), tf.float32) for s in [(6, 5), (5,), (7, 3)]]


def test_the_global_norm_is_tensorflows():
    assert float(global_norm(tensors())) == pytest.approx(float(tf.linalg.global_norm(tensors())))


@pytest.mark.parametrize("norm", [0.1, 1.0, 1e6])
def test_a_clipped_step_equals_keras_global_clipnorm(norm):
    ours = ClippedOptimizer(tf.keras.optimizers.Adam(0.1), norm)
    theirs = tf.keras.optimizers.Adam(0.1, global_clipnorm=norm)
    moved = []
    for optimizer in (ours, theirs):
        variables = [tf.Variable(tf.zeros(t.shape)) for t in tensors()]
        optimizer.build(variables)
        for scale in (1.0, -3.0, 0.01):
            optimizer.apply_gradients(
                [(scale * g, v) for g, v in zip(tensors(), variables, strict=True)]
            )
        moved.append(variables)
    for a, b in zip(*moved, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_the_length_of_the_last_step_is_known():
    optimizer = ClippedOptimizer(tf.keras.optimizers.SGD(0.5), 0.2)
    variables = [tf.Variable(tf.ones(t.shape)) for t in tensors()]
    optimizer.build(variables)
    optimizer.apply_gradients(zip(tensors(), variables, strict=True))
    assert float(optimizer.update_norm) == pytest.approx(0.5 * 0.2, rel=1e-5)


def test_gradients_of_zero_move_nothing():
    optimizer = ClippedOptimizer(tf.keras.optimizers.SGD(1.0), 1.0)
    variable = tf.Variable([1.0, 2.0])
    optimizer.build([variable])
    optimizer.apply_gradients([(tf.zeros(2), variable)])
    assert variable.numpy().tolist() == [1.0, 2.0]
