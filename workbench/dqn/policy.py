"""The trained policy, for use from Python and in pictures."""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image
from tf_agents.networks.network import Network

from workbench.core.streams import stream_key
from workbench.environments.base import Environment
from workbench.environments.gymnasium_vector import GymnasiumEnvironment
from workbench.environments.rendering import play

FRAMES_PER_SECOND = 50


class GreedyPolicy:
    """The greedy policy of a Q-network: `policy(observation)` is the action.

    Args:
      network: the Q-network.
      environment: what it acts in, for `play`.
    """

    def __init__(self, network: Network, environment: Environment | GymnasiumEnvironment):
        self.network = network
        self.environment = environment
        self._q_values = tf.function(lambda observation: network(observation)[0], autograph=False)

    def q_values(self, observation: Any) -> np.ndarray:
        """Q(o, .): float32 `[A]` for one observation, `[N, A]` for N of them."""
        observation = tf.convert_to_tensor(observation, tf.float32)
        single = observation.shape.rank == self.network.input_tensor_spec.shape.rank
        values = self._q_values(observation[None] if single else observation).numpy()
        return values[0] if single else values

    def __call__(self, observation: Any) -> Any:
        """The action for one observation, an int; or int64 `[N]` for N of them."""
        actions = self.q_values(observation).argmax(axis=-1)
        return int(actions) if actions.ndim == 0 else actions

    def play(self, seed: int = 0) -> tuple[list[np.ndarray], float]:
        """One episode: its frames, uint8 `[height, width, 3]`, and its return."""
        if isinstance(self.environment, Environment):
            return play(self.environment, self, seed)
        return self.environment.play(self, seed)


def write_gif(policy: GreedyPolicy, seed: int, folder: Path) -> list[Path]:
    """Writes one greedy episode to `FOLDER/plots/episode.gif`."""
    frames, _ = policy.play(stream_key(seed, "gif") >> 32)
    path = folder / "plots" / "episode.gif"
    path.parent.mkdir(exist_ok=True)
    first, *rest = (Image.fromarray(frame).quantize(64) for frame in frames[::2])
    duration = 2 * 1000 // FRAMES_PER_SECOND  # ms
    first.save(path, save_all=True, append_images=rest, duration=duration, loop=0)
    return [path]
