"""One upload from its first byte to its durable record, or to nothing.

OPEN → FINISHING → (HELD) → COMMITTING → COMMITTED | DROPPED. Every upload that was begun ends with exactly one event:
stored, repeated, refused, aborted or unknown. Knows no protocol; bytes are the spool's (spool.py), and what the catalog
says in doubt is settled in record.py.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar, cast
from uuid import UUID

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from conch_pipe import events
from conch_pipe.crashpoints import crashpoint
from conch_pipe.errors import Code, PipeError
from conch_pipe.intake.admission import Limits, check_name, too_large
from conch_pipe.intake.record import accept, describe, verdict
from conch_pipe.intake.spool import Spool, Spooled
from conch_pipe.interfaces import IEvents, IUpload
from conch_pipe.model import Client, State, Upload, utc

T = TypeVar("T")

# name, head, tail, size, schema; raises PipeError. Runs in the pool's thread.
QuickCheck = Callable[[str, bytes, bytes, int, Any], None]

_log = Logger(namespace="conch_pipe.intake")


class Stage(enum.Enum):
    """Where an upload is."""

    OPEN = "open"  # bytes come in
    FINISHING = "finishing"  # hashed, checked, synced
    HELD = "held"  # complete and durable under a temporary name
    COMMITTING = "committing"
    COMMITTED = "committed"
    DROPPED = "dropped"  # refused, aborted, or of unknown outcome


@dataclass(frozen=True, slots=True)
class Needs:
    """What every upload works with."""

    objects: Any  # IObjects
    uploads: Any  # IUploads
    events: IEvents
    clock: IReactorTime
    limits: Limits
    check_ends: QuickCheck
    draining: Callable[[], bool]


@implementer(IUpload)
class UploadInProgress:
    """See :class:`conch_pipe.interfaces.IUpload`.

    :param at: when it began; ``upload_id`` carries the same time.
    :param final_name: what ``name`` stands for; the same unless ``provisional``.
    :param schema: name and description (a formats Schema) of where it goes.
    :param ended: called once, when nothing of it is left on the spool.
    """

    def __init__(
        self,
        upload_id: UUID,
        at: datetime,
        client: Client,
        schema: tuple[str, Any],
        name: str,
        final_name: str,
        *,
        door: str,
        size: int | None,
        provisional: bool,
        spool: Spool,
        needs: Needs,
        ended: Callable[[UploadInProgress], None],
    ) -> None:
        self.id = upload_id
        self.name = name
        self.schema, self._schema = schema
        self._at = at
        self._client = client
        self._final_name = final_name
        self._door = door
        self._expected = size
        self._provisional = provisional
        self._spool = spool
        self._needs = needs
        self._limit = needs.limits.max_bytes
        self._ended = ended
        self._stage = Stage.OPEN
        self._poison: PipeError | None = None
        self._spooled: Spooled | None = None
        self._storing = False  # the object store may be reading the part file
        self._sent = False  # the record may be on its way: nothing can be taken back any more
        self._nobody_waits = False
        self._key: str | None = None
        self._seconds: dict[str, float] = {}
        spool.on_failure = self._refuse

    @property
    def size(self) -> int:
        """See IUpload."""
        return self._spool.size

    @property
    def lagging(self) -> bool:
        """See IUpload."""
        return self._spool.lagging

    # Bytes come in

    def write(self, offset: int, *pieces: Any) -> None:
        """See IUpload; always done at once."""
        if self._stage is not Stage.OPEN:
            raise self._out_of_turn()
        if offset + sum(map(len, pieces)) > self._limit:
            raise self._refuse(too_large(self._limit))
        try:
            self._spool.write(offset, *pieces)
        except PipeError as error:
            raise self._refuse(error) from error

    def expect(self, size: int) -> None:
        """See IUpload; the last word counts."""
        self._expected = size

    def keyed(self, key: str) -> None:
        """See IUpload."""
        self._key = key

    def sync(self) -> Deferred[None]:
        """See IUpload."""
        if self._stage is not Stage.OPEN:
            return fail(self._out_of_turn())
        return self._shielded(self._sync())

    async def _sync(self) -> None:
        try:
            await self._spool.sync()
        except PipeError as error:
            raise self._refuse(error) from error

    def caught_up(self) -> Deferred[None]:
        """See IUpload."""
        return self._spool.caught_up()

    # The end of the bytes

    def finish(self) -> Deferred[Upload | None]:
        """See IUpload."""
        if self._stage is not Stage.OPEN:
            return fail(self._out_of_turn())
        self._stage = Stage.FINISHING
        return self._shielded(self._finish())

    async def _finish(self) -> Upload | None:
        recorded = await self._or_drop(self._to_disk() if self._provisional else self._to_record())
        return None if recorded is None else await self._verdict(recorded)

    def commit(self, name: str) -> Deferred[Upload]:
        """See IUpload. The final name must keep the format that was checked."""
        if self._stage is not Stage.HELD:
            return fail(self._out_of_turn())
        self._stage = Stage.COMMITTING
        return self._shielded(self._commit_as(name))

    async def _commit_as(self, name: str) -> Upload:
        return await self._verdict(await self._or_drop(self._renamed(name)))

    async def _renamed(self, name: str) -> Upload:
        format = check_name(name)
        if format != check_name(self._final_name):
            raise PipeError(Code.INVALID, "keep the extension of the temporary name")
        self._final_name = name
        return await self._record()

    async def _to_record(self) -> Upload:
        await self._to_disk()
        return await self._record()

    async def _to_disk(self) -> None:
        """Complete, checked, durable."""
        clock, began = self._needs.clock, self._needs.clock.seconds()
        self._seconds["receive"] = began - self._at.timestamp()
        if (hole := self._spool.hole) is not None:
            raise PipeError(Code.INCOMPLETE, f"bytes missing at offset {hole}")
        if self._expected is not None and self._expected != self.size:
            raise PipeError(Code.INCOMPLETE, f"{self.size} bytes came instead of {self._expected}")
        self._spooled = await self._spool.finish(self._check)
        self._seconds["finish"] = clock.seconds() - began
        self._still_wanted()
        self._stage = Stage.HELD

    def _check(self, head: bytes, tail: bytes, size: int) -> None:
        self._needs.check_ends(self._final_name, head, tail, size, self._schema)

    # The record

    async def _record(self) -> Upload:
        """Raw copy, then record and job; the copy goes again unless the record needs it.

        A small file is recorded with its bytes: nothing of it is outside of that transaction.
        """
        self._stage = Stage.COMMITTING
        spooled = cast(Spooled, self._spooled)
        clock, stored = self._needs.clock, self._needs.clock.seconds()
        key = f"raw/{self._at:%Y/%m/%d}/{self.id}.{check_name(self._final_name)}"
        self._storing = True
        try:
            if spooled.path is not None:
                began = stored
                await self._needs.objects.put(key, spooled.path, spooled.sha256)
                self._still_wanted()
                stored = clock.seconds()
                self._seconds["store"] = stored - began
            self._sent = True
            recorded = await accept(
                self._needs.uploads,
                self._described(key, spooled),
                spooled.content,
                clock,
                same_within_s=self._needs.limits.same_bytes_within_s,
                within_s=self._needs.limits.outcome_wait_s,
                key=self._key,
            )
        except PipeError as error:
            # CONFLICT: the bytes under that key are not ours. UNKNOWN_OUTCOME: a record may need them.
            if error.code not in (Code.CONFLICT, Code.UNKNOWN_OUTCOME):
                await self._take_back(key)
            raise
        finally:
            self._storing = False
            if self._stage is Stage.DROPPED:
                self._tidy()
        self._stage = Stage.COMMITTED
        self._seconds["record"] = clock.seconds() - stored
        if recorded.id != self.id:
            self._needs.events.note(events.UPLOAD_REPEATED, **self._about(recorded.id), bytes=spooled.size)
            await self._take_back(key)
        else:
            self._needs.events.note(
                events.UPLOAD_STORED,
                **self._about(),
                bytes=spooled.size,
                sha256=recorded.sha256,
                seconds=clock.seconds() - self._at.timestamp(),
                timings=dict(self._seconds),
            )
        self._tidy()
        return recorded

    def _described(self, key: str, spooled: Spooled) -> Upload:
        client = self._client
        return Upload(
            id=self.id,
            organisation=client.organisation,
            client_id=client.client_id,
            door=self._door,
            schema=self.schema,
            name=self._final_name,
            state=State.PENDING,
            bytes=spooled.size,
            sha256=spooled.sha256.hex(),
            received_at=utc(self._needs.clock),
            object_key=key,
            peer=client.peer.address,
            banner=client.peer.banner,
            session=client.peer.session,
            seconds=dict(self._seconds),
        )

    async def _take_back(self, key: str) -> None:
        if cast(Spooled, self._spooled).path is None:
            return  # there is no copy yet
        try:
            await self._needs.objects.delete(key)
        except PipeError as error:
            _log.warn(
                "raw copy {key} could not be deleted, the next start sets it aside: {error}", key=key, error=error
            )

    async def _verdict(self, recorded: Upload) -> Upload:
        """Wait for processing when the settings want that; the record stands whatever comes out."""
        needs = self._needs
        if self._door == "http":  # clients there ask by themselves for how long
            return recorded
        return await verdict(
            needs.uploads,
            recorded,
            needs.clock,
            within_s=needs.limits.verdict_wait_s,
            given_up=lambda: self._nobody_waits or needs.draining(),
        )

    # Ending early

    def abort(self, why: str) -> None:
        """See IUpload. Once the record is on its way, it stands."""
        self._nobody_waits = True
        if self._sent or self._stage in (Stage.COMMITTED, Stage.DROPPED):
            return
        self._poison = PipeError(Code.INCOMPLETE, "the upload was dropped", why)
        self._needs.events.note(events.UPLOAD_ABORTED, **self._about(), bytes=self.size, reason=why)
        self._drop()

    def _refuse(self, error: PipeError) -> PipeError:
        """The first failure: sticks, is told once, and leaves no bytes. :returns: what to raise."""
        if self._poison is None:
            self._poison = error
            if error.code is Code.UNKNOWN_OUTCOME:
                self._needs.events.note(events.UPLOAD_UNKNOWN, **self._about())
            else:
                self._needs.events.note(
                    events.UPLOAD_REFUSED,
                    **self._about(),
                    problem=error.message,
                    code=error.code.value,
                    bytes=self.size,
                )
            if error.detail:
                _log.error("upload {upload_id}: {error}", upload_id=str(self.id), error=str(error))
            self._drop()
        return self._poison

    async def _or_drop(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return await work
        except PipeError as error:
            raise self._refuse(error) from error
        finally:
            if self._stage in (Stage.FINISHING, Stage.COMMITTING):  # something unexpected rises
                self._refuse(PipeError(Code.FAILED, "the server could not store the file"))

    def _still_wanted(self) -> None:
        if self._poison is not None:
            raise self._poison

    def _out_of_turn(self) -> PipeError:
        return self._poison or PipeError(Code.CONFLICT, "the file is closed")

    def _drop(self) -> None:
        self._stage = Stage.DROPPED
        if not self._storing:
            self._tidy()

    def _tidy(self) -> None:
        if self._spool.forget():
            self._ended(self)
            return
        Deferred.fromCoroutine(self._spool.drop()).addBoth(self._tidied)

    def _tidied(self, result: Any) -> Any:
        self._ended(self)
        return result

    def _shielded(self, work: Coroutine[Any, Any, T]) -> Deferred[T]:
        """Whoever cancels stops waiting and gives the upload up; the steps under way come to their own end."""
        outer: Deferred[T] = Deferred(lambda _: self.abort("cancelled"))

        def tell(result: T | Failure) -> None:
            if not outer.called:
                outer.callback(cast(T, result))
                if self._stage is Stage.COMMITTED:
                    crashpoint("C7")  # the door has had its answer: OK is queued, or sent
            elif isinstance(result, Failure) and not result.check(PipeError):
                _log.failure("upload {upload_id} went wrong", result, upload_id=str(self.id))

        Deferred.fromCoroutine(work).addBoth(tell)
        return outer

    def _about(self, upload_id: UUID | None = None) -> dict[str, Any]:
        """The fields that all its events have."""
        about = describe(self._client, self.schema, self._final_name, self._door)
        return about | {"upload_id": str(upload_id or self.id)}
