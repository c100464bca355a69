"""Against gymnasium itself: the same seeds and actions give the same episodes."""

import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest

from workbench.core.config import ConfigError
from workbench.environments import gymnasium_vector
from workbench.environments.gymnasium_vector import (
    GymnasiumEpisodes,
    Outcome,
    check,
    episode_seed,
    play,
)

SEED = 7


class Bandit(gym.Env):
    """Actions 5 … 7; observes the last action from one array that it overwrites."""

    observation_space = gym.spaces.Box(-10, 10, (2,), np.float64)
    action_space = gym.spaces.Discrete(3, start=5)

    def __init__(self, noise: bool = False, render_mode: str | None = None):
        self.buffer = np.zeros(2)
        self.noise = noise

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.buffer[:] = -1
        return self.buffer, {"why": "reset"}

    def step(self, action):
        assert self.action_space.contains(action)
        self.buffer[:] = action, np.random.default_rng().random() if self.noise else 0
        return self.buffer, float(action), action == 7, False, {"why": "step", "probability": 0.5}


@pytest.fixture(autouse=True, scope="module")
def _bandit():
    gym.register("Bandit-v0", Bandit, max_episode_steps=4, reward_threshold=3.5)
    yield
    gym.registry.pop("Bandit-v0")


@pytest.fixture
def make():
    """Makes environments that are closed after the test."""
    opened = []

    def make(id, num_envs=3, seed=SEED, stream="train", **kwargs):
        opened.append(GymnasiumEpisodes(id, num_envs, seed, stream, **kwargs))
        return opened[-1]

    yield make
    for episodes in opened:
        episodes.close()


def random_actions(steps, episodes, seed=0):
    shape = (steps, len(episodes.observations))
    return np.random.default_rng(seed).integers(episodes.num_actions, size=shape)


def assert_same(mine: Outcome, other: Outcome):
    for name, a, b in zip(Outcome._fields, mine, other, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name)


@pytest.mark.parametrize(
    ("id", "limit", "steps"),
    [
        ("CartPole-v1", None, 120),  # ends in terminal states
        ("CartPole-v1", 12, 60),  # ends in either way
        ("MountainCar-v0", 25, 60),  # ends by truncation alone
        ("LunarLander-v3", None, 150),
    ],
)
def test_episodes_are_those_of_single_environments_with_the_same_seeds(make, id, limit, steps):
    episodes = make(id, max_episode_steps=limit)
    actions = random_actions(steps, episodes)
    outcomes = [episodes.step(action) for action in actions]
    ends = 0
    for i in range(3):
        env = gym.make(id, max_episode_steps=limit)
        episode, total, length = 0, 0.0, 0
        observation, _ = env.reset(seed=episode_seed(SEED, "train", i, episode))
        for action, outcome in zip(actions[:, i], outcomes, strict=True):
            np.testing.assert_array_equal(outcome.observation[i], observation)
            observation, reward, terminated, truncated, _ = env.step(action)
            total, length = total + reward, length + 1
            np.testing.assert_array_equal(outcome.next_observation[i], observation)
            assert outcome.action[i] == action
            assert outcome.reward[i] == np.float32(reward)
            assert (outcome.terminated[i], outcome.truncated[i]) == (terminated, truncated)
            assert (outcome.episode_return[i], outcome.episode_length[i]) == (
                np.float32(total),
                length,
            )
            if terminated or truncated:
                episode, total, length, ends = episode + 1, 0.0, 0, ends + 1
                observation, _ = env.reset(seed=episode_seed(SEED, "train", i, episode))
        env.close()
    assert ends >= 3


def test_outcomes_have_fixed_dtypes_and_shapes(make):
    episodes = make("Bandit-v0")
    for action in random_actions(10, episodes):  # across the ends of episodes
        outcome = episodes.step(action)
        assert [field.dtype.name for field in outcome] == [
            *("float32", "int32", "float32", "float32", "bool", "bool", "float32", "int32")
        ]
        assert outcome.observation.shape == outcome.next_observation.shape == (3, 2)
        assert all(field.shape == (3,) for field in [outcome.action, *outcome[4:]])


