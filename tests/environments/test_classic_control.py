"""The compiled classic control environments against gymnasium's own."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from workbench.environments.base import Environment, Episodes, EpisodeState, Step
from workbench.environments.classic_control import Acrobot, CartPole, MountainCar, Pendulum

PI = math.pi
KS_ERROR_RATE = 1e-6  # of a comparison of two samples that are distributed alike


class Case(NamedTuple):
    """An environment and where to look at it.

    Attributes:
      boxes: lowest and highest states of regions to draw states from; the first is where episodes
        go and beyond, the others surround thresholds, walls and limits.
      reset_box: lowest and highest initial state.
      policy: a feedback that holds or swings up: `[N, ...]` observations to `[N]` actions.
      margin: how far states are from the threshold of termination.
      float32_tolerance: of a step; rounding times what the dynamics multiply it with.
    """

    environment: type[Environment]
    boxes: list[tuple[list[float], list[float]]]
    reset_box: tuple[list[float], list[float]]
    policy: Callable[[np.ndarray], np.ndarray]
    margin: Callable[[np.ndarray], np.ndarray]
    float32_tolerance: float


CASES = [
    Case(
        CartPole,
        boxes=[
            ([-3, -5, -0.3, -5], [3, 5, 0.3, 5]),
            ([2.39, -0.1, -0.1, -1], [2.41, 0.1, 0.1, 1]),
            ([-2.41, -0.1, -0.1, -1], [-2.39, 0.1, 0.1, 1]),
            ([-1, -1, 0.205, -0.1], [1, 1, 0.215, 0.1]),
            ([-1, -1, -0.215, -0.1], [1, 1, -0.205, 0.1]),
        ],
        reset_box=([-0.05] * 4, [0.05] * 4),
        policy=lambda o: o @ [0.05, 0.1, 1.0, 0.5] > 0,
        margin=lambda s: np.minimum(abs(abs(s[:, 0]) - 2.4), abs(abs(s[:, 2]) - PI / 15)),
        float32_tolerance=2e-6,
    ),
    Case(
        MountainCar,
        boxes=[
            ([-1.2, -0.07], [0.6, 0.07]),
            ([0.49, -0.01], [0.51, 0.01]),
            ([-1.2, -0.07], [-1.14, 0]),
        ],
        reset_box=([-0.6, 0], [-0.4, 0]),
        policy=lambda o: np.where(o[:, 1] < 0, 0, 2),
        margin=lambda s: abs(np.minimum(s[:, 0] - 0.5, s[:, 1])),
        float32_tolerance=1e-6,
    ),
    Case(
        Acrobot,
        boxes=[
            ([-PI, -PI, -4 * PI, -9 * PI], [PI, PI, 4 * PI, 9 * PI]),
            ([1.4, 1.5, -0.1, -0.1], [1.8, 1.9, 0.1, 0.1]),
            ([-PI, -PI, -1, -1], [PI, PI, 1, 1]),
        ],
        reset_box=([-0.1] * 4, [0.1] * 4),
        policy=lambda o: np.where(o[:, 5] < 0, 0, 2),
        margin=lambda s: abs(-np.cos(s[:, 0]) - np.cos(s[:, 0] + s[:, 1]) - 1.0),
        float32_tolerance=2e-2,  # at 28 rad/s the Runge-Kutta stages reach thousands of rad/s²
    ),
    Case(
        Pendulum,
        boxes=[
            ([-20, -8], [20, 8]),
            ([PI - 0.01, -8], [PI + 0.01, 8]),
            ([-PI, 7.5], [PI, 8]),
            ([-PI, -8], [PI, -7.5]),
        ],
        reset_box=([-PI, -1], [PI, 1]),
        policy=lambda o: np.where(o[:, 2] < 0, 0, 4),
        margin=lambda s: np.full(len(s), np.inf),
        float32_tolerance=1e-5,
    ),
]

each_environment = pytest.mark.parametrize("case", CASES, ids=lambda case: case.environment.id)


def seed(*numbers: int) -> tf.Tensor:
    return tf.constant(numbers, tf.int64)


def make(environment: Environment, **options: Any) -> Any:
    return gymnasium.make(environment.id, **options)


def gymnasium_action(environment: Environment, action: int) -> Any:
    if isinstance(environment, Pendulum):
        return np.linspace(-2.0, 2.0, environment.num_actions)[[action]]
    return int(action)


def put(env: Any, state: np.ndarray) -> None:
    """Moves a gymnasium environment to a state, leaving its step count as it is."""
    env.unwrapped.state = np.array(state, np.float64)


def draw_states(case: Case, per_box: int = 1000) -> np.ndarray:
    """States that float32 holds exactly, from all of a case's boxes."""
    rng = np.random.default_rng(0)
    size = len(case.reset_box[0])
    states = [rng.uniform(low, high, [per_box, size]) for low, high in case.boxes]
    return np.concatenate(states).astype(np.float32).astype(np.float64)


