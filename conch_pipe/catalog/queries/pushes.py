"""Queries about pushes and the log of their attempts. What moves with them is in delivery.py."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Row, bindparam, func, insert, or_, select, update

from conch_pipe.catalog.prepared import Prepared, addition
from conch_pipe.catalog.queries import jobs
from conch_pipe.catalog.tables import push_attempts, pushes, recordings
from conch_pipe.model import Attempt, FileResult, Push, PushState, Report, Role, Status

KIND = "push"  # of its jobs, whose subject is the push's id
UNFINISHED = (PushState.WAITING, PushState.PARTIAL)
_UNFINISHED = [state.value for state in UNFINISHED]
_AT_ONCE = 500  # ids in one statement
_CHANGING = ("state", "attempts", "ended_at", "manual", "arrived", "problems", "final_at")
_WRITE = Prepared(
    update(pushes).where(pushes.c.id == bindparam("push_id")).values({name: bindparam(name) for name in _CHANGING})
)
_SELECT = select(pushes.c.id, pushes.c.recording, pushes.c.remote, *(pushes.c[name] for name in _CHANGING))
_BEFORE = Prepared(_SELECT.add_columns(pushes.c.released_at).where(pushes.c.id == bindparam("push_id")))
_LOG = addition(push_attempts)


@dataclass(frozen=True, slots=True)
class AttemptFilter:
    """Which attempts an operator wants to see; None: any."""

    organisation: str | None = None
    recording: UUID | None = None  # our id of it
    remote: str | None = None
    status: Status | None = None
    since: datetime | None = None  # begun then or later
    until: datetime | None = None  # begun before
    limit: int = 100  # the newest so many
    before: tuple[datetime, int] | None = None  # begun before this one, which is on the page before; its id


def add(connection: Connection, new: Iterable[Push]) -> None:
    """Store new pushes."""
    values = [{"id": push.id, "recording": push.recording, "remote": push.remote, **_columns(push)} for push in new]
    if values:
        connection.execute(insert(pushes), values)


def get(connection: Connection, push_id: UUID) -> Push | None:
    """One push."""
    found = _whole(connection, connection.execute(_SELECT.where(pushes.c.id == push_id)).all())
    return found[0] if found else None


def several(connection: Connection, push_ids: Sequence[UUID]) -> dict[UUID, Push]:
    """Id → push; one that is not there is missing."""
    found: dict[UUID, Push] = {}
    for some in _portions(push_ids):
        for push in _whole(connection, connection.execute(_SELECT.where(pushes.c.id.in_(some))).all()):
            found[push.id] = push
    return found


def of_recording(connection: Connection, uid: UUID) -> tuple[Push, ...]:
    """All pushes of a recording, by remote."""
    return of_recordings(connection, [uid]).get(uid, ())


def of_recordings(connection: Connection, uids: Sequence[UUID]) -> dict[UUID, tuple[Push, ...]]:
    """Recording → its pushes, by remote; one without pushes is missing."""
    found: dict[UUID, tuple[Push, ...]] = {}
    for some in _portions(uids):
        query = _SELECT.where(pushes.c.recording.in_(some)).order_by(pushes.c.remote)
        for push in _whole(connection, connection.execute(query).all()):
            found[push.recording] = (*found.get(push.recording, ()), push)
    return found


def of_remote(connection: Connection, remote: str) -> tuple[Push, ...]:
    """All pushes to a remote of that name that will be tried: unfinished, or asked for."""
    return _whole(connection, connection.execute(_SELECT.where(*_to_be_tried(remote))).all())


def ask_all(connection: Connection, remote: str, at: datetime) -> int:
    """The same for all pushes to a remote that will be tried. :returns: how many."""
    change = update(pushes).where(*_to_be_tried(remote)).values(manual=True, released_at=at)
    return connection.execute(change).rowcount


def all_final(connection: Connection, uids: Sequence[UUID]) -> list[UUID]:
    """Those of these recordings that have no unfinished push."""
    unfinished: set[UUID] = set()
    for some in _portions(uids):
        query = select(pushes.c.recording).where(pushes.c.recording.in_(some), pushes.c.state.in_(_UNFINISHED))
        unfinished |= set(connection.execute(query).scalars())
    return [uid for uid in uids if uid not in unfinished]


def unfinished(connection: Connection, organisation: str, environment: str) -> int:
    """How many pushes of an environment's recordings are not final."""
    query = (
        select(func.count())
        .select_from(pushes.join(recordings))
        .where(
            recordings.c.organisation == organisation,
            recordings.c.environment == environment,
            pushes.c.state.in_(_UNFINISHED),
        )
    )
    return connection.execute(query).scalar_one()


def counts(connection: Connection, organisation: str | None = None) -> dict[PushState, int]:
    """How many pushes there are in each state; every state is there."""
    query = select(pushes.c.state, func.count()).group_by(pushes.c.state)
    if organisation is not None:
        query = query.select_from(pushes.join(recordings)).where(recordings.c.organisation == organisation)
    found = {PushState(state): number for state, number in connection.execute(query)}
    return {state: found.get(state, 0) for state in PushState}


def write(connection: Connection, changed: Iterable[Push]) -> None:
    """Set what attempts change; ``due_at`` is their jobs'."""
    for push in changed:
        _WRITE.run(connection, {"push_id": push.id, **_columns(push)})


