"""Queries about uploads and the problems found in them.

The only place where an upload's state changes: every move is one UPDATE whose WHERE names the states it may start from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, RowMapping, and_, bindparam, delete, func, insert, or_, select, update

from conch_pipe.catalog.prepared import Prepared
from conch_pipe.catalog.tables import contents, problems, uploads
from conch_pipe.errors import Code, PipeError
from conch_pipe.model import Problem, State, Upload

# Where a state is reached from. COMPLETED is final; FAILED is left only by an operator's retry.
_FROM = {
    State.PENDING: State.PROCESSING,
    State.PROCESSING: State.PENDING,
    State.COMPLETED: State.PROCESSING,
    State.FAILED: State.PROCESSING,
}
# What the settling of a job may write.
_SETTLED = {"rows", "rejected", "problem", "problem_count", "finished_at", "seconds"}
_COLUMNS = [field.name for field in fields(Upload)]
_RECORD = [uploads.c[name] for name in _COLUMNS]
_STATE = _COLUMNS.index("state")

# Statements every upload needs.
_ADD = Prepared(insert(uploads).values({name: bindparam(name) for name in _COLUMNS}))
_ADD_CONTENT = Prepared(insert(contents).values(upload_id=bindparam("upload_id"), content=bindparam("content")))
_GET_CONTENT = Prepared(select(contents.c.content).where(contents.c.upload_id == bindparam("upload_id")))
_DROP_CONTENT = Prepared(delete(contents).where(contents.c.upload_id == bindparam("upload_id")))
_GET = Prepared(select(*_RECORD).where(uploads.c.id == bindparam("upload_id")))
_LATEST = Prepared(
    select(*_RECORD)
    .where(
        uploads.c.client_id == bindparam("client"),
        uploads.c.schema == bindparam("schema"),
        uploads.c.name == bindparam("name"),
        uploads.c.received_at >= bindparam("since"),
    )
    .order_by(uploads.c.received_at.desc(), uploads.c.id.desc())
    .limit(1)
)
_IS_IT = uploads.c.id == bindparam("upload_id")
_SAME = Prepared(
    select(*_RECORD)
    .where(
        or_(
            _IS_IT,
            and_(
                uploads.c.client_id == bindparam("client"),
                uploads.c.schema == bindparam("schema"),
                uploads.c.name == bindparam("name"),
                uploads.c.received_at >= bindparam("since"),
                uploads.c.sha256 == bindparam("sha256"),
                uploads.c.state != State.FAILED.value,
            ),
        )
    )
    .order_by(_IS_IT.desc(), uploads.c.received_at.desc(), uploads.c.id.desc())
    .limit(1)
)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which uploads an operator wants to see; None: any."""

    organisation: str | None = None
    client_id: str | None = None
    schema: str | None = None
    state: State | None = None
    since: datetime | None = None  # received then or later
    until: datetime | None = None  # received before
    name: str | None = None  # part of the file name, upper or lower case
    limit: int = 100  # the newest so many
    door: str | None = None
    before: tuple[datetime, UUID] | None = None  # received before this one, which is on the page before


def add(connection: Connection, upload: Upload, content: bytes | None = None) -> Upload:
    """Store a new record, with the bytes of a small file. :returns: it as it is stored: PENDING whatever it said."""
    values = {name: getattr(upload, name) for name in _COLUMNS}
    values |= {"state": State.PENDING.value, "seconds": dict(upload.seconds)}
    _ADD.run(connection, values)
    if content is not None:
        _ADD_CONTENT.run(connection, {"upload_id": upload.id, "content": content})
    return upload if upload.state is State.PENDING else replace(upload, state=State.PENDING)


def same(connection: Connection, upload: Upload, within_s: float) -> Upload | None:
    """The upload of that id, or else, by ruling 5, the one in which the client sent the very same file a short time
    ago, unless that FAILED. Asked together: it is asked of every file."""
    values = {
        "upload_id": upload.id,
        "client": upload.client_id,
        "schema": upload.schema,
        "name": upload.name,
        "sha256": upload.sha256,
        "since": upload.received_at - timedelta(seconds=within_s),
    }
    return _one(connection, _SAME, values)


def get(connection: Connection, upload_id: UUID) -> Upload | None:
    """One upload by its id."""
    return _one(connection, _GET, {"upload_id": upload_id})


