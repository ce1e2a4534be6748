"""Queries about the durable queue: added, settled, woken. Which due jobs are leased is in claims.py.

A lease saves work, nothing more: two runners may believe in one job, and then the fence lets only the later one
settle. That rows are loaded once rests on the warehouse's ledger.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, bindparam, delete, func, insert, select, update

from conch_pipe.catalog.prepared import Prepared
from conch_pipe.catalog.tables import jobs
from conch_pipe.model import Job, Outcome

_AT_ONCE = 500  # subjects in one statement
PROMPT = 3  # leases without an end after which a job waits for the end of its lease all the same


@dataclass(frozen=True, slots=True)
class Backlog:
    """Jobs of one kind that have not ended."""

    waiting: int
    leased: int
    oldest_at: datetime  # when the oldest of them was made


_NEW = ("kind", "subject", "lane", "payload", "created_at", "due_at", "claims", "failures", "fence", "reason")
_ADD = Prepared(insert(jobs).values({name: bindparam(name) for name in _NEW}).inline())
_SETTLE = (
    update(jobs)
    .where(jobs.c.id == bindparam("job"), jobs.c.fence == bindparam("its_fence"), jobs.c.ended_at.is_(None))
    .values(lease_until=None, reason=bindparam("why"), failures=jobs.c.failures + bindparam("failed"))
)
_END = Prepared(_SETTLE.values(ended_at=bindparam("now"), outcome=bindparam("how")))
# Claims count the leases without an end, and this one has an end (IJobs.settle).
_AGAIN = Prepared(_SETTLE.values(due_at=bindparam("again_at"), claims=0))


def add(connection: Connection, job: Job, at: datetime) -> None:
    """Store a new job."""
    _ADD.run(
        connection,
        {
            "kind": job.kind,
            "subject": job.subject,
            "lane": job.lane,
            "payload": dict(job.payload),
            "created_at": at,
            "due_at": job.due_at,
            "claims": 0,
            "failures": 0,
            "fence": 0,
            "reason": "",
        },
    )


def renew(connection: Connection, job: Job, lease_s: float, at: datetime) -> bool:
    """:returns: False when the lease is no longer the job's."""
    change = update(jobs).where(*_ours(job), jobs.c.lease_until.is_not(None))
    return connection.execute(change.values(lease_until=at + timedelta(seconds=lease_s))).rowcount == 1


def release_all(connection: Connection) -> int:
    """Free leases, but of jobs that were leased too often. :returns: how many were freed."""
    held = update(jobs).where(jobs.c.ended_at.is_(None), jobs.c.lease_until.is_not(None), jobs.c.claims <= PROMPT)
    # A new fence at once: between now and the next claim the old holder might settle.
    return connection.execute(held.values(lease_until=None, fence=jobs.c.fence + 1)).rowcount


def settle(connection: Connection, job: Job, outcome: Outcome, at: datetime) -> bool:
    """End the lease; the job is done, due again, or dead.

    :returns: False when its fence is stale: nothing was changed.
    """
    values: dict[str, object] = {"job": job.id, "its_fence": job.fence, "why": outcome.reason}
    again = not outcome.done and outcome.retry_at is not None
    if again:
        values["again_at"] = outcome.retry_at
    else:
        values |= {"now": at, "how": "done" if outcome.done else "dead"}
    values["failed"] = int(not outcome.done and (outcome.failed or outcome.retry_at is None))
    return (_AGAIN if again else _END).change(connection, values) == 1


def due(connection: Connection, kind: str, subjects: Sequence[str]) -> dict[str, datetime]:
    """Subject → when its job is due, of those that have not ended."""
    return {
        subject: due_at
        for some in _portions(subjects)
        for subject, due_at in connection.execute(
            select(jobs.c.subject, jobs.c.due_at).where(*_alive(kind), jobs.c.subject.in_(some))
        )
    }


def wake(connection: Connection, kind: str, subjects: Sequence[str], at: datetime) -> set[str]:
    """Jobs that have not ended are due at a time or earlier; one that is leased, should its lease run out.

    :returns: subjects of these jobs.
    """
    alive = set(due(connection, kind, subjects))
    for some in _portions(sorted(alive)):
        later = (*_alive(kind), jobs.c.subject.in_(some), jobs.c.due_at > at)
        connection.execute(update(jobs).where(*later).values(due_at=at))
    return alive


def wake_lane(connection: Connection, kind: str, lane: str, at: datetime) -> None:
    """The same for all jobs of a lane."""
    later = (*_alive(kind), jobs.c.lane == lane, jobs.c.due_at > at)
    connection.execute(update(jobs).where(*later).values(due_at=at))


def end_lane(connection: Connection, kind: str, lane: str, reason: str, at: datetime) -> None:
    """All jobs of a lane are dead; who works on one may not settle it any more."""
    held = update(jobs).where(*_alive(kind), jobs.c.lane == lane)
    connection.execute(
        held.values(ended_at=at, outcome="dead", reason=reason, lease_until=None, fence=jobs.c.fence + 1)
    )


def remove(connection: Connection, kind: str, subjects: Sequence[str]) -> None:
    """Delete what is left of ended jobs."""
    connection.execute(
        delete(jobs).where(jobs.c.subject.in_(subjects), jobs.c.kind == kind, jobs.c.ended_at.is_not(None))
    )


def waiting(connection: Connection) -> dict[str, int]:
    """See :class:`conch_pipe.interfaces.IJobs`."""
    return {kind: entry.waiting + entry.leased for kind, entry in backlog(connection).items()}


def backlog(connection: Connection) -> dict[str, Backlog]:
    """What has not ended, by kind; a kind without such jobs is missing."""
    query = (
        select(jobs.c.kind, func.count(), func.count(jobs.c.lease_until), func.min(jobs.c.created_at))
        .where(jobs.c.ended_at.is_(None))
        .group_by(jobs.c.kind)
        .order_by(jobs.c.kind)
    )
    return {kind: Backlog(all_ - leased, leased, oldest) for kind, all_, leased, oldest in connection.execute(query)}


def _ours(job: Job) -> tuple:
    return jobs.c.id == job.id, jobs.c.fence == job.fence, jobs.c.ended_at.is_(None)


def _alive(kind: str) -> tuple[ColumnElement[bool], ...]:
    return jobs.c.kind == kind, jobs.c.ended_at.is_(None)


def _portions(subjects: Sequence[str]) -> Iterator[Sequence[str]]:
    return (subjects[start : start + _AT_ONCE] for start in range(0, len(subjects), _AT_ONCE))
