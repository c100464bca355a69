"""What an algorithm's builder hands to the experiment."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workbench.core.learner import Feed, Learner


@dataclass
class Assembly:
    """A learner with what goes around it.

    Attributes:
      feed: the host's side, for learners that take one.
      artifacts: called with the run folder when training has ended; each writes files there and
        returns their paths.
      verdicts: called when training has ended; each gives a line that the user should see then.
      policy: what the learner has learned to do, in a form to use from Python, if it has one.
      result: what the learner has found, in a form to use from Python, if it has one; called once
        training has ended or a checkpoint is restored.
      notes: lines that the user should see at the start.
    """

    learner: Learner
    feed: Feed | None = None
    artifacts: list[Callable[[Path], list[Path]]] = field(default_factory=list)
    verdicts: list[Callable[[], str]] = field(default_factory=list)
    policy: Any = None
    result: Callable[[], Any] | None = None
    notes: list[str] = field(default_factory=list)

    @contextmanager
    def closing(self) -> Iterator[None]:
        """Frees what the feed holds at the end, whatever that is."""
        try:
            yield
        finally:
            if self.feed is not None:
                self.feed.close()
