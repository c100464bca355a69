"""Things that are due every so often."""

import time
from collections.abc import Callable


class EverySeconds:
    """Says when a number of seconds has passed since it last did (or since it was made).

    Time is injected, so that tests do not sleep.
    """

    def __init__(self, seconds: float, *, clock: Callable[[], float] = time.monotonic):
        self._seconds = seconds
        self._clock = clock
        self._last = clock()

    def due(self) -> bool:
        """Whether it is time; when it is, counting starts anew."""
        now = self._clock()
        if now - self._last < self._seconds:
            return False
        self._last = now
        return True


def next_multiple(step: int, every: int) -> int:
    """The first multiple of `every` above `step`."""
    return (step // every + 1) * every