def draw_actions(environment: Environment, num: int) -> np.ndarray:
    return np.random.default_rng(1).integers(environment.num_actions, size=num, dtype=np.int32)


class Outcome(NamedTuple):
    state: np.ndarray
    observation: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray


def our_step(environment: Environment, states: np.ndarray, actions: np.ndarray) -> Outcome:
    state, reward, terminated = environment.step(
        tf.constant(states, environment.dtype), tf.constant(actions)
    )
    observation = environment.observe(state)
    return Outcome(*(x.numpy() for x in (state, observation, reward, terminated)))


def gymnasium_step(environment: Environment, states: np.ndarray, actions: np.ndarray) -> Outcome:
    env = make(environment).unwrapped
    outcomes = []
    for state, action in zip(states, actions, strict=True):
        env.reset()
        put(env, state)
        observation, reward, terminated, _, _ = env.step(gymnasium_action(environment, action))
        outcomes.append((np.array(env.state), observation, reward, terminated))
    return Outcome(*map(np.array, zip(*outcomes, strict=True)))


def assert_same_step(case: Case, ours: Outcome, theirs: Outcome, tolerance: float) -> None:
    difference = ours.state - theirs.state
    if case.environment is Acrobot:  # π and -π are one angle
        assert (abs(ours.state[:, :2]) < PI + tolerance).all()
        angles = difference[:, :2]
        difference[:, :2] = angles - 2 * PI * np.round(angles / (2 * PI))
    np.testing.assert_array_less(abs(difference), tolerance * (1.0 + abs(theirs.state)))
    # Observations and rewards are float32 whatever the states are.
    loose = max(tolerance, 1e-6)
    np.testing.assert_allclose(ours.observation, theirs.observation, rtol=loose, atol=loose)
    certain = case.margin(theirs.state) > tolerance
    assert certain.mean() > 0.9
    np.testing.assert_array_equal(ours.terminated[certain], theirs.terminated[certain])
    np.testing.assert_allclose(ours.reward[certain], theirs.reward[certain], rtol=loose, atol=loose)
    assert ours.reward.dtype == ours.observation.dtype == np.float32


@each_environment
def test_specification_is_gymnasiums(case: Case) -> None:
    environment = case.environment()
    env = make(environment)
    assert environment.observation.shape == env.observation_space.shape
    assert environment.observation.dtype == env.observation_space.dtype
    assert environment.max_episode_steps == env.spec.max_episode_steps
    assert environment.reset(seed(0, 0), 3).shape == [3, environment.state_size]
    if not isinstance(environment, Pendulum):
        assert environment.num_actions == env.action_space.n


@each_environment
def test_float64_step_equals_gymnasium(case: Case) -> None:
    environment = case.environment(dtype=tf.float64)
    states = draw_states(case)
    actions = draw_actions(environment, len(states))
    theirs = gymnasium_step(environment, states, actions)
    assert_same_step(case, our_step(environment, states, actions), theirs, tolerance=1e-12)
    if case.environment is not Pendulum:
        assert 100 < theirs.terminated.sum() < len(states) - 100


@each_environment
def test_float32_step_equals_gymnasium_up_to_rounding(case: Case) -> None:
    environment = case.environment()
    states = draw_states(case)
    actions = draw_actions(environment, len(states))
    ours = our_step(environment, states, actions)
    theirs = gymnasium_step(environment, states, actions)
    assert ours.state.dtype == np.float32
    assert_same_step(case, ours, theirs, case.float32_tolerance)


def test_cart_pole_on_its_limits_has_not_fallen() -> None:
    environment = CartPole(dtype=tf.float64)
    limits = np.diag([2.4, 0, 12 * 2 * PI / 360, 0])[[0, 2]]
    states = np.concatenate([limits, -limits])
    actions = np.zeros(4, np.int32)
    assert not gymnasium_step(environment, states, actions).terminated.any()
    assert not our_step(environment, states, actions).terminated.any()


@each_environment
def test_xla_step_equals_uncompiled_step(case: Case) -> None:
    environment = case.environment()
    states = draw_states(case)
    actions = draw_actions(environment, len(states))
    plain = our_step(environment, states, actions)

    @tf.function(jit_compile=True)
    def compiled_step(state: tf.Tensor, action: tf.Tensor) -> tuple[tf.Tensor, ...]:
        following, reward, terminated = environment.step(state, action)
        return following, environment.observe(following), reward, terminated

    compiled = compiled_step(tf.constant(states, tf.float32), tf.constant(actions))
    compiled = Outcome(*(x.numpy() for x in compiled))
    assert_same_step(case, compiled, plain, case.float32_tolerance)


