"""What can be wrong with a regression while it is estimated, in words that name the columns."""

from collections.abc import Iterable, Iterator
from itertools import chain

import numpy as np
import tensorflow as tf

from workbench.glm.regression import INTERCEPT
from workbench.glm.rows import Rows
from workbench.glm.search import Search

# Halvings of a step after which none is believed to lower the deviance.
HALVINGS = 40
# 1 - R² below which a column is a combination of others but for rounding.
RANK = {tf.float64: 1e-24, tf.float32: 1e-11}
# The same where rounding is that of normal equations.
ROUGH_RANK = {tf.float64: 1e-10, tf.float32: 1e-4}
# α below which there is none.
NO_ALPHA = 1e-8
# What the next step may still promise where only a separation keeps it long.
LITTLE = 1e-2
# How far such a step moves the linear predictor at the least.
LONG = 0.05


def found(search: Search, parts: Iterable[Rows]) -> str | None:
    """What makes going on useless; None while nothing does.

    Args:
      search: that goes on.
      parts: the rows, which are looked at only where something seems wrong.
    """
    if search.halvings.numpy() > HALVINGS:
        return "no step lowers the deviance: another link or starting point is needed"
    if search.log_alpha is not None and search.log_alpha.numpy() < np.log(NO_ALPHA):
        return "the counts vary no more than Poisson's (alpha is 0): take glm.family=poisson"
    parts = iter(parts)
    return _combination(search, parts) or _separation(search, parts)


def _combination(search: Search, parts: Iterator[Rows]) -> str | None:
    """Columns that others explain, as far as no penalty tells them apart."""
    pivots, orthogonal = search.pivots.numpy(), bool(search.orthogonal.numpy())
    if not orthogonal and search.config.solver == "auto":
        return None  # QR will tell
    limit = (RANK if orthogonal else ROUGH_RANK)[search.dtype]
    bad = np.flatnonzero(pivots < limit)
    if not len(bad):
        return None
    design = _arrays(next(parts)).design
    said = [_combined(search.names, design, column, pivots >= limit) for column in bad]
    return f"{'; '.join(said)}: drop {'it' if len(bad) == 1 else 'them'}, or set method.ridge"


def _combined(names: list[str], design: np.ndarray, column: int, free: np.ndarray) -> str:
    """The combination that a column is."""
    before = np.flatnonzero(free[:column])
    if not np.any(design[:, column]):
        return f"{names[column]} is 0 throughout"
    weights = np.linalg.lstsq(design[:, before], design[:, column], rcond=None)[0]
    share = np.abs(weights) * np.sqrt(np.mean(design[:, before] ** 2, 0))
    taking_part = [
        f"{weights[i]:.4g} {names[before[i]]}" for i in np.flatnonzero(share > 1e-6 * share.max())
    ]
    return f"{names[column]} is a combination of other columns ({' + '.join(taking_part)})"


def _separation(search: Search, parts: Iterator[Rows]) -> str | None:
    """Columns by which responses are told apart without fail, so that no estimate is finite.

    Albert & Anderson 1984: there is a direction d in which no row's likelihood falls. Steps that
    stay long while they promise nothing any more point into it.
    """
    family = search.family.key
    if family not in ("binomial", "poisson", "negative_binomial"):
        return None
    if not search.gain.numpy() < LITTLE:
        return None
    direction = search.step.numpy()
    part = _arrays(next(parts))
    if np.max(np.abs(part.design @ direction)) < LONG:
        return None
    if not all(_recedes(family, _arrays(rows), direction) for rows in chain([part], parts)):
        return None
    scale = np.abs(direction) * np.sqrt(np.mean(np.square(part.design), 0))
    scale[[name == INTERCEPT for name in search.names]] *= 1e-9  # named only if alone
    named = [search.names[i] for i in np.flatnonzero(scale > 0.1 * scale.max())]
    columns = " and ".join(named) if len(named) < 3 else f"{', '.join(named[:-1])} and {named[-1]}"
    return (
        f"perfect separation: {columns} {'tells' if len(named) == 1 else 'tell'} the response "
        "without error, and no estimate is finite; drop columns, or set method.ridge"
    )


def _recedes(family: str, rows: Rows, direction: np.ndarray) -> bool:
    """Whether no row loses by going on in a direction for ever."""
    y, moves = rows.response, rows.design @ direction
    small = 1e-3 * np.max(np.abs(moves), initial=0.0)
    if family == "binomial":
        fails = np.where(y == 1, -moves, np.where(y == 0, moves, np.abs(moves)))
    else:
        fails = np.where(y == 0, moves, np.abs(moves))
    return bool(np.all(fails <= small))


def _arrays(rows: Rows) -> Rows:
    """Rows that count, on the host."""
    seen = np.broadcast_to(np.asarray(rows.frequency) > 0, rows.response.shape)
    design, response, *others = map(np.asarray, rows)
    return Rows(design[seen], response[seen], *others)
