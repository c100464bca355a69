"""Classic control in TensorFlow ops, with gymnasium's dynamics."""

import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from workbench.environments.base import Environment
from workbench.environments.config import (
    AcrobotConfig,
    CartPoleConfig,
    MountainCarConfig,
    PendulumConfig,
)


class CartPole(Environment):
    """A pole on a cart (Barto, Sutton & Anderson 1983), gymnasium's CartPole-v1.

    State and observation: cart position in m, velocity in m/s, pole angle in rad, angular
    velocity in rad/s. Reward 1 for every step.
    """

    id = "CartPole-v1"
    observation = tf.TensorSpec([4], tf.float32)
    num_actions = 2
    state_size = 4
    max_episode_steps = 500

    gravity = 9.8  # m/s²
    mass_cart = 1.0  # kg
    mass_pole = 0.1  # kg
    half_length = 0.5  # m, of the pole
    force = 10.0  # N
    tau = 0.02  # s between states
    max_position = 2.4  # m
    max_angle = 12 * 2 * math.pi / 360  # rad

    def reset(self, seed: tf.Tensor, num: int) -> tf.Tensor:
        return tf.random.stateless_uniform([num, 4], seed, -0.05, 0.05, dtype=self.dtype)

    def step(self, state: tf.Tensor, action: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        x, x_dot, theta, theta_dot = tf.unstack(state, axis=-1)
        force = tf.cast(tf.where(action == 1, self.force, -self.force), self.dtype)
        cos, sin = tf.cos(theta), tf.sin(theta)
        mass = self.mass_cart + self.mass_pole
        pole_moment = self.mass_pole * self.half_length
        push = (force + pole_moment * theta_dot**2 * sin) / mass
        theta_acc = (self.gravity * sin - cos * push) / (
            self.half_length * (4.0 / 3.0 - self.mass_pole * cos**2 / mass)
        )
        x_acc = push - pole_moment * theta_acc * cos / mass
        x = x + self.tau * x_dot
        x_dot = x_dot + self.tau * x_acc
        theta = theta + self.tau * theta_dot
        theta_dot = theta_dot + self.tau * theta_acc
        fallen = (tf.abs(x) > self.max_position) | (tf.abs(theta) > self.max_angle)
        following = tf.stack([x, x_dot, theta, theta_dot], axis=-1)
        return following, tf.ones(tf.shape(action), tf.float32), fallen

    def observe(self, state: tf.Tensor) -> tf.Tensor:
        return tf.cast(state, tf.float32)


class MountainCar(Environment):
    """A car too weak for its hill (Moore 1990; Sutton 1996), gymnasium's MountainCar-v0.

    State and observation: position in m, velocity in m a step. Actions 0, 1, 2 push left, not at
    all, right. Reward -1 for every step; the right hilltop ends the episode.
    """

    id = "MountainCar-v0"
    observation = tf.TensorSpec([2], tf.float32)
    num_actions = 3
    state_size = 2
    max_episode_steps = 200

    gravity = 0.0025  # m/step²
    force = 0.001  # m/step², an acceleration: the mass is 1
    min_position = -1.2  # m, a wall that takes the car's speed
    max_position = 0.6  # m
    max_speed = 0.07  # m/step
    goal = 0.5  # m

    def reset(self, seed: tf.Tensor, num: int) -> tf.Tensor:
        position = tf.random.stateless_uniform([num, 1], seed, -0.6, -0.4, dtype=self.dtype)
        return tf.concat([position, tf.zeros_like(position)], axis=-1)

    def step(self, state: tf.Tensor, action: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        position, velocity = tf.unstack(state, axis=-1)
        push = self.force * tf.cast(action - 1, self.dtype)
        velocity = velocity + push - self.gravity * tf.cos(3.0 * position)
        velocity = tf.clip_by_value(velocity, -self.max_speed, self.max_speed)
        position = tf.clip_by_value(position + velocity, self.min_position, self.max_position)
        stopped = tf.maximum(velocity, 0.0)
        velocity = tf.where(position > self.min_position, velocity, stopped)
        arrived = (position >= self.goal) & (velocity >= 0.0)
        following = tf.stack([position, velocity], axis=-1)
        return following, -tf.ones_like(action, tf.float32), arrived

    def observe(self, state: tf.Tensor) -> tf.Tensor:
        return tf.cast(state, tf.float32)


class Acrobot(Environment):
    """Two links swung up by the joint between them (Sutton 1996), gymnasium's Acrobot-v1.

    The equations are those of Sutton & Barto 1998, section 11.3, which gymnasium calls "book";
    the 1996 paper prints them with terms missing.

    State: the first link's angle from hanging down and the second's from the first, in rad within
    [-π, π], then their angular velocities in rad/s. Observation: cosine and sine of the first
    angle, of the second, and the velocities. Actions 0, 1, 2 are torques of -1, 0, 1 N m. Reward
    -1 for every step but the one that lifts the tip a link's length above the pivot: 0, the end.
    """

    id = "Acrobot-v1"
    observation = tf.TensorSpec([6], tf.float32)
    num_actions = 3
    state_size = 4
    max_episode_steps = 500

    gravity = 9.8  # m/s²
    mass = 1.0  # kg; the two links are alike
    length = 1.0  # m
    center = 0.5  # m, from a link's joint to its centre of mass
    inertia = 1.0  # kg m²
    dt = 0.2  # s between states
    max_velocity1 = 4 * math.pi  # rad/s
    max_velocity2 = 9 * math.pi  # rad/s
    goal = 1.0  # m above the pivot

    def reset(self, seed: tf.Tensor, num: int) -> tf.Tensor:
        return tf.random.stateless_uniform([num, 4], seed, -0.1, 0.1, dtype=self.dtype)

    def step(self, state: tf.Tensor, action: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        torque = tf.cast(action - 1, self.dtype)
        state = _runge_kutta(lambda state: self._derivative(state, torque), state, self.dt)
        theta1, theta2, velocity1, velocity2 = tf.unstack(state, axis=-1)
        theta1, theta2 = _wrap(theta1), _wrap(theta2)
        velocity1 = tf.clip_by_value(velocity1, -self.max_velocity1, self.max_velocity1)
        velocity2 = tf.clip_by_value(velocity2, -self.max_velocity2, self.max_velocity2)
        raised = -tf.cos(theta1) - tf.cos(theta1 + theta2) > self.goal
        following = tf.stack([theta1, theta2, velocity1, velocity2], axis=-1)
        return following, tf.where(raised, 0.0, -1.0), raised

    def _derivative(self, state: tf.Tensor, torque: tf.Tensor) -> tf.Tensor:
        """The state's rate of change `[N, 4]` under a torque `[N]`, in the book's notation."""
        m, l1, lc, g = self.mass, self.length, self.center, self.gravity
        theta1, theta2, velocity1, velocity2 = tf.unstack(state, axis=-1)
        cos2, sin2 = tf.cos(theta2), tf.sin(theta2)
        d1 = m * lc**2 + m * (l1**2 + lc**2 + 2 * l1 * lc * cos2) + 2 * self.inertia
        d2 = m * (lc**2 + l1 * lc * cos2) + self.inertia
        phi2 = m * lc * g * tf.sin(theta1 + theta2)
        phi1 = (
            -m * l1 * lc * velocity2**2 * sin2
            - 2 * m * l1 * lc * velocity2 * velocity1 * sin2
            + (m * lc + m * l1) * g * tf.sin(theta1)
            + phi2
        )
        acceleration2 = (torque + d2 / d1 * phi1 - m * l1 * lc * velocity1**2 * sin2 - phi2) / (
            m * lc**2 + self.inertia - d2**2 / d1
        )
        acceleration1 = -(d2 * acceleration2 + phi1) / d1
        return tf.stack([velocity1, velocity2, acceleration1, acceleration2], axis=-1)

    def observe(self, state: tf.Tensor) -> tf.Tensor:
        theta1, theta2, velocity1, velocity2 = tf.unstack(state, axis=-1)
        seen = [tf.cos(theta1), tf.sin(theta1), tf.cos(theta2), tf.sin(theta2)]
        return tf.cast(tf.stack([*seen, velocity1, velocity2], axis=-1), tf.float32)


class Pendulum(Environment):
    """A rod to swing up and hold, gymnasium's Pendulum-v1 with a choice of torques.

    State: angle from upright in rad, which counts turns, and angular velocity in rad/s.
    Observation: cosine and sine of the angle, and the velocity. Reward: minus the cost of angle,
    velocity and torque before the step. Only the time limit ends an episode.

    Args:
      dtype: of states.
      torques: number of actions; they are evenly spaced from -2 to 2 N m, where gymnasium's action
        is any torque in between.

    Raises:
      ValueError: fewer than 2 torques.
    """

    id = "Pendulum-v1"
    observation = tf.TensorSpec([3], tf.float32)
    state_size = 2
    max_episode_steps = 200

    gravity = 10.0  # m/s²
    mass = 1.0  # kg
    length = 1.0  # m
    dt = 0.05  # s between states
    max_torque = 2.0  # N m
    max_speed = 8.0  # rad/s

    def __init__(self, dtype: tf.DType = tf.float32, *, torques: int = 5):
        super().__init__(dtype)
        if torques < 2:
            raise ValueError(f"torques={torques} leaves no choice; it must be 2 or more")
        self.num_actions = torques

    def reset(self, seed: tf.Tensor, num: int) -> tf.Tensor:
        widest = tf.constant([math.pi, 1.0], self.dtype)
        return widest * tf.random.stateless_uniform([num, 2], seed, -1.0, 1.0, dtype=self.dtype)

    def step(self, state: tf.Tensor, action: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        theta, velocity = tf.unstack(state, axis=-1)
        share = tf.cast(action, self.dtype) / (self.num_actions - 1)
        torque = self.max_torque * (2.0 * share - 1.0)
        cost = _wrap(theta) ** 2 + 0.1 * velocity**2 + 0.001 * torque**2
        acceleration = (
            3 * self.gravity / (2 * self.length) * tf.sin(theta)
            + 3 / (self.mass * self.length**2) * torque
        )
        velocity = velocity + self.dt * acceleration
        velocity = tf.clip_by_value(velocity, -self.max_speed, self.max_speed)
        following = tf.stack([theta + self.dt * velocity, velocity], axis=-1)
        return following, tf.cast(-cost, tf.float32), tf.zeros_like(action, tf.bool)

    def observe(self, state: tf.Tensor) -> tf.Tensor:
        theta, velocity = tf.unstack(state, axis=-1)
        return tf.cast(tf.stack([tf.cos(theta), tf.sin(theta), velocity], axis=-1), tf.float32)


def _wrap(angle: tf.Tensor) -> tf.Tensor:
    """The same angle within [-π, π]."""
    turn = 2 * math.pi
    return angle - turn * tf.round(angle / turn)


def _runge_kutta(
    derivative: Callable[[tf.Tensor], tf.Tensor], state: tf.Tensor, dt: float
) -> tf.Tensor:
    """The state after `dt`, by one step of the classical fourth-order Runge-Kutta method."""
    k1 = derivative(state)
    k2 = derivative(state + dt / 2 * k1)
    k3 = derivative(state + dt / 2 * k2)
    k4 = derivative(state + dt * k3)
    return state + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def build(config: Any) -> Environment:
    """The environment that a configuration names."""
    if isinstance(config, PendulumConfig):
        return Pendulum(torques=config.torques)
    if isinstance(config, AcrobotConfig):
        return Acrobot()
    if isinstance(config, MountainCarConfig):
        return MountainCar()
    assert isinstance(config, CartPoleConfig)
    return CartPole()
