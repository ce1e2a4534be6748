"""The durable queue: due, leased, fenced, settled."""

from __future__ import annotations

from datetime import timedelta

import pytest

from conch_pipe.catalog.queries import jobs
from conch_pipe.errors import Code, PipeError
from conch_pipe.model import Job, Outcome, Problem, State, utc
from tests.catalog.conftest import COMPLETED


def test_due_jobs_are_leased_oldest_first_and_once(bench):
    uploads = []
    for _ in range(3):
        uploads.append(bench.accept())
        bench.clock.advance(1)

    first, second = bench.claim(2)
    rest = bench.claim(2)

    assert [job.subject for job in (first, second, *rest)] == [str(upload.id) for upload in uploads]
    assert (first.claims, first.failures, first.fence) == (1, 0, 1)
    assert bench.claim(2) == []
    assert {bench.state(upload) for upload in uploads} == {State.PROCESSING}


def test_only_the_kinds_asked_for_are_claimed(bench):
    bench.accept()
    bench.result(bench.database.write(jobs.add, Job("push", "r1", utc(bench.clock)), utc(bench.clock)))

    [push] = bench.result(bench.jobs.claim(["push", "sync"], 10, 60))

    assert (push.kind, push.subject) == ("push", "r1")
    assert bench.result(bench.jobs.claim([], 10, 60)) == []
    assert bench.result(bench.jobs.waiting()) == {"ingest": 1, "push": 1}


def test_a_job_is_not_claimed_before_it_is_due(in_memory):
    upload = in_memory.accept()
    due = utc(in_memory.clock) + timedelta(seconds=5)
    in_memory.settle(in_memory.claim()[0], Outcome(retry_at=due))

    early = in_memory.claim()
    in_memory.clock.advance(5)
    [job] = in_memory.claim()

    assert early == []
    assert (job.subject, job.due_at, job.failures, job.claims) == (str(upload.id), due, 1, 1)


def test_a_lease_that_ran_out_is_due_again_with_a_new_fence(bench):
    upload = bench.accept()
    [first] = bench.claim(lease_s=60)
    bench.clock.advance(59)
    assert bench.claim() == []
    bench.clock.advance(1)

    [second] = bench.claim()

    assert (second.id, second.claims, second.fence) == (first.id, 2, 2)
    assert bench.state(upload) is State.PROCESSING


def test_a_stale_fence_changes_nothing(bench):
    """A runner that slept through its lease must not overwrite what its successor found."""
    upload = bench.accept()
    [stale] = bench.claim(lease_s=1)
    bench.clock.advance(1)
    [fresh] = bench.claim()

    assert not bench.settle(stale, Outcome(reason="late", problems=(Problem("late"),)))
    assert not bench.result(bench.jobs.renew(stale, 60))
    assert bench.state(upload) is State.PROCESSING
    assert bench.result(bench.uploads.problems(upload.id)) == ()
    assert bench.settle(fresh, COMPLETED)
    assert not bench.settle(fresh, COMPLETED)
    assert bench.state(upload) is State.COMPLETED


def test_freed_leases_are_due_at_once_and_their_holders_settle_nothing(bench):
    """After kill -9 of the only service nobody should wait until leases end."""
    ended, retried, leased = (bench.accept() for _ in range(3))
    bench.settle(bench.claim()[0], COMPLETED)
    [job] = bench.claim()
    later = utc(bench.clock) + timedelta(seconds=5)
    bench.settle(job, Outcome(retry_at=later))
    [held] = bench.claim(lease_s=60)

    assert bench.result(bench.jobs.release_all()) == 1

    assert not bench.settle(held, COMPLETED)
    assert not bench.result(bench.jobs.renew(held, 60))
    [again] = bench.claim(3)
    assert (again.subject, again.claims, again.fence) == (str(leased.id), 2, 3)
    assert bench.settle(again, COMPLETED)
    assert bench.result(bench.jobs.release_all()) == 0
    assert [bench.state(one) for one in (ended, retried)] == [State.COMPLETED, State.PENDING]


