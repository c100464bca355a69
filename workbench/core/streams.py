"""Keys of named random streams; free of TensorFlow, so that host-side code shares them."""

import hashlib


def stream_key(root: int, path: str) -> int:
    """A 63-bit key for a named stream of a run, from SHA-256 of seed and name."""
    digest = hashlib.sha256(f"{root}/{path}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1
