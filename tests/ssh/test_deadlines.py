"""Deadlines: each at its time, on one timer of the reactor."""

import pytest
from twisted.internet.task import Clock

from conch_pipe.ssh.transport.deadlines import Deadlines


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def deadlines(clock):
    return Deadlines(clock)


def test_each_comes_at_its_time_and_once(clock, deadlines):
    came = []
    for name, seconds in (("late", 30), ("early", 10), ("last", 40.5)):
        deadlines.set(name, seconds, lambda name=name: came.append((name, clock.seconds())))
    deadlines.wind()

    clock.pump([0.5] * 200)

    assert came == [("early", 10), ("late", 30), ("last", 40.5)]
    assert clock.getDelayedCalls() == []


def test_many_need_one_timer_and_those_called_off_before_it_is_wound_none(clock, deadlines):
    for seconds in (10, 30, 30, 15):
        deadlines.set(f"in {seconds}", seconds, lambda: None)
        deadlines.wind()
    assert [call.getTime() for call in clock.getDelayedCalls()] == [10]

    deadlines.set("sooner", 5, lambda: None)
    deadlines.drop("sooner")
    deadlines.wind()

    assert [call.getTime() for call in clock.getDelayedCalls()] == [10]


def test_one_that_was_called_off_or_set_anew_does_not_come_at_its_old_time(clock, deadlines):
    came = []
    deadlines.set("off", 10, lambda: came.append("off"))
    deadlines.set("anew", 10, lambda: came.append("at the old time"))
    deadlines.wind()
    deadlines.drop("off")
    deadlines.drop("never set")
    deadlines.set("anew", 20, lambda: came.append(clock.seconds()))
    deadlines.wind()

    clock.pump([5] * 10)

    assert came == [20]


def test_a_function_may_call_off_others_of_the_same_moment_and_set_itself_again(clock, deadlines):
    came = []

    def first():
        came.append(clock.seconds())
        deadlines.drop("second")
        deadlines.set("first", 7, first)

    deadlines.set("first", 7, first)
    deadlines.set("second", 7, lambda: came.append("second"))
    deadlines.wind()

    clock.pump([1] * 15)

    assert came == [7, 14]
    assert "second" not in deadlines
    deadlines.clear()
    assert clock.getDelayedCalls() == []


def test_cleared_there_is_none(clock, deadlines):
    deadlines.set("one", 1, lambda: pytest.fail("it was cleared"))
    deadlines.wind()

    deadlines.clear()
    deadlines.clear()

    assert clock.getDelayedCalls() == []
