"""The names of cells: of their folders, made of what differs between them."""

import hashlib
import re
from collections.abc import Collection, Sequence

LONGEST = 120  # characters; file systems allow 255 bytes, and a name stands in longer paths


def cell_name(overrides: Sequence[str], taken: Collection[str] = ()) -> str:
    """A folder's name for a cell: `algorithm.double=true,seed=1`.

    The order of the overrides does not matter. Brackets and quotes are left out, what file systems
    or shells dislike becomes a dash; too long a name ends in a hash of the whole.

    Args:
      overrides: what tells the cell from the others, as `KEY=VALUE`.
      taken: names of other cells, which a hash then tells this one from.
    """
    whole = ",".join(sorted(overrides))
    name = re.sub(r"[^\w.=,+-]+", "-", re.sub(r"[\[\]{}()'\"\\]|\s+", "", whole)) or "cell"
    if len(name) <= LONGEST and name not in taken:
        return name
    digest = hashlib.sha1(whole.encode()).hexdigest()[:8]
    return f"{name[: LONGEST - len(digest) - 1]}-{digest}"
