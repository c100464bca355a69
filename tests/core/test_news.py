"""Parts that are being built can say something."""

from workbench.core.news import heard_by, say


def test_what_is_said_is_heard_within_and_by_nobody_outside():
    heard, others = [], []
    say("before")
    with heard_by(heard.append):
        say("one")
        with heard_by(others.append):
            say("two")
        say("three")
    say("after")
    assert (heard, others) == (["one", "three"], ["two"])
