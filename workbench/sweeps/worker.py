"""A process that runs cells of a sweep, one after another: `python -m workbench.sweeps.worker`.

It reads the names of cells from its standard input, a line each, and answers each with a line of
JSON once the cell has ended. When the input ends, so does the process, and a cell that is running
then is stopped after a checkpoint. A process that got a signal runs no other cell.
"""

import gc
import io
import json
import os
import queue
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any, TextIO, cast

from workbench.core.config import ConfigError
from workbench.core.interruption import SIGNALS, Interruption
from workbench.recording.quiet import quiet
from workbench.sweeps.cell import run_cell

if TYPE_CHECKING:
    from workbench.core.warm import WarmProgram

FAILED, WRONG, PREEMPTED, INTERRUPTED = 1, 2, 75, 130


class _Descriptor(io.TextIOBase):
    """Descriptor 1, wherever it leads at the time: during a run, to the run's log."""

    def write(self, text: str) -> int:
        os.write(1, text.encode(errors="backslashreplace"))
        return len(text)


def main(sweep: str) -> int:
    """Runs the cells that are asked for."""
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.stdout = cast(TextIO, _Descriptor())
    names: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(sys.stdin, names), daemon=True).start()
    with Interruption().listening():
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # Ray's processes block SIGINT
        with quiet():  # this starts TensorFlow
            from workbench.core.warm import WarmProgram
        warm = WarmProgram()
        gc.freeze()  # what is imported stays; not to look through it saves 0.3 s a cell
        while (name := names.get()) is not None:
            status, note = attempt(sweep, name, warm)
            last = status in (PREEMPTED, INTERRUPTED)
            print(json.dumps({"note": note, "last": last}), file=replies)
            if last:
                break
            gc.collect()  # the last cell's variables, before the next one needs the memory
    return 0


def attempt(sweep: str, name: str, warm: "WarmProgram") -> tuple[int, str]:
    """Runs a cell; returns its exit status, and what went wrong where its folder cannot say."""
    try:
        return run_cell(sweep, name, warm), ""
    except ConfigError as error:
        return WRONG, str(error)
    except KeyboardInterrupt:
        return INTERRUPTED, "interrupted"
    except Exception as error:  # the next cell may do better
        return FAILED, f"{type(error).__name__}: {error}".splitlines()[0]


def _read(stream: TextIO, names: "queue.SimpleQueue[Any]") -> None:
    for line in stream:
        names.put(line.rstrip("\n"))
    names.put(None)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
