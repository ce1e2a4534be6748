"""An upload and its job move together, each time in one transaction."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection

from conch_pipe.catalog.queries import claims, delivery, jobs, pushes, telling, uploads, webhooks
from conch_pipe.crashpoints import crashpoint
from conch_pipe.model import Job, Outcome, State, Upload, ingest_job

# The kind of job whose subject is an upload.
KIND = "ingest"


def accept(connection: Connection, upload: Upload, job: Job, same_within_s: float, content: bytes | None) -> Upload:
    """See :class:`conch_pipe.interfaces.IUploads`."""
    crashpoint("C5a")
    if same_within_s > 0:
        recorded = uploads.same(connection, upload, same_within_s)
    else:
        recorded = uploads.get(connection, upload.id)
    if recorded is not None:
        return recorded
    added = uploads.add(connection, upload, content)
    crashpoint("C5b")
    jobs.add(connection, job, upload.received_at)
    crashpoint("C5c")
    return added


def claim(connection: Connection, wanted: claims.Wanted, at: datetime) -> list[Job]:
    """See :class:`conch_pipe.interfaces.IJobs`."""
    claimed = claims.claim(connection, wanted, at)
    uploads.start(connection, [UUID(job.subject) for job in claimed if job.kind == KIND])
    return claimed


def settle(connection: Connection, job: Job, outcome: Outcome, at: datetime) -> bool:
    """See :class:`conch_pipe.interfaces.IJobs`.

    :raises PipeError: CONFLICT when the upload cannot move as the outcome says; nothing is changed then.
    """
    if not jobs.settle(connection, job, outcome, at):
        return False
    if job.kind == KIND:
        columns = dict(outcome.upload or {})
        if not outcome.done:
            # Of a job that is due again the upload waits; of a dead one it would wait for ever.
            columns["state"] = State.PENDING if outcome.retry_at is not None else State.FAILED
        if columns.get("state") == State.FAILED:
            columns.setdefault("problem", outcome.reason)
        uploads.settle(connection, UUID(job.subject), columns, outcome.problems, at, stored=outcome.stored)
        if "state" in columns:
            telling.upload_settled(connection, job, State(columns["state"]), at)
    elif job.kind == pushes.KIND:
        delivery.settle(connection, job, outcome, at)
    elif job.kind == webhooks.KIND:
        webhooks.settle(connection, job, outcome, at)
    return True


def retry(connection: Connection, upload_id: UUID, at: datetime) -> Upload:
    """An operator wants a FAILED upload to be processed again: PENDING, with a new job.

    :raises PipeError: NOT_FOUND; CONFLICT when it is not FAILED.
    """
    uploads.reopen(connection, upload_id)
    upload = uploads.existing(connection, upload_id)
    jobs.add(connection, ingest_job(upload, at), at)
    return upload


def forget(connection: Connection, before: datetime, limit: int) -> int:
    """Delete the records, problems and ended jobs of uploads that ended before a time.

    :param limit: at most so many uploads.
    :returns: how many they were.
    """
    old = uploads.past(connection, before, limit)
    uploads.remove(connection, old)
    jobs.remove(connection, KIND, [str(upload_id) for upload_id in old])
    return len(old)
