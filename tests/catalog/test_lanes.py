"""Claims that leave each lane its number: against a model that can be read at a glance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import delete
from sqlalchemy.dialects import postgresql

from conch_pipe.catalog.queries import claims, jobs
from conch_pipe.catalog.tables import jobs as table
from conch_pipe.model import Job, Outcome
from tests import catalogs
from tests.catalog.conftest import Bench, Pump

LANES = ("", "a", "b", "c")
KINDS = ("send", "sync")


def add(bench, lane: str, due_s: float = 0, kind: str = "send", subject: str = "x") -> None:
    job = Job(kind, subject, bench.now() + timedelta(seconds=due_s), lane=lane)
    bench.result(bench.database.write(jobs.add, job, bench.now()))


def claimed(bench, limit=10, lanes=None, room=None, kinds=KINDS, lease_s=60) -> list[Job]:
    return bench.result(bench.jobs.claim(kinds, limit, lease_s, lanes, room))


def test_a_lane_gives_no_more_than_its_number_and_the_others_no_more_than_the_room(bench):
    for lane in ("a", "a", "a", "b", "b", "", "", ""):
        add(bench, lane)

    found = claimed(bench, lanes={"a": 2}, room=1)

    assert Counter(job.lane for job in found) == {"a": 2, "b": 1, "": 3}
    assert [job.id for job in found] == sorted(job.id for job in found)
    assert claimed(bench, lanes={"a": 0}, room=0) == []
    assert [job.lane for job in claimed(bench, lanes={"b": 0})] == ["a"]
    assert [job.lane for job in claimed(bench)] == ["b"]


def test_a_full_lane_keeps_nobody_behind_it_waiting(bench):
    """A remote with a thousand recordings must not stop the others, however old its jobs are."""
    for _ in range(50):
        add(bench, "a")
    bench.clock.advance(1)
    add(bench, "b")

    assert [job.lane for job in claimed(bench, limit=2, lanes={"a": 1}, room=25)] == ["a", "b"]


def test_of_a_lane_the_oldest_are_taken(in_memory):
    for due_s in (-1, -3, -2):
        add(in_memory, "a", due_s, subject=str(due_s))

    assert [job.subject for job in claimed(in_memory, lanes={"a": 2})] == ["-3", "-2"]


def test_a_job_keeps_its_lane_when_it_is_tried_again(in_memory):
    add(in_memory, "a")
    [job] = claimed(in_memory)
    in_memory.settle(job, Outcome(retry_at=in_memory.now()))

    assert [job.lane for job in claimed(in_memory, lanes={"a": 1}, room=0)] == ["a"]


@dataclass
class Plain:
    """A job as the model knows it."""

    id: int
    kind: str
    lane: str
    due_s: int
    leased_until_s: int = -1
    ended: bool = False


def expected(known: list[Plain], kinds, now_s: int, limit: int, lanes, room) -> list[Plain]:
    """Go through the due jobs, oldest first; take what finds room."""
    left = dict(lanes or {})
    taken = []
    for job in sorted(known, key=lambda job: (job.due_s, job.id)):
        if job.ended or job.kind not in kinds or job.due_s > now_s or job.leased_until_s > now_s:
            continue
        if job.lane and left.setdefault(job.lane, limit if room is None else room) <= 0:
            continue
        if len(taken) == limit:
            break
        if job.lane:
            left[job.lane] -= 1
        taken.append(job)
    return taken


steps = st.one_of(
    st.tuples(st.just("add"), st.sampled_from(KINDS), st.sampled_from(LANES), st.integers(-5, 20)),
    st.tuples(
        st.just("claim"),
        st.lists(st.sampled_from(KINDS), unique=True),
        st.integers(1, 6),
        st.none() | st.dictionaries(st.sampled_from(LANES[1:]), st.integers(0, 3)),
        st.none() | st.integers(0, 3),
    ),
    st.tuples(st.just("wait"), st.integers(1, 15)),
    st.tuples(st.just("settle"), st.integers(0, 30), st.none() | st.integers(0, 10)),
)


@pytest.fixture(scope="module")
def bench_of_all() -> Iterator[Bench]:
    """One for all examples: making it takes longer than they do."""
    database = catalogs.in_memory()
    bench = Bench(database, Pump())
    yield bench
    bench.result(database.close())


@settings(max_examples=80, deadline=None)
@given(script=st.lists(steps, max_size=40))
def test_claims_are_those_of_the_plain_model(bench_of_all, script):
    bench = bench_of_all
    bench.result(bench.database.write(lambda connection: connection.execute(delete(table)) and None))
    now_s, known, held = 0, [], {}
    for step, *values in script:
        if step == "add":
            kind, lane, due_s = values
            add(bench, lane, due_s, kind)
            known.append(Plain(len(known) + 1, kind, lane, now_s + due_s))
        elif step == "wait":
            bench.clock.advance(values[0])
            now_s += values[0]
        elif step == "claim":
            kinds, limit, lanes, room = values
            wanted = expected(known, kinds, now_s, limit, lanes, room)
            found = claimed(bench, limit, lanes, room, kinds, lease_s=10)
            assert [(job.id, job.lane) for job in found] == [(job.id, job.lane) for job in wanted]
            for job, plain in zip(found, wanted, strict=True):
                plain.leased_until_s = now_s + 10
                held[job.id] = job
        elif held:
            number, retry_s = values
            job = held.pop(sorted(held)[number % len(held)])
            plain = known[job.id - 1]
            retry_at = None if retry_s is None else bench.now() + timedelta(seconds=retry_s)
            assert bench.settle(job, Outcome(done=retry_s is None, retry_at=retry_at))
            plain.leased_until_s, plain.ended = -1, retry_s is None
            plain.due_s = plain.due_s if retry_s is None else now_s + retry_s


def test_a_backlog_of_one_lane_or_kind_costs_the_others_nothing(in_memory):
    """Counted in steps of SQLite's machine, which are the same on every computer."""

    def steps(*kinds, **lanes) -> int:
        wanted = claims.Wanted(kinds, 4, 60, lanes, None)
        made = 0

        def step():
            nonlocal made
            made += 1

        def claim(connection):
            driver = connection.connection.driver_connection
            driver.set_progress_handler(step, 1)
            assert claims.claim(connection, wanted, in_memory.now()) == []
            driver.set_progress_handler(None, 0)

        in_memory.result(in_memory.database.write(claim))
        return made

    add(in_memory, "a")
    few = steps("other"), steps("send", a=0)
    for _ in range(500):
        add(in_memory, "a")

    assert (steps("other"), steps("send", a=0)) == few


def test_postgresql_can_skip_what_other_processes_have_locked():
    """It takes no FOR UPDATE beside a window function, DISTINCT or GROUP BY."""
    text = str(claims.OLDEST.compile(dialect=postgresql.dialect()))

    assert text.endswith("FOR UPDATE SKIP LOCKED")
    assert not [word for word in ("OVER", "DISTINCT", "GROUP BY") if word in text]
