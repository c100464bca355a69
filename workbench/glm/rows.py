"""Rows of a regression, on the host and on the device, gone through block by block."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from workbench.core import replicas


class Rows(NamedTuple):
    """Rows of a regression; what is `[1]` instead of `[n]` is the same for all of them.

    Attributes:
      design: X, `[n, p]`.
      response: y, `[n]`.
      offset: of the linear predictor, `[n]` or `[1]`.
      frequency: how many times each was seen, `[n]` or `[1]`.
      weight: w, by which its variance is divided, `[n]` or `[1]`.
    """

    design: np.ndarray | tf.Tensor
    response: np.ndarray | tf.Tensor
    offset: np.ndarray | tf.Tensor
    frequency: np.ndarray | tf.Tensor
    weight: np.ndarray | tf.Tensor

    @classmethod
    def of(
        cls,
        design: np.ndarray,
        response: np.ndarray,
        offset: np.ndarray | None = None,
        frequency: np.ndarray | None = None,
        weight: np.ndarray | None = None,
        dtype: str = "float64",
    ) -> "Rows":
        """Rows from arrays; what is left out is 0, 1 and 1."""
        arrays = (design, response, offset, frequency, weight)
        usual = (None, None, 0.0, 1.0, 1.0)
        return cls(
            *(
                np.full([1], other, dtype) if array is None else np.ascontiguousarray(array, dtype)
                for array, other in zip(arrays, usual, strict=True)
            )
        )

    def cast(self, dtype: str) -> "Rows":
        """The same rows, of arrays, in another type; what has it already is not copied."""
        return Rows(*(np.asarray(value, dtype) for value in self))

    @property
    def observations(self) -> float:
        """How many observations they are: the sum of frequencies."""
        return float(np.sum(np.broadcast_to(self.frequency, self.response.shape)))

    @property
    def precision(self) -> tf.Tensor:
        """Frequencies times weights, `[n]` or `[1]`."""
        return self.frequency * self.weight


# Where TensorFlow's kernels let data begin, in bytes.
ALIGNMENT = 64


def empty(shape: Sequence[int], dtype: str = "float64") -> np.ndarray:
    """An array that TensorFlow can share instead of copying it; its numbers are any."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    room = np.empty(size + ALIGNMENT, np.uint8)
    begin = -room.ctypes.data % ALIGNMENT
    return room[begin : begin + size].view(dtype).reshape(shape)


def shared(array: np.ndarray) -> np.ndarray | tf.Tensor:
    """A tensor with the memory of an array from `empty`; other arrays as they are.

    Nobody may write to the array from here on.
    """
    begins = array.ctypes.data % ALIGNMENT == 0
    if not (begins and array.flags.c_contiguous and array.flags.writeable and array.size > 1):
        return array
    return tf.experimental.dlpack.from_dlpack(array.__dlpack__())


class Blocks(tf.Module):
    """Rows on the device, dealt out to replicas in blocks of a fixed size.

    The last block reaches back over rows of the one before, which count as never seen in it.

    Args:
      rows: at least one.
      numbers: of the design matrix in a block, at the most.

    Attributes:
      size: rows of a block.
      count: blocks.
    """

    def __init__(self, rows: Rows, numbers: int = 2**18):
        super().__init__(name="blocks")
        self.rows: int = rows.design.shape[0]
        self.columns: int = rows.design.shape[1]
        self.dtype = tf.as_dtype(rows.design.dtype)
        self.size = max(1, min(self.rows, numbers // max(1, self.columns)))
        self.count = -(-self.rows // self.size)
        self._given = replicas.Given(*map(shared, rows))

    def fold(self, look, zeros, stride: tf.Tensor):  # type: ignore[no-untyped-def]
        """Sums of what `look` finds in this replica's share of every stride-th block.

        Args:
          look: from a block's `Rows` to a nest of tensors; or, where a second argument is taken,
            from these and the nest so far to the nest with them.
          zeros: the nest for no rows.
          stride: int32, 1 for all blocks.
        """
        step = stride * replicas.count()

        def add(block: tf.Tensor, sums):  # type: ignore[no-untyped-def]
            return block + step, look(self.at(block), sums)

        start = (replicas.index() * stride, zeros)
        return tf.while_loop(lambda block, _: block < self.count, add, start)[1]

    def at(self, block: tf.Tensor) -> Rows:
        """One block's rows."""
        begin = tf.minimum(block * self.size, self.rows - self.size)
        design, response, *others = (
            value if value.shape[0] == 1 and self.rows != 1 else self._part(value, begin)
            for value in self._given.variables
        )
        new = begin + tf.range(self.size) >= block * self.size
        offset, frequency, weight = others
        frequency = tf.where(new, frequency, tf.zeros([], frequency.dtype))
        return Rows(design, response, offset, frequency, weight)

    def _part(self, value: tf.Variable, begin: tf.Tensor) -> tf.Tensor:
        sizes = [self.size, *value.shape[1:]]
        return tf.slice(value, [begin, *[0] * (len(sizes) - 1)], sizes)
