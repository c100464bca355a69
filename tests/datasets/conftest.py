"""Files to read, made by the definitions of their formats."""

import struct

import numpy as np
import pytest

from workbench.datasets.idx import TYPES


@pytest.fixture
def idx():
    """Writes an array as IDX."""

    def idx(array, code=0x08):
        header = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
        return header + np.asarray(array, TYPES[code]).tobytes()

    return idx
