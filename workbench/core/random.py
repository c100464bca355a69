"""Randomness as a pure function of (root seed, stream name, step).

Every random draw of a program uses a stateless op keyed by a `Seed`, so that a resumed run
repeats an uninterrupted one, and replicas that share a stream share its draws. XLA makes floats
of the same bits in another way than TensorFlow's kernels do, so that `runtime.jit` belongs to what
a run's numbers depend on; integers are the same either way.
"""

import math
from collections.abc import Callable, Sequence

import tensorflow as tf

from workbench.core.streams import stream_key


class Keys:
    """The keys of a program's streams, as an argument of it: it then serves every seed.

    Tracing the program finds out which streams it has; each has its place in the argument.
    """

    SPEC = tf.TensorSpec([128], tf.int64)

    def __init__(self) -> None:
        self._places: dict[str, int] = {}

    def of(self, root: int) -> tf.Tensor:
        """The argument for a seed."""
        keys = [_key(root, stream) for stream in self._places]
        return tf.constant(keys + [0] * (Keys.SPEC.shape[0] - len(keys)), tf.int64)

    def find(self, argument: tf.Tensor, stream: str) -> tf.Tensor:
        """A stream's key, int64 scalar."""
        return argument[self._places.setdefault(stream, len(self._places))]


class Seed:
    """A point of a run's randomness: root seed and stream path in Python, step as a tensor.

    Calling it with a name gives the int64 `[2]` seed that `tf.random.stateless_*` takes.

    Args:
      root: the run's seed.
      step: where the run stands.
      path: what stands before the names of streams.
      find: a stream's key by its full name, when the root is not known to the program.
    """

    def __init__(
        self,
        root: int,
        step: tf.Tensor | int = 0,
        path: str = "",
        find: Callable[[str], tf.Tensor] | None = None,
    ):
        self.step = tf.cast(step, tf.int64)
        self._root = root
        self._path = path
        self._find = find or (lambda stream: tf.constant(_key(root, stream), tf.int64))

    def __call__(self, stream: str) -> tf.Tensor:
        return tf.stack([self._find(self._path + stream), self.step])

    def child(self, name: str) -> "Seed":
        """The same step in a namespace of its own."""
        return Seed(self._root, self.step, f"{self._path}{name}/", self._find)

    def at(self, step: tf.Tensor | int) -> "Seed":
        """The same streams at another step, e.g. one that an inner loop counts."""
        return Seed(self._root, step, self._path, self._find)


def normal(shape: Sequence[int], seed: tf.Tensor) -> tf.Tensor:
    """Standard normal float32 numbers, the same up to rounding whether XLA draws them or not.

    Box & Muller 1958, on 32 bits each for radius and angle: no number is beyond 6.8.

    Args:
      seed: int64 `[2]`, see `Seed`; XLA looks at 32 bits of a step.
    """
    numbers = math.prod(shape)
    half = (numbers + 1) // 2
    bits = tf.random.stateless_uniform([2, half], seed, None, None, tf.int32)
    # In (0, 1): the sign's bit is a bit like the others. Small ones keep all their bits, where a
    # radius is large.
    uniform = tf.cast(tf.bitcast(bits, tf.uint32), tf.float32) * 2.0**-32 + 2.0**-33
    radius = tf.sqrt(-2.0 * tf.math.log(tf.minimum(uniform[0], 1 - 2.0**-24)))
    angle = (2 * math.pi) * uniform[1]
    drawn = tf.concat([radius * tf.cos(angle), radius * tf.sin(angle)], 0)
    return tf.reshape(drawn[:numbers], shape)


def _key(root: int, stream: str) -> int:
    # XLA sees 32 bits of each number; with no more in them, integer draws are the same
    # whether it compiles or not (those of floats are not: it fills their bits otherwise).
    return stream_key(root, stream) % 2**32
