"""DP-SGD as one step: draw a lot, sum clipped gradients, add noise, descend.

Abadi et al. 2016, Algorithm 1: with a lot L_t of examples, each in it with probability q = B/n,

    g_t = (sum_{i in L_t} clip(grad l_i) + N(0, sigma^2 C^2 I)) / B        theta <- theta - eta g_t

and B the size that is expected. A lot is gone through in chunks of static size, whose sums add up
before the noise is drawn, once.
"""

import tensorflow as tf

from workbench.core import replicas
from workbench.core.learner import Learner, Mean, Metrics
from workbench.core.random import Seed
from workbench.core.replay.lots import Lot, PoissonLots, ShuffledLots
from workbench.datasets.base import Dataset
from workbench.models.judge import Judge
from workbench.models.optimizer import Optimizer
from workbench.privacy.audit import Audit
from workbench.privacy.augmentation import augmented
from workbench.privacy.config import DpSgdConfig
from workbench.privacy.ledger import Ledger
from workbench.privacy.mechanism import Poisson, Sampling, Shuffled
from workbench.privacy.release import Release
from workbench.privacy.schedule import learning_rate
from workbench.privacy.sums import PlainSums, Summing, Sums


class DpSgd(Learner):
    """Stochastic gradient descent on clipped, noised sums.

    Args:
      config: of the training.
      model: from features to logits.
      data: with features as the model takes them.
      sampling: how examples come into a step.
      release: what becomes public of a step's sums; None for training without privacy.
      ledger: of what that costs.
      audit: of whether that is true.
    """

    unit = "steps"
    kernels = True  # norms and noise take XLA:CPU several times as long

    def __init__(
        self,
        config: DpSgdConfig,
        model: tf.keras.Model,
        data: Dataset,
        sampling: Sampling,
        release: Release | None = None,
        ledger: Ledger | None = None,
        audit: Audit | None = None,
    ):
        super().__init__(name="dp_sgd")
        self.config = config
        self.model = model
        self.release = release
        self._ledger = ledger
        self.audit = audit
        if ledger:
            self.limit, self.limited_by = ledger.limit, "privacy budget"
        self._lots = _lots(sampling)
        self._share = replicas.Share(_chunk_size(config, sampling), "algorithm.chunk_size")
        self._sums: Summing = release.sums(model) if release else PlainSums(model)
        self._optimizer = Optimizer(_optimizer(config), model.trainable_variables)
        self.train = replicas.Given(data.train.features, data.train.labels)
        self.judge = Judge(data.test)
        # What is judged: the average of parameters, where there is one.
        self.judged = model
        if config.ema:
            self.judged = tf.keras.models.clone_model(model)
            self.judged.set_weights(model.get_weights())

    @property
    def taken(self) -> int:
        """How many steps the parameters have been through."""
        return int(self._optimizer.optimizer.iterations.numpy())

    def train_step(self, seed: Seed) -> Metrics:
        lot = self._lots.sample(seed("lot"))
        sums = self._summed(lot, seed)
        released = sums.gradients, sums.below
        if self.release:
            released = self.release.of(*released, seed)
        replicas.each(self._move)(*released, seed.step)
        count = tf.cast(lot.count, tf.float32)
        metrics = {
            "loss": Mean(sums.loss, count),
            "lot": count,
            "overflows": tf.cast(lot.overflowed, tf.float32),
        }
        if self.release:
            metrics |= {"clipped": Mean(sums.clipped, count), "norm": self.release.norm}
        return metrics

    def _summed(self, lot: Lot, seed: Seed) -> Sums:
        """Sums over a lot, chunk by chunk; each replica has its share of a chunk."""
        size = self._share.total
        indices = tf.pad(lot.indices, [[0, -lot.indices.shape[0] % size]])
        chunks = -(-lot.count // size)

        def add(chunk: tf.Tensor, sums: Sums) -> tuple[tf.Tensor, Sums]:
            places = chunk * size + tf.range(size)
            rows = tf.gather(indices, places)
            mask = tf.cast(places < lot.count, tf.float32)
            at = seed.at(seed.step * indices.shape[0] + tf.cast(chunk, tf.int64))
            found = replicas.each(self._chunk)(rows, mask, at("augment"))
            return chunk + 1, tf.nest.map_structure(tf.add, sums, self._share.sum(found))

        start = (tf.constant(0), self._sums.zeros())
        return tf.while_loop(lambda chunk, _: chunk < chunks, add, start)[1]

    def _chunk(self, rows: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor) -> Sums:
        rows, mask = self._share.of((rows, mask))
        features, labels = (tf.gather(values, rows) for values in self.train.values)
        if self.config.augmentation.copies > 1:
            features = augmented(self.config.augmentation, features, seed, rows)
        return self._sums(features, labels, mask)

    def _move(self, gradients: list[tf.Tensor], below: tf.Tensor, step: tf.Tensor) -> None:
        """Descends by what was released, on every replica alike."""
        rate = learning_rate(self.config, step)
        self._optimizer.optimizer.learning_rate.assign(rate)
        self._optimizer.apply([g / float(self.config.batch_size) for g in gradients])
        if self.release:
            self.release.adapt(below / self.config.batch_size + 0.5)
        if self.config.ema:
            # The first steps would else be averaged with where training began.
            t = tf.cast(step, tf.float32)
            weight = tf.minimum(self.config.ema, (1 + t) / (10 + t))
            for average, now in zip(self.judged.weights, self.model.weights, strict=True):
                average.assign_add((1 - weight) * (now - average))

    def account(self, step: int) -> dict[str, float]:
        """ε so far."""
        return self._ledger.spent(step) if self._ledger else {}

    def examine(self) -> dict[str, float]:
        """The audit's lower bound on ε."""
        return self.audit.metrics() if self.audit else {}

    def evaluate(self, seed: Seed) -> Metrics:
        """Accuracy and loss of the test set."""
        return self.judge(self.judged)


def _lots(sampling: Sampling) -> PoissonLots | ShuffledLots:
    if isinstance(sampling, Poisson):
        return PoissonLots(sampling.examples, sampling.rate, sampling.size)
    assert isinstance(sampling, Shuffled)
    return ShuffledLots(sampling.examples, sampling.batch)


def _chunk_size(config: DpSgdConfig, sampling: Sampling) -> int:
    if config.chunk_size is not None:
        return config.chunk_size
    return min(sampling.size, 64)


def _optimizer(config: DpSgdConfig) -> tf.keras.optimizers.Optimizer:
    rate, options = config.learning_rate, {"jit_compile": False}
    kinds = tf.keras.optimizers
    if config.optimizer == "sgd":
        return kinds.SGD(rate, momentum=config.momentum, nesterov=config.nesterov, **options)
    if config.optimizer == "rmsprop":
        return kinds.RMSprop(rate, momentum=config.momentum, **options)
    named = {"adam": kinds.Adam, "adamw": kinds.AdamW, "adagrad": kinds.Adagrad}
    return named[config.optimizer](rate, **options)
