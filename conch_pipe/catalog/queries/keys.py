"""Idempotency keys: what a client was answered for a key of its own making, for 30 days.

A key is recorded in the transaction of its upload, so that there is never one without the other.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, RowMapping, delete, insert, select

from conch_pipe.catalog.queries import ingest
from conch_pipe.catalog.tables import idempotency_keys
from conch_pipe.errors import Code, PipeError
from conch_pipe.model import Job, State, Upload

KEPT = timedelta(days=30)

# Of the upload, as it was when the key was recorded: what is answered again does not change with it.
_KEPT_OF_UPLOAD = ("organisation", "door", "schema", "name", "bytes", "sha256", "received_at")


def accept(
    connection: Connection, upload: Upload, job: Job, same_within_s: float, content: bytes | None, key: str
) -> Upload:
    """Record an upload with its job and its key; see :class:`conch_pipe.interfaces.IUploads`.

    :returns: what is recorded; of a key that is known, what was recorded under it.
    :raises PipeError: CONFLICT: the key was used for another file.
    """
    at = upload.received_at
    known = find(connection, upload.client_id, key, at)
    if known is not None:
        if not same(known, upload):
            raise PipeError(Code.CONFLICT, "this idempotencyKey was used for another file")
        return known
    connection.execute(delete(idempotency_keys).where(idempotency_keys.c.created_at <= at - KEPT))
    recorded = ingest.accept(connection, upload, job, same_within_s, content)
    values: dict[str, Any] = {name: getattr(recorded, name) for name in _KEPT_OF_UPLOAD}
    values |= {"client_id": upload.client_id, "key": key, "created_at": at, "upload_id": recorded.id}
    connection.execute(insert(idempotency_keys).values(**values, state=recorded.state.value))
    return recorded


def find(connection: Connection, client_id: str, key: str, at: datetime) -> Upload | None:
    """The upload that was recorded under a key in the 30 days before a time, as it was then."""
    query = select(idempotency_keys).where(
        idempotency_keys.c.client_id == client_id,
        idempotency_keys.c.key == key,
        idempotency_keys.c.created_at > at - KEPT,
    )
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else _upload(row)


def same(known: Upload, upload: Upload) -> bool:
    """Whether a key stands for the same request: the same bytes for the same schema, whatever the file is called."""
    return (known.schema, known.sha256) == (upload.schema, upload.sha256)


def _upload(row: RowMapping) -> Upload:
    kept = {name: row[name] for name in _KEPT_OF_UPLOAD}
    return Upload(id=row["upload_id"], client_id=row["client_id"], state=State(row["state"]), **kept)
