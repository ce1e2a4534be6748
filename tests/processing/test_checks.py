"""Files find company while the workers are busy, and lose it when a call comes to a bad end."""

from __future__ import annotations

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from conch_pipe.errors import Code, PipeError, WorkerDied
from conch_pipe.processing.checks import CHECK, CHECK_MANY, GATHER_S, SMALL, TOGETHER, Checks
from tests.clocks import PromptClock


class Held:
    """Workers whose calls wait for the test."""

    def __init__(self) -> None:
        self.calls = []
        self.cancelled = 0

    def call(self, function, arguments, *, wall_s):
        self.calls.append((function, arguments, Deferred(self._cancel)))
        return self.calls[-1][2]

    def _cancel(self, _):
        self.cancelled += 1

    def names(self, number):
        function, arguments, _ = self.calls[number]
        return [one["name"] for one in (arguments["checks"] if function == CHECK_MANY else [arguments])]


@pytest.fixture
def workers():
    return Held()


@pytest.fixture
def checks(workers):
    return Checks(workers, 1, 10, PromptClock())


def ask(checks, name, *, schema="s", size=10):
    told = []
    checks.check({"schema_text": schema, "name": name}, size).addBoth(told.append)
    return told


def test_files_that_wait_go_together_and_each_has_its_own_answer(workers, checks):
    told = [ask(checks, name) for name in "abc"]

    workers.calls[0][2].callback({"rows": 1})
    error = {"code": "conflict", "message": "damaged", "detail": ""}
    workers.calls[1][2].callback({"results": [{"verdict": {"rows": 2}}, {"error": error}]})

    assert [call[0] for call in workers.calls] == [CHECK, CHECK_MANY]
    assert workers.names(1) == ["b", "c"]
    assert told[:2] == [[{"rows": 1}], [{"rows": 2}]]
    assert told[2][0].value.code is Code.CONFLICT


def test_small_files_that_come_at_a_time_go_together_and_a_large_one_waits_for_nobody(workers):
    clock = Clock()
    checks = Checks(workers, 2, 10, clock)
    for name in "ab":
        ask(checks, name)
    clock.advance(GATHER_S / 2)
    ask(checks, "c")
    assert workers.calls == []

    clock.advance(GATHER_S / 2)
    ask(checks, "large", size=SMALL + 1)

    assert [workers.names(0), workers.names(1)] == [["a", "b", "c"], ["large"]]
    assert clock.getDelayedCalls() == []


def test_large_files_and_other_schemas_go_by_themselves(workers, checks):
    ask(checks, "first")
    ask(checks, "large", size=SMALL + 1)
    ask(checks, "a")
    ask(checks, "b", schema="other")
    ask(checks, "c", schema="other")

    for number in range(3):
        workers.calls[number][2].callback({"rows": 1})

    assert [workers.names(number) for number in range(4)] == [["first"], ["large"], ["a"], ["b", "c"]]


def test_a_call_takes_no_more_than_it_may(workers, checks):
    for number in range(TOGETHER + 3):
        ask(checks, number)

    workers.calls[0][2].callback({"rows": 1})

    assert len(workers.names(1)) == TOGETHER


@pytest.mark.parametrize("error", [WorkerDied("killed by SIGSEGV"), PipeError(Code.NO_SPACE, "no space left")])
def test_after_a_bad_end_each_is_checked_by_itself_and_answers_for_itself(workers, checks, error):
    told = [ask(checks, name) for name in "abc"]
    workers.calls[0][2].callback({"rows": 1})

    workers.calls[1][2].errback(error)
    assert told[1:] == [[], []]
    workers.calls[2][2].errback(error)
    workers.calls[3][2].callback({"rows": 3})

    assert [workers.names(number) for number in (2, 3)] == [["b"], ["c"]]
    assert told[1][0].value is error
    assert told[2] == [{"rows": 3}]


def test_a_call_nobody_waits_for_is_cancelled_and_others_go_on(workers, checks):
    checks.check({"schema_text": "s", "name": "first"}, 1)
    waiting = [checks.check({"schema_text": "s", "name": name}, 1) for name in "abc"]
    waiting[0].cancel()
    waiting[0].addErrback(lambda failure: failure.trap(CancelledError))
    workers.calls[0][2].callback({"rows": 1})

    waiting[1].cancel()
    waiting[1].addErrback(lambda failure: failure.trap(CancelledError))
    assert workers.cancelled == 0
    waiting[2].cancel()
    waiting[2].addErrback(lambda failure: failure.trap(CancelledError))

    assert (workers.names(1), workers.cancelled) == (["b", "c"], 1)
