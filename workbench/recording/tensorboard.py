"""Scalars and hyper-parameters for TensorBoard."""

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.plugins.scalar.metadata import create_summary_metadata
from tensorboard.summary.writer.record_writer import RecordWriter
from tensorboard.util.tensor_util import make_tensor_proto

from workbench.recording.settings import flat_scalars


class TensorBoard:
    """Writes a run's scalars, and its settings for the HParams tab.

    The columns of that tab are left to TensorBoard, which collects them from all runs that it
    shows: a run that declared its own would hide those of the others in a sweep.

    Written record by record here: `tf.summary` cannot mark a restart, and reports no full disk.

    Args:
      folder: of the event files.
      settings: nested values; the scalars among them become hyper-parameters.
      name: of the run in the HParams tab.
      resumed_at: the step that a resumed run goes on from; TensorBoard drops what it has later.
    """

    def __init__(
        self, folder: Path, settings: Mapping[str, Any], name: str, resumed_at: int | None = None
    ):
        folder.mkdir(parents=True, exist_ok=True)
        part = len(list(folder.iterdir()))  # files are read in the order of their names
        path = folder / (
            f"events.out.tfevents.{int(time.time()):010d}.{part:04d}"
            f".{socket.gethostname()}.{os.getpid()}.v2"
        )
        # What a full disk refuses stays in this buffer until the next flush that succeeds.
        self._stream = path.open("wb", buffering=1 << 20)
        self._records = RecordWriter(self._stream)
        self._add(time.time(), file_version="brain.Event:2")
        # Every start after the first makes TensorBoard drop what it has from that step on.
        first = 0 if resumed_at is None else resumed_at + 1
        self._add(time.time(), step=first, session_log=SessionLog(status=SessionLog.START))
        if resumed_at is None:
            self._add(time.time(), summary=hparams_pb(flat_scalars(settings), trial_id=name))

    def write(self, step: int, now: float, values: Mapping[str, float]) -> None:
        """Adds scalars.

        Args:
          step: in the algorithm's unit.
          now: seconds since the epoch.
          values: numbers by name, e.g. "train/loss".

        Raises:
          OSError: when the disk takes no more.
        """
        metadata = create_summary_metadata(display_name="", description="")
        scalars = [
            Summary.Value(tag=tag, metadata=metadata, tensor=make_tensor_proto(np.float32(value)))
            for tag, value in values.items()
        ]
        self._add(now, step=step, summary=Summary(value=scalars))

    def close(self) -> None:
        """Ends the file."""
        self._stream.close()

    def _add(self, now: float, **content: Any) -> None:
        self._records.write(Event(wall_time=now, **content).SerializeToString())
        self._records.flush()
