"""The seams of ingest, and those that every kind of work shares: events, jobs, workers.

A ``Deferred[X]`` fires with X or fails with PipeError, unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from conch_pipe.model import Client, Credential, Job, Outcome, Peer, Problem, State, Upload

# zope interfaces describe methods without self.
# mypy: disable-error-code="empty-body,misc"
# ruff: noqa: N805


class IEvents(Interface):
    """Where countable things are told (see events.py for the catalogue)."""

    def note(kind: Any, **fields: Any) -> None:
        """Tell that something of ``kind`` happened. Never fails, never waits, from the reactor thread only."""


class IIntake(Interface):
    """Takes files from any door. Called by ``sftp`` (and ``web``), implemented in ``intake``."""

    def unfinished(name: str) -> str | None:
        """The final name that a temporary one stands for (ruling 2), or None when it is not a temporary name.

        :param name: a file name as for ``begin``; an answer asks the door for ``begin(provisional=True)``.
        :returns: str, never empty, or None. Pure, never fails.
        """

    def begin(
        client: Client, schema: str, name: str, *, door: str, size: int | None = None, provisional: bool = False
    ) -> IUpload:
        """Start an upload; synchronous, so that a door can refuse at once.

        :param client: a :class:`model.Client`.
        :param schema: a schema's name; the door has already seen that it is enabled.
        :param name: the client's file name, 1 to 255 bytes of UTF-8 without control characters or ``/``.
        :param door: "sftp", "http" or "cli".
        :param size: bytes the client says it will send, or None.
        :param provisional: the name is a temporary one (``a.csv.filepart``): ``finish`` does not commit;
            ``commit(name)`` does, under the final name. The rules apply to the name without its decoration.
        :returns: an IUpload.
        :raises PipeError: INVALID for a bad name, INVALID "use .csv or .json", TOO_LARGE, NO_SPACE; BUSY while
            draining.
        """


class IUpload(Interface):
    """One upload's bytes until they are committed or dropped. The first failure poisons it: every later call
    but ``abort`` fails with the same PipeError."""

    id = Attribute("UUID of the upload")
    name = Attribute("the client's name for it")
    schema = Attribute("name of its schema")
    size = Attribute("bytes: the highest offset written so far")
    lagging = Attribute("True while storage is behind: the door holds its window until ``caught_up`` fires")

    def write(offset: int, *pieces: bytes | memoryview) -> Deferred[None] | None:
        """Store a chunk, whole or in pieces that follow each other; chunks may come in any order and repeat.

        :param offset: position of the first byte, from 0 to 2**63-1.
        :param pieces: bytes-like objects, 1 to 1,000 of them; not kept after the call returns.
        :returns: None when done at once (the usual case), else a Deferred.
        :raises PipeError: TOO_LARGE, NO_SPACE, FAILED; the upload is poisoned then.
        """

    def expect(size: int) -> None:
        """The client declared the final size (FSETSTAT, Content-Length): a contradiction refuses at ``finish``."""

    def sync() -> Deferred[None]:
        """Make what was written durable (fsync@openssh.com). :returns: Deferred[None]."""

    def caught_up() -> Deferred[None]:
        """:returns: Deferred[None] that fires when ``lagging`` is False; at once if it is."""

    def finish() -> Deferred[Upload | None]:
        """The client closed the file: no hole, size as expected, quick checks passed; durable on the spool.

        Not provisional: commits as well. Called once.

        :returns: Deferred[model.Upload | None]; None for a provisional upload, which now waits for ``commit(name)``.
        :raises PipeError: BAD_FILE, INCOMPLETE, NO_SPACE, FAILED: nothing was recorded, nothing is left.
            UNKNOWN_OUTCOME: the door must not answer but drop the connection.
        """

    def commit(name: str) -> Deferred[Upload]:
        """A finished provisional upload gets its final name (RENAME): recorded, job queued.

        :returns: Deferred[model.Upload]; the upload of the same bytes sent before, when ruling 5 applies.
        """

    def keyed(key: str) -> None:
        """The client gave an idempotency key: it is recorded together with the upload (IUploads.accept).

        :param key: 1 to 255 characters. Called before ``finish``, once.
        """

    def abort(why: str) -> None:
        """Drop the bytes. Any time, any number of times, never fails; after a commit it does nothing.

        :param why: one short sentence for the event.
        """


class ICredentials(Interface):
    """Credentials as the doors see them. Implemented in ``catalog``."""

    def find(client_id: str) -> Deferred[Credential | None]:
        """:returns: Deferred[model.Credential | None], also for revoked ones (``revoked_at`` says so)."""

    def active(client_ids: Iterable[str]) -> Deferred[dict[str, Credential]]:
        """Which of these may go on: asked every few seconds for the clients with open sessions.

        :returns: Deferred[dict[str, model.Credential]]; revoked and unknown ones are missing.
        """

    def logged_in(client_id: str, at: datetime) -> Deferred[None]:
        """Remember the time of the last login; at most once a minute per client. :returns: Deferred[None]."""


class ILogin(Interface):
    """Whether a client_id and its secret are right: one core for all doors, so that they count failures together."""

    def check(username: bytes, secret: bytes, peer: Peer, waits: Callable[[], bool]) -> Deferred[Client]:
        """Log in. Whatever is wrong, the failure has the same words after the same time.

        :param username: bytes as they came; may be anything.
        :param secret: bytes as they came; not kept, never told.
        :param waits: whether the client is still there when the answer is known; a login nobody waits for is none.
        :returns: Deferred[model.Client].
        :raises PipeError: UNAUTHORIZED; BUSY, nobody could tell now.
        """

    def forget(client_id: str) -> None:
        """The credential was revoked: its next login asks the catalog."""

    def start() -> None:
        """A door starts: before its first ``check``."""

    def stop() -> None:
        """That door has stopped. Each that was started stops once."""

    def hear(message: Mapping[str, Any]) -> None:
        """What another process said: that a login failed there, perhaps."""


class IUploads(Interface):
    """Records of uploads. Implemented in ``catalog``."""

    def accept(
        upload: Upload, job: Job, *, same_within_s: float, content: bytes | None = None, key: str | None = None
    ) -> Deferred[Upload]:
        """Record an upload as PENDING with its job, in ONE durable transaction; by id, so it may be called again.

        :param upload: model.Upload; its raw copy is durable already, or comes as ``content``.
        :param content: a small file's bytes, recorded in the same transaction and kept until a job was settled as
            ``stored``: the chain makes the raw copy of them.
        :param job: model.Job of kind "ingest" with ``subject`` = the upload's id.
        :param same_within_s: ruling 5: when the same client sent the same schema, name and sha256 within so many
            seconds, and that upload did not FAIL, it is returned instead and nothing is recorded. 0: never.
        :param key: the client's idempotency key, recorded in the same transaction and kept for 30 days. Of one that is
            known, the upload it stands for is returned and nothing is recorded; CONFLICT when that has other bytes or
            another schema.
        :returns: Deferred[model.Upload], the recorded one; its ``id`` tells whether it is an earlier one.
        :raises PipeError: BUSY (database locked too long), NO_SPACE, FAILED: not recorded. UNKNOWN_OUTCOME: perhaps.
        """

    def get(upload_id: UUID) -> Deferred[Upload | None]:
        """:returns: Deferred[model.Upload | None]."""

    def answered(client_id: str, key: str) -> Deferred[Upload | None]:
        """The upload that was recorded under an idempotency key of the client's in the last 30 days.

        :returns: Deferred[model.Upload | None], as it was when it was recorded; with what ``accept`` knew of it only.
        """

    def page(
        organisation: str,
        *,
        limit: int,
        before: tuple[datetime, UUID] | None = None,
        client_id: str | None = None,
        door: str | None = None,
        schema: str | None = None,
        state: State | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        name: str | None = None,
    ) -> Deferred[tuple[Upload, ...]]:
        """An organisation's uploads, newest first.

        :param limit: at most so many, 1 or more.
        :param before: time received and id of the last one of the page before; None: the first page.
        :param since: received then or later; ``until``: before then.
        :param name: part of the file name, upper or lower case.
        :returns: Deferred[tuple[model.Upload, ...]].
        """

    def problems(upload_id: UUID, offset: int, limit: int) -> Deferred[tuple[Problem, ...]]:
        """Some of the stored problems of an upload, in the order of the file.

        :returns: Deferred[tuple[model.Problem, ...]]. :raises PipeError: NOT_FOUND, no such upload.
        """

    def content(upload_id: UUID) -> Deferred[bytes | None]:
        """The bytes that were recorded with an upload. :returns: Deferred[bytes | None]; None: in the object store."""

    def latest(client_id: str, schema: str, name: str, since: datetime) -> Deferred[Upload | None]:
        """The client's newest upload of that name received since a time: for STAT on another connection.

        :returns: Deferred[model.Upload | None].
        """

    def newest() -> Deferred[datetime | None]:
        """:returns: Deferred[datetime | None]; when the last of all uploads was received, None without any."""

    def keys() -> Deferred[set[str]]:
        """Object keys of all recorded uploads: recovery sets aside raw copies that are not among them.

        :returns: Deferred[set[str]].
        """

    def old_copies(before: datetime, limit: int) -> Deferred[Sequence[tuple[UUID, str]]]:
        """Uploads that ended before a time and whose raw copy is kept; asked by the upkeep.

        :returns: Deferred[Sequence[tuple[UUID, str]]], ids and object keys, oldest first.
        """

    def copies_deleted(upload_ids: Sequence[UUID]) -> Deferred[None]:
        """Their raw copies are gone for good: no object key, no content, no retry. :returns: Deferred[None]."""

    def forget(before: datetime, limit: int) -> Deferred[int]:
        """Delete the records, problems and ended jobs of uploads that ended before a time.

        :returns: Deferred[int]: how many uploads, at most ``limit``.
        """


class IJobs(Interface):
    """The durable queue. Called by the runner, implemented in ``catalog``."""

    def claim(
        kinds: Sequence[str],
        limit: int,
        lease_s: float,
        lanes: Mapping[str, int] | None = None,
        room: int | None = None,
    ) -> Deferred[list[Job]]:
        """Lease due jobs, oldest first; a job whose lease ran out is due.

        An upload whose job is claimed becomes PROCESSING.

        :param lanes: how many jobs of these lanes may be claimed now, 0 or more.
        :param room: how many of any other lane; None: as many as there are. Jobs without a lane are not held back.

        :returns: Deferred[list[model.Job]].
        """

    def renew(job: Job, lease_s: float) -> Deferred[bool]:
        """:returns: Deferred[bool]; False when the lease is no longer ours: stop working on it."""

    def settle(job: Job, outcome: Outcome) -> Deferred[bool]:
        """End the lease; with what the outcome says of the upload or the push, in one transaction.

        With a push: its attempt is logged, its state written, its remote disabled if so told; and when with it all
        pushes of its recording are final, a job of kind "retention" with ``subject`` = the recording's uid is due now.

        An upload whose job is retried goes back to PENDING. A retry sets the job's ``claims`` back to 0: they count
        leases that came to no end, and the runner gives up a job that seems to kill the service itself.

        :returns: Deferred[bool]; False when the fence is stale: nothing was changed.
        :raises PipeError: CONFLICT when the upload may not move there from its state: nothing was changed.
        """

    def release_all() -> Deferred[int]:
        """Free the leases of processes that died: their jobs are due at once, what such a process settles is refused.

        Only for a process that knows it is alone with the catalog, before its runner starts (Presence: one service
        per state folder). Where several share a catalog, leases of the living would be lost: they must run out.

        Claims are kept: the lease came to no end, and its job may be what killed the service. A job that was there
        several times in a row waits its lease out, lest a service that dies at each start uses up its attempts.

        :returns: Deferred[int]: how many were freed.
        """

    def waiting() -> Deferred[dict[str, int]]:
        """:returns: Deferred[dict[str, int]]; jobs not yet done, by kind."""


class IObjects(Interface):
    """Raw copies under keys of our own making (``[0-9a-z/.-]``, no client text)."""

    def put(key: str, path: Path, sha256: bytes) -> Deferred[None]:
        """Store a finished, fsynced local file durably under a new key.

        :param path: a pathlib.Path; still the caller's afterwards.
        :param sha256: bytes; an existing object of the same key and content is success (create-only, repeatable).
        :returns: Deferred[None].
        :raises PipeError: NO_SPACE, FAILED; CONFLICT when the key holds other bytes.
        """

    def store(key: str, content: bytes, sha256: bytes) -> Deferred[None]:
        """The same with bytes in memory. :raises PipeError: as ``put``; CONFLICT also when sha256 is another's."""

    def fetch(key: str) -> Deferred[Path]:
        """:returns: Deferred[Path] of a local file with the object's bytes, read-only. :raises PipeError: NOT_FOUND."""

    def delete(key: str) -> Deferred[None]:
        """:returns: Deferred[None]; a missing object is success."""

    def keys() -> Deferred[set[str]]:
        """:returns: Deferred[set[str]]."""

    def set_aside(key: str) -> Deferred[None]:
        """Move an object that has no record out of the way, kept for an operator. :returns: Deferred[None]."""


