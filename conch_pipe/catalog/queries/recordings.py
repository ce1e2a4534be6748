"""Queries about recordings and their files. How they get to remotes is in pushes.py."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Row, insert, or_, select, update

from conch_pipe.catalog.tables import pushes, recording_files, recordings
from conch_pipe.errors import Code, PipeError
from conch_pipe.model import PushState, RecordedFile, Recording, Role

_ORDER = {role.value: place for place, role in enumerate(Role)}
_AT_ONCE = 500  # ids in one statement


@dataclass(frozen=True, slots=True)
class RecordingFilter:
    """Which recordings an operator wants to see; None: any."""

    organisation: str | None = None
    environment: str | None = None
    id: str | None = None  # the sender's
    state: PushState | None = None  # of at least one of its pushes, to ``remote`` if that is given
    remote: str | None = None
    since: datetime | None = None  # accepted then or later
    until: datetime | None = None  # accepted before
    limit: int = 100  # the newest so many
    before: tuple[datetime, UUID] | None = None  # accepted before this one, which is on the page before


def add(connection: Connection, recording: Recording) -> None:
    """Store a new recording with its files."""
    connection.execute(
        insert(recordings).values(
            uid=recording.uid,
            id=recording.id,
            organisation=recording.organisation,
            environment=recording.environment,
            name=recording.name,
            saved_at=recording.saved_at,
        )
    )
    connection.execute(
        insert(recording_files),
        [
            {
                "recording": recording.uid,
                "role": file.role.value,
                "path": str(file.path),
                "name": file.name,
                "bytes": file.bytes,
                "mtime_ns": file.mtime_ns,
                "sha256": file.sha256,
            }
            for file in recording.files
        ],
    )


def get(connection: Connection, uid: UUID) -> Recording | None:
    """One recording by our id."""
    return _one(connection, recordings.c.uid == uid)


def several(connection: Connection, uids: Sequence[UUID]) -> tuple[Recording, ...]:
    """Recordings by our ids, in any order; those that are gone are missing."""
    rows: list[Row] = []
    for start in range(0, len(uids), _AT_ONCE):
        query = select(recordings).where(recordings.c.uid.in_(uids[start : start + _AT_ONCE]))
        rows += connection.execute(query).all()
    return _whole(connection, rows)


def existing(connection: Connection, uid: UUID) -> Recording:
    """:raises PipeError: NOT_FOUND."""
    found = get(connection, uid)
    if found is None:
        raise PipeError(Code.NOT_FOUND, f"no recording {uid}")
    return found


def find(connection: Connection, organisation: str, recording_id: str) -> Recording | None:
    """One recording by the sender's id."""
    return _one(connection, recordings.c.organisation == organisation, recordings.c.id == recording_id)


def find_all(connection: Connection, wanted: RecordingFilter) -> tuple[Recording, ...]:
    """The newest recordings that pass a filter, newest first."""
    query = select(recordings).order_by(recordings.c.saved_at.desc(), recordings.c.uid.desc()).limit(wanted.limit)
    for column in ("organisation", "environment", "id"):
        value = getattr(wanted, column)
        if value is not None:
            query = query.where(recordings.c[column] == value)
    if wanted.since is not None:
        query = query.where(recordings.c.saved_at >= wanted.since)
    if wanted.until is not None:
        query = query.where(recordings.c.saved_at < wanted.until)
    if wanted.before is not None:
        at, uid = wanted.before
        saved_at = recordings.c.saved_at
        query = query.where(saved_at <= at, or_(saved_at < at, recordings.c.uid < uid))
    if wanted.state is not None or wanted.remote is not None:
        found = select(pushes.c.id).where(pushes.c.recording == recordings.c.uid)
        if wanted.state is not None:
            found = found.where(pushes.c.state == wanted.state.value)
        if wanted.remote is not None:
            found = found.where(pushes.c.remote == wanted.remote)
        query = query.where(found.exists())
    return _whole(connection, connection.execute(query).all())


def same(recorded: Recording, other: Recording) -> bool:
    """Whether two speak of the same files under the same names, for the same environment."""

    def content(one: Recording) -> set[tuple[Role, str, str]]:
        return {(file.role, file.name, file.sha256) for file in one.files}

    return (recorded.environment, recorded.name) == (other.environment, other.name) and content(recorded) == content(
        other
    )


def purge_at(connection: Connection, uid: UUID, at: datetime) -> None:
    """Remember when its files will be deleted."""
    connection.execute(update(recordings).where(recordings.c.uid == uid).values(purge_at=at))


def shared(connection: Connection, uid: UUID) -> frozenset[Path]:
    """Which of a recording's local files another one still needs."""
    ours = select(recording_files.c.path).where(recording_files.c.recording == uid)
    # By the few pushes that have not arrived: there is no index of paths.
    query = (
        select(recording_files.c.path)
        .join(recordings, recording_files.c.recording == recordings.c.uid)
        .join(pushes, pushes.c.recording == recordings.c.uid)
        .where(
            pushes.c.state.in_([state.value for state in PushState if state is not PushState.DELIVERED]),
            recordings.c.deleted_at.is_(None),
            recordings.c.uid != uid,
            recording_files.c.path.in_(ours),
        )
    )
    return frozenset(Path(path) for path in connection.execute(query).scalars())


def files_deleted(connection: Connection, uid: UUID, at: datetime) -> None:
    """Remember when its files were deleted; the first time counts."""
    connection.execute(
        update(recordings).where(recordings.c.uid == uid, recordings.c.deleted_at.is_(None)).values(deleted_at=at)
    )


def _one(connection: Connection, *conditions: ColumnElement[bool]) -> Recording | None:
    found = _whole(connection, connection.execute(select(recordings).where(*conditions)).all())
    return found[0] if found else None


def _whole(connection: Connection, rows: Iterable[Row]) -> tuple[Recording, ...]:
    """Rows of recordings, in their order, with their files."""
    rows = list(rows)
    files: dict[UUID, list[RecordedFile]] = {}
    for start in range(0, len(rows), _AT_ONCE):
        uids = [row.uid for row in rows[start : start + _AT_ONCE]]
        found = connection.execute(select(recording_files).where(recording_files.c.recording.in_(uids))).all()
        for file in sorted(found, key=lambda file: _ORDER[file.role]):
            files.setdefault(file.recording, []).append(
                RecordedFile(Role(file.role), Path(file.path), file.name, file.bytes, file.mtime_ns, file.sha256)
            )
    return tuple(
        Recording(
            row.uid,
            row.id,
            row.organisation,
            row.environment,
            row.name,
            tuple(files[row.uid]),
            row.saved_at,
            row.deleted_at,
            row.purge_at,
        )
        for row in rows
    )
