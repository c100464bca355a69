"""The policy that decides what XLA compiles."""

import numpy as np
import pytest
import tensorflow as tf

from workbench.core.runtime import Runtime


def dense(x: tf.Tensor) -> tf.Tensor:
    return tf.nn.relu(tf.reshape(x, [4, 4]) @ tf.ones([4, 4]))


def convolution(x: tf.Tensor) -> tf.Tensor:
    return tf.nn.conv2d(x, tf.ones([2, 2, 1, 1]), 1, "SAME")


def gradient_of_convolution(x: tf.Tensor) -> tf.Tensor:
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = convolution(x)
    return tape.gradient(y, x)


def convolution_in_a_branch(x: tf.Tensor) -> tf.Tensor:
    return tf.cond(x[0, 0, 0, 0] > 0, lambda: convolution(x), lambda: x)


def convolution_in_a_loop(x: tf.Tensor) -> tf.Tensor:
    return tf.while_loop(lambda i, _: i < 2, lambda i, y: (i + 1, convolution(y)), (0, x))[1]


def convolution_in_a_function(x: tf.Tensor) -> tf.Tensor:
    return tf.function(tf.function(convolution))(x)


def host_call(x: tf.Tensor) -> tf.Tensor:
    return tf.numpy_function(np.sin, [x], tf.float32)


def eager_host_call(x: tf.Tensor) -> tf.Tensor:
    return tf.py_function(tf.sin, [x], tf.float32)


CONVOLUTIONS = [
    convolution,
    gradient_of_convolution,
    convolution_in_a_branch,
    convolution_in_a_loop,
    convolution_in_a_function,
]
HOST_CALLS = [host_call, eager_host_call]


def traced(function):
    return tf.function(function).get_concrete_function(tf.TensorSpec([1, 4, 4, 1]))


@pytest.mark.parametrize(
    ("device", "function", "expected"),
    [
        *((device, dense, True) for device in ("CPU", "GPU", "TPU")),
        *(("CPU", function, False) for function in CONVOLUTIONS),
        *(("GPU", function, True) for function in CONVOLUTIONS),
        *((device, function, False) for device in ("CPU", "GPU") for function in HOST_CALLS),
    ],
)
def test_auto_leaves_out_convolutions_on_cpu_and_host_calls_everywhere(device, function, expected):
    assert Runtime(device=device, jit="auto").jit_for(traced(function)) == expected


@pytest.mark.parametrize("function", [dense, convolution, host_call])
def test_on_and_off_insist(function):
    assert Runtime(jit="on").jit_for(traced(function))
    assert not Runtime(jit="off").jit_for(traced(function))


@pytest.mark.parametrize("jit", [False, True])
def test_compiled_function_is_traced_once_for_each_shape(jit):
    function = Runtime().compile(lambda x: x + 1, jit)
    for value in (1.0, 2.0, 3.0):
        assert float(function(tf.constant(value))) == value + 1
    assert function.experimental_get_tracing_count() == 1
    function(tf.ones([2]))
    assert function.experimental_get_tracing_count() == 2


def test_a_learner_may_be_better_off_without_xla_on_a_cpu():
    assert Runtime().suited(kernels=True).jit == "off"
    assert Runtime().suited(kernels=False).jit == "auto"
    assert Runtime(jit="on").suited(kernels=True).jit == "on"
    assert Runtime(device="GPU").suited(kernels=True).jit == "auto"