class IWorkers(Interface):
    """Child processes with limits, in which files are parsed and loaded. Implemented in ``processing``."""

    def call(function: str, arguments: Mapping[str, Any], *, wall_s: float) -> Deferred[dict[str, Any]]:
        """Run a function in a worker process.

        :param function: dotted name with a colon, ``"conch_pipe.formats.check:check_file"``: takes one dict of JSON
            values and returns one.
        :param arguments: dict of JSON values.
        :param wall_s: seconds after which the worker is killed.
        :returns: Deferred[dict].
        :raises PipeError: what the function raised (code and message cross the pipe); FAILED for anything unexpected.
        :raises WorkerDied: the process ended: killed, out of memory, out of time.
        """


class IWarehouse(Interface):
    """The analytics database."""

    def load(schema: Any, upload: Upload, parquet: Path) -> Deferred[int]:
        """Insert the validated rows and the ledger's row in ONE transaction; exactly once by the ledger's primary key.

        :param schema: a formats.schema.Schema.
        :param upload: model.Upload.
        :param parquet: Path of the rows as validation wrote them. With a column ``_file`` it has those of several
            uploads that were checked together, and this one's are those whose ``_file`` is this very path.
        :returns: Deferred[int]: rows of this upload now in the warehouse; the same when it was loaded before.
        :raises PipeError: BUSY when someone else holds the database: try again later. FAILED otherwise.
        """

    def rows(upload_id: UUID) -> Deferred[int | None]:
        """What the ledger says of an upload whose load was begun and whose answer was lost.

        :returns: Deferred[int | None]: rows of this upload in the warehouse; None when it is not loaded.
        :raises PipeError: as ``load``. :raises WorkerDied: the answer is not known.
        """
