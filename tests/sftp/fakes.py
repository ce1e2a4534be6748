"""The rooms behind the SFTP door, in memory and with their real rules: intake, uploads, credentials, events."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from conch_pipe import events
from conch_pipe.errors import Code, PipeError
from conch_pipe.events import Event, Kind
from conch_pipe.interfaces import ICredentials, IEvents, IIntake, IUpload, IUploads
from conch_pipe.model import Client, Credential, State, Upload, new_id, utc

LIMIT = 1_000_000


@implementer(IEvents)
class HeardEvents:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.heard: list[tuple[Kind, dict[str, Any]]] = []
        self.listeners: list[Any] = []

    def note(self, kind: Kind, **fields: Any) -> None:
        kind.sentence.format(**fields)
        self.heard.append((kind, fields))
        for listener in self.listeners:
            listener(Event(kind, fields))

    def of(self, kind: Kind) -> list[dict[str, Any]]:
        return [fields for one, fields in self.heard if one is kind]


@implementer(IUploads)
class MemoryUploads:
    """Records of uploads."""

    def __init__(self) -> None:
        self.records: list[Upload] = []

    def latest(self, client_id: str, schema: str, name: str, since: datetime) -> Deferred[Upload | None]:
        found = [
            one
            for one in self.records
            if (one.client_id, one.schema, one.name) == (client_id, schema, name) and one.received_at >= since
        ]
        return succeed(found[-1] if found else None)

    def accept(
        self, upload: Upload, job: Any, *, same_within_s: float, content: bytes | None = None, key: str | None = None
    ) -> Deferred[Upload]:
        for one in self.records:
            same = (one.client_id, one.schema, one.name, one.sha256)
            fresh = (upload.received_at - one.received_at).total_seconds() < same_within_s
            if fresh and same == (upload.client_id, upload.schema, upload.name, upload.sha256):
                return succeed(one)
        self.records.append(upload)
        return succeed(upload)

    def get(self, upload_id: Any) -> Deferred[Upload | None]:
        return succeed(next((one for one in self.records if one.id == upload_id), None))

    def newest(self) -> Deferred[datetime | None]:
        return succeed(max((one.received_at for one in self.records), default=None))

    def content(self, upload_id: Any) -> Deferred[bytes | None]:
        return succeed(None)

    def keys(self) -> Deferred[set[str]]:
        return succeed({one.object_key for one in self.records})


@implementer(IUpload)
class MemoryUpload:
    """One upload's bytes; holes and limits are found as on disk."""

    lagging = False

    def __init__(self, intake: MemoryIntake, client: Client, schema: str, name: str, size: int | None, later: bool):
        self.intake, self.client, self.schema, self.name = intake, client, schema, name
        self.id = new_id(utc(intake.clock))
        self.data = bytearray()
        self.covered: list[tuple[int, int]] = []
        self.expected = size
        self.provisional = later
        self.poison: PipeError | None = None
        self.over = False

    @property
    def size(self) -> int:
        return len(self.data)

    def _refuse(self, error: PipeError) -> PipeError:
        self.poison = self.poison or error
        self.abort(error.message)
        return self.poison

    def write(self, offset: int, *pieces: Any) -> Deferred[None] | None:
        data = b"".join(pieces)
        if self.poison is not None:
            raise self.poison
        end = offset + len(data)
        if end > self.intake.limit:
            raise self._refuse(PipeError(Code.TOO_LARGE, f"larger than {self.intake.limit} bytes"))
        self.data.extend(b"\0" * (end - len(self.data)))
        self.data[offset:end] = data
        self.covered.append((offset, end))
        if self.intake.slow_writes is None:
            return None
        waiting: Deferred[None] = Deferred()
        self.intake.slow_writes.append(waiting)
        return waiting

    def expect(self, size: int) -> None:
        self.expected = size

    def sync(self) -> Deferred[None]:
        return succeed(None)

    def caught_up(self) -> Deferred[None]:
        return succeed(None)

    def finish(self) -> Deferred[Upload | None]:
        assert not self.over, "finish is called once"
        self.over = True
        if self.poison is not None:
            return fail(self.poison)
        reached = 0
        for start, end in sorted(self.covered):
            if start > reached:
                return fail(self._refuse(PipeError(Code.INCOMPLETE, f"bytes are missing from {reached}")))
            reached = max(reached, end)
        if self.expected is not None and self.expected != reached:
            return fail(self._refuse(PipeError(Code.INCOMPLETE, f"{reached} bytes instead of {self.expected}")))
        if b"BAD" in self.data:
            return fail(self._refuse(PipeError(Code.BAD_FILE, "no header")))
        if self.provisional:
            return self.intake.later(lambda: None)
        return self.intake.later(lambda: self._accept(self.name))

    def commit(self, name: str) -> Deferred[Upload]:
        assert self.provisional
        if not name.lower().endswith((".csv", ".json")):
            return fail(self._refuse(PipeError(Code.INVALID, "use .csv or .json")))
        self.provisional = False
        return self.intake.later(lambda: self._accept(name))

    def _accept(self, name: str) -> Upload:
        if self.intake.outcome is not None:
            raise self.intake.outcome
        upload = Upload(
            id=self.id,
            organisation=self.client.organisation,
            client_id=self.client.client_id,
            door="sftp",
            schema=self.schema,
            name=name,
            state=State.PENDING,
            bytes=self.size,
            sha256=hashlib.sha256(self.data).hexdigest(),
            received_at=utc(self.intake.clock),
        )
        self.intake.live.discard(self)
        self.intake.uploads.records.append(upload)
        self.intake.contents[upload.id] = bytes(self.data)
        return upload

    def abort(self, why: str) -> None:
        if self in self.intake.live:
            self.intake.live.discard(self)
            self.intake.dropped.append((self.name, why))


