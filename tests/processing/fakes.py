"""Catalog, object store, warehouse and workers in memory, with the semantics their interfaces promise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from zope.interface import implementer

from conch_pipe.errors import Code, PipeError
from conch_pipe.interfaces import IJobs, IObjects, IUploads, IWarehouse, IWorkers
from conch_pipe.model import Job, Outcome, Problem, State, Upload, new_id, utc
from tests.clocks import PromptClock

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def clock_at_start() -> Clock:
    clock = PromptClock()
    clock.rightNow = START.timestamp()
    return clock


@implementer(IJobs, IUploads)
class MemoryCatalog:
    """Jobs and uploads. ``down``: every call fails with it."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.jobs: dict[int, Job] = {}
        self.leases: dict[int, datetime] = {}
        self.ended: dict[int, str] = {}
        self.outcomes: list[tuple[int, Outcome]] = []
        self.uploads: dict[UUID, Upload] = {}
        self.problems: dict[UUID, tuple[Problem, ...]] = {}
        self.contents: dict[UUID, bytes] = {}
        self.down: Exception | None = None
        self.renews = 0

    def add(self, *, kind: str = "ingest", upload: Upload | None = None, subject: str = "", **fields: Any) -> Job:
        job = Job(kind, str(upload.id) if upload else subject, utc(self.clock), id=len(self.jobs) + 1, **fields)
        self.jobs[job.id] = job
        if upload is not None:
            self.uploads[upload.id] = upload
        return job

    def _answer(self, function: Callable[[], Any]) -> Deferred[Any]:
        return fail(self.down) if self.down is not None else succeed(function())

    def claim(self, kinds, limit, lease_s):
        return self._answer(lambda: self._claim(kinds, limit, lease_s))

    def _claim(self, kinds, limit, lease_s) -> list[Job]:
        now = utc(self.clock)
        due = [
            job
            for job in self.jobs.values()
            if job.kind in kinds
            and job.id not in self.ended
            and job.due_at <= now
            and self.leases.get(job.id, now) <= now
        ]
        taken = []
        for job in sorted(due, key=lambda job: (job.due_at, job.id))[:limit]:
            leased = replace(job, claims=job.claims + 1, fence=job.fence + 1)
            self.jobs[job.id] = leased
            self.leases[job.id] = now + timedelta(seconds=lease_s)
            self._move(job, State.PROCESSING)
            taken.append(leased)
        return taken

    def _move(self, job: Job, state: State) -> None:
        upload = self._upload_of(job)
        if upload is not None and upload.state in (State.PENDING, State.PROCESSING):
            self.uploads[upload.id] = replace(upload, state=state)

    def _upload_of(self, job: Job) -> Upload | None:
        try:
            return self.uploads.get(UUID(job.subject))
        except ValueError:
            return None

    def _ours(self, job: Job) -> bool:
        return self.jobs[job.id].fence == job.fence and job.id in self.leases and job.id not in self.ended

    def renew(self, job, lease_s):
        def renew() -> bool:
            self.renews += 1
            if self._ours(job):
                self.leases[job.id] = utc(self.clock) + timedelta(seconds=lease_s)
            return self._ours(job)

        return self._answer(renew)

    def settle(self, job, outcome):
        if self.down is None and self._ours(job) and outcome.upload:
            upload = self._upload_of(job)
            if upload is None or upload.state is not State.PROCESSING:
                return fail(PipeError(Code.CONFLICT, "the upload may not move there"))
        return self._answer(lambda: self._settle(job, outcome))

    def _settle(self, job: Job, outcome: Outcome) -> bool:
        assert not (outcome.done and outcome.retry_at)
        if not self._ours(job):
            return False
        del self.leases[job.id]
        self.outcomes.append((job.id, outcome))
        stored = self.jobs[job.id]
        if outcome.retry_at is not None:
            failures = stored.failures + (1 if outcome.failed else 0)
            self.jobs[job.id] = replace(stored, due_at=outcome.retry_at, failures=failures, claims=0)
            self._move(job, State.PENDING)
        else:
            self.ended[job.id] = "done" if outcome.done else "dead"
        upload = self._upload_of(job)
        if upload is not None and outcome.stored:
            self.contents.pop(upload.id, None)
        if upload is not None and outcome.upload:
            self.uploads[upload.id] = replace(upload, **outcome.upload)
            self.problems[upload.id] = outcome.problems
        return True

    def release_all(self):
        def release() -> int:
            held = list(self.leases)
            for job_id in held:
                del self.leases[job_id]
                self.jobs[job_id] = replace(self.jobs[job_id], fence=self.jobs[job_id].fence + 1)
            return len(held)

        return self._answer(release)

    def waiting(self):
        alive = [job.kind for job in self.jobs.values() if job.id not in self.ended]
        return self._answer(lambda: {kind: alive.count(kind) for kind in alive})

    def get(self, upload_id):
        return self._answer(lambda: self.uploads.get(upload_id))

    def newest(self):
        raise NotImplementedError("doors do this, not processing")

    def content(self, upload_id):
        return self._answer(lambda: self.contents.get(upload_id))

    def old_copies(self, before, limit):
        old = [(u.id, u.object_key) for u in self.uploads.values() if u.object_key and _over(u, before)]
        return self._answer(lambda: old[:limit])

    def copies_deleted(self, upload_ids):
        def clear() -> None:
            for upload_id in upload_ids:
                self.uploads[upload_id] = replace(self.uploads[upload_id], object_key="")

        return self._answer(clear)

    def forget(self, before, limit):
        def forget() -> int:
            old = [upload.id for upload in self.uploads.values() if _over(upload, before)][:limit]
            for upload_id in old:
                del self.uploads[upload_id]
            return len(old)

        return self._answer(forget)

    def accept(self, upload, job, *, same_within_s, content=None, key=None):
        raise NotImplementedError("doors do this, not processing")

    def latest(self, client_id, schema, name, since):
        raise NotImplementedError("doors do this, not processing")

    def keys(self):
        return self._answer(lambda: {upload.object_key for upload in self.uploads.values()})


