"""Steps of a few milliseconds on several replicas, alone: what the core costs, with no family.

Takes settings as one JSON argument and prints what it measured as JSON: `kind` is the step, and
`replicas` over how many logical CPUs it is divided.
"""

import json
import sys
import time

import tensorflow as tf

from workbench.core import replicas
from workbench.core.devices import mirrored, one_device
from workbench.core.learner import Learner, Metrics
from workbench.core.options import MirroredConfig, RuntimeConfig
from workbench.core.program import Program
from workbench.core.random import Seed
from workbench.models.dense import Dense
from workbench.models.optimizer import Optimizer


class Classifier(Learner):
    """An MNIST-sized network on random images, a batch of 512 a step, by SGD with momentum."""

    BATCH = 512

    def __init__(self, layers: list[tf.keras.layers.Layer]):
        super().__init__()
        self.share = replicas.Share(self.BATCH, "batch")
        self.network = tf.keras.Sequential([tf.keras.Input([28, 28, 1]), *layers])
        images = tf.random.stateless_uniform([4096, 28, 28, 1], [0, 1])
        labels = tf.random.stateless_uniform([4096], [0, 2], 0, 10, tf.int32)
        # Variables, for every replica to have them at hand.
        self.images = tf.Variable(images, trainable=False)
        self.labels = tf.Variable(labels, trainable=False)
        sgd = tf.keras.optimizers.SGD(0.01, momentum=0.9, jit_compile=False)
        self.optimizer = Optimizer(sgd, self.network.trainable_variables)

    def train_step(self, seed: Seed) -> Metrics:
        def gradients(draw: tf.Tensor) -> tuple[list[tf.Tensor], tf.Tensor]:
            indices = tf.random.stateless_uniform([self.BATCH], draw, 0, 4096, tf.int32)
            own = self.share.of(indices)
            labels = tf.gather(self.labels, own)
            with tf.GradientTape() as tape:
                logits = self.network(tf.gather(self.images, own), training=True)
                losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
                loss = tf.reduce_sum(losses) / self.BATCH
            return tape.gradient(loss, self.network.trainable_variables), loss

        found, loss = replicas.total(replicas.each(gradients)(seed("batch")))
        replicas.each(self.optimizer.apply)(found)
        return {"loss": replicas.first(loss)}


class Rows(Learner):
    """A scoring step of a logistic regression: X'WX and X'(y - mu) over 200,000 rows by 50."""

    ROWS, COLUMNS = 200_000, 50

    def __init__(self) -> None:
        super().__init__()
        self.share = replicas.Share(self.ROWS, "rows")
        x = tf.random.stateless_normal([self.ROWS, self.COLUMNS], [0, 1], dtype=tf.float64)
        self.x = replicas.Parts(tf.Variable(x[: self.share.size], trainable=False))
        self.x.assign(x, self.share)
        self.beta = tf.Variable(tf.zeros([self.COLUMNS, 1], tf.float64))

    def train_step(self, seed: Seed) -> Metrics:
        def sums() -> tuple[tf.Tensor, tf.Tensor]:
            x = self.x.variable
            mean = tf.sigmoid(x @ self.beta)
            weighted = x * (mean * (1 - mean))
            return tf.matmul(weighted, x, transpose_a=True), tf.matmul(x, mean, transpose_a=True)

        def solve(information: tf.Tensor, score: tf.Tensor) -> tf.Tensor:
            step = tf.linalg.solve(information, score)
            self.beta.assign_sub(0.01 * step)
            return tf.cast(tf.norm(step), tf.float32)

        return {
            "step": replicas.first(replicas.each(solve)(*replicas.total(replicas.each(sums)())))
        }


class Sum(Learner):
    """Nothing but the sum of a vector of 10,000 numbers."""

    def train_step(self, seed: Seed) -> Metrics:
        vector = replicas.each(lambda step: tf.fill([10_000], tf.cast(step, tf.float32)))(seed.step)
        return {"first": replicas.first(replicas.total(vector))[0]}


def convolutions() -> list[tf.keras.layers.Layer]:
    layers = tf.keras.layers
    return [
        layers.Conv2D(16, 8, 2, "same", activation="relu"),
        layers.MaxPool2D(2, 1),
        layers.Conv2D(32, 4, 2, activation="relu"),
        layers.MaxPool2D(2, 1),
        layers.Flatten(),
        layers.Dense(32, activation="relu"),
        layers.Dense(10),
    ]


def dense() -> list[tf.keras.layers.Layer]:
    flat = tf.keras.layers.Flatten()
    return [flat, Dense(256, activation="relu"), Dense(256, activation="relu"), Dense(10)]


KINDS = {
    "cnn": lambda: Classifier(convolutions()),
    "mlp": lambda: Classifier(dense()),
    "rows": Rows,
    "sum": Sum,
}


def main(kind: str, count: int, jit: str) -> dict[str, float]:
    if count == 1:
        runtime = one_device(RuntimeConfig(jit=jit), seed=0)
    else:
        runtime = mirrored(MirroredConfig(jit=jit, device="cpu", replicas=count), seed=0)
    with runtime.scope():
        program = Program(KINDS[kind](), runtime, seed=0)
    program.run(0, 5)
    started = time.perf_counter()
    program.run(5, 20)
    steps = max(20, int(5 * 20 / (time.perf_counter() - started)))  # 5 seconds' worth
    started = time.perf_counter()
    program.run(25, steps)
    return {"steps/s": steps / (time.perf_counter() - started)}


if __name__ == "__main__":
    settings = json.loads(sys.argv[1])
    print(json.dumps(main(settings["kind"], settings["replicas"], settings.get("jit", "auto"))))
