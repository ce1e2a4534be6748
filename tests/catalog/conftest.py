"""A catalog in memory, in a file, and behind its threads: the same tests hold on all three."""

from __future__ import annotations

import dataclasses
import queue
from collections.abc import Iterator

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from conch_pipe.catalog import Catalog, Database, DirectDatabase
from conch_pipe.model import Job, Outcome, State, Upload, new_id, utc


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

    def __init__(self, database, pump):
        self.clock = Clock()
        self.clock.advance(1_800_000_000)
        self.database = database
        self.result = pump.result
        self.catalog = Catalog(database, self.clock)
        self.uploads = self.catalog.uploads
        self.jobs = self.catalog.jobs

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


COMPLETED = Outcome(done=True, upload={"state": State.COMPLETED, "rows": 2, "rejected": 0, "seconds": {"load": 0.5}})


@pytest.fixture(params=["memory", "file", "threads"])
def bench(request, tmp_path) -> Iterator[Bench]:
    """A catalog over each kind of database."""
    pump = Pump()
    url = f"sqlite:///{tmp_path}/catalog.sqlite"
    if request.param == "threads":
        database = Database(url, pump.deliver)
    else:
        database = DirectDatabase(url if request.param == "file" else "sqlite://")
    database.open()
    yield Bench(database, pump)
    pump.result(database.close())


@pytest.fixture
def in_memory() -> Iterator[Bench]:
    """The fastest one."""
    database = DirectDatabase("sqlite://")
    database.open()
    yield Bench(database, Pump())
    database.close()
