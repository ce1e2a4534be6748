"""Questions to the parts of the service: bounded in time, asked once for all who want to know, and not too often."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from conch_pipe.errors import Code, PipeError
from conch_pipe.health import KEPT_S, WAIT_S, Health, Question
from conch_pipe.model.health import Check


class Part:
    """Something that can be asked."""

    def __init__(self) -> None:
        self.asked: list[Deferred[str]] = []

    def __call__(self) -> Deferred[str]:
        self.asked.append(Deferred())
        return self.asked[-1]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def part() -> Part:
    return Part()


def look(health: Health) -> list[Any]:
    """What comes of a look, once it does."""
    found: list[Any] = []
    Deferred.fromCoroutine(health.look()).addBoth(found.append)
    return found


def test_all_parts_are_asked_at_once_and_each_answers_in_its_words(clock, part):
    def broken() -> str:
        raise PipeError(Code.FAILED, "the disk is gone", "/somewhere")

    other = Part()
    found = look(Health({"first": part, "broken": broken, "other": other}, clock))
    assert (len(part.asked), len(other.asked), found) == (1, 1, [])

    clock.advance(1)
    other.asked[0].callback("well")
    part.asked[0].callback("fine")

    assert found == [
        (
            Check("first", True, "fine", 1.0),
            Check("broken", False, "the disk is gone (/somewhere)", 0.0),
            Check("other", True, "well", 1.0),
        )
    ]
    assert clock.getDelayedCalls() == []


def test_who_does_not_answer_is_not_waited_for_and_not_asked_again(clock, part):
    health = Health({"part": part}, clock)
    for _ in range(5):
        found = look(health)
        clock.advance(WAIT_S)
        assert [check.ok for check in found[0]] == [False]
        clock.advance(KEPT_S)

    assert len(part.asked) == 1
    assert found[0][0].words == f"no answer for {4 * (WAIT_S + KEPT_S) + WAIT_S:.0f} s"
    part.asked[0].callback("at last")
    assert look(health)[0][0].ok
    assert clock.getDelayedCalls() == []


def test_an_answer_is_good_for_a_moment_and_many_who_ask_are_one_question(clock, part):
    health = Health({"part": part}, clock)
    several = [look(health) for _ in range(100)]
    part.asked[0].callback("well")
    assert all(found[0][0].ok for found in several)

    look(health)
    assert len(part.asked) == 1
    clock.advance(KEPT_S)
    look(health)

    assert len(part.asked) == 2
    part.asked[1].callback("well")


def test_a_part_that_breaks_is_not_well_and_the_log_tells_why(clock, logged_errors):
    def careless() -> str:
        raise ZeroDivisionError

    ((check,),) = look(Health({"part": careless}, clock))

    assert (check.ok, check.words) == (False, "it failed, see the log")
    assert len(logged_errors.flush(ZeroDivisionError)) == 1


def test_a_question_without_an_answer_has_no_result(clock, part):
    question = Question(part, clock, wait_s=1, kept_s=1)
    answers: list[Any] = []
    question.answer().addCallback(answers.append)
    clock.advance(1)

    with pytest.raises(PipeError) as caught:
        answers[0].result()

    assert caught.value.code is Code.BUSY
