"""Queries about the durable queue: due, leased, settled.

A lease saves work, nothing more: two runners may believe in one job, and then the fence lets only the later one
settle. That rows are loaded once rests on the warehouse's ledger.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, Select, and_, bindparam, delete, func, insert, or_, select, update

from conch_pipe.catalog.prepared import Prepared
from conch_pipe.catalog.tables import IN_A_LANE, jobs
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


def claim(
    connection: Connection,
    kinds: Iterable[str],
    limit: int,
    lease_s: float,
    at: datetime,
    lanes: Mapping[str, int] | None = None,
    room: int | None = None,
) -> list[Job]:
    """Lease due jobs, oldest first; a job whose lease ran out is due.

    :param lanes: how many of these lanes, at most.
    :param room: how many of any other lane; None: as many as there are.
    """
    due = (
        jobs.c.ended_at.is_(None),
        jobs.c.due_at <= at,
        jobs.c.kind.in_(list(kinds)),
        or_(jobs.c.lease_until.is_(None), jobs.c.lease_until <= at),
    )
    oldest = (
        select(jobs.c.id)
        .where(*due)
        .order_by(jobs.c.due_at, jobs.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)  # nothing on SQLite, where BEGIN IMMEDIATE lets one process in
    )
    if lanes or room is not None:
        oldest = oldest.where(jobs.c.id.in_(_within(due, lanes or {}, room)))
    rows = connection.execute(
        update(jobs)
        .where(jobs.c.id.in_(oldest.scalar_subquery()))
        .values(claims=jobs.c.claims + 1, fence=jobs.c.fence + 1, lease_until=at + timedelta(seconds=lease_s))
        .returning(
            jobs.c.kind,
            jobs.c.subject,
            jobs.c.due_at,
            jobs.c.id,
            jobs.c.payload,
            jobs.c.claims,
            jobs.c.failures,
            jobs.c.fence,
            jobs.c.lane,
        )
    ).all()
    return sorted((Job(*row) for row in rows), key=lambda job: (job.due_at, job.id))


def _within(due: Sequence[ColumnElement[bool]], lanes: Mapping[str, int], room: int | None) -> Select[tuple[int]]:
    """Ids of the due jobs that find room in their lanes, each lane's oldest.

    A query of its own, because PostgreSQL locks no rows of one with a window function.
    """
    place = func.row_number().over(partition_by=jobs.c.lane, order_by=(jobs.c.due_at, jobs.c.id)).label("place")
    full = [lane for lane, number in lanes.items() if number <= 0]
    ranked = select(jobs.c.id, jobs.c.lane, place).where(*due, jobs.c.lane.not_in(full)).subquery()
    fits = [ranked.c.lane == ""]
    # Lanes with the same number together: there are few numbers, and the statement stays short.
    for number in set(lanes.values()) - {0}:
        fits.append(
            and_(ranked.c.lane.in_([lane for lane in lanes if lanes[lane] == number]), ranked.c.place <= number)
        )
    others = ranked.c.lane.not_in(list(lanes))
    fits.append(others if room is None else and_(others, ranked.c.place <= room))
    return select(ranked.c.id).where(or_(*fits))


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
    values: dict[str, object] = {"lease_until": None, "reason": outcome.reason}
    if outcome.done:
        values |= {"ended_at": at, "outcome": "done"}
    elif outcome.retry_at is not None:
        # Claims count the leases without an end, and this one has an end (IJobs.settle).
        values |= {"due_at": outcome.retry_at, "claims": 0}
    else:
        values |= {"ended_at": at, "outcome": "dead"}
    if not outcome.done and (outcome.failed or outcome.retry_at is None):
        values["failures"] = jobs.c.failures + 1
    return connection.execute(update(jobs).where(*_ours(job)).values(values)).rowcount == 1


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


def alive_in(connection: Connection, kind: str, lane: str) -> list[str]:
    """Subjects of the jobs of a lane that have not ended."""
    query = select(jobs.c.subject).where(*_alive(kind), *_of_lane(lane)).order_by(jobs.c.due_at, jobs.c.id)
    return list(connection.execute(query).scalars())


def end_lane(connection: Connection, lane: str, reason: str, at: datetime) -> None:
    """All jobs of a lane are dead; who works on one may not settle it any more."""
    held = update(jobs).where(jobs.c.ended_at.is_(None), *_of_lane(lane))
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


def _of_lane(lane: str) -> tuple[ColumnElement[bool], ...]:
    return jobs.c.lane == lane, IN_A_LANE  # said again as the index says it, which is then used


def _portions(subjects: Sequence[str]) -> Iterator[Sequence[str]]:
    return (subjects[start : start + _AT_ONCE] for start in range(0, len(subjects), _AT_ONCE))
