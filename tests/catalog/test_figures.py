"""The overview's questions: how much came, how long it took, what failed and what is late."""

from __future__ import annotations

from datetime import timedelta

import pytest

from conch_pipe.catalog.queries.figures import Failures, Figures, Slot
from conch_pipe.model import Outcome, PushState, State
from tests.catalog.conftest import COMPLETED

MINUTE = timedelta(minutes=1)


def figures(bench) -> Figures:
    return Figures(bench.database, bench.clock)


def received(bench, after_s: float = 0, failed: str = "", **changes):
    """An upload that gets its verdict after so many seconds."""
    upload = bench.accept(bench.upload(**changes))
    [job] = bench.claim()
    bench.clock.advance(after_s)
    failure = {"state": State.FAILED, "problem": failed, "problem_count": 1}
    assert bench.settle(job, Outcome(reason=failed, upload=failure) if failed else COMPLETED)
    return upload


def test_each_slot_tells_how_much_came_and_how_long_it_took(bench):
    since = bench.now()
    for waited in (0.25, 3, 1):
        received(bench, waited)
    received(bench, 2, failed="not a CSV file", bytes=10)
    bench.clock.advance((since + 2 * MINUTE - bench.now()).total_seconds())
    bench.accept(bench.upload())

    told = bench.result(figures(bench).slots("acme", since, since + 3 * MINUTE, 60))

    assert told == (
        Slot(since, 4, 19, 6, 1, pytest.approx(1.0, abs=0.002), pytest.approx(3.0, abs=0.002)),
        Slot(since + MINUTE),
        Slot(since + 2 * MINUTE, received=1, bytes=3),
    )


def test_slots_are_of_the_organisation_or_of_all(in_memory):
    since = in_memory.now()
    received(in_memory)
    received(in_memory, organisation="beta")

    def count(organisation):
        return in_memory.result(figures(in_memory).slots(organisation, since, since + MINUTE, 60))[0].received

    assert (count("acme"), count("beta"), count("gamma"), count(None)) == (1, 1, 0, 2)


def test_failures_are_told_by_reason_unless_the_file_was_sent_again_with_success(bench):
    since = bench.now()
    received(bench, 1, failed="line 3, column n: not an integer", name="a.csv")
    newest = received(bench, 1, failed="line 7, column n: not an integer", name="b.csv")
    received(bench, 1, failed="no header", name="c.csv")
    received(bench, 1, name="c.csv")
    other = received(bench, 1, failed="no header", name="c.csv", organisation="beta")

    def told(organisation=None, since=since):
        return bench.result(figures(bench).failures(organisation, since, 10))

    acme = Failures("acme", "orgShifts", "column n: not an integer", 2, newest.id, "b.csv", newest.received_at)
    assert told() == (Failures("beta", "orgShifts", "no header", 1, other.id, "c.csv", other.received_at), acme)
    assert told("acme") == (acme,)
    assert told(since=bench.now()) == ()


def test_what_has_many_attempts_behind_it_or_was_given_up_is_late(bench):
    since = bench.now()
    bench.environment("north", "south")
    _, (north, south) = bench.recorded()
    bench.recorded("r2")
    for _ in range(2):
        [job] = [job for job in bench.claim_pushes() if job.subject == str(north.id)]
        bench.attempt(job, PushState.WAITING)
        bench.clock.advance(120)

    def late(organisation=None, attempts=2, since=since):
        found = bench.result(figures(bench).late(organisation, attempts, since, 10))
        return [(one.id, one.push.remote, one.push.state, one.push.attempts) for one in found]

    assert late() == [("r1", "north", PushState.WAITING, 2)]
    assert late("beta") == late(attempts=3) == []

    [job] = [job for job in bench.claim_pushes() if job.subject == str(south.id)]
    bench.attempt(job, PushState.GIVEN_UP)
    assert late("acme", 3) == [("r1", "south", PushState.GIVEN_UP, 1)]
    assert late("acme", 3, bench.now() + MINUTE) == []