def content(connection: Connection, upload_id: UUID) -> bytes | None:
    """The bytes that were recorded with an upload, while the raw copy is not in the object store."""
    found = _GET_CONTENT.run(connection, {"upload_id": upload_id})
    return bytes(found[0][0]) if found else None


def existing(connection: Connection, upload_id: UUID) -> Upload:
    """:raises PipeError: NOT_FOUND."""
    found = get(connection, upload_id)
    if found is None:
        raise PipeError(Code.NOT_FOUND, f"no upload {upload_id}")
    return found


def latest(connection: Connection, client_id: str, schema: str, name: str, since: datetime) -> Upload | None:
    """See :class:`conch_pipe.interfaces.IUploads`."""
    return _one(connection, _LATEST, {"client": client_id, "schema": schema, "name": name, "since": since})


def newest(connection: Connection) -> datetime | None:
    """When the last of all uploads was received."""
    return connection.execute(select(func.max(uploads.c.received_at))).scalar_one()


def keys(connection: Connection) -> set[str]:
    """Object keys of all uploads whose raw copy is kept."""
    return set(connection.execute(select(uploads.c.object_key).where(uploads.c.object_key != "")).scalars())


def find_all(connection: Connection, wanted: Filter) -> tuple[Upload, ...]:
    """The newest uploads that pass a filter, newest first."""
    query = select(uploads).order_by(uploads.c.received_at.desc(), uploads.c.id.desc()).limit(wanted.limit)
    for column in ("organisation", "client_id", "schema", "door"):
        value = getattr(wanted, column)
        if value is not None:
            query = query.where(uploads.c[column] == value)
    if wanted.state is not None:
        query = query.where(uploads.c.state == wanted.state.value)
    if wanted.since is not None:
        query = query.where(uploads.c.received_at >= wanted.since)
    if wanted.until is not None:
        query = query.where(uploads.c.received_at < wanted.until)
    if wanted.name is not None:
        query = query.where(uploads.c.name.icontains(wanted.name, autoescape=True))
    if wanted.before is not None:
        at, upload_id = wanted.before
        same_moment = and_(uploads.c.received_at == at, uploads.c.id < upload_id)
        query = query.where(or_(uploads.c.received_at < at, same_moment))
    return tuple(_upload(row) for row in connection.execute(query).mappings())


def counts(connection: Connection, organisation: str | None = None) -> dict[State, int]:
    """How many uploads there are in each state; every state is there."""
    query = select(uploads.c.state, func.count()).group_by(uploads.c.state)
    if organisation is not None:
        query = query.where(uploads.c.organisation == organisation)
    found = {State(state): number for state, number in connection.execute(query)}
    return {state: found.get(state, 0) for state in State}


def find_problems(
    connection: Connection, upload_id: UUID, offset: int = 0, limit: int | None = None
) -> tuple[Problem, ...]:
    """The stored problems of an upload, in the order of the file; or some of them. :raises PipeError: NOT_FOUND."""
    existing(connection, upload_id)
    query = select(problems).where(problems.c.upload_id == upload_id).order_by(problems.c.number)
    query = query.offset(offset).limit(limit)
    return tuple(
        Problem(row["reason"], row["line"], row["row"], row["column"], row["value"])
        for row in connection.execute(query).mappings()
    )


def start(connection: Connection, upload_ids: Sequence[UUID]) -> None:
    """Their jobs were claimed. One that a dead process left PROCESSING stays so."""
    connection.execute(
        update(uploads)
        .where(uploads.c.id.in_(upload_ids), uploads.c.state == State.PENDING.value)
        .values(state=State.PROCESSING.value)
    )


