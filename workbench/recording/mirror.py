"""Keeps a slow copy of a run's records up to date without holding training up."""

import errno
import threading
from collections.abc import Callable

LONGEST_PAUSE = 300.0


class Mirror:
    """Updates a copy now and then from a thread of its own.

    An update that fails is tried again, less and less often; `check` tells of it once.

    Args:
      update: brings the copy up to date with the run's folder, from wherever it stands.
      seconds: between updates.
    """

    def __init__(self, update: Callable[[], None], seconds: float = 5.0):
        self._update = update
        self._seconds = seconds
        self._end: Callable[[], None] | None = None
        self._closing = threading.Event()
        self._trouble = ""
        self._thread = threading.Thread(target=self._work, name="mirror", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Tells what went wrong since the last call.

        Raises:
          OSError: when an update has failed.
        """
        trouble, self._trouble = self._trouble, ""
        if trouble:
            raise OSError(errno.EIO, trouble)

    def close(self, end: Callable[[], None], grace: float = 20.0) -> None:
        """Updates a last time and ends the copy.

        Args:
          end: what is left to do after the last update.
          grace: seconds that this may take; a preempted run must not wait for long.

        Raises:
          OSError: when the copy is not complete.
        """
        self._end = end
        self._closing.set()
        self._thread.join(grace)
        if self._thread.is_alive():
            raise OSError(errno.ETIMEDOUT, f"not done after {grace:g} s")
        self.check()

    def _work(self) -> None:
        pause = 0.0
        while True:
            closing = self._closing.wait(pause)
            try:
                self._update()
                if closing and self._end:
                    self._end()
                pause, self._trouble = self._seconds, ""
            except Exception as error:  # each library behind a copy raises its own
                self._trouble = (str(error).splitlines() or [type(error).__name__])[0]
                pause = min(2 * max(pause, self._seconds), LONGEST_PAUSE)
            if closing:
                return