def _over(upload: Upload, before: datetime) -> bool:
    return upload.finished_at is not None and upload.finished_at < before


@implementer(IObjects)
class FolderObjects:
    """Raw copies in a folder. ``trouble``: exceptions the next calls of store fail with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.trouble: list[Exception] = []

    def put(self, key, path, sha256):
        (self.folder / key).write_bytes(path.read_bytes())
        return succeed(None)

    def store(self, key, content, sha256):
        if self.trouble:
            return fail(self.trouble.pop(0))
        (self.folder / key).write_bytes(content)
        return succeed(None)

    def fetch(self, key):
        path = self.folder / key
        return succeed(path) if path.exists() else fail(PipeError(Code.NOT_FOUND, "no such object"))

    def delete(self, key):
        (self.folder / key).unlink(missing_ok=True)
        return succeed(None)

    def keys(self):
        return succeed({path.name for path in self.folder.iterdir()})

    def set_aside(self, key):
        raise NotImplementedError("recovery does this, not processing")


@implementer(IWarehouse)
class MemoryWarehouse:
    """A ledger and rows. ``trouble``: exceptions the next loads fail with, before anything is loaded; with
    ``after`` they fail once the rows are committed: an answer that was lost."""

    def __init__(self) -> None:
        self.ledger: dict[UUID, int] = {}
        self.commits = 0
        self.trouble: list[Exception] = []
        self.after = False
        self.silent: list[Exception] = []  # the next questions fail with these

    def rows(self, upload_id):
        return fail(self.silent.pop(0)) if self.silent else succeed(self.ledger.get(upload_id))

    def load(self, schema, upload, parquet):
        if self.trouble and not self.after:
            return fail(self.trouble.pop(0))
        if upload.id not in self.ledger:
            self.ledger[upload.id] = len(parquet.read_text().splitlines())
            self.commits += 1
        return fail(self.trouble.pop(0)) if self.trouble else succeed(self.ledger[upload.id])


@implementer(IWorkers)
class MemoryWorkers:
    """Runs ``function`` in this process; ``trouble``: exceptions the next calls fail with; ``hold``: calls wait in
    ``held`` as (arguments, Deferred)."""

    def __init__(self, function: Callable[[dict], dict]) -> None:
        self.function = function
        self.trouble: list[Exception] = []
        self.hold = False
        self.held: list[tuple[dict, Deferred[dict]]] = []
        self.calls = 0

    def call(self, function, arguments, *, wall_s):
        self.calls += 1
        if self.trouble:
            return fail(self.trouble.pop(0))
        if self.hold:
            self.held.append((arguments, Deferred()))
            return self.held[-1][1]
        try:
            return succeed(self.function(arguments))
        except PipeError as error:
            return fail(error)


@dataclass(frozen=True)
class FakeSchema:
    """What the chain needs of a schema."""

    name: str
    text: str


class Book:
    """Schemas by name, from their texts."""

    def __init__(self, **texts: str) -> None:
        self.texts = texts

    def get(self, name: str) -> FakeSchema | None:
        return FakeSchema(name, self.texts[name]) if name in self.texts else None


def upload_of(clock: Clock, **fields: Any) -> Upload:
    """A PENDING upload, received now."""
    given = {
        "organisation": "acme",
        "client_id": "pipe_acme",
        "door": "sftp",
        "schema": "shifts",
        "name": "a.csv",
        "state": State.PENDING,
        "bytes": 5,
        "sha256": "0" * 64,
        "received_at": utc(clock),
    }
    upload_id = new_id(utc(clock))
    return Upload(**{"id": upload_id, "object_key": str(upload_id)} | given | fields)
