"""Randomness as a pure function of (root seed, stream name, step).

Every random draw of a program uses a stateless op keyed by a `Seed`, so that a resumed run
repeats an uninterrupted one, and replicas that share a stream share its draws. XLA makes floats
of the same bits in another way than TensorFlow's kernels do, so that `runtime.jit` belongs to what
a run's numbers depend on; integers are the same either way.
"""

import tensorflow as tf

from workbench.core.streams import stream_key


class Seed:
    """A point of a run's randomness: root seed and stream path in Python, step as a tensor.

    Calling it with a name gives the int64 `[2]` seed that `tf.random.stateless_*` takes.
    """

    def __init__(self, root: int, step: tf.Tensor | int = 0, path: str = ""):
        self.root = root
        self.step = tf.cast(step, tf.int64)
        self.path = path

    def __call__(self, stream: str) -> tf.Tensor:
        # XLA sees 32 bits of each number; with no more in them, integer draws are the same
        # whether it compiles or not (those of floats are not: it fills their bits otherwise).
        key = stream_key(self.root, self.path + stream) % 2**32
        return tf.stack([tf.constant(key, tf.int64), self.step])

    def child(self, name: str) -> "Seed":
        """The same step in a namespace of its own."""
        return Seed(self.root, self.step, f"{self.path}{name}/")

    def at(self, step: tf.Tensor | int) -> "Seed":
        """The same streams at another step, e.g. one that an inner loop counts."""
        return Seed(self.root, step, self.path)
