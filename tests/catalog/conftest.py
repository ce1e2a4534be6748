"""A catalog in memory, in a file, and behind its threads: the same tests hold on all three."""

from __future__ import annotations

import dataclasses
import queue
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from conch_pipe.catalog import Catalog, Database, DirectDatabase, KeyFile
from conch_pipe.model import (
    Attempt,
    Environment,
    Job,
    Outcome,
    Push,
    PushResult,
    PushState,
    RecordedFile,
    Recording,
    Remote,
    RemoteSecrets,
    Report,
    Role,
    State,
    Status,
    Upload,
    new_id,
    utc,
)
from tests import catalogs
from tests.conftest import CANARY

SECRETS = RemoteSecrets(f"opens-the-north-{CANARY}")


class Pump:
    """Stands for the reactor's thread: runs what other threads deliver while a test waits for a Deferred."""

    def __init__(self):
        self.delivered = queue.SimpleQueue()

    def deliver(self, function, *args):
        self.delivered.put((function, args))

    def result(self, deferred: Deferred):
        """What the Deferred fires with; a failure is raised."""
        fired = []
        deferred.addBoth(fired.append)
        while not fired:
            function, args = self.delivered.get(timeout=20)
            function(*args)
        if isinstance(fired[0], Failure):
            fired[0].raiseException()
        return fired[0]


