"""How well a classifier does on examples that it was not trained on."""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from workbench.core import replicas
from workbench.core.devices import accelerated
from workbench.datasets.base import Examples

# Examples that are looked at together.
AT_ONCE = 1000
# Of sequences, which label fills them up: nothing is to be predicted there.
PADDING = 0


Model = Callable[..., tf.Tensor]


class Seen(NamedTuple):
    """What a model makes of labels: how many it predicts, its loss, and how many there are."""

    right: tf.Tensor
    loss: tf.Tensor
    labels: tf.Tensor


class Judge(tf.Module):
    """Accuracy and loss over all labels of a set of examples.

    Args:
      examples: with features as the model takes them.

    Attributes:
      total: N, how many examples there are.
    """

    def __init__(self, examples: Examples):
        super().__init__(name="judge")
        self.data = replicas.Given(examples.features, examples.labels)
        self.total = len(examples.labels)
        self._share = replicas.Share(AT_ONCE, "evaluation", whole=True)

    def __call__(self, model: Model) -> dict[str, tf.Tensor]:
        """Judges a model, from features to logits."""

        def judge(first: tf.Tensor) -> Seen:
            return Seen(*(tf.reduce_sum(values) for values in self._seen(model, first)))

        def add(first: tf.Tensor, sums: Seen) -> tuple[tf.Tensor, Seen]:
            more = self._share.sum(replicas.each(judge)(first))
            return first + AT_ONCE, tf.nest.map_structure(tf.add, sums, more)

        zero = tf.zeros([])
        start = (tf.constant(0), Seen(zero, zero, zero))
        _, (right, loss, labels) = tf.while_loop(lambda first, _: first < self.total, add, start)
        return {"accuracy": right / labels, "loss": loss / labels}

    def each(self, model: Model) -> Seen:
        """What is seen of each example by itself, `[N]`."""

        def look(number: tf.Tensor, arrays: list[tf.TensorArray]) -> tuple[tf.Tensor, Any]:
            seen = replicas.each(lambda first: self._seen(model, first))(number * AT_ONCE)
            rows = zip(arrays, self._share.gathered(seen), strict=True)
            return number + 1, [array.write(number, values) for array, values in rows]

        looks = -(-self.total // AT_ONCE)
        arrays = [tf.TensorArray(tf.float32, looks, element_shape=[AT_ONCE]) for _ in Seen._fields]
        _, arrays = tf.while_loop(lambda number, _: number < looks, look, (tf.constant(0), arrays))
        return Seen(*(tf.reshape(array.stack(), [-1])[: self.total] for array in arrays))

    def _seen(self, model: Model, first: tf.Tensor) -> Seen:
        """Of a replica's part of the examples that are looked at together."""
        features, labels = self.data.values
        places = self._share.of(first + tf.range(AT_ONCE))
        rows = tf.minimum(places, self.total - 1)
        truth = tf.gather(labels, rows)
        counted = counts(truth, tf.cast(places < self.total, tf.float32))
        right, losses = judged(truth, model(tf.gather(features, rows), training=False))
        axes = range(1, counted.shape.rank)
        values = (right * counted, losses * counted, counted)
        return Seen(*(tf.reduce_sum(value, axes) for value in values))


def counts(labels: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Which labels are to be predicted, float32 of their shape.

    Args:
      labels: int32, of examples or of places in sequences.
      mask: float32, 1 for an example; its axes are the labels' first.
    """
    if labels.shape.rank == mask.shape.rank:
        return mask
    return mask[..., None] * tf.cast(tf.not_equal(labels, PADDING), tf.float32)


def judged(labels: tf.Tensor, logits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Whether each label is the likeliest, 0 or 1, and its cross-entropy; float32 of its shape."""
    right = tf.cast(tf.equal(tf.argmax(logits, -1, tf.int32), labels), tf.float32)
    return right, cross_entropies(labels, logits)


def cross_entropies(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """-log softmax(logits)[label], float32 of the labels' shape."""
    if accelerated():
        return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    # TensorFlow's one operation for it, instead of which it takes a dozen where a run is to be
    # deterministic. On a processor it is.
    rows = tf.reshape(logits, [-1, logits.shape[-1]])
    losses, _ = tf.raw_ops.SparseSoftmaxCrossEntropyWithLogits(
        features=rows, labels=tf.reshape(labels, [-1])
    )
    return tf.reshape(losses, tf.shape(labels))
