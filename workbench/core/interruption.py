"""Signals that end a run in an orderly way; imports no TensorFlow."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)


class AbandonedError(Exception):
    """A signal came while something was waited for that need not be finished."""


class Interruption:
    """Remembers a signal until the loop has finished its block.

    Attributes:
      signal: the one that came.
      abandoned: whether a thread may still be at work on what nobody waits for.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self.abandoned = False

    @contextmanager
    def listening(self) -> Iterator["Interruption"]:
        """SIGINT, SIGTERM and SIGUSR2 are remembered; a second SIGINT interrupts at once."""
        before = {number: signal.signal(number, self._remember) for number in SIGNALS}
        around = getattr(before[signal.SIGTERM], "__self__", None)
        if isinstance(around, Interruption):  # which may have heard one before this one listened
            self.signal = self.signal or around.signal
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def unless_interrupted(self, call: Callable[[], Any]) -> Any:
        """What a call returns, which goes on in a thread of its own.

        Python hears signals between two of its own steps only, and a compilation is one.

        Raises:
          AbandonedError: when a signal comes before it returns.
        """
        results: list[Any] = []
        errors: list[BaseException] = []

        def work() -> None:
            try:
                results.append(call())
            except BaseException as error:  # the waiting thread's to deal with
                errors.append(error)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(0.1)
            if self.signal is not None and thread.is_alive():
                self.abandoned = True
                raise AbandonedError
        if errors:
            raise errors[0]
        return results[0]

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.signal == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = signal.Signals(number)
