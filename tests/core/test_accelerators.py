"""What no machine at hand can run is kept honest by what can be checked of its programs."""

import pytest
import tensorflow as tf
from learners import LEARNERS, assembled

from workbench.core.program import Program
from workbench.core.random import Seed
from workbench.core.runtime import HOST_CALLS, Runtime, ops_of

# Programs that XLA does not compile, with the reason.
ON_THE_HOST = {("dqn-fed", "evaluate"): "gymnasium's environments are Python"}


def program_of(learner, feed, name):
    def step(index, *chunk):
        if chunk:
            learner.absorb(*chunk)
        return tf.nest.map_structure(tf.identity, dict(getattr(learner, name)(Seed(0, index))))

    chunks = [feed.spec] if feed and name == "train_step" else []
    specs = [tf.TensorSpec([], tf.int64), *chunks]
    return tf.function(step, jit_compile=True, autograph=False), specs


@pytest.mark.parametrize("name", ["train_step", "evaluate"])
@pytest.mark.parametrize("kind", LEARNERS)
def test_every_program_compiles_with_static_shapes_and_without_the_host(kind, name):
    assembly = assembled(LEARNERS[kind])
    if (kind, name) in ON_THE_HOST:
        with pytest.raises(NotImplementedError):
            assembly.learner.evaluate(Seed(0))
        return
    function, specs = program_of(assembly.learner, assembly.feed, name)
    traced = function.get_concrete_function(*specs)
    assert not ops_of(traced) & HOST_CALLS
    zeros = [tf.zeros(spec.shape, spec.dtype) for spec in specs]
    hlo = function.experimental_get_compiler_ir(*zeros)(stage="hlo")
    assert "HloModule" in hlo
    assert "<=" not in hlo.split("ENTRY")[1].split("\n")[0]  # XLA's mark of a dynamic dimension


@pytest.mark.parametrize("kind", LEARNERS)
def test_every_learner_runs_in_bfloat16(kind):
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        assembly = assembled(LEARNERS[kind])
        program = Program(assembly.learner, Runtime(), seed=0, feed=assembly.feed)
        metrics = program.run(0, 30)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    assert all(variable.dtype != tf.bfloat16 for variable in assembly.learner.variables)
    exact = assembled(LEARNERS[kind])
    assert metrics.keys() == Program(exact.learner, Runtime(), 0, exact.feed).run(0, 30).keys()
