"""Draws from a posterior as steps: all chains draw once in each, first to warm up, then to keep."""

import math
from typing import Any

import numpy as np
import tensorflow as tf

from workbench.core import replicas
from workbench.core.learner import Learner, Metrics
from workbench.core.random import Seed
from workbench.core.replicas import Parts, Share
from workbench.glm.bayes.adaptation import windows
from workbench.glm.bayes.chees import Chees
from workbench.glm.bayes.diagnostics import diagnose
from workbench.glm.bayes.kernel import Stage
from workbench.glm.bayes.model import Posterior
from workbench.glm.bayes.nuts import Nuts
from workbench.glm.config import BayesConfig

KERNELS = {"chees": Chees, "nuts": Nuts}
# What diagnostics add to what `evaluate` judges.
EXAMINED = ("r_hat", "ess_bulk", "ess_tail", "e_fmi")
# What is kept of draws beside them, by ArviZ' names.
STATS = ("acceptance_rate", "energy", "diverging", "n_steps", "lp", "step_size")


class Sampler(Learner):
    """Markov chains on a posterior, dealt out to replicas.

    Args:
      posterior: to draw from.
      config: with `sampler` one of "chees" and "nuts".
      seed: of the run, from which starting points follow.
    """

    unit = "draws"

    def __init__(self, posterior: Posterior, config: BayesConfig, seed: int):
        super().__init__(name="sampler")
        self.posterior, self.config = posterior, config
        self.limit, self.limited_by = config.warm_up + config.draws, "all draws"
        self.data = posterior.data
        self.chains = Share(config.chains, "method.chains")
        dtype, size = posterior.dtype, posterior.size
        acceptance = config.acceptance
        self.kernel = KERNELS[config.sampler](posterior.log_density, size, acceptance, dtype)
        first = self.kernel.at(posterior.initial(config.chains, Seed(seed)("initial")))
        self._points = type(first)(*(self._dealt_out(value) for value in first))
        chains = self.chains.size
        self._draws = self._room(chains * size, dtype)
        self._stats = self._room(chains * len(STATS), tf.float32)
        self._kept = tf.Variable(0, trainable=False)
        self._strategy = tf.distribute.get_strategy()

    def _dealt_out(self, value: tf.Tensor) -> Parts:
        parts = Parts(tf.Variable(value[: self.chains.size], trainable=False))
        parts.assign(value, self.chains)
        return parts

    def _room(self, size: int, dtype: tf.DType) -> Parts:
        return Parts(tf.Variable(tf.zeros([self.config.draws, size], dtype), trainable=False))

    @property
    def draws(self) -> np.ndarray:
        """Coordinates of all draws that were kept so far, `[C, draws, D]`."""
        return self._kept_of(self._draws)

    @property
    def stats(self) -> dict[str, np.ndarray]:
        """What is known of each of them beside, `[C, draws]`, by ArviZ' names."""
        values = self._kept_of(self._stats)
        found = {name: values[..., place] for place, name in enumerate(STATS)}
        return found | {"diverging": found["diverging"] > 0}

    def train_step(self, seed: Seed) -> Metrics:
        """One draw of every chain."""
        found = replicas.each(lambda step: self._draw(seed.at(step)))(seed.step)
        sums, course = replicas.total(found)
        replicas.each(self._learn)(sums, seed.step)
        return {name: value / self.chains.total for name, value in replicas.first(course).items()}

    def evaluate(self, seed: Seed) -> Metrics:
        """Of the draws that were kept."""
        found = replicas.each(self._judged)()
        accepted, diverging, count = self.chains.sum(found)
        return {
            "acceptance_rate": tf.math.divide_no_nan(accepted, count),
            "divergences": diverging,
        }

    def examine(self) -> dict[str, float]:
        """The worst R-hat, effective sizes and E-FMI of coordinates; an R-hat of ∞ is unknown."""
        found = diagnose({"theta": self.draws}, self.stats).metrics
        return {"r_hat": math.inf} | {name: found[name] for name in found if name in EXAMINED}

    def fault(self, metrics: dict[str, float]) -> str | None:
        return super().fault({name: metrics[name] for name in metrics if name != "r_hat"})

    def _draw(self, seed: Seed) -> Any:
        """This replica's next points; what is learned from, and what is reported."""
        stage = self._stage(seed.step)
        points = tf.nest.map_structure(lambda part: part.variable, self._points)
        points, course, sums = self.kernel.draw(points, seed, self.chains, stage)
        for part, value in zip(self._points, points, strict=True):
            part.variable.assign(value)
        step_size = tf.fill(course.energy.shape, self.kernel.step_size.value(stage.warm))
        stats = (*course, points.log_density, step_size)
        row = tf.maximum(tf.cast(seed.step, tf.int32) - self.config.warm_up, 0)
        self._keep(self._draws, row, points.theta)
        self._keep(self._stats, row, tf.cast(tf.stack(stats, 1), tf.float32))
        reported = dict(zip(STATS, stats, strict=True))
        return sums, {name: tf.reduce_sum(value) for name, value in reported.items()}

    def _stage(self, step: tf.Tensor) -> Stage:
        settled = next(iter(windows(self.config.warm_up)), 0)
        return Stage(step < settled, step >= self.config.warm_up)

    def _keep(self, parts: Parts, row: tf.Tensor, values: tf.Tensor) -> None:
        parts.variable.scatter_update(tf.IndexedSlices(tf.reshape(values, [1, -1]), row[None]))

    def _learn(self, sums: Any, step: tf.Tensor) -> None:
        done = step + 1

        def learn() -> None:
            self.kernel.learn(sums, self._stage(step))
            changes = tf.constant(windows(self.config.warm_up), tf.int64)
            tf.cond(tf.reduce_any(changes == done), self.kernel.take_shape, lambda: None)

        tf.cond(done <= self.config.warm_up, learn, lambda: None)
        kept = tf.maximum(tf.cast(done, tf.int32) - self.config.warm_up, 0)
        self._kept.assign(kept)

    def _judged(self) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        shape = [self.config.draws, self.chains.size, len(STATS)]
        stats = tf.reshape(self._stats.variable, shape)
        kept = tf.cast(tf.range(self.config.draws) < self._kept, tf.float32)[:, None]
        accepted, diverging = (
            stats[..., STATS.index(name)] for name in ("acceptance_rate", "diverging")
        )
        count = tf.reduce_sum(kept) * self.chains.size
        return tf.reduce_sum(kept * accepted), tf.reduce_sum(kept * diverging), count

    def _kept_of(self, parts: Parts) -> np.ndarray:
        kept = int(self._kept.numpy())
        local = self._strategy.experimental_local_results(parts.variable)
        each = [value.numpy()[:kept].reshape([kept, self.chains.size, -1]) for value in local]
        whole = np.concatenate(each, 1) if self.chains.divided else each[0]
        return whole.transpose(1, 0, 2)
