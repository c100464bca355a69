"""A program that has run with one seed gives the numbers of a fresh one with another."""

import pytest
import tensorflow as tf
from learners import LEARNERS, assembled

from workbench.core.program import Program
from workbench.core.runtime import Runtime
from workbench.core.warm import WarmProgram, copy_state

# Likelihoods are maximised without any chance.
DETERMINED = {"glm-mle", "glm-qr", "glm-lbfgs"}


def cold(kind: str, seed: int) -> Program:
    tf.keras.utils.set_random_seed(seed)
    assembly = assembled([*LEARNERS[kind], f"seed={seed}"])
    return Program(assembly.learner, Runtime(), seed, assembly.feed)


def numbers(program: Program) -> list[dict[str, float]]:
    return [program.run(0, 30), program.evaluate(30), program.run(30, 7)]


@pytest.mark.parametrize("kind", LEARNERS)
def test_numbers_of_another_seed_are_those_of_a_fresh_program(kind):
    warm = WarmProgram()
    first = numbers(warm.take("same", cold(kind, seed=1)))
    second = numbers(warm.take("same", cold(kind, seed=2)))
    assert second == numbers(cold(kind, seed=2))
    assert (second == first) == (kind in DETERMINED)


def test_only_a_program_of_the_same_kind_without_a_feed_is_taken():
    warm, dqn = WarmProgram(), cold("dqn", seed=1)
    assert warm.take("one", dqn) is dqn
    assert warm.take("one", cold("dqn", seed=2)) is dqn
    other = cold("dqn", seed=3)
    assert warm.take("another", other) is other
    fed = cold("dqn-fed", seed=4)
    assert warm.take("another", fed) is fed


def test_state_is_copied_whole():
    source, target = cold("dqn", seed=1), cold("dqn", seed=2)
    source.run(0, 30)
    copy_state(source.learner, target.learner)
    target.seed = 1
    assert target.run(30, 10) == source.run(30, 10)
