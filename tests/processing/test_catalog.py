"""The runner and the ingest chain over the real catalog on SQLite: what the fakes promise is what it does."""

from __future__ import annotations

import pytest
from twisted.internet.defer import maybeDeferred

from conch_pipe.catalog.catalog import Catalog
from conch_pipe.errors import Code, PipeError, WorkerDied
from conch_pipe.events import Events
from conch_pipe.model import Job, State, utc
from conch_pipe.processing import ingest
from conch_pipe.processing.runner import Runner
from tests import catalogs
from tests.processing.fakes import Book, FolderObjects, MemoryWarehouse, MemoryWorkers, clock_at_start, upload_of
from tests.processing.test_ingest import check

BUSY = PipeError(Code.BUSY, "in use elsewhere")


class Bench:
    """As in test_ingest.py, with the catalog of the product."""

    def __init__(self, folder) -> None:
        self.clock = clock_at_start()
        self.database = catalogs.in_memory()
        self.catalog = Catalog(self.database, self.clock)
        (folder / "raw").mkdir()
        self.raw = folder / "raw"
        self.warehouse = MemoryWarehouse()
        self.workers = MemoryWorkers(check)
        self.heard = []
        chain = ingest.stages(
            FolderObjects(self.raw),
            self.warehouse,
            self.workers,
            self.catalog.uploads,
            Book(shifts="strict", tips="lenient"),
            folder / "work",
            Events((self.heard.append,)),
            self.clock,
            {},
            in_thread=maybeDeferred,
        )
        self.runner = Runner(self.catalog.jobs, {"ingest": chain}, self.clock, capacity=3)

    def put(self, text: str, **fields):
        upload = upload_of(self.clock, **fields)
        (self.raw / upload.object_key).write_text(text)
        job = Job("ingest", str(upload.id), utc(self.clock))
        assert self.catalog.uploads.accept(upload, job, same_within_s=0).result.id == upload.id
        return upload.id

    def upload(self, upload_id):
        return self.catalog.uploads.get(upload_id).result

    def run(self, seconds: int) -> None:
        self.runner.startService()
        for _ in range(seconds):
            self.clock.advance(1)
        assert self.runner.stopService().called


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    yield bench
    bench.database.close()


def test_uploads_end_with_their_rows_problems_and_times(bench):
    good = bench.put("1\n2\n")
    lenient = bench.put("1\nbad\n", schema="tips")
    bad = bench.put("1\nbad\n")

    bench.run(1)

    assert (bench.upload(good).state, bench.upload(good).rows) == (State.COMPLETED, 2)
    assert (bench.upload(lenient).rows, bench.upload(lenient).rejected) == (1, 1)
    assert (bench.upload(bad).state, bench.upload(bad).problem) == (State.FAILED, "line 2, column id: not a number")
    assert bench.catalog.uploads.problems(bad).result[0].value == "bad"
    assert set(bench.upload(good).seconds) == {"wait", "check", "load", "total"}
    assert bench.catalog.jobs.waiting().result == {}


def test_an_upload_may_wait_for_the_warehouse_as_long_as_it_takes(bench):
    """Waiting is no claim without an end: after ten minutes the upload is still PENDING, and then goes through."""
    upload_id = bench.put("1\n")
    bench.warehouse.trouble = [BUSY] * 10_000

    bench.run(600)
    assert bench.upload(upload_id).state is State.PENDING
    bench.warehouse.trouble = []
    bench.run(60)

    assert bench.upload(upload_id).state is State.COMPLETED


def test_what_is_given_up_is_failed_and_can_be_retried_by_an_operator(bench):
    upload_id = bench.put("1\n")
    bench.workers.trouble = [WorkerDied("killed by SIGKILL")] * 3
    bench.run(5)
    assert bench.upload(upload_id).state is State.FAILED

    bench.catalog.uploads.retry(upload_id)
    bench.run(5)

    assert (bench.upload(upload_id).state, bench.upload(upload_id).rows) == (State.COMPLETED, 1)


def test_an_upload_whose_service_was_killed_is_taken_again_when_its_lease_is_over(bench):
    upload_id = bench.put("1\n")
    bench.catalog.jobs.claim(("ingest",), 1, 60)
    assert bench.upload(upload_id).state is State.PROCESSING

    bench.run(59)
    assert bench.upload(upload_id).state is State.PROCESSING
    bench.run(3)

    assert bench.upload(upload_id).state is State.COMPLETED


def test_an_upload_that_kills_the_service_again_and_again_is_failed(bench):
    upload_id = bench.put("1\n")
    for _ in range(10):
        bench.catalog.jobs.claim(("ingest",), 1, 60)
        if not bench.catalog.jobs.release_all().result:
            bench.clock.advance(61)

    bench.run(1)

    assert bench.upload(upload_id).state is State.FAILED
    assert bench.upload(upload_id).problem == "the file could not be processed in 10 attempts"
    assert bench.workers.calls == 0
