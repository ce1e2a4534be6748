"""Questions about many records at once, for an overview: how much came, how long it took, and what waits for a person.

They look at a few days at most, through the indexes on times and states.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Float, Integer, and_, case, cast, exists, extract, func, or_, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction
from twisted.internet.defer import Deferred

from conch_pipe.catalog.aggregate import Aggregate
from conch_pipe.catalog.queries import pushes
from conch_pipe.catalog.tables import pushes as pushes_table
from conch_pipe.catalog.tables import recordings, uploads
from conch_pipe.model import Push, PushState, State

_PLACE = re.compile(r"^(line|row) \d+(, |: )")  # where in the file; the reason is what comes after it
_LOOKED_AT = 500  # problems that differ, be it by their place alone


class _Epoch(GenericFunction[float]):
    """A time as seconds, with their fractions; ``extract`` gives whole ones on SQLite."""

    type = Float()
    name = "epoch_s"
    inherit_cache = True


@compiles(_Epoch)
def _standard(element: Any, compiler: Any, **options: Any) -> str:
    return f"extract(epoch FROM {compiler.process(element.clauses, **options)})"


@compiles(_Epoch, "sqlite")
def _sqlite(element: Any, compiler: Any, **options: Any) -> str:
    return f"((julianday({compiler.process(element.clauses, **options)}) - 2440587.5) * 86400.0)"


@dataclass(frozen=True, slots=True)
class Slot:
    """What was received in a stretch of time."""

    began_at: datetime
    received: int = 0  # files
    bytes: int = 0
    rows: int = 0  # loaded
    failed: int = 0  # files
    median_s: float | None = None  # from receiving a file to its verdict; None: there was none
    slowest_s: float | None = None  # 19 of 20 took less


@dataclass(frozen=True, slots=True)
class Failures:
    """Uploads that failed for the same reason and were not sent again with success."""

    organisation: str
    schema: str
    problem: str
    uploads: int
    newest: UUID
    newest_name: str
    newest_at: datetime


@dataclass(frozen=True, slots=True)
class Late:
    """A recording that is not wholly where it should be."""

    push: Push
    id: str  # the sender's
    name: str
    organisation: str


class Figures(Aggregate):
    """The questions, over a database. An organisation that is None stands for all."""

    def slots(
        self, organisation: str | None, since: datetime, until: datetime, seconds: int
    ) -> Deferred[tuple[Slot, ...]]:
        """Uploads by when they were received, oldest first; each slot is there, also an empty one.

        :param since: the beginning of the first slot. :param seconds: the length of each.
        """
        return self._database.read(slots, organisation, since, until, seconds)

    def failures(self, organisation: str | None, since: datetime, limit: int) -> Deferred[tuple[Failures, ...]]:
        """By reason, those with the newest upload first."""
        return self._database.read(failures, organisation, since, limit)

    def late(self, organisation: str | None, attempts: int, since: datetime, limit: int) -> Deferred[tuple[Late, ...]]:
        """Pushes with so many attempts behind them or more, or given up since then; those with the most come first."""
        return self._database.read(late, organisation, attempts, since, limit)


def slots(
    connection: Connection, organisation: str | None, since: datetime, until: datetime, seconds: int
) -> tuple[Slot, ...]:
    """See :meth:`Figures.slots`. On 100,000 uploads of one day 0.7 s on two busy cores, in a
    thread; of one hour of them 0.04 s."""
    first = int(since.timestamp())
    conditions = [uploads.c.received_at >= since, uploads.c.received_at < until]
    if organisation is not None:
        conditions.append(uploads.c.organisation == organisation)
    waited = _Epoch(uploads.c.finished_at) - _Epoch(uploads.c.received_at)
    each = (
        select(
            cast((cast(extract("epoch", uploads.c.received_at), Integer) - first) // seconds, Integer).label("slot"),
            uploads.c.bytes,
            uploads.c.rows,
            uploads.c.state,
            waited.label("waited"),
        )
        .where(*conditions)
        .subquery()
    )
    ranked = select(
        each,
        func.row_number()
        .over(partition_by=each.c.slot, order_by=(each.c.waited.is_(None), each.c.waited))
        .label("place"),
        func.count(each.c.waited).over(partition_by=each.c.slot).label("ended"),
    ).subquery()
    query = select(
        ranked.c.slot,
        func.count().label("received"),
        func.sum(ranked.c.bytes).label("bytes"),
        func.coalesce(func.sum(ranked.c.rows), 0).label("rows"),
        func.sum(case((ranked.c.state == State.FAILED.value, 1), else_=0)).label("failed"),
        func.max(case((ranked.c.place == (ranked.c.ended + 1) // 2, ranked.c.waited))).label("median"),
        func.max(case((ranked.c.place == (ranked.c.ended * 19 + 19) // 20, ranked.c.waited))).label("slowest"),
    ).group_by(ranked.c.slot)
    found = {row.slot: row for row in connection.execute(query)}
    shown = []
    for number in range(-((first - int(until.timestamp())) // seconds)):
        began_at, row = datetime.fromtimestamp(first + number * seconds, UTC), found.get(number)
        if row is None:
            shown.append(Slot(began_at))
            continue
        median, slowest = (None if one is None else max(0.0, float(one)) for one in (row.median, row.slowest))
        shown.append(Slot(began_at, row.received, int(row.bytes), int(row.rows), int(row.failed), median, slowest))
    return tuple(shown)


def failures(connection: Connection, organisation: str | None, since: datetime, limit: int) -> tuple[Failures, ...]:
    """See :meth:`Figures.failures`. With 5,000 failed ones among 100,000 uploads 0.1 s."""
    again = uploads.alias("again")
    sent_again = exists().where(
        again.c.client_id == uploads.c.client_id,
        again.c.schema == uploads.c.schema,
        again.c.name == uploads.c.name,
        again.c.received_at > uploads.c.received_at,
        again.c.state == State.COMPLETED.value,
    )
    conditions = [uploads.c.state == State.FAILED.value, uploads.c.received_at >= since, ~sent_again]
    if organisation is not None:
        conditions.append(uploads.c.organisation == organisation)
    alike = (uploads.c.organisation, uploads.c.schema, uploads.c.problem)
    each = (
        select(
            *alike,
            uploads.c.id,
            uploads.c.name,
            uploads.c.received_at,
            func.count().over(partition_by=alike).label("number"),
            func.row_number()
            .over(partition_by=alike, order_by=(uploads.c.received_at.desc(), uploads.c.id.desc()))
            .label("place"),
        )
        .where(*conditions)
        .subquery()
    )
    query = select(each).where(each.c.place == 1).order_by(each.c.received_at.desc()).limit(_LOOKED_AT)
    found: dict[tuple[str, str, str], Failures] = {}
    for row in connection.execute(query):
        problem = row.problem or ""
        reason = _PLACE.sub("", problem)
        key = (row.organisation, row.schema, reason)
        if (known := found.get(key)) is not None:
            found[key] = replace(known, problem=reason, uploads=known.uploads + row.number)
        elif len(found) < limit:
            found[key] = Failures(row.organisation, row.schema, problem, row.number, row.id, row.name, row.received_at)
    return tuple(found.values())


def late(
    connection: Connection, organisation: str | None, attempts: int, since: datetime, limit: int
) -> tuple[Late, ...]:
    """See :meth:`Figures.late`."""
    table = pushes_table
    trying = and_(table.c.state.in_([one.value for one in pushes.UNFINISHED]), table.c.attempts >= attempts)
    given_up = and_(table.c.state == PushState.GIVEN_UP.value, table.c.final_at >= since)
    query = (
        select(table.c.id, recordings.c.id.label("recording_id"), recordings.c.name, recordings.c.organisation)
        .select_from(table.join(recordings, table.c.recording == recordings.c.uid))
        .where(or_(trying, given_up))
        .order_by(table.c.attempts.desc(), table.c.ended_at.desc())
        .limit(limit)
    )
    if organisation is not None:
        query = query.where(recordings.c.organisation == organisation)
    found = {row.id: row for row in connection.execute(query)}
    known = pushes.several(connection, list(found))
    return tuple(Late(known[push_id], row.recording_id, row.name, row.organisation) for push_id, row in found.items())
