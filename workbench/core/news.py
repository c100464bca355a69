"""What a part of a run says while it is being built, to whoever listens."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Listener = Callable[[str], None]

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


def say(line: str) -> None:
    """A line that the user should see now, as what follows takes its time."""
    if listener := _listener.get():
        listener(line)


@contextmanager
def heard_by(listener: Listener) -> Iterator[None]:
    """Passes on what is said within."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
