"""Training speed of Stable-Baselines3's DQN, alone: run by the peers' own Python.

Takes settings as one JSON argument and prints what it measured as JSON. Timed are calls of
`learn`, after a warm-up that passes `learning_starts`; nothing is logged, shown or evaluated. It
gets what makes it fastest without changing its results: Adam fused, no checker around the
environment, and the better of one thread and all cores, which take turns until one is far behind.
"""

import json
import os
import sys
import time
from typing import Any

import gymnasium
import torch
from stable_baselines3 import DQN

TURNS = 5


def main(settings: dict[str, Any]) -> dict[str, float]:
    model = DQN(
        "MlpPolicy",
        gymnasium.make(settings["environment"], disable_env_checker=True),
        policy_kwargs={"net_arch": settings["layers"], "optimizer_kwargs": {"fused": True}},
        exploration_initial_eps=settings["epsilon"],
        exploration_final_eps=settings["epsilon"],
        seed=0,
        device="cpu",
        **settings["dqn"],
    )
    train(model, settings["warm_up"])
    totals = {threads: [0.0, 0, 0] for threads in (1, len(os.sched_getaffinity(0)))}
    for _ in range(TURNS):
        for threads, total in totals.items():
            torch.set_num_threads(threads)
            done = train(model, settings["timed"] // TURNS)
            totals[threads] = [sum(pair) for pair in zip(total, done, strict=True)]
        fastest = min(seconds for seconds, *_ in totals.values())
        totals = {threads: total for threads, total in totals.items() if total[0] < 2 * fastest}
    threads, (seconds, steps, updates) = min(totals.items(), key=lambda item: item[1][0])
    return {
        "environment steps/s": steps / seconds,
        "updates/s": updates / seconds,
        "torch threads": threads,
    }


def train(model: DQN, steps: int) -> tuple[float, int, int]:
    """Trains for at least so many more steps; returns seconds, steps and updates that it took."""
    steps_before, updates_before = model.num_timesteps, model._n_updates
    started = time.perf_counter()
    model.learn(steps, log_interval=None, reset_num_timesteps=False)
    seconds = time.perf_counter() - started
    return seconds, model.num_timesteps - steps_before, model._n_updates - updates_before


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
