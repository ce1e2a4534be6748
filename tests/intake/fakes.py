"""What the intake works with, in memory and with its real rules; failures and waits are chosen by the test."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from twisted.internet.defer import Deferred, execute, fail, succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from conch_pipe.errors import Code, PipeError
from conch_pipe.events import Kind
from conch_pipe.intake.intake import Intake, Limits, TemporaryNames
from conch_pipe.intake.upload import UploadInProgress
from conch_pipe.interfaces import IEvents, IObjects, IUploads
from conch_pipe.model import Client, Job, Peer, State, Upload

START = 1_700_000_000.0
ENDINGS = {"upload.stored", "upload.repeated", "upload.refused", "upload.aborted", "upload.unknown"}
CLIENT = Client("acme-1", "acme", frozenset({"shifts"}), Peer("192.0.2.7", 50022, "OpenSSH_9.2", "0123456789abcdef"))
ROOMY = Limits(free_bytes=0, free_share=0, free_inodes_share=0)


@implementer(IEvents)
class HeardEvents:
    """Keeps what it is told, and renders each sentence as the log would."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, dict[str, Any]]] = []

    def note(self, kind: Kind, **fields: Any) -> None:
        kind.sentence.format(**fields)
        self.heard.append((kind.name, fields))

    def names(self) -> list[str]:
        return [name for name, _ in self.heard]

    def of(self, name: str) -> list[dict[str, Any]]:
        return [fields for one, fields in self.heard if one == name]


class Gate:
    """Work that fails as told, and waits while it is shut."""

    def __init__(self) -> None:
        self.shut = False
        self.failures: list[Exception] = []  # of the next calls, in order
        self.waiting: list[tuple[Deferred[Any], Callable[[], Any]]] = []

    def pass_through(self, work: Callable[[], Any]) -> Deferred[Any]:
        if self.shut:
            done: Deferred[Any] = Deferred()
            self.waiting.append((done, work))
            return done
        return execute(work)

    def open(self) -> None:
        self.shut = False
        waiting, self.waiting = self.waiting, []
        for done, work in waiting:
            try:
                result = work()
            except Exception:
                result = Failure()
            if not done.called:
                done.callback(result)

    def step(self) -> None:
        """Let the oldest one through; the gate stays shut."""
        done, work = self.waiting.pop(0)
        execute(work).addBoth(lambda result: done.called or done.callback(result))

    def trip(self) -> None:
        if self.failures:
            raise self.failures.pop(0)


@implementer(IObjects)
class MemoryObjects:
    """Raw copies."""

    def __init__(self) -> None:
        self.stored: dict[str, bytes] = {}
        self.aside: dict[str, bytes] = {}
        self.putting = Gate()
        self.deleting = Gate()
        self.moving = Gate()
        self.fails_after_storing = False

    def put(self, key: str, path: Path, sha256: bytes) -> Deferred[None]:
        return self.putting.pass_through(lambda: self._put(key, path, sha256))

    def _put(self, key: str, path: Path, sha256: bytes) -> None:
        if not self.fails_after_storing:
            self.putting.trip()
        data = path.read_bytes()
        assert hashlib.sha256(data).digest() == sha256
        if self.stored.setdefault(key, data) != data:
            raise PipeError(Code.CONFLICT, "other bytes")
        self.putting.trip()

    def store(self, key: str, content: bytes, sha256: bytes) -> Deferred[None]:
        return fail(PipeError(Code.FAILED, "the intake stores files only"))

    def fetch(self, key: str) -> Deferred[Path]:
        return fail(PipeError(Code.NOT_FOUND, "the intake fetches nothing"))

    def delete(self, key: str) -> Deferred[None]:
        return self.deleting.pass_through(lambda: self._delete(key))

    def _delete(self, key: str) -> None:
        self.deleting.trip()
        self.stored.pop(key, None)

    def keys(self) -> Deferred[set[str]]:
        return succeed(set(self.stored))

    def set_aside(self, key: str) -> Deferred[None]:
        return self.moving.pass_through(lambda: self._set_aside(key))

    def _set_aside(self, key: str) -> None:
        self.moving.trip()
        self.aside[key] = self.stored.pop(key)


