"""The catalog at one moment, as it is counted for metrics."""

from __future__ import annotations

from datetime import timedelta

import pytest

from conch_pipe.catalog.queries import jobs
from conch_pipe.catalog.watch import PRESSED, Depth, Standing
from conch_pipe.model import Job, Outcome, PushState


@pytest.fixture
def bench(in_memory):
    return in_memory


def standing(bench) -> Standing:
    return bench.result(bench.catalog.watch.standing())


def add(bench, kind: str, due_s: float) -> None:
    job = Job(kind, f"{kind}-1", bench.now() + timedelta(seconds=due_s))
    bench.result(bench.catalog.database.write(jobs.add, job, bench.now()))


def claim(bench, kind: str) -> Job:
    (job,) = bench.result(bench.jobs.claim([kind], 1, 60))
    return job


def test_jobs_are_later_due_or_running_and_the_oldest_is_that_which_could_be_claimed(bench):
    start = bench.now()
    for due_s in (-30, -10, 50):
        add(bench, "retention", due_s)
    add(bench, "push", 3600)
    assert standing(bench).queue == {
        "push": Depth(1, 0, 0, None),
        "retention": Depth(1, 2, 0, start - timedelta(seconds=30)),
    }

    claim(bench, "retention")

    assert standing(bench).queue["retention"] == Depth(1, 1, 1, start - timedelta(seconds=10))


def test_a_job_of_a_process_that_died_is_due_since_its_lease_ran_out(bench):
    start = bench.now()
    add(bench, "retention", -1000)
    claim(bench, "retention")
    bench.clock.advance(100)

    assert standing(bench).queue["retention"] == Depth(0, 1, 0, start + timedelta(seconds=60))


def test_jobs_that_have_ended_are_not_counted(bench):
    add(bench, "retention", -1)
    assert bench.settle(claim(bench, "retention"), Outcome(done=True))

    assert standing(bench).queue == {}


def test_a_push_presses_when_most_of_its_attempts_are_made(bench):
    bench.environment("north")
    _, (push,) = bench.recorded()
    for attempts in range(1, PRESSED + 1):
        assert standing(bench).pressing == 0
        (job,) = bench.claim_pushes()
        assert bench.attempt(job, PushState.WAITING)
        bench.clock.advance(61)
        assert bench.push(push).attempts == attempts

    assert (standing(bench).pressing, standing(bench).pushes[PushState.WAITING]) == (1, 1)

    (job,) = bench.claim_pushes()
    assert bench.attempt(job, PushState.DELIVERED)

    assert (standing(bench).pressing, standing(bench).pushes[PushState.DELIVERED]) == (0, 1)


def test_remotes_by_what_they_are_disabled(bench):
    for name in ("north", "south", "east", "west"):
        bench.remote(name)
    bench.result(bench.remotes.disable("south", "host_key"))
    bench.result(bench.remotes.disable("east"))

    assert standing(bench).remotes == {"enabled": 2, "host_key": 1, "operator": 1}


def test_of_nothing_there_is_nothing(bench):
    found = standing(bench)

    assert (found.queue, found.pressing, set(found.pushes.values()), found.remotes, found.webhooks) == (
        {},
        0,
        {0},
        {},
        {},
    )
    assert set(found.pushes) == set(PushState)
    assert bench.result(bench.catalog.watch.answers()) is None
