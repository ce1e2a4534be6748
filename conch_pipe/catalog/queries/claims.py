"""Which due jobs are leased next, so that each lane gets its number and none keeps the others waiting.

Goes from lane to lane along an index and takes the oldest of each: what a claim costs depends on how many lanes there
are, and not on how many jobs wait in them, or on those of other kinds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Integer, ScalarSelect, bindparam, or_, select, update

from conch_pipe.catalog.prepared import Prepared
from conch_pipe.catalog.tables import jobs
from conch_pipe.model import Job

_OF_KIND = (jobs.c.ended_at.is_(None), jobs.c.kind == bindparam("kind"))


def _first_lane(*conditions: ColumnElement[bool]) -> ScalarSelect[Any]:
    return select(jobs.c.lane).where(*_OF_KIND, *conditions).order_by(jobs.c.lane).limit(1).scalar_subquery()


def _every_lane() -> Prepared:
    """Lanes that have jobs, one seek for each: DISTINCT would look at every job."""
    lanes = select(_first_lane().label("lane")).cte("lanes", recursive=True)
    lanes = lanes.union_all(select(_first_lane(jobs.c.lane > lanes.c.lane)).where(lanes.c.lane.is_not(None)))
    return Prepared(select(lanes.c.lane).where(lanes.c.lane.is_not(None)))


_LANES = _every_lane()
OLDEST = (
    select(jobs.c.due_at, jobs.c.id, jobs.c.lane)
    .where(
        *_OF_KIND,
        jobs.c.lane == bindparam("lane"),
        jobs.c.due_at <= bindparam("now"),
        or_(jobs.c.lease_until.is_(None), jobs.c.lease_until <= bindparam("now")),
    )
    .order_by(jobs.c.due_at, jobs.c.id)
    .limit(bindparam("number", type_=Integer))
    .with_for_update(skip_locked=True)  # nothing on SQLite, where BEGIN IMMEDIATE lets one process in
)
_OLDEST = Prepared(OLDEST)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which jobs to lease, and how many."""

    kinds: Sequence[str]
    limit: int  # of all of them
    lease_s: float
    lanes: Mapping[str, int]  # how many of these lanes, at most
    room: int | None  # how many of any other lane; None: as many as there are

    def of(self, lane: str) -> int:
        """How many of a lane."""
        if not lane:
            return self.limit
        return self.lanes.get(lane, self.limit if self.room is None else self.room)


def claim(connection: Connection, wanted: Wanted, at: datetime) -> list[Job]:
    """Lease due jobs, oldest first; a job whose lease ran out is due."""
    chosen = _fitting(_due(connection, wanted, at), wanted)
    if not chosen:
        return []
    rows = connection.execute(
        update(jobs)
        .where(jobs.c.id.in_(chosen))
        .values(claims=jobs.c.claims + 1, fence=jobs.c.fence + 1, lease_until=at + timedelta(seconds=wanted.lease_s))
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


_Due = tuple[datetime, int, str]  # when, id, lane


def _due(connection: Connection, wanted: Wanted, at: datetime) -> Iterator[_Due]:
    """The oldest due jobs of each lane, as many as may be needed."""
    for kind in wanted.kinds:
        for (lane,) in _LANES.run(connection, {"kind": kind}):
            number = min(wanted.limit, wanted.of(lane))
            if number > 0:
                found = _OLDEST.run(connection, {"kind": kind, "lane": lane, "now": at, "number": number})
                yield from ((due_at, job_id, lane) for due_at, job_id, lane in found)


def _fitting(due: Iterable[_Due], wanted: Wanted) -> list[int]:
    """Ids of the oldest that find room; a lane may have jobs of several kinds."""
    taken: Counter[str] = Counter()
    chosen: list[int] = []
    for _, job_id, lane in sorted(due):
        if taken[lane] < wanted.of(lane) and len(chosen) < wanted.limit:
            taken[lane] += 1
            chosen.append(job_id)
    return chosen
