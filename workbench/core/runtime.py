"""Where and how programs run: devices, jit policy, precision, determinism."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from workbench.core.config import ConfigError, nearest
from workbench.core.options import RuntimeConfig
from workbench.core.streams import stream_key

CONVOLUTIONS = frozenset({"Conv2D", "Conv3D", "DepthwiseConv2dNative"})
HOST_CALLS = frozenset({"PyFunc", "PyFuncStateless", "EagerPyFunc"})


@dataclass(frozen=True)
class Runtime:
    """One device kind with its compilation policy.

    Attributes:
      device: TensorFlow's device type, "CPU" or "GPU".
      jit: "on", "off", or "auto", which decides by what was measured (see `jit_for`).
    """

    device: str = "CPU"
    jit: str = "auto"

    def jit_for(self, traced: Any) -> bool:
        """Whether XLA shall compile a traced function.

        XLA:CPU runs small dense networks and control flow 4 to 6 times as fast as graph mode
        does, and convolutions 10 times as slowly; accelerators gain throughout.
        """
        if self.jit != "auto":
            return self.jit == "on"
        ops = _ops_of(traced)
        if ops & HOST_CALLS:
            return False
        return self.device != "CPU" or not ops & CONVOLUTIONS

    def compile(self, function: Callable[..., Any], jit: bool) -> Any:
        """Makes a `tf.function` of it; it retraces for no reason but new shapes."""
        return tf.function(function, jit_compile=jit or None, autograph=False)


def _ops_of(traced: Any) -> set[str]:
    graph = traced.graph.as_graph_def()
    nodes = list(graph.node)
    for function in graph.library.function:
        nodes.extend(function.node_def)
    return {node.op for node in nodes}


def build(config: RuntimeConfig, seed: int) -> Runtime:
    """Prepares this process for a run; call it before the first op.

    `seed` reaches the initializers of Keras layers, the one thing that draws statefully.

    Raises:
      ConfigError: when the device is not there.
    """
    device = config.device.upper()
    if not tf.config.list_physical_devices(device):
        found = sorted({d.device_type.lower() for d in tf.config.list_physical_devices()})
        raise ConfigError(
            f"runtime.device={config.device} is not on this machine{nearest('', found)}"
        )
    if device == "CPU":
        tf.config.set_visible_devices([], "GPU")
    if config.threads is not None:
        _set_threads(config.threads)
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    tf.keras.utils.set_random_seed(stream_key(seed, "initial weights") >> 32)
    return Runtime(device=device, jit=config.jit)


def _set_threads(threads: int) -> None:
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
    except RuntimeError as error:  # TensorFlow has started, in an earlier run of this process
        if tf.config.threading.get_intra_op_parallelism_threads() != threads:
            raise ConfigError(
                f"runtime.threads={threads} cannot change inside a process that has run before"
            ) from error