@implementer(IUploads)
class MemoryUploads:
    """Records. ``lost`` counts answers of accept that get lost after its COMMIT, ``never_sent`` before it."""

    def __init__(self) -> None:
        self.records: dict[UUID, Upload] = {}
        self.contents: dict[UUID, bytes] = {}
        self.jobs: list[Job] = []
        self.keyed: dict[UUID, str] = {}
        self.accepting = Gate()
        self.getting = Gate()
        self.lost = 0
        self.never_sent = 0

    def accept(
        self, upload: Upload, job: Job, *, same_within_s: float, content: bytes | None = None, key: str | None = None
    ) -> Deferred[Upload]:
        if key is not None:
            self.keyed[upload.id] = key
        return self.accepting.pass_through(lambda: self._accept(upload, job, same_within_s, content))

    def _accept(self, upload: Upload, job: Job, same_within_s: float, content: bytes | None) -> Upload:
        self.accepting.trip()
        if self.never_sent:
            self.never_sent -= 1
            raise PipeError(Code.UNKNOWN_OUTCOME, "no answer")
        recorded = self.records.get(upload.id) or self._same(upload, same_within_s)
        if recorded is None:
            recorded = self.records[upload.id] = upload
            if content is not None:
                self.contents[upload.id] = content
            self.jobs.append(job)
        if self.lost:
            self.lost -= 1
            raise PipeError(Code.UNKNOWN_OUTCOME, "no answer")
        return recorded

    def _same(self, upload: Upload, within_s: float) -> Upload | None:
        since = upload.received_at - timedelta(seconds=within_s)

        def told(one: Upload) -> tuple[str, str, str, str]:
            return one.client_id, one.schema, one.name, one.sha256

        return next(
            (
                one
                for one in self.records.values()
                if within_s and told(one) == told(upload) and one.received_at >= since and one.state is not State.FAILED
            ),
            None,
        )

    def get(self, upload_id: UUID) -> Deferred[Upload | None]:
        def look() -> Upload | None:
            self.getting.trip()
            return self.records.get(upload_id)

        return self.getting.pass_through(look)

    def newest(self) -> Deferred[Any]:
        return succeed(max((one.received_at for one in self.records.values()), default=None))

    def content(self, upload_id: UUID) -> Deferred[bytes | None]:
        return succeed(self.contents.get(upload_id))

    def keys(self) -> Deferred[set[str]]:
        return succeed({one.object_key for one in self.records.values()})

    def latest(self, client_id: str, schema: str, name: str, since: Any) -> Deferred[Upload | None]:
        return succeed(None)

    def settle(self, upload: Upload, state: State, problem: str | None = None) -> None:
        self.records[upload.id] = replace(upload, state=state, problem=problem)


@dataclass
class World:
    """An intake and all around it; ``threads`` can be shut, so that pool jobs wait."""

    folder: Path
    limits: Limits = ROOMY
    check_ends: Any = None
    names: TemporaryNames = TemporaryNames()
    clock: Clock = field(default_factory=Clock)
    objects: MemoryObjects = field(default_factory=MemoryObjects)
    uploads: MemoryUploads = field(default_factory=MemoryUploads)
    events: HeardEvents = field(default_factory=HeardEvents)
    threads: Gate = field(default_factory=Gate)

    def __post_init__(self) -> None:
        self.clock.rightNow = START
        self.folder.mkdir(exist_ok=True)
        self.intake = self.new_intake()

    def new_intake(self) -> Intake:
        """As after a restart."""
        return Intake(
            self.folder,
            self.objects,
            self.uploads,
            self.events,
            self.clock,
            lambda function, *args: self.threads.pass_through(lambda: function(*args)),
            {"shifts": "the shifts schema"},
            self.limits,
            self.names,
            self.check_ends,
        )

    def begin(self, name: str = "a.csv", **options: Any) -> UploadInProgress:
        return self.intake.begin(CLIENT, "shifts", name, door="sftp", **options)

    def put(self, data: bytes, name: str = "a.csv", **options: Any) -> Deferred[Upload | None]:
        upload = self.begin(name, **options)
        upload.write(0, data)
        return upload.finish()

    def parts(self) -> list[Path]:
        return list(self.folder.iterdir())

    def endings(self) -> list[str]:
        return [name for name in self.events.names() if name in ENDINGS]


def result(deferred: Deferred[Any]) -> Any:
    """What it fired with; an error is raised."""
    got: list[Any] = []
    deferred.addBoth(got.append)
    assert got, "has not fired"
    if isinstance(got[0], Failure):
        got[0].raiseException()
    return got[0]


def error(deferred: Deferred[Any]) -> PipeError:
    """The PipeError it failed with."""
    try:
        value = result(deferred)
    except PipeError as refused:
        return refused
    raise AssertionError(f"fired with {value!r}")


def fired(deferred: Deferred[Any]) -> bool:
    return deferred.called