def test_outcomes_do_not_change_afterwards(make):
    episodes = make("Bandit-v0")
    outcomes = []
    for action in random_actions(10, episodes):
        outcome = episodes.step(action)
        outcomes.append((outcome, [field.copy() for field in outcome]))
    episodes.restore(make("Bandit-v0").state())
    for outcome, then in outcomes:
        assert_same(outcome, Outcome(*then))


def test_final_observation_survives_an_environment_that_reuses_its_array(make):
    episodes = make("Bandit-v0", num_envs=2)
    outcome = episodes.step(np.array([2, 0]))
    assert outcome.terminated.tolist() == [True, False]
    np.testing.assert_array_equal(outcome.next_observation[:, 0], [7, 5])
    np.testing.assert_array_equal(episodes.observations[:, 0], [-1, 5])


def test_actions_count_from_zero_whatever_the_environment_calls_its_first(make):
    episodes = make("Bandit-v0", num_envs=3)
    assert episodes.num_actions == 3
    outcome = episodes.step(np.array([0, 1, 2]))
    assert outcome.reward.tolist() == [5, 6, 7]
    assert outcome.action.tolist() == [0, 1, 2]


def test_time_limit_and_threshold_are_the_registered_ones_unless_given(make):
    assert make("CartPole-v1").max_episode_steps == 500
    assert make("CartPole-v1").reward_threshold == 475
    assert make("CartPole-v1", max_episode_steps=9).max_episode_steps == 9
    assert make("Acrobot-v1").observation_shape == (6,)


def test_constructor_arguments_reach_the_environment(make):
    windy = make("LunarLander-v3", kwargs={"gravity": -3.0})
    assert not np.array_equal(
        windy.step(np.zeros(3)).next_observation,
        make("LunarLander-v3").step(np.zeros(3)).next_observation,
    )


def test_seeds_differ_between_runs_streams_environments_and_episodes():
    names = [
        (root, stream, env, episode)
        for root in range(3)
        for stream in ("train", "evaluate/0")
        for env in range(12)
        for episode in range(12)
    ]
    seeds = [episode_seed(*name) for name in names]
    assert len(set(seeds)) == len(names)
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_equal_names_give_equal_episodes_and_others_do_not(make):
    first = make("CartPole-v1").observations
    np.testing.assert_array_equal(make("CartPole-v1").observations, first)
    assert not np.isin(make("CartPole-v1", stream="evaluate").observations, first).any()
    assert not np.isin(make("CartPole-v1", seed=SEED + 1).observations, first).any()
    np.testing.assert_array_equal(make("CartPole-v1", num_envs=5).observations[:3], first)


def test_seeds_are_pinned():
    # Changing them would break the resumption of every stored run.
    assert episode_seed(7, "train", 0, 0) == 1067065996


@pytest.mark.parametrize("id", ["CartPole-v1", "LunarLander-v3"])
@pytest.mark.parametrize("before", [0, 1, 95])
def test_restored_episodes_go_on_exactly(make, id, before):
    episodes = make(id)
    actions = random_actions(before + 120, episodes)
    for action in actions[:before]:
        episodes.step(action)
    state = episodes.state()
    uninterrupted = [episodes.step(action) for action in actions[before:]]
    assert any((outcome.terminated | outcome.truncated).any() for outcome in uninterrupted)

    fresh = make(id)
    for target in (fresh, episodes):  # a new process's object, and one that has moved on
        target.restore(state)
        assert target.state() == state
        for action, expected in zip(actions[before:], uninterrupted, strict=True):
            assert_same(target.step(action), expected)
        assert target.notes == []


def test_time_limit_counts_on_after_a_restore(make):
    episodes = make("MountainCar-v0", max_episode_steps=5)
    for _ in range(3):
        episodes.step(np.zeros(3))
    state = episodes.state()
    episodes.restore(state)
    assert [episodes.step(np.zeros(3)).truncated.all() for _ in range(3)] == [False, True, False]


def test_nondeterministic_environment_is_noticed_and_its_episodes_start_anew(make):
    episodes = make("Bandit-v0", kwargs={"noise": True})
    episodes.step(np.array([0, 1, 2]))  # the last one's episode ends
    episodes.restore(episodes.state())
    assert episodes.notes == [
        "environment Bandit-v0 is not deterministic: 2 of 3 running episodes were started anew"
    ]
    np.testing.assert_array_equal(episodes.observations, np.full((3, 2), -1))
    outcome = episodes.step(np.array([0, 0, 0]))
    assert outcome.episode_length.tolist() == [1, 1, 1]
    assert outcome.episode_return.tolist() == [5, 5, 5]