def settle(
    connection: Connection,
    upload_id: UUID,
    columns: Mapping[str, Any],
    found: Sequence[Problem],
    at: datetime,
    *,
    stored: bool = False,
) -> None:
    """Write what an attempt found.

    :param columns: the upload's columns to set; with ``state``, the upload moves there.
    :param found: replace the problems stored before, unless there are none.
    :param stored: its raw copy is in the object store: bytes that were recorded with it are not needed any more.
    :raises PipeError: CONFLICT when the upload is not in a state from which it may move there.
    """
    unknown = set(columns) - _SETTLED - {"state"}
    if unknown:
        raise ValueError(f"not columns a job may set: {sorted(unknown)}")
    values = {name: columns[name] for name in columns if name != "state"}
    if "seconds" in values:
        values["seconds"] = dict(values["seconds"])
    about: dict[str, Any] = {"upload": upload_id}
    if "state" in columns:
        state = State(columns["state"])
        if state in (State.COMPLETED, State.FAILED):
            values.setdefault("finished_at", at)
        values["state"] = state.value
        about["state_before"] = _FROM[state].value
    about |= {f"new_{name}": value for name, value in values.items()}
    if values and _change(tuple(sorted(values))).change(connection, about) != 1:
        raise PipeError(Code.CONFLICT, f"upload {upload_id} cannot become {values.get('state', 'anything')} now")
    if stored:
        _DROP_CONTENT.run(connection, {"upload_id": upload_id})
    if found:
        connection.execute(delete(problems).where(problems.c.upload_id == upload_id))
        connection.execute(
            insert(problems),
            [
                {
                    "upload_id": upload_id,
                    "number": number,
                    "reason": problem.reason,
                    "line": problem.line,
                    "row": problem.row,
                    "column": problem.column,
                    "value": problem.value,
                }
                for number, problem in enumerate(found, 1)
            ],
        )


@cache
def _change(columns: tuple[str, ...]) -> Prepared:
    """Sets these columns of one upload."""
    change = update(uploads).where(uploads.c.id == bindparam("upload"))
    if "state" in columns:
        change = change.where(uploads.c.state == bindparam("state_before"))
    return Prepared(change.values({name: bindparam(f"new_{name}") for name in columns}))


def reopen(connection: Connection, upload_id: UUID) -> None:
    """FAILED → PENDING, without what the failed attempt found.

    :raises PipeError: NOT_FOUND; CONFLICT when it is not FAILED.
    """
    upload = existing(connection, upload_id)
    change = (
        update(uploads)
        .where(uploads.c.id == upload_id, uploads.c.state == State.FAILED.value)
        .values(
            state=State.PENDING.value,
            finished_at=None,
            rows=None,
            rejected=None,
            problem=None,
            problem_count=0,
            seconds={},
        )
    )
    if connection.execute(change).rowcount != 1:
        raise PipeError(Code.CONFLICT, f"upload {upload_id} is {upload.state.value}; only a FAILED one can be retried")
    if not upload.object_key:
        raise PipeError(Code.CONFLICT, f"the raw copy of upload {upload_id} is deleted: it must be sent again")
    connection.execute(delete(problems).where(problems.c.upload_id == upload_id))


def old_copies(connection: Connection, before: datetime, limit: int) -> list[tuple[UUID, str]]:
    """Ids and object keys of uploads that ended before a time and whose raw copy is kept, oldest first."""
    query = (
        select(uploads.c.id, uploads.c.object_key)
        .where(uploads.c.finished_at < before, uploads.c.object_key != "")
        .order_by(uploads.c.finished_at)
        .limit(limit)
    )
    return [(upload_id, key) for upload_id, key in connection.execute(query)]


def copies_deleted(connection: Connection, upload_ids: Sequence[UUID]) -> None:
    """Remember that their raw copies are gone."""
    connection.execute(update(uploads).where(uploads.c.id.in_(upload_ids)).values(object_key=""))
    connection.execute(delete(contents).where(contents.c.upload_id.in_(upload_ids)))


def past(connection: Connection, before: datetime, limit: int) -> list[UUID]:
    """Ids of uploads that ended before a time, oldest first."""
    query = select(uploads.c.id).where(uploads.c.finished_at < before).order_by(uploads.c.finished_at).limit(limit)
    return list(connection.execute(query).scalars())


def remove(connection: Connection, upload_ids: Sequence[UUID]) -> None:
    """Delete records with their problems and bytes (ON DELETE CASCADE)."""
    connection.execute(delete(uploads).where(uploads.c.id.in_(upload_ids)))


def _one(connection: Connection, query: Prepared, values: Mapping[str, Any]) -> Upload | None:
    rows = query.run(connection, values)
    if not rows:
        return None
    (row,) = rows
    row[_STATE] = State(row[_STATE])
    return Upload(*row)


def _upload(row: RowMapping) -> Upload:
    return Upload(**{**{name: row[name] for name in _COLUMNS}, "state": State(row["state"])})
