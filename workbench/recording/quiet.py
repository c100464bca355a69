"""Keeps what libraries print away from the user: it goes to the run's log."""

import contextlib
import ctypes
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

# Said before TensorFlow is imported, unless the user has said otherwise.
ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "GRPC_VERBOSITY": "ERROR",
    "PYGAME_HIDE_SUPPORT_PROMPT": "1",
}


_console: TextIO | None = None  # the user's, while output is turned away


@contextlib.contextmanager
def quiet(log: Path | None = None) -> Iterator[TextIO]:
    """Sends all that this process prints to a log; gives a stream to its standard output.

    Libraries print from C++ too, so file descriptors 1 and 2 are turned, not `sys.stdout` alone.
    What was there before comes back at the end. Inside another `quiet`, the stream is still the
    user's. An exception leaves its traceback in the log, and passes.

    Args:
      log: is appended to; None throws everything away.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    with contextlib.ExitStack() as stack:
        console = stack.enter_context(_user_stream())
        sys.stdout.flush()
        sys.stderr.flush()
        stack.enter_context(_turned(log or Path(os.devnull)))
        # Never closed: a library may keep one, as absl's log handler does, beyond this block.
        output, errors = (_writer(descriptor) for descriptor in (1, 2))
        stack.callback(_flush, output, errors)
        stack.enter_context(contextlib.redirect_stdout(output))
        stack.enter_context(contextlib.redirect_stderr(errors))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        stack.enter_context(_logging_to(errors))
        try:
            yield console
        except Exception:
            traceback.print_exc(file=errors)
            raise


@contextlib.contextmanager
def _user_stream() -> Iterator[TextIO]:
    """Where `sys.stdout` writes to, on a descriptor of its own; itself if it has none."""
    global _console
    if _console is not None:
        yield _console
        return
    try:
        descriptor = os.dup(sys.stdout.fileno())
    except (OSError, ValueError, AttributeError):  # a test's or a notebook's stand-in
        copy: Any = contextlib.nullcontext(sys.stdout)
    else:
        encoding = sys.stdout.encoding
        copy = os.fdopen(descriptor, "w", buffering=1, encoding=encoding, errors="replace")
    with copy as _console:
        try:
            yield _console
        finally:
            _console = None


@contextlib.contextmanager
def _turned(log: Path) -> Iterator[None]:
    """Descriptors 1 and 2 lead to the log."""
    sink = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    saved = {descriptor: os.dup(descriptor) for descriptor in (1, 2)}
    for descriptor in saved:
        os.dup2(sink, descriptor)
    os.close(sink)
    try:
        yield
    finally:
        for descriptor, original in saved.items():
            os.dup2(original, descriptor)
            os.close(original)


@contextlib.contextmanager
def _logging_to(stream: TextIO) -> Iterator[None]:
    """What Python code logs, TensorFlow's included, is worth keeping."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


def _writer(descriptor: int) -> TextIO:
    return open(
        descriptor, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False
    )


def _flush(*streams: TextIO) -> None:
    for stream in streams:
        stream.flush()
    ctypes.CDLL(None).fflush(None)  # C's own buffers would otherwise come out on the terminal
