"""Attacks a training's last model, by its losses and by those of shadow models."""

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from workbench.core.config import ConfigError
from workbench.core.program import Program
from workbench.core.runtime import Runtime
from workbench.core.streams import stream_key
from workbench.core.warm import WarmProgram
from workbench.datasets.base import Dataset, Examples
from workbench.privacy.learner import DpSgd
from workbench.privacy.membership import Attack, attack, halves, likelihood_ratios, write

AT_ONCE = 1000


class Membership:
    """Tells a training's examples from test examples by its model.

    Shadow models are trained as it was, but on half of all examples each, and with a seed of their
    own. Nobody gets to see them, so that they cost no privacy.

    Args:
      learner: whose model is attacked when training has ended.
      data: what it was trained on, and what not.
      shadow: a learner for data, with the parameters that a seed starts from.
      shadows: how many are trained.
      steps: that each is trained for.
      delta: that ε is implied at.
      seed: the run's.

    Raises:
      ConfigError: when half of the examples are less than a batch.
    """

    def __init__(
        self,
        learner: DpSgd,
        data: Dataset,
        shadow: Callable[[Dataset, int], DpSgd],
        *,
        shadows: int,
        steps: int,
        delta: float,
        seed: int,
    ):
        self._learner = learner
        self._data = data
        self._shadow = shadow
        self._shadows = shadows
        self._steps = steps
        self._delta = delta
        self._seed = seed
        half = len(_together(data)) // 2
        if shadows and learner.config.batch_size > half:
            raise ConfigError(
                f"privacy.membership.shadows={shadows} are trained on half of all examples, "
                f"{half}, less than algorithm.batch_size={learner.config.batch_size}; lower that, "
                "or take shadows=0"
            )

    @functools.cached_property
    def attacks(self) -> list[Attack]:
        """What each attack achieves on the model as it is now."""
        everything, members = _together(self._data), len(self._data.train)
        margins = margins_of(self._learner.judged, everything)
        scores = {"loss": margins}
        if self._shadows:
            scores["likelihood ratio"] = self._likelihood_ratios(everything, margins)
        return [
            attack(name, found[:members], found[members:], self._delta)
            for name, found in scores.items()
        ]

    def write(self, folder: Path) -> list[Path]:
        """Writes the report."""
        return write(folder, self.attacks)

    def verdict(self) -> str:
        """A line for each attack."""
        return "\n".join(map(str, self.attacks))

    def _likelihood_ratios(self, everything: Examples, margins: np.ndarray) -> np.ndarray:
        warm = WarmProgram()  # all shadows are one program, with data and seeds of their own
        included = halves(self._shadows, len(everything), self._stream("halves"))
        found = []
        for number, row in enumerate(included):
            examples = Examples(everything.features[row], everything.labels[row])
            data = Dataset(self._data.name, examples, self._data.test, self._data.classes)
            seed = self._stream(f"shadow/{number}")
            program = warm.take("shadow", Program(self._shadow(data, seed), Runtime(), seed))
            program.run(0, self._steps)
            found.append(margins_of(program.learner.judged, everything))
        return likelihood_ratios(margins, np.stack(found), included)

    def _stream(self, name: str) -> int:
        return stream_key(self._seed, f"membership/{name}") % 2**31


def margins_of(model: tf.keras.Model, examples: Examples) -> np.ndarray:
    """logit_y - log Σ_{k≠y} exp(logit_k) of each example, `[n]`."""
    found = []
    for first in range(0, len(examples), AT_ONCE):
        features = examples.features[first : first + AT_ONCE]
        logits = model(features, training=False)
        labels = examples.labels[first : first + AT_ONCE]
        truth = tf.range(logits.shape[1]) == labels[:, None]
        label = tf.reduce_sum(tf.where(truth, logits, 0.0), 1)
        others = tf.where(truth, -np.inf, logits)
        found.append((label - tf.reduce_logsumexp(others, 1)).numpy())
    return np.concatenate(found)


def _together(data: Dataset) -> Examples:
    """Training examples, then test examples, but for one where they are odd."""
    train, test = data.train, data.test
    test = test.first(len(test) - (len(train) + len(test)) % 2)
    return Examples(
        np.concatenate([train.features, test.features]),
        np.concatenate([train.labels, test.labels]),
    )
