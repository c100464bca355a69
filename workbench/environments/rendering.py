"""Pictures of compiled environments, drawn by gymnasium."""

from collections.abc import Callable
from typing import Any, cast

import gymnasium as gym
import numpy as np
import tensorflow as tf

from workbench.environments.base import Environment, Episodes
from workbench.environments.gymnasium_vector import draw_without_display


def play(
    environment: Environment, policy: Callable[[np.ndarray], int], seed: int
) -> tuple[list[np.ndarray], float]:
    """One episode of our dynamics in gymnasium's pictures; needs no display.

    Args:
      policy: from one observation to an action.
      seed: of the episode's first state.

    Returns:
      The frames, uint8 `[height, width, 3]`, and the undiscounted return.
    """
    draw_without_display()
    drawing = gym.make(environment.id, render_mode="rgb_array", disable_env_checker=True)
    drawing.reset(seed=0)
    episodes = Episodes(environment, 1)
    step = tf.function(episodes.step, autograph=False)
    stream = tf.constant([seed, 0], tf.int64)
    state = episodes.reset(stream)
    frames = [_draw(drawing, state.state[0])]
    try:
        while True:
            action = policy(episodes.observe(state).numpy()[0])
            state, outcome = step(state, tf.constant([action]), stream)
            if outcome.terminated[0] or outcome.truncated[0]:
                return frames, float(outcome.episode_return[0])
            frames.append(_draw(drawing, state.state[0]))
    finally:
        drawing.close()


def _draw(drawing: gym.Env, state: tf.Tensor) -> np.ndarray:
    environment = cast(Any, drawing.unwrapped)
    environment.state = state.numpy()
    return cast(np.ndarray, drawing.render())
