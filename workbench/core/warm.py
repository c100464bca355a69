"""Programs that outlive their run: a sweep over seeds compiles once."""

from collections.abc import Iterator

import tensorflow as tf

from workbench.core.learner import Learner
from workbench.core.program import Program
from workbench.core.replicas import given_to, parts_of


class WarmProgram:
    """The program of the last run, for a next one that differs in nothing but its seed.

    A program holds nothing of a seed, and a learner all of its state in variables, so that the
    next learner's first state in the last one's variables is the next run.
    """

    def __init__(self) -> None:
        self._kind = ""
        self._program: Program | None = None

    def take(self, kind: str, cold: Program) -> Program:
        """The warm program in place of a cold one of the same kind; else the cold one.

        Args:
          kind: all settings that a program depends on.
          cold: made for the next run; its state is taken over.
        """
        warm = self._program
        if warm is None or kind != self._kind or cold.feed is not None or not cold.runtime.alone:
            self._kind, self._program = kind, cold
            return cold
        copy_state(cold.learner, warm.learner)
        warm.seed = cold.seed
        return warm


def copy_state(source: Learner, target: Learner) -> None:
    """Gives a learner the state of another one of the same making."""
    for ours, theirs in zip(_variables(target), _variables(source), strict=True):
        ours.assign(theirs)


def _variables(learner: Learner) -> Iterator[tf.Variable]:
    for thing in tf.train.TrackableView(learner).descendants():
        if isinstance(thing, tf.Variable):
            yield thing
    for part in parts_of(learner):
        yield part.variable
    for data in given_to(learner):  # which may be prepared by chance
        yield from data.variables
