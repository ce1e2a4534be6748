"""What a look at the whole needs: does the catalog answer, how deep is the queue, how do pushes and remotes stand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Table, and_, case, func, or_, select
from twisted.internet.defer import Deferred

from conch_pipe.catalog.aggregate import Aggregate
from conch_pipe.catalog.queries import pushes
from conch_pipe.catalog.tables import jobs, organisations, remotes, webhooks
from conch_pipe.catalog.tables import pushes as push_table
from conch_pipe.model import PushState

PRESSED = 10  # attempts made, of 13


@dataclass(frozen=True, slots=True)
class Depth:
    """Jobs of one kind that have not ended."""

    later: int  # not due yet
    due: int
    running: int
    oldest_due_at: datetime | None  # since when the oldest of those that are due could have been claimed


@dataclass(frozen=True, slots=True)
class Standing:
    """The catalog at one moment.

    :ivar queue: by kind; one without jobs is missing.
    :ivar pressing: pushes that have at most three attempts left.
    :ivar remotes: "enabled", or why they are disabled → how many; so ``webhooks``.
    """

    queue: Mapping[str, Depth]
    pushes: Mapping[PushState, int]
    pressing: int
    remotes: Mapping[str, int]
    webhooks: Mapping[str, int]


class Watch(Aggregate):
    """For those who look after the service."""

    def answers(self) -> Deferred[None]:
        """Whether it can be read. :raises PipeError: not."""
        return self._database.read(_answers)

    def standing(self) -> Deferred[Standing]:
        """Everything that is counted for metrics. :raises PipeError: BUSY, FAILED."""
        return self._database.read(standing, self._now())


def _answers(connection: Connection) -> None:
    connection.execute(select(organisations.c.name).limit(1)).all()


def standing(connection: Connection, at: datetime) -> Standing:
    """See Watch."""
    pressing = select(func.count()).where(
        push_table.c.state.in_([PushState.WAITING.value, PushState.PARTIAL.value]), push_table.c.attempts >= PRESSED
    )
    return Standing(
        queue=_queue(connection, at),
        pushes=pushes.counts(connection),
        pressing=connection.execute(pressing).scalar_one(),
        remotes=_states(connection, remotes),
        webhooks=_states(connection, webhooks),
    )


def _queue(connection: Connection, at: datetime) -> dict[str, Depth]:
    """A job whose lease has run out is due again since then."""
    leased = and_(jobs.c.lease_until.is_not(None), jobs.c.lease_until > at)
    due_at = case((jobs.c.lease_until.is_(None), jobs.c.due_at), else_=jobs.c.lease_until)
    due = and_(jobs.c.due_at <= at, or_(jobs.c.lease_until.is_(None), jobs.c.lease_until <= at))
    query = (
        select(
            jobs.c.kind,
            func.count(),
            func.count(case((leased, 1))),
            func.count(case((due, 1))),
            func.min(case((due, due_at))),
        )
        .where(jobs.c.ended_at.is_(None))
        .group_by(jobs.c.kind)
    )
    return {
        kind: Depth(everything - running - waiting, waiting, running, oldest)
        for kind, everything, running, waiting, oldest in connection.execute(query)
    }


def _states(connection: Connection, table: Table) -> dict[str, int]:
    query = select(table.c.enabled, table.c.disabled_reason, func.count()).group_by(
        table.c.enabled, table.c.disabled_reason
    )
    found: dict[str, int] = {}
    for enabled, reason, number in connection.execute(query):
        state = "enabled" if enabled else reason or "operator"
        found[state] = found.get(state, 0) + number
    return found
