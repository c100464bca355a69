"""IDX, the format of MNIST's files (yann.lecun.com/exdb/mnist): one array of numbers."""

import math
import struct

import numpy as np

from workbench.core.config import ConfigError

# The numbers' types by their code, all big-endian.
TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(content: bytes, source: str, rank: int) -> np.ndarray:
    """The array of an IDX file, in the shape and type that its header states.

    Args:
      content: of the file, not compressed.
      source: its name, for errors.
      rank: how many dimensions it has to have.

    Raises:
      ConfigError: when it is no IDX file, is cut off, or has another rank.
    """
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in TYPES:
        raise ConfigError(f"{source} is no IDX file; name one, or a CSV or NPZ file")
    kind, dimensions = np.dtype(TYPES[content[2]]), content[3]
    if dimensions != rank:
        raise ConfigError(
            f"{source} has {dimensions} dimensions, and {rank} are needed: "
            "3 for images, 1 for labels; are the two files swapped?"
        )
    start = 4 + 4 * rank
    if len(content) < start:
        raise ConfigError(f"{source} is cut off; get it again")
    shape = struct.unpack(f">{rank}I", content[4:start])
    needed = start + math.prod(shape) * kind.itemsize
    if len(content) != needed:
        raise ConfigError(
            f"{source} has {len(content)} bytes, and its header says {needed}; get it again"
        )
    return np.frombuffer(content, kind, offset=start).reshape(shape)
