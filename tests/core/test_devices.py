"""How a process is prepared for a run, on the devices that there are."""

import numpy as np
import pytest
import tensorflow as tf

from workbench.core import devices
from workbench.core.config import ConfigError
from workbench.core.devices import one_device
from workbench.core.options import RuntimeConfig
from workbench.core.runtime import Runtime


@pytest.fixture(autouse=True)
def determinism(monkeypatch) -> list[str]:
    """Remembers in place of TensorFlow, for which it would hold until the process ends."""
    calls = []
    monkeypatch.setattr(
        tf.config.experimental, "enable_op_determinism", lambda: calls.append("asked")
    )
    return calls


def weights(seed: int) -> np.ndarray:
    one_device(RuntimeConfig(), seed)
    return tf.keras.layers.Dense(3).kernel_initializer([4, 3]).numpy()


def test_initial_weights_follow_from_the_seed():
    np.testing.assert_array_equal(weights(1), weights(1))
    assert not np.isin(weights(1), weights(2)).any()


def test_determinism_is_asked_for_when_configured(determinism):
    one_device(RuntimeConfig(deterministic=False), seed=0)
    assert determinism == []
    assert one_device(RuntimeConfig(jit="off"), seed=0) == Runtime(device="CPU", jit="off")
    assert determinism == ["asked"]


def test_device_that_is_not_there_is_refused_with_those_that_are(monkeypatch):
    present = [tf.config.PhysicalDevice("/physical_device:CPU:0", "CPU")]
    monkeypatch.setattr(
        tf.config, "list_physical_devices", lambda kind=None: present if kind != "GPU" else []
    )
    with pytest.raises(ConfigError) as error:
        one_device(RuntimeConfig(device="gpu"), seed=0)
    assert str(error.value) == "runtime.device=gpu is not on this machine; choose from cpu"


def test_threads_that_can_no_longer_change_are_refused():
    tf.constant(0) + 1  # TensorFlow has started
    threads = tf.config.threading.get_intra_op_parallelism_threads()
    devices._set_threads(threads)  # what they are already
    with pytest.raises(ConfigError, match=f"^runtime.threads={threads + 1} cannot change"):
        one_device(RuntimeConfig(threads=threads + 1), seed=0)