def test_a_job_that_was_there_at_three_deaths_waits_its_lease_out(in_memory):
    """A service that dies ten times in ten seconds must not use up the attempts of whatever is first in the queue."""
    in_memory.accept()
    starts = 0
    while in_memory.claim(lease_s=60):
        starts += 1
        in_memory.result(in_memory.jobs.release_all())

    in_memory.clock.advance(60)

    [job] = in_memory.claim()
    assert (starts, job.claims) == (jobs.PROMPT + 1, jobs.PROMPT + 2)


def test_a_renewed_lease_lasts_longer(bench):
    bench.accept()
    [job] = bench.claim(lease_s=60)
    bench.clock.advance(50)

    renewed = bench.result(bench.jobs.renew(job, 60))

    bench.clock.advance(59)
    assert renewed
    assert bench.claim() == []


def test_a_settled_job_has_no_lease_to_renew(in_memory):
    in_memory.accept()
    [job] = in_memory.claim()
    in_memory.settle(job, Outcome(retry_at=utc(in_memory.clock), failed=False))

    assert not in_memory.result(in_memory.jobs.renew(job, 60))


def test_settling_writes_the_upload_and_its_problems_together(bench):
    upload = bench.accept()
    [job] = bench.claim()
    bench.clock.advance(3)
    problems = (Problem("not a number", 3, 2, "amount", "x" * 80), Problem("too short"))
    columns = {
        "state": State.COMPLETED,
        "rows": 5,
        "rejected": 2,
        "problem": "line 3: not a number",
        "problem_count": 200,
        "seconds": {"check": 0.25, "load": 1.0},
        "finished_at": utc(bench.clock),
    }

    assert bench.settle(job, Outcome(done=True, upload=columns, problems=problems))

    settled = bench.result(bench.uploads.get(upload.id))
    assert {name: getattr(settled, name) for name in columns} == columns
    assert bench.result(bench.uploads.problems(upload.id)) == problems
    assert bench.result(bench.jobs.waiting()) == {}


def test_a_retried_job_puts_its_upload_back_to_pending(bench):
    upload = bench.accept()
    [job] = bench.claim()

    bench.settle(job, Outcome(retry_at=utc(bench.clock), failed=False, reason="the warehouse is busy"))

    assert bench.state(upload) is State.PENDING
    [again] = bench.claim()
    assert (again.failures, again.claims) == (0, 1)


def test_a_dead_job_leaves_a_failed_upload_that_says_why(bench):
    upload = bench.accept()
    [job] = bench.claim()

    bench.settle(job, Outcome(reason="the worker died three times"))

    failed = bench.result(bench.uploads.get(upload.id))
    assert (failed.state, failed.problem) == (State.FAILED, "the worker died three times")
    assert failed.finished_at == utc(bench.clock)
    bench.clock.advance(10**6)
    assert bench.claim() == []


def test_an_outcome_that_breaks_the_rules_changes_nothing(bench):
    """An upload cannot be completed by a job that did not claim it; the job stays as it was."""
    upload = bench.accept()
    [job] = bench.claim()
    bench.settle(job, COMPLETED)
    bench.result(bench.database.write(jobs.add, Job("ingest", str(upload.id), utc(bench.clock)), utc(bench.clock)))
    [other] = bench.claim()

    with pytest.raises(PipeError) as caught:
        bench.settle(other, Outcome(reason="dead"))

    assert caught.value.code is Code.CONFLICT
    assert bench.state(upload) is State.COMPLETED
    assert bench.result(bench.jobs.waiting()) == {"ingest": 1}


def test_a_column_a_job_must_not_touch_is_a_mistake_of_the_program(in_memory):
    in_memory.accept()
    [job] = in_memory.claim()

    with pytest.raises(ValueError, match="organisation"):
        in_memory.settle(job, Outcome(done=True, upload={"organisation": "other"}))


def test_the_backlog_says_what_waits_and_since_when(in_memory):
    first = in_memory.accept()
    in_memory.clock.advance(60)
    in_memory.accept()
    in_memory.claim()

    backlog = in_memory.result(in_memory.jobs.backlog())

    assert backlog == {"ingest": jobs.Backlog(waiting=1, leased=1, oldest_at=first.received_at)}
