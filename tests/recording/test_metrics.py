import json
import math

import pytest

from workbench.recording.metrics import MetricsFile, read_metrics, truncate_metrics


@pytest.fixture
def path(tmp_path):
    file = MetricsFile(tmp_path / "metrics.jsonl")
    for step in (10, 20, 30):
        file.write(step, 1.5, {"train/loss": step / 10})
    file.close()
    return tmp_path / "metrics.jsonl"


def test_records_read_back(path):
    assert read_metrics(path)[0] == {"step": 10, "time": 1.5, "train/loss": 1.0}
    assert [record["step"] for record in read_metrics(path)] == [10, 20, 30]


def test_record_can_be_read_before_the_file_is_closed(tmp_path):
    file = MetricsFile(tmp_path / "m")
    file.write(1, 0.0, {"a": 1.0})
    assert len(read_metrics(tmp_path / "m")) == 1


def test_numbers_that_are_not_finite_stay_strict_json(tmp_path):
    file = MetricsFile(tmp_path / "m")
    file.write(1, 0.0, {"a": math.nan, "b": math.inf, "c": 1.0})

    def refuse(word):
        raise AssertionError(word)

    record = json.loads((tmp_path / "m").read_text(), parse_constant=refuse)
    assert record["a"] is None
    assert record["not_finite"] == ["a", "b"]


def test_half_a_line_is_passed_over(path):
    with path.open("a") as stream:
        stream.write('{"step": 40, "tra')
    assert [record["step"] for record in read_metrics(path)] == [10, 20, 30]


def test_truncation_drops_later_records_and_half_a_line(path):
    with path.open("a") as stream:
        stream.write('{"step": 15, "tra')
    truncate_metrics(path, 20)
    file = MetricsFile(path)
    file.write(25, 0.0, {})
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [10, 20, 25]


def test_absent_file_has_no_records(tmp_path):
    assert read_metrics(tmp_path / "m") == []


def test_full_disk_is_an_os_error():
    from pathlib import Path

    with pytest.raises(OSError, match="No space left"):
        MetricsFile(Path("/dev/full")).write(1, 0.0, {"a": 1.0})


def test_record_that_a_full_disk_refused_goes_out_with_the_next(tmp_path):
    class Cramped:
        """Takes a few bytes, then nothing until there is room again."""

        def __init__(self, stream):
            self.stream, self.room = stream, 7

        def write(self, data):
            if not self.room:
                raise OSError(28, "No space left on device")
            written = self.stream.write(data[: self.room])
            self.room -= written
            return written

    file = MetricsFile(tmp_path / "m")
    file._stream = cramped = Cramped(file._stream)
    with pytest.raises(OSError, match="No space"):
        file.write(1, 0.0, {"a": 1.0})
    cramped.room = 10_000
    file.write(2, 0.0, {"a": 2.0})
    assert [record["step"] for record in read_metrics(tmp_path / "m")] == [1, 2]
