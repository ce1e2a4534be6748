"""What is past its time goes, and nothing else."""

from __future__ import annotations

from datetime import timedelta

import pytest
from twisted.internet.defer import succeed

from conch_pipe.errors import Code, PipeError
from conch_pipe.model import State, utc
from conch_pipe.processing.sweep import Sweep
from tests.processing.fakes import FolderObjects, MemoryCatalog, clock_at_start, upload_of


@pytest.fixture
def clock():
    return clock_at_start()


@pytest.fixture
def catalog(clock):
    return MemoryCatalog(clock)


@pytest.fixture
def raw(tmp_path):
    (tmp_path / "raw").mkdir()
    return tmp_path / "raw"


def ended(catalog, raw, days: int, **fields):
    at = utc(catalog.clock) - timedelta(days=days)
    upload = upload_of(catalog.clock, state=State.COMPLETED, finished_at=at, **fields)
    catalog.uploads[upload.id] = upload
    (raw / upload.object_key).write_text("x")
    return upload


def sweep(catalog, raw, tmp_path, **keep) -> Sweep:
    return Sweep(catalog, FolderObjects(raw), tmp_path / "work", catalog.clock, **keep)


def test_work_files_of_the_life_before_are_gone_at_the_start(catalog, raw, tmp_path):
    (tmp_path / "work" / "0197.1").mkdir(parents=True)
    (tmp_path / "work" / "0197.1" / "rows.parquet").write_text("half")
    (tmp_path / "work" / "stray").write_text("x")
    service = sweep(catalog, raw, tmp_path)

    service.startService()

    assert list((tmp_path / "work").iterdir()) == []
    service.stopService()


def test_old_copies_go_and_their_records_stay(catalog, raw, tmp_path):
    old = [ended(catalog, raw, 91) for _ in range(250)]
    young = ended(catalog, raw, 89)
    running = upload_of(catalog.clock)
    catalog.uploads[running.id] = running
    service = sweep(catalog, raw, tmp_path)

    service.startService()

    assert [path.name for path in raw.iterdir()] == [young.object_key]
    assert len(catalog.uploads) == 252
    assert {catalog.uploads[upload.id].object_key for upload in old} == {""}
    service.stopService()


def test_old_records_go_too(catalog, raw, tmp_path):
    ended(catalog, raw, 401)
    kept = ended(catalog, raw, 399)
    service = sweep(catalog, raw, tmp_path)

    service.startService()

    assert set(catalog.uploads) == {kept.id}
    service.stopService()


def test_zero_days_keep_everything(catalog, raw, tmp_path):
    ended(catalog, raw, 10_000)
    service = sweep(catalog, raw, tmp_path, copies_days=0, records_days=0)

    service.startService()

    assert len(list(raw.iterdir())) == len(catalog.uploads) == 1
    service.stopService()


def test_a_round_that_met_a_busy_catalog_is_made_good_an_hour_later(catalog, raw, tmp_path):
    ended(catalog, raw, 91)
    catalog.down = PipeError(Code.BUSY, "locked")
    service = sweep(catalog, raw, tmp_path)
    service.startService()
    assert len(list(raw.iterdir())) == 1

    catalog.down = None
    catalog.clock.advance(3600)

    assert list(raw.iterdir()) == []
    stopped = service.stopService()
    assert stopped.called
    assert catalog.clock.getDelayedCalls() == []


def test_the_log_of_webhooks_is_kept_as_long_as_records(catalog, raw, tmp_path):
    class Log:
        """So many attempts are old."""

        left = 250
        asked: list = []  # noqa: RUF012 - of one test

        def forget(self, before, limit):
            self.asked.append(before)
            gone = min(limit, self.left)
            self.left -= gone
            return succeed(gone)

    log = Log()
    service = sweep(catalog, raw, tmp_path, webhooks=log)

    service.startService()

    assert log.left == 0 and set(log.asked) == {utc(catalog.clock) - timedelta(days=400)}
    service.stopService()


def test_sessions_that_are_over_are_swept_every_hour(catalog, raw, tmp_path):
    class Sessions:
        """Counts the rounds."""

        rounds = 0

        def sweep(self):
            self.rounds += 1
            return succeed(3)

    sessions = Sessions()
    service = sweep(catalog, raw, tmp_path, people=sessions)

    service.startService()
    catalog.clock.advance(3600)

    assert sessions.rounds == 2
    service.stopService()
