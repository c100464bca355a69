"""Keeps what libraries print away from the user: it goes to the run's log."""

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

# Said before TensorFlow is imported, unless the user has said otherwise.
ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "GRPC_VERBOSITY": "ERROR",
    "PYGAME_HIDE_SUPPORT_PROMPT": "1",
}


@contextlib.contextmanager
def quiet(log: Path | None = None) -> Iterator[TextIO]:
    """Sends all that this process prints to a log; gives a stream to its standard output.

    Libraries print from C++ too, so file descriptors 1 and 2 are turned, not `sys.stdout` alone.
    What was there before comes back at the end.

    Args:
      log: is appended to; None throws everything away.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    sys.stdout.flush()
    sys.stderr.flush()
    with contextlib.ExitStack() as stack:
        sink = stack.enter_context(Path(log or os.devnull).open("a", buffering=1))
        console = stack.enter_context(_copy_of_stdout())
        for descriptor in (1, 2):
            stack.callback(_put_back, os.dup(descriptor), descriptor)
            os.dup2(sink.fileno(), descriptor)
        stack.enter_context(contextlib.redirect_stdout(sink))
        stack.enter_context(contextlib.redirect_stderr(sink))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        # What Python code logs, TensorFlow's included, is worth keeping.
        handler = logging.StreamHandler(sink)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        root = logging.getLogger()
        root.addHandler(handler)
        stack.callback(root.removeHandler, handler)
        yield console


def _copy_of_stdout() -> TextIO:
    """Where `sys.stdout` writes to, on a descriptor of its own; itself if it has none."""
    try:
        return os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    except (OSError, ValueError, AttributeError):  # a test's or a notebook's stand-in
        return contextlib.nullcontext(sys.stdout)  # type: ignore[return-value]


def _put_back(saved: int, descriptor: int) -> None:
    os.dup2(saved, descriptor)
    os.close(saved)
