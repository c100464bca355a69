"""Scalars and hyper-parameters for TensorBoard."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams


class TensorBoard:
    """Writes a run's scalars, and its settings for the HParams tab.

    Args:
      folder: of the event files.
      settings: nested values; the scalars among them become hyper-parameters.
      metric: the one that the HParams tab shows beside them.
      name: of the run there.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], metric: str, name: str):
        self._writer = tf.summary.create_file_writer(str(folder))
        with self._writer.as_default():
            hparams.hparams_config(hparams=[], metrics=[hparams.Metric(metric)])
            hparams.hparams(flat_scalars(settings), trial_id=name)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Adds scalars at a step of the algorithm's unit."""
        with self._writer.as_default():
            for name, value in values.items():
                tf.summary.scalar(name, value, step=step)

    def close(self) -> None:
        """Flushes and ends the file."""
        self._writer.close()


def flat_scalars(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The settings that TensorBoard can compare, by dotted name; lists become text."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flat_scalars(value, f"{prefix}{key}.")
        elif isinstance(value, bool | int | float | str):
            flat[f"{prefix}{key}"] = value
        elif value is not None:
            flat[f"{prefix}{key}"] = str(value)
    return flat
