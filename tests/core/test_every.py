from workbench.core.every import EverySeconds, next_multiple


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_due_when_the_seconds_have_passed_and_counting_starts_anew_then():
    clock = Clock()
    every = EverySeconds(10, clock=clock)
    due = []
    for seconds in (0, 9.9, 0.1, 0, 9.9, 25.0, 9.9, 0.1):
        clock.now += seconds
        due.append(every.due())
    assert due == [False, False, True, False, False, True, False, True]


def test_zero_seconds_are_always_due():
    every = EverySeconds(0, clock=Clock())
    assert every.due()
    assert every.due()


def test_next_multiple_is_the_first_one_above():
    assert [next_multiple(step, 4) for step in range(9)] == [4, 4, 4, 4, 8, 8, 8, 8, 12]
    assert next_multiple(7, 1) == 8