def test_state_of_another_number_of_environments_is_refused(make):
    with pytest.raises(ConfigError, match="the state is of 3 environments, not 2"):
        make("CartPole-v1", num_envs=2).restore(make("CartPole-v1").state())


def test_state_that_would_run_code_is_refused(make, tmp_path):
    np.savez(tmp_path / "state.npz", episodes=np.array([object()], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        make("CartPole-v1").restore((tmp_path / "state.npz").read_bytes())


@pytest.mark.parametrize(
    ("id", "kwargs", "message"),
    [
        ("CartPole-v3", {}, "no environment CartPole-v3; did you mean CartPole-v1"),
        ("LunarLandr-v3", {}, "no environment LunarLandr-v3; did you mean LunarLander-v3"),
        ("CartPole", {}, "no environment CartPole; did you mean CartPole-v1"),
        ("this:CartPole-v1", {}, "no environment this:CartPole-v1; did you mean CartPole-v1"),
        ("Pendulum-v1", {}, r"Pendulum-v1 has actions Box.* only Discrete .*; choose another"),
        ("LunarLander-v3", {"continuous": True}, "has actions Box.*; set its .* continuous=false"),
        ("FrozenLake-v1", {}, r"FrozenLake-v1 has observations Discrete\(16\).*FlattenObservation"),
        ("Blackjack-v1", {}, r"Blackjack-v1 has observations Tuple.*FlattenObservation"),
        ("CartPole-v1", {"wind": 1}, "CartPole-v1 cannot be made: .* argument 'wind'$"),
        ("LunarLander-v3", {"gravity": 5}, "cannot be made: gravity .* between -12 and 0"),
    ],
)
def test_check_says_in_one_line_what_is_wrong(id, kwargs, message):
    with pytest.raises(ConfigError, match=message) as error:
        check(id, kwargs)
    assert "\n" not in str(error.value)


def test_check_accepts_what_runs():
    for id in ("CartPole-v0", "MountainCar-v0", "Acrobot-v1", "LunarLander-v3", "Bandit-v0"):
        check(id)


def test_check_names_the_extra_of_a_missing_dependency(monkeypatch):
    for module in [name for name in sys.modules if name.startswith("gymnasium.envs.box2d")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "Box2D", None)
    with pytest.raises(ConfigError, match=r"missing; pip install 'workbench\[box2d\]'"):
        check("LunarLander-v3")


def test_check_closes_what_it_opens(monkeypatch):
    closed = []
    monkeypatch.setattr(Bandit, "close", lambda env: closed.append(env))
    check("Bandit-v0")
    monkeypatch.setattr(Bandit, "action_space", gym.spaces.MultiBinary(2))
    with pytest.raises(ConfigError, match=r"MultiBinary\(2\)"):
        check("Bandit-v0")
    assert len(closed) == 2


def test_checking_prints_nothing_and_imports_no_tensorflow():
    code = f"""
import sys
from {gymnasium_vector.__name__} import GymnasiumEpisodes, check, play
check("CartPole-v0")  # out of date, of which gymnasium warns
check("LunarLander-v3")
GymnasiumEpisodes("CartPole-v0", 2, 0, "train").close()
play("CartPole-v0", lambda observation: 0, 0)
sys.exit("tensorflow" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_playing_films_one_episode(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("SDL_VIDEODRIVER", raising=False)
    frames, total = play("CartPole-v1", lambda observation: int(observation[2] > 0), seed=3)
    assert len(frames) == total + 1
    assert all(f.shape == (400, 600, 3) and f.dtype == np.uint8 for f in frames)
    assert not np.array_equal(frames[0], frames[-1])
    assert play("CartPole-v1", lambda observation: int(observation[2] > 0), seed=3)[1] == total


def test_playing_an_environment_without_pictures_is_refused():
    with pytest.raises(ConfigError, match="Bandit-v0 draws no pictures"):
        play("Bandit-v0", lambda observation: 0, seed=3)
