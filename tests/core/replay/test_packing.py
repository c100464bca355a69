import numpy as np
import pytest
import tensorflow as tf

from workbench.core.replay.packing import pack, packed_spec, unpack
from workbench.core.replay.transitions import Transitions


@pytest.mark.parametrize("shape", [(4,), (2, 3), (1,)])
@pytest.mark.parametrize("jit", [None, True])
def test_what_is_packed_comes_out_again(shape, jit):
    draw = np.random.default_rng(0)
    steps, num_envs = 5, 3
    rows = [
        Transitions(
            draw.normal(size=(num_envs, *shape)).astype(np.float32),
            draw.integers(2**24, size=num_envs).astype(np.int32),
            draw.normal(size=num_envs).astype(np.float32),
            draw.normal(size=(num_envs, *shape)).astype(np.float32),
            draw.random(num_envs) < 0.5,
            draw.random(num_envs) < 0.5,
        )
        for _ in range(steps)
    ]
    observation = tf.TensorSpec(shape, tf.float32)
    packed = pack(rows)
    assert packed.shape == tuple(packed_spec(observation, steps, num_envs).shape)
    out = tf.function(lambda x: unpack(x, observation), jit_compile=jit)(tf.constant(packed))
    for field, values in zip(out, zip(*rows, strict=True), strict=True):
        expected = np.stack(values)
        assert field.dtype == expected.dtype
        np.testing.assert_array_equal(field, expected)
