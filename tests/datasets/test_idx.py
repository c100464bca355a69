"""IDX files: what is written comes back, and what is no such file is refused."""

import numpy as np
import pytest

from workbench.core.config import ConfigError
from workbench.datasets.idx import TYPES, read_idx


@pytest.mark.parametrize("code", TYPES)
@pytest.mark.parametrize("shape", [(5,), (3, 2, 4)])
def test_every_type_and_shape_comes_back(idx, code, shape):
    array = np.random.default_rng(0).integers(0, 100, shape)
    np.testing.assert_array_equal(read_idx(idx(array, code), "here", len(shape)), array)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda whole: b"", "here is no IDX file"),
        (lambda whole: b"PK" + whole[2:], "here is no IDX file"),
        (lambda whole: whole[:2] + b"\x07" + whole[3:], "here is no IDX file"),
        (lambda whole: whole[:3] + b"\1" + whole[4:], "here has 1 dimensions, and 3 are needed"),
        (lambda whole: whole[:9], "here is cut off"),
        (lambda whole: whole[:-1], "here has 33 bytes, and its header says 34"),
        (lambda whole: whole + b"\0", "here has 35 bytes, and its header says 34"),
    ],
)
def test_what_is_no_whole_file_is_refused(idx, damage, said):
    with pytest.raises(ConfigError, match=said):
        read_idx(damage(idx(np.zeros([2, 3, 3]))), "here", 3)