@each_environment
def test_thousand_steps_compile_into_one_program(case: Case) -> None:
    episodes = Episodes(case.environment(), num_envs=16)

    @tf.function(jit_compile=True, input_signature=[tf.TensorSpec([], tf.int64)])
    def run(root: tf.Tensor) -> EpisodeState:
        def body(i: tf.Tensor, running: EpisodeState) -> tuple[tf.Tensor, EpisodeState]:
            action = tf.random.stateless_uniform(
                [16], tf.stack([root, i]), 0, episodes.environment.num_actions, tf.int32
            )
            running, _ = episodes.step(running, action, tf.stack([root + 1, i]))
            return i + 1, running

        start = (tf.constant(0, tf.int64), episodes.reset(tf.stack([root, root])))
        return tf.while_loop(lambda i, _: i < 1000, body, start)[1]

    static = run.get_concrete_function().structured_outputs
    assert static.state.shape == [16, episodes.environment.state_size]
    ran = run(tf.constant(0, tf.int64))
    assert np.isfinite(ran.state).all()
    assert (ran.length.numpy() < episodes.environment.max_episode_steps).all()


@each_environment
def test_episodes_equal_gymnasiums(case: Case) -> None:
    environment = case.environment(dtype=tf.float64)
    num_envs = 8
    episodes = Episodes(environment, num_envs)
    step = tf.function(episodes.step, jit_compile=True)
    envs = [make(environment) for _ in range(num_envs)]
    rng = np.random.default_rng(0)
    explore = np.linspace(0, 1, num_envs)  # from feedback, which holds or arrives, to chance
    running = episodes.reset(seed(3, 0))
    returns, lengths = np.zeros(num_envs), np.zeros(num_envs, int)
    for env in envs:
        env.reset()
    seen = {"terminated": 0, "truncated": 0}
    for t in range(environment.max_episode_steps + 60):
        # Rounding errors grow exponentially: bring gymnasium back to our states now and then.
        if t % 20 == 0:
            for env, state in zip(envs, running.state.numpy(), strict=True):
                put(env, state)
        action = np.where(
            rng.random(num_envs) < explore,
            rng.integers(environment.num_actions, size=num_envs),
            case.policy(episodes.observe(running).numpy()),
        ).astype(np.int32)
        running, outcome = step(running, tf.constant(action), seed(4, t))
        ours = Step(*(x.numpy() for x in outcome))
        np.testing.assert_array_equal(ours.observation, episodes.observe(running).numpy())
        for i, env in enumerate(envs):
            theirs = env.step(gymnasium_action(environment, action[i]))
            observation, reward, terminated, truncated, _ = theirs
            returns[i] += reward
            lengths[i] += 1
            np.testing.assert_allclose(ours.final_observation[i], observation, rtol=1e-6, atol=1e-6)
            assert ours.reward[i] == pytest.approx(reward, rel=1e-6, abs=1e-6)
            assert ours.terminated[i] == terminated
            assert ours.truncated[i] == truncated
            assert ours.episode_length[i] == lengths[i]
            assert ours.episode_return[i] == pytest.approx(returns[i], rel=1e-5, abs=1e-5)
            if terminated or truncated:
                seen["terminated"] += terminated
                seen["truncated"] += truncated
                returns[i], lengths[i] = 0, 0
                env.reset()
                put(env, running.state.numpy()[i])
            else:
                np.testing.assert_array_equal(ours.observation[i], ours.final_observation[i])
    assert seen["truncated"] > 0
    assert (seen["terminated"] > 0) == (case.environment is not Pendulum)


@each_environment
def test_ended_episodes_start_afresh_and_others_go_on(case: Case) -> None:
    environment = case.environment()
    environment.max_episode_steps = 3
    episodes = Episodes(environment, num_envs=4)
    running = episodes.reset(seed(0, 0))
    running = running._replace(length=tf.constant([0, 2, 0, 2]), total=tf.fill([4], 7.0))
    before = running.state.numpy()
    running, outcome = episodes.step(running, tf.zeros([4], tf.int32), seed(1, 0))
    following, _, _ = environment.step(tf.constant(before), tf.zeros([4], tf.int32))
    low, high = np.array(case.reset_box)
    ended = running.state.numpy()[1::2]
    np.testing.assert_array_equal(running.state[::2], following[::2])
    assert (ended != following.numpy()[1::2]).any(axis=1).all()
    assert ((ended > low - 1e-6) & (ended < high + 1e-6)).all()
    np.testing.assert_array_equal(outcome.final_observation, environment.observe(following))
    np.testing.assert_array_equal(running.length, [1, 0, 1, 0])
    np.testing.assert_array_equal(outcome.episode_length, [1, 3, 1, 3])
    np.testing.assert_array_equal(outcome.episode_return, 7.0 + outcome.reward)
    np.testing.assert_array_equal(running.total[1::2], [0.0, 0.0])
    np.testing.assert_array_equal(running.total[::2], outcome.episode_return[::2])


