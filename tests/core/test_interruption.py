"""Signals are remembered, whoever listens at the time."""

import os
import signal

import pytest

from workbench.core.interruption import Interruption


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR2])
def test_a_signal_is_remembered(number):
    with Interruption().listening() as interruption:
        os.kill(os.getpid(), number)
    assert interruption.signal == number


def test_a_second_sigint_interrupts_at_once():
    with Interruption().listening():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_signal_that_came_before_the_run_listened_is_not_lost():
    with Interruption().listening():
        os.kill(os.getpid(), signal.SIGTERM)
        with Interruption().listening() as run:
            assert run.signal == signal.SIGTERM
    with Interruption().listening() as later:
        assert later.signal is None
