"""The policy that decides what XLA compiles, and how a process is prepared for a run."""

import numpy as np
import pytest
import tensorflow as tf

from workbench.core import runtime
from workbench.core.config import ConfigError
from workbench.core.options import RuntimeConfig
from workbench.core.runtime import Runtime, build


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


@pytest.fixture(autouse=True)
def determinism(monkeypatch) -> list[str]:
    """Remembers in place of TensorFlow, for which it would hold until the process ends."""
    calls = []
    monkeypatch.setattr(
        tf.config.experimental, "enable_op_determinism", lambda: calls.append("asked")
    )
    return calls


def weights(seed: int) -> np.ndarray:
    build(RuntimeConfig(), seed)
    return tf.keras.layers.Dense(3).kernel_initializer([4, 3]).numpy()


def test_initial_weights_follow_from_the_seed():
    np.testing.assert_array_equal(weights(1), weights(1))
    assert not np.isin(weights(1), weights(2)).any()


def test_determinism_is_asked_for_when_configured(determinism):
    build(RuntimeConfig(deterministic=False), seed=0)
    assert determinism == []
    assert build(RuntimeConfig(jit="off"), seed=0) == Runtime(device="CPU", jit="off")
    assert determinism == ["asked"]


def test_device_that_is_not_there_is_refused_with_those_that_are(monkeypatch):
    devices = [tf.config.PhysicalDevice("/physical_device:CPU:0", "CPU")]
    monkeypatch.setattr(
        tf.config, "list_physical_devices", lambda kind=None: devices if kind != "GPU" else []
    )
    with pytest.raises(ConfigError) as error:
        build(RuntimeConfig(device="gpu"), seed=0)
    assert str(error.value) == "runtime.device=gpu is not on this machine; choose from cpu"


def test_threads_that_can_no_longer_change_are_refused():
    tf.constant(0) + 1  # TensorFlow has started
    threads = tf.config.threading.get_intra_op_parallelism_threads()
    runtime._set_threads(threads)  # what they are already
    with pytest.raises(ConfigError, match=f"^runtime.threads={threads + 1} cannot change"):
        build(RuntimeConfig(threads=threads + 1), seed=0)