@dataclass(eq=False)
@implementer(IIntake)
class MemoryIntake:
    """Takes files; what is alive, dropped and recorded can be looked at."""

    clock: IReactorTime
    uploads: MemoryUploads
    limit: int = LIMIT
    live: set[MemoryUpload] = field(default_factory=set)
    dropped: list[tuple[str, str]] = field(default_factory=list)
    contents: dict[Any, bytes] = field(default_factory=dict)
    held: list[tuple[Deferred[Any], Callable[[], Any]]] | None = None  # a list: finish and commit wait for let_go
    slow_writes: list[Deferred[None]] | None = None
    outcome: PipeError | None = None  # what the next commits end with
    temporary_names: bool = True

    def later(self, work: Callable[[], Any]) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        if self.held is not None:
            self.held.append((done, work))
            return done
        try:
            return succeed(work())
        except PipeError as error:
            return fail(error)

    def let_go(self) -> None:
        held, self.held = self.held or [], None
        for done, work in held:
            try:
                done.callback(work())
            except PipeError as error:
                done.errback(error)

    def unfinished(self, name: str) -> str | None:
        if not self.temporary_names:
            return None
        if name.startswith(".in."):
            return name[4:]
        bare, _, ending = name.rpartition(".")
        if not bare or ending not in ("filepart", "part", "partial", "tmp"):
            return None
        return re.sub(r"\.[0-9a-f]{8}$", "", bare) if ending == "partial" else bare

    def begin(
        self, client: Client, schema: str, name: str, *, door: str, size: int | None = None, provisional: bool = False
    ) -> MemoryUpload:
        assert door == "sftp"
        assert schema in client.schemas
        final = (self.unfinished(name) if provisional else None) or name
        if not final.lower().endswith((".csv", ".json")):
            raise PipeError(Code.INVALID, "use .csv or .json")
        if size is not None and size > self.limit:
            raise PipeError(Code.TOO_LARGE, f"larger than {self.limit} bytes")
        upload = MemoryUpload(self, client, schema, name, size, provisional)
        self.live.add(upload)
        return upload


@implementer(ICredentials)
class MemoryCredentials:
    """Credentials; every question is counted."""

    def __init__(self, *credentials: Credential) -> None:
        self.by_id = {one.client_id: one for one in credentials}
        self.asked = 0
        self.logins: list[str] = []
        self.broken: PipeError | None = None

    def find(self, client_id: str) -> Deferred[Credential | None]:
        self.asked += 1
        return fail(self.broken) if self.broken else succeed(self.by_id.get(client_id))

    def active(self, client_ids: list[str]) -> Deferred[dict[str, Credential]]:
        if self.broken:
            return fail(self.broken)
        return succeed(
            {one: self.by_id[one] for one in client_ids if one in self.by_id and self.by_id[one].revoked_at is None}
        )

    def logged_in(self, client_id: str, at: datetime) -> Deferred[None]:
        self.logins.append(client_id)
        return fail(self.broken) if self.broken else succeed(None)

    def change(self, client_id: str, **columns: Any) -> None:
        self.by_id[client_id] = replace(self.by_id[client_id], **columns)

    def revoke(self, client_id: str) -> None:
        self.change(client_id, revoked_at=datetime.now(UTC), secrets=())


__all__ = ["HeardEvents", "MemoryCredentials", "MemoryIntake", "MemoryUpload", "MemoryUploads", "events"]
