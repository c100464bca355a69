"""The dqn suite: training speed beside Stable-Baselines3, and what replay and the command cost.

A random action skips the peer's network pass, so a stretch of training is only as costly as its
epsilon says. Both sides therefore hold epsilon at its mean over the published run's learning part.
"""

from typing import Any

from frame import Case, Side

SPEED = "environment steps/s"


def mean_epsilon(end: float, fall: int, starts: int, budget: int) -> float:
    """Mean over steps `starts` to `budget` of what falls from 1 to `end` over `fall` steps."""
    at_start = 1 - (1 - end) * starts / fall
    falling = (at_start + end) / 2 * (fall - starts)
    return (falling + end * (budget - fall)) / (budget - starts)


# CleanRL's dqn.py, docs.cleanrl.dev/rl-algorithms/dqn.
CLEANRL_EPSILON = mean_epsilon(end=0.05, fall=250_000, starts=10_000, budget=500_000)
CLEANRL = {
    "environment": "CartPole-v1",
    "layers": [120, 84],
    "epsilon": CLEANRL_EPSILON,
    "warm_up": 11_000,
    "timed": 40_000,
    "dqn": {
        "learning_rate": 2.5e-4,
        "buffer_size": 10_000,
        "batch_size": 128,
        "gamma": 0.99,
        "learning_starts": 10_000,
        "train_freq": 10,
        "gradient_steps": 1,
        "target_update_interval": 500,
        "max_grad_norm": 1e9,  # CleanRL does not clip, and this peer cannot but do it
    },
}
CLEANRL_NOTE = (
    "squared loss and no clipping on our side; SB3 has the Huber loss only, and clips, here at a "
    "norm that is never reached, which takes a tenth of its time"
)

# RL Baselines3 Zoo's hyperparams/dqn.yml, CartPole-v1.
ZOO_EPSILON = mean_epsilon(end=0.04, fall=8_000, starts=1_000, budget=50_000)
ZOO = {
    "environment": "CartPole-v1",
    "layers": [256, 256],
    "epsilon": ZOO_EPSILON,
    "warm_up": 2_560,
    "timed": 51_200,  # the whole budget, in whole training phases
    "dqn": {
        "learning_rate": 2.3e-3,
        "buffer_size": 100_000,
        "batch_size": 64,
        "gamma": 0.99,
        "learning_starts": 1_000,
        "train_freq": 256,
        "gradient_steps": 128,
        "target_update_interval": 10,
        "max_grad_norm": 10.0,
    },
}


def sb3(settings: dict[str, Any]) -> Side:
    """Stable-Baselines3's DQN, trained with these settings."""
    return Side("SB3 2.9.2", "peers/sb3_dqn.py", settings, peers="peers-dqn.txt")


def workbench(
    *overrides: str, epsilon: float, warm_up: int, timed: int, name: str = "workbench"
) -> Side:
    """One of our experiments, trained at a fixed epsilon; lengths are in environment steps."""
    exploration = [f"algorithm.exploration.{at}={epsilon:.6f}" for at in ("start", "end")]
    settings = {
        "overrides": [*overrides, *exploration],
        "warm_up": warm_up,
        "timed": timed,
        "counters": {"updates": "agent.updates"},
    }
    return Side(name, "program.py", settings)


def replay(capacity: int) -> Side:
    """CleanRL's settings with a replay of this capacity, filled before anything is timed."""
    return workbench(
        "experiment=dqn/cartpole",
        f"algorithm.replay_capacity={capacity}",
        f"algorithm.learning_starts={capacity}",
        epsilon=CLEANRL_EPSILON,
        warm_up=capacity + 1_000,
        timed=400_000,
        name=f"{capacity:,} stored",
    )


CASES: dict[str, Case] = {
    "cleanrl-cartpole": Case(
        "CleanRL's DQN on CartPole, the environment compiled on our side",
        sides=(
            workbench(
                "experiment=dqn/cartpole", epsilon=CLEANRL_EPSILON, warm_up=11_000, timed=400_000
            ),
            sb3(CLEANRL),
        ),
        by=SPEED,
        note=CLEANRL_NOTE,
    ),
    "cleanrl-gymnasium": Case(
        "the same with gymnasium's CartPole on both sides",
        sides=(
            workbench(
                "experiment=dqn/cartpole",
                "environment=gymnasium",
                "environment.id=CartPole-v1",
                epsilon=CLEANRL_EPSILON,
                warm_up=11_000,
                timed=40_000,
            ),
            sb3(CLEANRL),
        ),
        by=SPEED,
        note=CLEANRL_NOTE,
    ),
    "rlzoo-cartpole": Case(
        "RL Baselines3 Zoo's DQN on CartPole, the environment compiled on our side",
        sides=(
            workbench(
                "experiment=dqn/cartpole_zoo", epsilon=ZOO_EPSILON, warm_up=2_560, timed=50_000
            ),
            sb3(ZOO),
        ),
        by=SPEED,
    ),
    "replay-cost": Case(
        "time per step with a full replay of a million, in terms of that with 10,000",
        sides=(replay(10_000), replay(1_000_000)),
        by=SPEED,
        note="1 means that what is stored costs nothing",
    ),
    "whole-command": Case(
        "workbench experiment=dqn/cartpole, from the shell to the summary",
        sides=[Side("workbench", "command.py", {"overrides": ["experiment=dqn/cartpole"]})],
        by="s from shell to prompt",
    ),
}
