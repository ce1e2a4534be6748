"""Where every door brings its files: admits them, keeps the living ones, and tidies up at start and at the end.

Knows no protocol and no file content. The rules are in admission.py, an upload's life in upload.py.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from conch_pipe import events
from conch_pipe.crashpoints import crashpoint
from conch_pipe.errors import Code, PipeError
from conch_pipe.formats import quick
from conch_pipe.intake.admission import Limits, Room, check_name, check_size
from conch_pipe.intake.memory import Memory
from conch_pipe.intake.record import describe
from conch_pipe.intake.spool import open_spool
from conch_pipe.intake.system_errors import refused_by_system
from conch_pipe.intake.temporary_names import TemporaryNames
from conch_pipe.intake.upload import Needs, QuickCheck, UploadInProgress
from conch_pipe.interfaces import IEvents, IIntake, InThread
from conch_pipe.model import Client, new_id, utc

__all__ = ["Intake", "Limits", "TemporaryNames"]


class Schemas(Protocol):
    """Schemas by name; a dict will do."""

    def get(self, name: str, /) -> Any:
        """The schema, or None."""


@implementer(IIntake)
class Intake:
    """See :class:`conch_pipe.interfaces.IIntake`.

    :param folder: the spool, on a local disk; one process has it to itself.
    :param objects: IObjects.
    :param uploads: IUploads.
    :param in_thread: runs a function in a bounded pool: ``functools.partial(deferToThreadPool, reactor, pool)``. Two
        threads let one large upload be hashed and synced at once; small files gain from more.
    :param schemas: formats Schemas by name.
    :param check_ends: the quick checks of content, or None for none.
    """

    def __init__(
        self,
        folder: Path,
        objects: Any,
        uploads: Any,
        events: IEvents,
        clock: IReactorTime,
        in_thread: InThread,
        schemas: Schemas,
        limits: Limits = Limits(),
        names: TemporaryNames = TemporaryNames(),
        check_ends: QuickCheck | None = quick.check_ends,
    ) -> None:
        self._folder = folder
        self._events = events
        self._clock = clock
        self._in_thread = in_thread
        self._schemas = schemas
        self._limits = limits
        self._names = names
        self.room = Room(folder, limits, events, clock)
        self._memory = Memory(limits.memory_bytes)
        self._live: set[UploadInProgress] = set()
        self._draining = False
        self._empty: list[Deferred[None]] = []
        self._needs = Needs(objects, uploads, events, clock, limits, check_ends or _no_checks, lambda: self._draining)

    @property
    def live(self) -> int:
        """Uploads that still have something on the spool."""
        return len(self._live)

    def unfinished(self, name: str) -> str | None:
        """See IIntake."""
        return self._names.final(name)

    def begin(
        self, client: Client, schema: str, name: str, *, door: str, size: int | None = None, provisional: bool = False
    ) -> UploadInProgress:
        """See IIntake."""
        try:
            upload = self._begin(client, schema, name, door, size, provisional)
        except PipeError as error:
            self._events.note(
                events.UPLOAD_REFUSED,
                **describe(client, schema, name, door),
                problem=error.message,
                code=error.code.value,
                detail=error.detail,
            )
            raise
        self._events.note(events.UPLOAD_BEGUN, **describe(client, schema, name, door), upload_id=str(upload.id))
        return upload

    def _begin(
        self, client: Client, schema: str, name: str, door: str, size: int | None, provisional: bool
    ) -> UploadInProgress:
        if self._draining:
            raise PipeError(Code.BUSY, "shutting down, try again")
        final_name = (self._names.final(name) if provisional else None) or name
        check_name(final_name)
        check_size(size, self._limits.max_bytes)
        description = self._schemas.get(schema)
        if description is None:
            raise PipeError(Code.NOT_FOUND, "no such schema")
        self.room.check()
        at = utc(self._clock)
        upload_id = new_id(at)
        spool = open_spool(
            self._folder,
            upload_id,
            self._in_thread,
            lag_bytes=self._limits.lag_bytes,
            sync_bytes=self._limits.sync_bytes,
            small_bytes=self._limits.small_bytes,
            memory=self._memory,
        )
        upload = UploadInProgress(
            upload_id,
            at,
            client,
            (schema, description),
            name,
            final_name,
            door=door,
            size=size,
            provisional=provisional,
            spool=spool,
            needs=self._needs,
            ended=self._upload_ended,
        )
        self._live.add(upload)
        return upload

    def _upload_ended(self, upload: UploadInProgress) -> None:
        self._live.discard(upload)
        if self._draining and not self._live:
            empty, self._empty = self._empty, []
            for waiting in empty:
                waiting.callback(None)

    def drain(self) -> Deferred[None]:
        """Begin nothing new, for good; waits for verdicts end at once.

        :returns: Deferred[None] that fires when nothing is left on the spool. Whoever does not want to wait that long
            aborts the uploads at their doors.
        """
        self._draining = True
        if not self._live:
            return succeed(None)
        waiting: Deferred[None] = Deferred(self._empty.remove)
        self._empty.append(waiting)
        return waiting

    def recover(self, *, older_than_s: float = 0) -> Deferred[None]:
        """At start, before any door opens: drop part files, set raw copies without a record aside. Idempotent.

        :param older_than_s: leave younger copies alone. 0 when this process is the only one that stores; else a few
            minutes, since another one's copy is stored before its record.
        :raises PipeError: FAILED when the spool cannot be used; what ``keys`` and ``set_aside`` raise.
        """
        return Deferred.fromCoroutine(self._recover(older_than_s))

    async def _recover(self, older_than_s: float) -> None:
        try:
            parts = await self._in_thread(_remove_parts, self._folder)
        except OSError as error:
            raise refused_by_system(error) from error
        crashpoint("S1")
        # Copies first: one stored after this look, with its record, is not taken for an orphan.
        stored = await self._needs.objects.keys()
        recorded = await self._needs.uploads.keys()
        before = self._clock.seconds() - older_than_s
        orphans = sorted(key for key in stored - recorded if _begun_at(key) <= before)
        for key in orphans:
            await self._needs.objects.set_aside(key)
            crashpoint("S2")
        self._events.note(events.RECOVERED, parts=parts, orphans=len(orphans))

    def tidy(self, folder: Path) -> Deferred[None]:
        """After a process with a spool of its own has ended: its part files go, with copies that have no record.

        Others may be storing at the same time: a copy is an orphan of that process only when its part file is there,
        which outlives the record. Idempotent.

        :param folder: that spool; nobody writes there any more.
        :raises PipeError: as ``recover``.
        """
        return Deferred.fromCoroutine(self._tidy(folder))

    async def _tidy(self, folder: Path) -> None:
        try:
            parts = await self._in_thread(_parts, folder)
            orphans: list[str] = []
            if parts:
                begun = {part.stem for part in parts}
                stored = await self._needs.objects.keys()
                recorded = await self._needs.uploads.keys()
                orphans = sorted(key for key in stored - recorded if _id_in(key) in begun)
                for key in orphans:
                    await self._needs.objects.set_aside(key)
                self._events.note(events.RECOVERED, parts=len(parts), orphans=len(orphans))
            await self._in_thread(_remove_folder, folder)
        except OSError as error:
            raise refused_by_system(error) from error


def _no_checks(name: str, head: bytes, tail: bytes, size: int, schema: Any) -> None:
    """Every content will do."""


def _remove_parts(folder: Path) -> int:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    parts = _parts(folder)
    for part in parts:
        part.unlink(missing_ok=True)
    for own in folder.iterdir():  # the spools of door processes
        if own.is_dir():
            parts += _parts(own)
            _remove_folder(own)
    return len(parts)


def _parts(folder: Path) -> list[Path]:
    return list(folder.glob("*.part"))


def _remove_folder(folder: Path) -> None:
    """A spool that nobody writes to any more; what is no part file stays, and so does the folder then."""
    for part in _parts(folder):
        part.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()


def _id_in(key: str) -> str:
    """The upload id in the key of a raw copy."""
    return key.rpartition("/")[2].partition(".")[0]


def _begun_at(key: str) -> float:
    """Seconds since 1970 at which the upload of a raw copy began, from its UUIDv7; infinity for foreign keys."""
    if not key.startswith("raw/"):
        return float("inf")
    try:
        return (UUID(_id_in(key)).int >> 80) / 1000
    except ValueError:
        return float("inf")