class Bench:
    """A catalog with a clock, and the handful of moves most tests begin with."""

    def __init__(self, database, pump, keys=None):
        self.clock = Clock()
        self.clock.advance(1_800_000_000)
        self.database = database
        self.result = pump.result
        self.keys = keys
        self.catalog = Catalog(database, self.clock, keys)
        self.uploads = self.catalog.uploads
        self.jobs = self.catalog.jobs
        self.environments = self.catalog.environments
        self.remotes = self.catalog.remotes
        self.recordings = self.catalog.recordings
        self.pushes = self.catalog.pushes

    def upload(self, **changes) -> Upload:
        """A record that is not stored yet."""
        at = utc(self.clock)
        upload_id = new_id(at)
        upload = Upload(
            id=upload_id,
            organisation="acme",
            client_id="pipe_a",
            door="sftp",
            schema="orgShifts",
            name="a.csv",
            state=State.PENDING,
            bytes=3,
            sha256="ab" * 32,
            received_at=at,
            object_key=f"raw/{upload_id}",
            peer="192.0.2.1",
        )
        return dataclasses.replace(upload, **changes)

    def accept(self, upload: Upload | None = None, same_within_s: float = 0, content: bytes | None = None) -> Upload:
        upload = upload or self.upload()
        job = Job("ingest", str(upload.id), upload.received_at)
        return self.result(self.uploads.accept(upload, job, same_within_s=same_within_s, content=content))

    def content(self, upload: Upload) -> bytes | None:
        return self.result(self.uploads.content(upload.id))

    def claim(self, limit: int = 1, lease_s: float = 60) -> list[Job]:
        return self.result(self.jobs.claim(["ingest"], limit, lease_s))

    def settle(self, job: Job, outcome: Outcome) -> bool:
        return self.result(self.jobs.settle(job, outcome))

    def state(self, upload: Upload) -> State:
        return self.result(self.uploads.get(upload.id)).state

    def remote(self, name: str = "north", secrets: RemoteSecrets = SECRETS, **changes) -> Remote:
        """Add one; its organisation is made when missing."""
        values = {"organisation": "acme", "host": f"{name}.example", "username": "pipe", "created_at": self.now()}
        remote = Remote(name, **{**values, **changes})
        if self.result(self.catalog.organisations.get(remote.organisation)) is None:
            self.result(self.catalog.organisations.create(remote.organisation))
        return self.result(self.remotes.add(remote, secrets))

    def environment(self, *remotes: str, name: str = "live", delete_delivered: bool = False) -> Environment:
        """Make one, with remotes of these names; those that are missing are added."""
        for remote in remotes:
            if self.result(self.remotes.get(remote)) is None:
                self.remote(remote)
        if self.result(self.catalog.organisations.get("acme")) is None:
            self.result(self.catalog.organisations.create("acme"))
        return self.result(self.environments.create("acme", name, remotes, delete_delivered))

    def recording(self, recording_id: str = "r1", **changes) -> Recording:
        """One that is not accepted yet: a main file and a snapshot."""
        files = tuple(
            RecordedFile(role, Path("/srv/recordings") / name, name, 7, 1, letter * 64)
            for role, name, letter in ((Role.MAIN, "call.mp4", "a"), (Role.SNAPSHOT, "call.jpg", "b"))
        )
        recording = Recording(new_id(self.now()), recording_id, "acme", "live", "call", files, saved_at=self.now())
        return dataclasses.replace(recording, **changes)

    def recorded(self, recording_id: str = "r1", **changes) -> tuple[Recording, tuple[Push, ...]]:
        return self.result(self.recordings.accept(self.recording(recording_id, **changes)))

    def push(self, push: Push) -> Push:
        """As it is now."""
        found = self.result(self.recordings.push(push.id))
        return found[0]

    def claim_pushes(self, limit: int = 100, lease_s: float = 60) -> list[Job]:
        return self.result(self.jobs.claim(["push"], limit, lease_s))

    def retentions(self) -> list[str]:
        """Claim what is due: uids of recordings."""
        return [job.subject for job in self.result(self.jobs.claim(["retention"], 100, 60))]

    def attempt(self, job: Job, state: PushState, status: Status = Status.UPLOAD_FAILED, **changes) -> bool:
        """Settle the job of a push: an attempt that began and ended now, retried in a minute unless it is final.

        :param changes: ``known``, the push as it was when the attempt began; ``began_at``, ``report``, ``disable``.
        """
        push = changes.pop("known", None) or self.result(self.recordings.push(UUID(job.subject)))[0]
        final = state in (PushState.DELIVERED, PushState.GIVEN_UP)
        number = 0 if push.manual else push.attempts + 1
        after = dataclasses.replace(
            push,
            state=state,
            attempts=max(number, push.attempts),
            ended_at=self.now(),
            manual=False,
            arrived=frozenset(Role) if state is PushState.DELIVERED else push.arrived,
            final_at=self.now() if final else None,
        )
        report = changes.pop("report", Report(status, "" if status is Status.OK else "broken"))
        began_at = changes.pop("began_at", self.now())
        attempt = Attempt(push.id, number, began_at, "north.example", 22, "pipe", "in", report)
        result = PushResult(attempt, after, **changes)
        if final:
            return self.settle(job, Outcome(done=True, push=result))
        return self.settle(job, Outcome(retry_at=self.now() + timedelta(minutes=1), failed=False, push=result))

    def now(self) -> datetime:
        return utc(self.clock)


def new_keys(folder: Path) -> KeyFile:
    keys = KeyFile(folder / "keys" / "secrets.key")
    keys.make()
    return keys


COMPLETED = Outcome(done=True, upload={"state": State.COMPLETED, "rows": 2, "rejected": 0, "seconds": {"load": 0.5}})


@pytest.fixture(params=["memory", "file", "threads"])
def bench(request, tmp_path) -> Iterator[Bench]:
    """A catalog over each kind of database."""
    pump = Pump()
    database: Database | DirectDatabase
    if request.param == "memory":
        database = catalogs.in_memory()
    else:
        url = catalogs.on_disk(tmp_path / "catalog.sqlite")
        database = Database(url, pump.deliver) if request.param == "threads" else DirectDatabase(url)
        database.open()
    yield Bench(database, pump, new_keys(tmp_path))
    pump.result(database.close())


@pytest.fixture
def in_memory(tmp_path) -> Iterator[Bench]:
    """The fastest one."""
    database = catalogs.in_memory()
    yield Bench(database, Pump(), new_keys(tmp_path))
    database.close()
