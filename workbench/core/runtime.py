"""Where and how programs run: devices, tf.distribute strategies, jit policy, determinism."""

import zlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import tensorflow as tf

from workbench.core import replicas
from workbench.core.config import ConfigError

CONVOLUTIONS = frozenset({"Conv2D", "Conv3D", "DepthwiseConv2dNative"})
HOST_CALLS = frozenset({"PyFunc", "PyFuncStateless", "EagerPyFunc"})
_ALONE = tf.distribute.get_strategy()


@dataclass(frozen=True)
class Runtime:
    """The replicas of a program, on one kind of device, with its compilation policy.

    Attributes:
      device: TensorFlow's device type, "CPU", "GPU" or "TPU".
      jit: "on", "off", or "auto", which decides by what was measured (see `jit_for`).
      strategy: tf.distribute's; the default one has a single replica.
      worker: the number of this process among those of the run.
    """

    device: str = "CPU"
    jit: str = "auto"
    strategy: tf.distribute.Strategy = _ALONE
    worker: int = 0

    @property
    def chief(self) -> bool:
        """Whether this process keeps the run's records."""
        return self.worker == 0

    def __post_init__(self) -> None:
        if not self.alone and self.device != "TPU":  # which compiles by itself what replicas run
            replicas.compile_each(self.strategy, self._compile_part)

    @property
    def alone(self) -> bool:
        """Whether there is one replica, and a block one compiled program.

        XLA:CPU has no sums over replicas; with several, the parts between sums are compiled.
        """
        return self.strategy is _ALONE

    @property
    def processes(self) -> int:
        """How many share the run."""
        resolver = self.strategy.cluster_resolver
        tasks = resolver.cluster_spec().as_dict().values() if resolver else ()
        return sum(map(len, tasks)) or 1

    def scope(self) -> AbstractContextManager[Any]:
        """Where variables are made and programs are traced."""
        return nullcontext() if self.alone else self.strategy.scope()

    def any(self, *flags: bool) -> list[bool]:
        """Which flags are set in any process; all of them wait here for each other."""
        if self.processes == 1:
            return list(flags)
        return [number > 0 for number in self._summed(flags)]

    def told(self, number: int) -> int:
        """The chief's number, in every process; all of them wait here for each other."""
        if self.processes == 1:
            return number
        said, by = self._summed([number, 1] if self.chief else [0, 0])
        return said // by

    def check_same(self, text: str, what: str) -> None:
        """Checks that all processes have the same text.

        Raises:
          ConfigError: in every one of them, if not.
        """
        own = zlib.crc32(text.encode())
        (differs,) = self.any(own != self.told(own))
        if differs:
            raise ConfigError(f"the workers were started with different {what}")

    def _summed(self, numbers: Sequence[int]) -> list[int]:
        with self.scope():
            values = tf.constant(numbers, tf.int64)
            sums = replicas.first(replicas.total(replicas.each(tf.identity)(values)))
        return sums.numpy().tolist()

    def jit_for(self, traced: Any) -> bool:
        """Whether XLA shall compile a traced function.

        XLA:CPU runs small dense networks and control flow 4 to 6 times as fast as graph mode
        does, and convolutions 10 times as slowly; accelerators gain throughout.
        """
        if self.jit != "auto":
            return self.jit == "on"
        ops = ops_of(traced)
        if ops & HOST_CALLS:
            return False
        return self.device != "CPU" or not ops & CONVOLUTIONS

    def suited(self, kernels: bool) -> "Runtime":
        """This runtime for a learner, see `Learner.kernels`."""
        if kernels and self.device == "CPU" and self.jit == "auto":
            return replace(self, jit="off")
        return self

    def compile(self, function: Callable[..., Any], jit: bool) -> Any:
        """Makes a `tf.function` of it; it retraces for no reason but new shapes."""
        return tf.function(function, jit_compile=jit or None, autograph=False)

    def _compile_part(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def part(*arguments: Any) -> Any:
            specs = tf.nest.map_structure(tf.TensorSpec.from_tensor, arguments)
            # As it is called: a default value of an argument is none of a concrete function's.
            as_called = tf.function(lambda *args: function(*args), autograph=False)
            traced = as_called.get_concrete_function(*specs)
            return self.compile(lambda *args: traced(*args), self.jit_for(traced))(*arguments)

        return part


def ops_of(traced: Any) -> set[str]:
    """The types of a concrete function's ops, those of the functions that it calls included."""
    graph = traced.graph.as_graph_def()
    nodes = list(graph.node)
    for function in graph.library.function:
        nodes.extend(function.node_def)
    return {node.op for node in nodes}
