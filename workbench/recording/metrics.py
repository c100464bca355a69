"""`metrics.jsonl`: one JSON object a record, readable after any accident."""

import json
import math
from pathlib import Path
from typing import Any


class MetricsFile:
    """Appends records; each has left this process when `write` returns to the loop.

    What a full disk refuses is kept, and goes out with the next record that there is room for.

    A number that is not finite is written as null, as strict JSON has no word for it, and its name
    stands in the record's `not_finite`.
    """

    def __init__(self, path: Path):
        self._stream = path.open("ab", buffering=0)
        self._pending = b""

    def write(self, step: int, time: float, values: dict[str, float]) -> None:
        """Adds a record.

        Args:
          step: in the algorithm's unit.
          time: seconds since the epoch.
          values: numbers by name, e.g. "train/loss".

        Raises:
          OSError: when the disk takes no more.
        """
        record: dict[str, Any] = {"step": step, "time": round(time, 3), **finite(values)}
        bad = [name for name, value in values.items() if not math.isfinite(value)]
        if bad:
            record["not_finite"] = bad
        self._pending += json.dumps(record, allow_nan=False).encode() + b"\n"
        while self._pending:
            self._pending = self._pending[self._stream.write(self._pending) :]

    def close(self) -> None:
        """Ends the file."""
        self._stream.close()


def finite(values: dict[str, float]) -> dict[str, float | None]:
    """The values with null in place of what JSON cannot hold."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The records of a file; a last line that was cut off is passed over."""
    return parse_metrics(path.read_text()) if path.exists() else []


def parse_metrics(text: str) -> list[dict[str, Any]]:
    """The records of a part of a file; lines that were cut off are passed over."""
    records = []
    for line in text.splitlines():
        try:
            records.append(json.loads(line))
        except ValueError:
            continue
    return records


def truncate_metrics(path: Path, step: int) -> None:
    """Drops the records after `step`, which a resumed run will write again."""
    kept = [record for record in read_metrics(path) if record["step"] <= step]
    partial = path.with_name(f".{path.name}")
    partial.write_text("".join(json.dumps(record) + "\n" for record in kept))
    partial.replace(path)