def test_terminal_state_at_the_time_limit_is_terminated_and_truncated() -> None:
    environment = CartPole(dtype=tf.float64)
    environment.max_episode_steps = 1
    env = make(environment, max_episode_steps=1)
    env.reset()
    falling = np.array([0, 0, 0.2, 3.0])
    put(env, falling)
    _, _, terminated, truncated, _ = env.step(0)
    assert terminated
    assert truncated
    episodes = Episodes(environment, num_envs=1)
    running = episodes.reset(seed(0, 0))._replace(state=tf.constant(falling[None]))
    _, outcome = episodes.step(running, tf.constant([0]), seed(0, 1))
    assert outcome.terminated.numpy().all()
    assert outcome.truncated.numpy().all()


def plain_resets(environment: Environment, num: int) -> tf.Tensor:
    return environment.reset(seed(5, 0), num)


def compiled_resets(environment: Environment, num: int) -> tf.Tensor:
    # XLA draws other numbers from a seed than TensorFlow's kernels do.
    return tf.function(lambda: environment.reset(seed(5, 0), num), jit_compile=True)()


def resets_in_steps(environment: Environment, num: int) -> tf.Tensor:
    environment.max_episode_steps = 1
    episodes = Episodes(environment, num)
    running, _ = episodes.step(episodes.reset(seed(5, 0)), tf.zeros([num], tf.int32), seed(6, 0))
    return running.state


def gymnasium_resets(environment: Environment, num: int) -> np.ndarray:
    env = make(environment).unwrapped
    env.reset(seed=0)
    states = []
    for _ in range(num):
        env.reset()
        states.append(env.state)
    return np.array(states)


@each_environment
@pytest.mark.parametrize("draw", [plain_resets, compiled_resets, resets_in_steps])
def test_initial_states_are_distributed_as_gymnasiums(case: Case, draw: Callable) -> None:
    num = 4000
    ours = draw(case.environment(), num).numpy()
    theirs = gymnasium_resets(case.environment(), num)
    low, high = np.array(case.reset_box)
    # A hundredth of the range is missed by 4000 draws with probability 0.99^4000 < 1e-17.
    slack = 0.01 * (high - low) + 1e-6
    for states in (ours, theirs):
        assert (states.min(axis=0) > low - 1e-6).all()
        assert (states.max(axis=0) < high + 1e-6).all()
        assert (states.min(axis=0) < low + slack).all()
        assert (states.max(axis=0) > high - slack).all()
    for our_column, their_column in zip(ours.T, theirs.T, strict=True):
        assert scipy.stats.ks_2samp(our_column, their_column).pvalue > KS_ERROR_RATE
    assert len(np.unique(ours, axis=0)) > 0.99 * num
    random = ours[:, high > low]
    correlations = np.atleast_2d(np.corrcoef(random.T)) - np.eye(random.shape[1])
    assert abs(correlations).max() < 6 / math.sqrt(num)


@each_environment
def test_episodes_are_a_pure_function_of_the_seed(case: Case) -> None:
    environment = case.environment()
    environment.max_episode_steps = 4
    episodes = Episodes(environment, num_envs=8)
    step = tf.function(episodes.step)

    def observations(root: int) -> np.ndarray:
        running = episodes.reset(seed(root, 0))
        seen = [episodes.observe(running)]
        for t in range(1, 9):
            running, outcome = step(running, tf.zeros([8], tf.int32), seed(root, t))
            seen.append(outcome.observation)
        return np.array(seen)

    first, again, other = observations(1), observations(1), observations(2)
    np.testing.assert_array_equal(first, again)
    starts = [0, 4, 8]
    assert (first[starts] != other[starts]).any(axis=-1).all()
    assert (first[0] != first[4]).any(axis=-1).all()
    assert (first[4] != first[8]).any(axis=-1).all()


@pytest.mark.parametrize("torques", [2, 3, 5, 8])
def test_pendulum_torques_are_gymnasiums_continuous_ones(torques: int) -> None:
    case = CASES[-1]
    environment = Pendulum(dtype=tf.float64, torques=torques)
    assert environment.num_actions == torques
    states = draw_states(case, per_box=200)
    actions = np.arange(len(states), dtype=np.int32) % torques
    ours = our_step(environment, states, actions)
    theirs = gymnasium_step(environment, states, actions)
    assert_same_step(case, ours, theirs, tolerance=1e-12)


def test_pendulum_needs_two_torques() -> None:
    with pytest.raises(ValueError, match="torques=1"):
        Pendulum(torques=1)
