"""Automatic differentiation variational inference (Kucukelbir et al. 2017).

A Gaussian q(θ) = N(μ, L L') on coordinates, whose draws θ = μ + L ε are differentiated through,
with the evidence's lower bound E_q[log p(θ) - log q(θ)] as objective. Its gradient leaves out
the score of q, whose mean is 0: nothing is left of the noise where q is the posterior (Roeder,
Wu & Duvenaud 2017).

Adam's steps become half as long whenever a round of them has raised the bound by no more than its
noise, and after some halvings nothing is left to gain. The last round's mean is the answer (Polyak
& Juditsky 1992).
"""

import math

import numpy as np
import tensorflow as tf

from workbench.core import replicas
from workbench.core.learner import Learner, Mean, Metrics
from workbench.core.random import Seed
from workbench.glm.bayes.gaussian import Gaussian
from workbench.glm.bayes.mode import Density
from workbench.models.optimizer import Optimizer

# Steps of a round.
ROUND = 100
# Adam's step sizes, in units of the posterior's spread: the first one, and how often it is halved.
RATE, HALVINGS = 0.1, 6
# Standard errors by which a round has to be better than the one before.
ERRORS = 2.0
# Draws of an evaluation.
JUDGED = 512


class Variational(Learner):
    """The Gaussian that is nearest to a posterior in KL(q ‖ p).

    Args:
      density: log p `[C]` of coordinates `[C, D]`, up to a constant.
      size: D.
      samples: draws of q in a step.
      full: whether coordinates are correlated under q.
      dtype: of coordinates.
      data: that the density looks at, if any.
    """

    unit = "steps"
    kernels = True
    limit = 100_000
    limited_by = "steps"

    def __init__(
        self,
        density: Density,
        size: int,
        samples: int,
        full: bool,
        dtype: tf.DType = tf.float64,
        data: replicas.Given | None = None,
    ):
        super().__init__(name="variational")
        self._density, self._size, self._dtype, self.data = density, size, dtype, data
        self._share = replicas.Share(samples, "method.chains", whole=True)

        def state(value: tf.Tensor | np.ndarray | float, kind: tf.DType = dtype) -> tf.Variable:
            return tf.Variable(tf.cast(value, kind), trainable=False)

        # L has exp(s) on its diagonal, and `below` under it.
        self._mu, self._log = state(tf.zeros([size])), state(tf.zeros([size]))
        self._below = state(tf.zeros([size, size])) if full else None
        self._moved = [self._mu, self._log] + ([] if self._below is None else [self._below])
        adam = tf.keras.optimizers.Adam(RATE, jit_compile=False)
        self._optimizer = Optimizer(adam, self._moved)
        # Of the round: steps, the parameters' means, the bounds' mean and sum of squares about it.
        self._step = state(0, tf.int32)
        self._means = [state(tf.zeros(variable.shape)) for variable in self._moved]
        self._bound, self._squares = state(0.0), state(0.0)
        # Of the one before: mean and its squared error.
        self._last, self._last_error = state(-math.inf), state(0.0)
        self._halvings = state(0, tf.int32)

    @property
    def converged(self) -> bool:
        """Whether nothing is left to gain."""
        return bool(self._halvings.numpy() > HALVINGS)

    @property
    def found(self) -> Gaussian:
        """The approximation as it stands."""
        return Gaussian(
            self._mu.numpy().astype(np.float64), self._factor().numpy().astype(np.float64)
        )

    def train_step(self, seed: Seed) -> Metrics:
        """One step of Adam's; none once it has converged."""
        noise = tf.random.stateless_normal(
            [self._share.total, self._size], seed("noise"), dtype=self._dtype
        )
        found = self._share.sum(replicas.each(self._gradients)(noise))
        return replicas.first(replicas.each(self._advance)(found))

    def evaluate(self, seed: Seed) -> Metrics:
        noise = tf.random.stateless_normal([JUDGED, self._size], seed("noise"), dtype=self._dtype)

        def judged() -> tuple[tf.Tensor, ...]:
            densities = self._density(self._mu + noise @ tf.transpose(self._factor()))
            good = tf.math.is_finite(densities)
            none = tf.zeros_like(densities)
            sums = (densities, densities + self._entropy(noise), none + 1)
            return tuple(tf.reduce_sum(tf.where(good, values, none)) for values in sums)

        density, bound, count = replicas.first(replicas.each(judged)())
        return {"elbo": Mean(bound, count), "log_density": Mean(density, count)}

    def done(self, metrics: dict[str, float]) -> str | None:
        return "converged" if metrics["converged"] else None

    def fault(self, metrics: dict[str, float]) -> str | None:
        if metrics.get("lost") == 1:
            return "no draw of the approximation has a finite density: another sampler is needed"
        return super().fault(metrics)

    def _gradients(self, noise: tf.Tensor) -> tuple[list[tf.Tensor], tf.Tensor, tf.Tensor]:
        """Sums over this replica's draws: of gradients, of bounds and of what is finite."""
        noise = self._share.of(noise)
        factor = self._factor()
        theta = self._mu + noise @ tf.transpose(factor)
        with tf.GradientTape() as tape:
            tape.watch(theta)
            densities = self._density(theta)
        # ∇ (log p - log q) at θ, of which the second is -L⁻ᵀ ε.
        slopes = tape.gradient(densities, theta)
        slopes += tf.transpose(
            tf.linalg.triangular_solve(factor, tf.transpose(noise), adjoint=True)
        )
        bounds = densities + self._entropy(noise)
        good = tf.math.is_finite(bounds) & tf.reduce_all(tf.math.is_finite(slopes), -1)
        slopes = tf.where(good[:, None], slopes, tf.zeros_like(slopes))
        bounds = tf.where(good, bounds, tf.zeros_like(bounds))
        along = tf.reduce_sum(slopes * noise, 0) * tf.exp(self._log)
        gradients = [tf.reduce_sum(slopes, 0), along]
        if self._below is not None:
            products = tf.matmul(slopes, noise, transpose_a=True)
            gradients.append(products - tf.linalg.band_part(products, 0, -1))
        return gradients, tf.reduce_sum(bounds), tf.reduce_sum(tf.cast(good, self._dtype))

    def _advance(
        self, found: tuple[list[tf.Tensor], tf.Tensor, tf.Tensor]
    ) -> dict[str, tf.Tensor | Mean]:
        gradients, bounds, count = found
        bound = tf.math.divide_no_nan(bounds, count)
        going = self._halvings <= HALVINGS
        tf.cond(going & (count > 0), lambda: self._move(gradients, bound, count), lambda: None)
        return {
            "loss": Mean(-bounds, count),
            "learning_rate": RATE * 0.5 ** tf.cast(self._halvings, self._dtype),
            "converged": tf.cast(~going, self._dtype),
            "lost": 1 - count / self._share.total,
        }

    def _move(self, gradients: list[tf.Tensor], bound: tf.Tensor, count: tf.Tensor) -> None:
        rate = RATE * 0.5 ** tf.cast(self._halvings, tf.float32)
        self._optimizer.optimizer.learning_rate.assign(rate)
        self._optimizer.apply([-gradient / count for gradient in gradients])
        self._step.assign_add(1)
        share = 1 / tf.cast(self._step, self._dtype)
        for mean, variable in zip(self._means, self._moved, strict=True):
            mean.assign_add(share * (variable - mean))
        above = bound - self._bound
        self._bound.assign_add(share * above)
        self._squares.assign_add(above * (bound - self._bound))
        tf.cond(self._step >= ROUND, self._end_round, lambda: None)

    def _end_round(self) -> None:
        error = self._squares / ROUND**2
        better = self._bound > self._last + ERRORS * tf.sqrt(error + self._last_error)
        self._halvings.assign_add(tf.cast(~better, tf.int32))
        for mean, variable in zip(self._means, self._moved, strict=True):
            variable.assign(tf.where(better, variable, mean))
            mean.assign(tf.zeros_like(mean))
        self._last.assign(self._bound)
        self._last_error.assign(error)
        for sums in (self._bound, self._squares):
            sums.assign(tf.zeros_like(sums))
        self._step.assign(0)

    def _factor(self) -> tf.Tensor:
        """L, `[D, D]`."""
        diagonal = tf.linalg.diag(tf.exp(self._log))
        return diagonal if self._below is None else diagonal + self._below

    def _entropy(self, noise: tf.Tensor) -> tf.Tensor:
        """-log q of draws."""
        constant = self._size * math.log(2 * math.pi) / 2
        return tf.reduce_sum(tf.square(noise), -1) / 2 + tf.reduce_sum(self._log) + constant
