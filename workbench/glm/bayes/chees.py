"""Hamiltonian Monte Carlo of many chains with trajectories of one length: ChEES-HMC.

Hoffman, Radul & Sountsov 2021. In coordinates in which the posterior is about a sphere, all
trajectories of a draw take time τ in leapfrog steps of ε, where τ is T times a number of a Halton
sequence. T climbs

    ChEES = E[(‖θ' - E θ‖² - ‖θ - E θ‖²)²] / 4

from trajectories' starts θ to their ends θ', by its derivative along the velocity there.
TensorFlow Probability's kernels for it draw and average over the chains of one replica; here, as
sums over chains go through the core, a run does not depend on how many replicas there are.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from workbench.core import random
from workbench.core.random import Seed
from workbench.core.replicas import Share
from workbench.glm.bayes.kernel import DIVERGENCE, Course, Kernel, Seen, Stage

# T to start from; a quarter of the way around a sphere is π/2.
FIRST = 2.0
# The share of T that varies from draw to draw.
JITTER = 0.5
# Of a trajectory, at the most; while chains settle, steps may be very short.
MOST_STEPS, FEW_STEPS = 1000, 10
# Of Adam's steps of log T: how large, and how quickly forgetful; the most that T may change by.
RATE, FORGETTING, LARGEST = 0.025, 0.05, 0.35
BITS = 20


class Points(NamedTuple):
    """Where chains are.

    Attributes:
      theta: `[C, D]`.
      log_density: `[C]`.
      gradient: of it, `[C, D]`.
    """

    theta: tf.Tensor
    log_density: tf.Tensor
    gradient: tf.Tensor


class Sums(NamedTuple):
    """What is learned from, over all chains.

    Attributes:
      seen: what every sampler learns from.
      slope: derivatives of ChEES by log T, times probabilities to be accepted.
    """

    seen: Seen
    slope: tf.Tensor


class Chees(Kernel):
    """ChEES-HMC; see `Kernel`."""

    def __init__(
        self,
        log_density: Callable[[tf.Tensor], tf.Tensor],
        size: int,
        acceptance: float,
        dtype: tf.DType,
    ):
        super().__init__(log_density, size, acceptance, dtype)
        first, zero = tf.math.log(tf.constant(FIRST, dtype)), tf.zeros([], dtype)
        self._log = tf.Variable(first, trainable=False)
        self._average = tf.Variable(first, trainable=False)
        self._square = tf.Variable(zero, trainable=False)
        self._count = tf.Variable(zero, trainable=False)

    def at(self, theta: tf.Tensor) -> Points:
        return Points(theta, *tfp.math.value_and_gradient(self._log_density, theta))

    def draw(
        self, points: Points, seed: Seed, chains: Share, stage: Stage
    ) -> tuple[Points, Course, Sums]:
        dtype = points.theta.dtype
        size = points.theta.shape[1]
        # All chains' numbers are drawn on every replica, so that it does not matter how many.
        momentum = chains.of(random.normal([chains.total, size], seed("momentum")))
        threshold = chains.of(tf.random.stateless_uniform([chains.total], seed("accept")))
        jitter = 1 - JITTER + JITTER * halton(seed.step, dtype)
        length = jitter * tf.exp(tf.where(stage.warm, self._average, self._log))
        step = self.step_size.value(stage.warm)
        most = tf.where(stage.settling, FEW_STEPS, MOST_STEPS)
        steps = tf.clip_by_value(tf.cast(tf.math.ceil(length / step), tf.int32), 1, most)
        start = tf.cast(momentum, dtype)
        end, momentum = self._trajectory(points, start, step, steps)
        energy = _energy(points, start)
        change = energy - _energy(end, momentum)
        change = tf.where(tf.math.is_finite(change), change, tf.constant(-np.inf, dtype))
        accepted = tf.exp(tf.minimum(change, 0))
        taken = tf.cast(threshold, dtype) < accepted
        course = Course(
            accepted,
            energy,
            tf.cast(change < -DIVERGENCE, dtype),
            tf.fill(accepted.shape, tf.cast(steps, dtype)),
        )
        following = Points(
            *(
                tf.where(tf.reshape(taken, [-1] + [1] * (new.shape.rank - 1)), new, old)
                for new, old in zip(end, points, strict=True)
            )
        )
        slope = self._slope(points.theta, end.theta, momentum) * length
        counted = tf.math.is_finite(slope) & (accepted > 0)
        slope = tf.reduce_sum(tf.where(counted, accepted * slope, tf.zeros_like(slope)))
        sums = Sums(self._seen(following.theta, accepted), slope)
        return following, course, sums

    def learn(self, sums: Sums, stage: Stage) -> None:
        self._learn(sums.seen, stage)
        slope = tf.math.divide_no_nan(sums.slope, sums.seen.accepted)
        count = self._count.assign_add(1)
        square = self._square.assign((1 - FORGETTING) * self._square + FORGETTING * slope**2)
        usual = tf.sqrt(square / (1 - (1 - FORGETTING) ** count))
        change = RATE * tf.math.divide_no_nan(slope, usual)
        log = self._log.assign_add(tf.clip_by_value(change, -LARGEST, LARGEST))
        share = tf.math.rsqrt(count)
        self._average.assign(share * log + (1 - share) * self._average)

    def take_shape(self) -> None:
        super().take_shape()
        self._log.assign(self._average)
        for variable in (self._square, self._count):
            variable.assign(tf.zeros_like(variable))

    def _trajectory(
        self, points: Points, momentum: tf.Tensor, step: tf.Tensor, steps: tf.Tensor
    ) -> tuple[Points, tf.Tensor]:
        """Where the leapfrog's steps lead, and with what momentum."""

        def leap(
            i: tf.Tensor, points: Points, momentum: tf.Tensor
        ) -> tuple[tf.Tensor, Points, tf.Tensor]:
            momentum += step / 2 * self.shape.pulled_back(points.gradient)
            points = self.at(points.theta + step * self.shape.stretched(momentum))
            momentum += step / 2 * self.shape.pulled_back(points.gradient)
            return i + 1, points, momentum

        start = (tf.constant(0), points, momentum)
        _, points, momentum = tf.while_loop(lambda i, *_: i < steps, leap, start)
        return points, momentum

    def _slope(self, start: tf.Tensor, end: tf.Tensor, momentum: tf.Tensor) -> tf.Tensor:
        """The derivative of ChEES by time, `[C]`."""
        mean = self.shape.mean
        start, end, velocity = start - mean, end - mean, self.shape.stretched(momentum)
        change = tf.reduce_sum(tf.square(end), 1) - tf.reduce_sum(tf.square(start), 1)
        return change * tf.reduce_sum(end * velocity, 1)


def halton(step: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """The number of a place in van der Corput's sequence in base 2, in (0, 1)."""
    bits = (step + 1) // 2 ** tf.range(BITS, dtype=step.dtype) % 2
    return tf.reduce_sum(tf.cast(bits, dtype) * 0.5 ** tf.range(1.0, BITS + 1, dtype=dtype))


def _energy(points: Points, momentum: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.square(momentum), 1) / 2 - points.log_density
