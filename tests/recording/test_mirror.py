import threading

import pytest

from workbench.recording.mirror import Mirror


class Copy:
    """Fails as often as it is told to, and says when it has been tried."""

    def __init__(self, failures=0):
        self.failures = failures
        self.calls = []
        self.tried = threading.Semaphore(0)

    def update(self):
        try:
            if self.failures:
                self.failures -= 1
                raise ValueError("away\nand more lines")
            self.calls.append("update")
        finally:
            self.tried.release()

    def end(self):
        self.calls.append("end")


def check_until_told(mirror):
    while True:  # the thread notes what it has caught a little later
        mirror.check()


def test_copy_is_updated_at_once_and_a_last_time_before_its_end():
    copy = Copy()
    mirror = Mirror(copy.update, seconds=1000)
    assert copy.tried.acquire(timeout=10)
    mirror.close(copy.end)
    assert copy.calls == ["update", "update", "end"]
    mirror.check()


def test_failed_update_is_told_once_in_one_line():
    copy = Copy(failures=1)
    mirror = Mirror(copy.update, seconds=1000)
    with pytest.raises(OSError, match="away") as error:
        check_until_told(mirror)
    assert error.value.strerror == "away"
    mirror.check()
    mirror.close(copy.end)
    assert copy.calls == ["update", "end"]


def test_failed_update_is_tried_again():
    copy = Copy(failures=2)
    mirror = Mirror(copy.update, seconds=0.001)
    for _ in range(3):
        assert copy.tried.acquire(timeout=10)
    mirror.close(copy.end)
    assert copy.calls[0] == "update"


def test_copy_that_cannot_be_completed_is_told_at_the_end():
    copy = Copy(failures=10)
    mirror = Mirror(copy.update, seconds=1000)
    with pytest.raises(OSError, match="away"):
        mirror.close(copy.end)
    assert copy.calls == []


def test_the_end_waits_no_longer_than_its_grace():
    goes_on = threading.Event()
    mirror = Mirror(goes_on.wait, seconds=1000)
    with pytest.raises(OSError, match="not done after"):
        mirror.close(lambda: None, grace=0.01)
    goes_on.set()