def before(connection: Connection, push_id: UUID) -> tuple[Push, datetime | None] | None:
    """What settling needs: the push without its next moment, and when a manual attempt was last asked for."""
    rows = _BEFORE.run(connection, {"push_id": push_id})
    if not rows:
        return None
    [[*values, asked_at]] = rows
    return _push(values, None), asked_at


def ask(connection: Connection, push_ids: Iterable[UUID], at: datetime) -> None:
    """The next attempt of each is a manual one."""
    for some in _portions(list(push_ids)):
        connection.execute(update(pushes).where(pushes.c.id.in_(some)).values(manual=True, released_at=at))


def log(connection: Connection, attempt: Attempt, push: Push) -> None:
    """Write an attempt of a push down."""
    report = attempt.report
    _LOG.run(
        connection,
        {
            "push": push.id,
            "recording": push.recording,
            "remote": push.remote,
            "number": attempt.number,
            "began_at": attempt.began_at,
            "host": attempt.host,
            "port": attempt.port,
            "username": attempt.username,
            "folder": attempt.folder,
            "status": report.status.value,
            "reason": report.reason,
            "detail": report.detail,
            "files": [_document(file) for file in report.files],
            "host_key": report.host_key,
            "algorithms": report.algorithms,
            "seconds": report.seconds,
            "refused_key": report.refused_key,
            "connected": report.connected,
            "late": attempt.late,
            "shared": attempt.shared,
        },
    )


def attempts(connection: Connection, wanted: AttemptFilter) -> tuple[Attempt, ...]:
    """The newest attempts that pass a filter, newest first."""
    query = (
        select(push_attempts, recordings.c.id.label("recording_id"), recordings.c.organisation)
        .select_from(push_attempts.join(recordings, push_attempts.c.recording == recordings.c.uid))
        .order_by(push_attempts.c.began_at.desc(), push_attempts.c.id.desc())
        .limit(wanted.limit)
    )
    if wanted.organisation is not None:
        query = query.where(recordings.c.organisation == wanted.organisation)
    if wanted.recording is not None:
        query = query.where(push_attempts.c.recording == wanted.recording)
    if wanted.remote is not None:
        query = query.where(push_attempts.c.remote == wanted.remote)
    if wanted.status is not None:
        query = query.where(push_attempts.c.status == wanted.status.value)
    if wanted.since is not None:
        query = query.where(push_attempts.c.began_at >= wanted.since)
    if wanted.until is not None:
        query = query.where(push_attempts.c.began_at < wanted.until)
    if wanted.before is not None:
        at, attempt_id = wanted.before
        began_at = push_attempts.c.began_at
        query = query.where(began_at <= at, or_(began_at < at, push_attempts.c.id < attempt_id))
    return tuple(_attempt(row) for row in connection.execute(query))


def _to_be_tried(remote: str) -> tuple[ColumnElement[bool], ...]:
    return pushes.c.remote == remote, or_(pushes.c.state.in_(_UNFINISHED), pushes.c.manual)


def _portions(ids: Sequence[UUID]) -> Iterator[Sequence[UUID]]:
    return (ids[start : start + _AT_ONCE] for start in range(0, len(ids), _AT_ONCE))


def _columns(push: Push) -> dict[str, Any]:
    return {
        "state": push.state.value,
        "attempts": push.attempts,
        "ended_at": push.ended_at,
        "manual": push.manual,
        "arrived": [role.value for role in Role if role in push.arrived],
        "problems": {role.value: push.problems[role] for role in Role if role in push.problems},
        "final_at": push.final_at,
    }


def _whole(connection: Connection, rows: Sequence[Row]) -> tuple[Push, ...]:
    """Rows of pushes, in their order, with the moments of their next attempts."""
    due = jobs.due(connection, KIND, [str(row.id) for row in rows])
    return tuple(_push(row, due.get(str(row.id))) for row in rows)


def _push(values: Sequence[Any], due_at: datetime | None) -> Push:
    """:param values: those of ``_SELECT``."""
    push_id, recording, remote, state, attempts, ended_at, manual, arrived, problems, final_at = values
    return Push(
        push_id,
        recording,
        remote,
        PushState(state),
        attempts,
        ended_at,
        manual,
        due_at,
        frozenset(Role(role) for role in arrived),
        {Role(role): word for role, word in problems.items()},
        final_at,
    )


def _document(file: FileResult) -> Mapping[str, Any]:
    return {
        "role": file.role.value,
        "name": file.name,
        "bytes": file.bytes,
        "reason": file.reason,
        "detail": file.detail,
    }


def _attempt(row: Row) -> Attempt:
    report = Report(
        Status(row.status),
        row.reason,
        row.detail,
        tuple(FileResult(**{**file, "role": Role(file["role"])}) for file in row.files),
        row.host_key,
        row.algorithms,
        row.seconds,
        row.refused_key,
        row.connected,
    )
    return Attempt(
        row.push,
        row.number,
        row.began_at,
        row.host,
        row.port,
        row.username,
        row.folder,
        report,
        row.late,
        row.shared,
        row.remote,
        row.recording_id,
        row.organisation,
        row.id,
        row.recording,
    )
