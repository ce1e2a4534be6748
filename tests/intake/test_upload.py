"""From CLOSE to the record: whatever fails, an answer is true, and a refused upload leaves nothing."""

from __future__ import annotations

import pytest
from twisted.internet.defer import CancelledError, Deferred

from conch_pipe.errors import Code, PipeError
from conch_pipe.intake.admission import Limits
from conch_pipe.model import State
from tests.intake.fakes import CLIENT, START, World, error, result

CSV = b"id,name\n1,Ann\n"


def roomy(**changes) -> Limits:
    return Limits(free_bytes=0, free_share=0, free_inodes_share=0, **changes)


def nothing_left(world) -> bool:
    return (world.parts(), world.objects.stored, world.uploads.records, world.uploads.jobs, world.intake.live) == (
        [],
        {},
        {},
        [],
        0,
    )


def failed(code: Code) -> PipeError:
    return PipeError(code, code.value)


def test_a_put_becomes_a_durable_copy_a_record_and_a_job(world):
    world.clock.advance(2)
    recorded = result(world.put(CSV, "Täglich.CSV"))

    assert recorded.state is State.PENDING
    assert (recorded.organisation, recorded.client_id, recorded.door) == ("acme", "acme-1", "sftp")
    assert (recorded.schema, recorded.name, recorded.bytes) == ("shifts", "Täglich.CSV", len(CSV))
    assert (recorded.peer, recorded.banner, recorded.session) == ("192.0.2.7", "OpenSSH_9.2", "0123456789abcdef")
    assert recorded.received_at.timestamp() == START + 2
    assert recorded.object_key == f"raw/2023/11/14/{recorded.id}.csv"
    assert world.objects.stored == {recorded.object_key: CSV}
    assert [(job.kind, job.subject) for job in world.uploads.jobs] == [("ingest", str(recorded.id))]
    assert world.parts() == []
    assert world.intake.live == 0


def test_a_stored_upload_is_told_with_its_times(world):
    upload = world.begin()
    world.clock.advance(1.5)
    upload.write(0, CSV)
    world.objects.putting.shut = True
    finished = upload.finish()
    world.clock.advance(0.25)
    world.objects.putting.open()

    assert world.events.names() == ["upload.begun", "upload.stored"]
    (told,) = world.events.of("upload.stored")
    assert told["seconds"] == 1.75
    assert told["timings"] == {"receive": 1.5, "finish": 0.0, "store": 0.25, "record": 0.0}
    assert dict(result(finished).seconds) == {"receive": 1.5, "finish": 0.0, "store": 0.25}


def test_a_hole_is_refused_with_its_place(world):
    upload = world.begin()
    upload.write(0, b"abc")
    upload.write(5, b"fg")

    refused = error(upload.finish())

    assert (refused.code, refused.message) == (Code.INCOMPLETE, "bytes missing at offset 3")
    assert nothing_left(world)


@pytest.mark.parametrize("declared", ["begin", "expect"])
def test_a_size_that_contradicts_the_bytes_is_refused(world, declared):
    upload = world.begin(size=4) if declared == "begin" else world.begin()
    upload.write(0, b"abc")
    if declared == "expect":
        upload.expect(4)

    assert error(upload.finish()).message == "3 bytes came instead of 4"
    assert nothing_left(world)


def test_the_last_word_on_the_size_counts(world):
    upload = world.begin(size=4)
    upload.write(0, b"abc")
    upload.expect(3)

    assert result(upload.finish()).bytes == 3


def test_the_write_that_crosses_the_limit_is_refused(tmp_path):
    world = World(tmp_path / "spool", limits=roomy(max_bytes=1 << 20))
    upload = world.begin()
    upload.write((1 << 20) - 1, b"x")

    with pytest.raises(PipeError) as caught:
        upload.write((1 << 20) - 1, b"xy")

    assert (caught.value.code, caught.value.message) == (Code.TOO_LARGE, "max 1 MB")
    assert nothing_left(world)
    with pytest.raises(PipeError):
        world.begin().write(2**63 - 1, b"x")
    assert nothing_left(world)


def test_the_quick_checks_see_both_ends_and_their_refusal_is_passed_on(tmp_path):
    seen = []

    def check(name, head, tail, size, schema):
        seen.append((name, head, tail, size, schema))
        if b"BAD" in tail:
            raise PipeError(Code.BAD_FILE, "last line cut short")

    world = World(tmp_path / "spool", check_ends=check)
    data = b"h" * 65_536 + b"-" + b"t" * 65_536

    assert result(world.put(data)).bytes == len(data)
    assert seen == [("a.csv", b"h" * 65_536, b"t" * 65_536, len(data), "the shifts schema")]
    world.objects.stored.clear(), world.uploads.records.clear(), world.uploads.jobs.clear()
    assert error(world.put(b"BAD")).message == "last line cut short"
    assert nothing_left(world)


def test_an_empty_file_is_recorded_like_any_other(world):
    assert result(world.begin().finish()).bytes == 0


@pytest.mark.parametrize("again", [True, False])
@pytest.mark.parametrize("code", [Code.NO_SPACE, Code.FAILED])
@pytest.mark.parametrize("stored", [True, False])
def test_a_copy_that_could_not_be_stored_leaves_nothing(world, code, stored, again):
    world.objects.putting.failures = [failed(code)]
    world.objects.fails_after_storing = stored

    assert error(world.put(CSV)).code is code
    assert nothing_left(world)
    assert world.endings() == ["upload.refused"]
    if again:
        assert result(world.put(CSV)).bytes == len(CSV)


@pytest.mark.parametrize("code", [Code.BUSY, Code.FAILED])
def test_a_record_that_was_refused_takes_the_copy_with_it(world, code):
    world.uploads.accepting.failures = [failed(code)]

    assert error(world.put(CSV)).code is code
    assert nothing_left(world)
    assert world.endings() == ["upload.refused"]


def test_a_copy_that_cannot_be_deleted_is_left_for_recovery(world):
    world.uploads.accepting.failures = [failed(Code.BUSY)]
    world.objects.deleting.failures = [failed(Code.FAILED)]

    assert error(world.put(CSV)).code is Code.BUSY
    assert len(world.objects.stored) == 1

    result(world.intake.recover())
    assert (world.objects.stored, len(world.objects.aside)) == ({}, 1)


def test_other_bytes_under_our_key_are_not_ours_to_delete(world):
    upload = world.begin()
    upload.write(0, CSV)
    key = f"raw/2023/11/14/{upload.id}.csv"
    world.objects.stored[key] = b"other"

    assert error(upload.finish()).code is Code.CONFLICT
    assert world.objects.stored == {key: b"other"}


def test_an_answer_that_got_lost_is_read_back(world):
    world.uploads.lost = 1

    recorded = result(world.put(CSV))

    assert list(world.uploads.records) == [recorded.id]
    assert len(world.uploads.jobs) == 1
    assert world.endings() == ["upload.stored"]


def test_a_commit_that_never_left_is_sent_again(world):
    world.uploads.never_sent = 1

    assert result(world.put(CSV)).id in world.uploads.records
    assert len(world.uploads.jobs) == 1


def test_the_catalog_may_be_away_for_some_seconds(world):
    world.uploads.lost = 1
    world.uploads.getting.failures = [failed(Code.FAILED)] * 5
    world.uploads.accepting.failures = []
    finished = world.put(CSV)
    for _ in range(20):
        world.clock.advance(0.5)

    assert result(finished).id in world.uploads.records
    assert world.endings() == ["upload.stored"]


@pytest.mark.parametrize("committed", [True, False])
def test_an_outcome_that_stays_unknown_is_never_answered_otherwise(world, committed):
    """The copy must stay: a record may need it."""
    if committed:
        world.uploads.lost = 10_000
        world.uploads.getting.failures = [failed(Code.FAILED)] * 10_000
    else:
        world.uploads.never_sent = 10_000
    finished = world.put(CSV)
    for _ in range(99):
        world.clock.advance(0.1)
        assert not finished.called
    for _ in range(6):
        world.clock.advance(0.1)

    assert error(finished).code is Code.UNKNOWN_OUTCOME
    assert len(world.objects.stored) == 1
    assert (world.parts(), world.intake.live) == ([], 0)
    assert world.endings() == ["upload.unknown"]
    result(world.intake.recover())
    assert len(world.objects.stored) == len(world.uploads.records) == int(committed)


def test_a_catalog_that_hangs_does_not_hold_an_unknown_outcome_longer_than_ten_seconds(world):
    world.uploads.accepting.shut = world.uploads.getting.shut = True
    finished = world.put(CSV)
    (first, _) = world.uploads.accepting.waiting[0]
    first.errback(failed(Code.UNKNOWN_OUTCOME))
    for _ in range(105):  # each ask may end one step late
        world.clock.advance(0.1)

    assert error(finished).code is Code.UNKNOWN_OUTCOME


def test_a_look_that_hangs_does_not_keep_the_second_accept_from_settling_it(world):
    world.uploads.lost = 1
    world.uploads.getting.shut = True
    finished = world.put(CSV)
    world.clock.advance(2)

    assert result(finished).id in world.uploads.records
    assert len(world.uploads.jobs) == 1


def test_the_same_bytes_again_are_the_same_upload(world):
    first = result(world.put(CSV))
    world.clock.advance(3600)

    again = result(world.put(CSV))

    assert again.id == first.id
    assert list(world.objects.stored) == [first.object_key]
    assert world.endings() == ["upload.stored", "upload.repeated"]
    assert world.events.of("upload.repeated")[0]["upload_id"] == str(first.id)
    assert world.parts() == []


@pytest.mark.parametrize("change", ["name", "bytes", "late", "failed", "off"])
def test_anything_else_is_a_new_upload(tmp_path, change):
    world = World(tmp_path / "spool", limits=roomy(same_bytes_within_s=0 if change == "off" else 86_400))
    first = result(world.put(CSV))
    if change == "late":
        world.clock.advance(86_401)
    if change == "failed":
        world.uploads.settle(first, State.FAILED)

    again = result(world.put(CSV + b"2,Bob\n" * (change == "bytes"), "b.csv" if change == "name" else "a.csv"))

    assert again.id != first.id
    assert len(world.objects.stored) == len(world.uploads.jobs) == 2


class TestTemporaryNames:
    def test_a_temporary_name_is_recorded_when_it_gets_its_final_one(self, world):
        upload = world.begin("a.csv.filepart", provisional=True)
        upload.write(0, CSV)

        assert result(upload.finish()) is None
        assert (world.uploads.records, world.objects.stored, len(world.parts())) == ({}, {}, 1)
        recorded = result(upload.commit("b.csv"))

        assert recorded.name == "b.csv"
        assert list(world.objects.stored.values()) == [CSV]
        assert world.parts() == []

    def test_one_that_is_dropped_leaves_nothing(self, world):
        upload = world.begin("a.csv.filepart", provisional=True)
        upload.write(0, CSV)
        result(upload.finish())

        upload.abort("removed by the client")

        assert nothing_left(world)
        assert world.endings() == ["upload.aborted"]

    @pytest.mark.parametrize("name", ["a.txt", "a.json", "a.csv.filepart", "a/b.csv"])
    def test_a_bad_final_name_is_refused(self, world, name):
        upload = world.begin("a.csv.filepart", provisional=True)
        upload.write(0, CSV)
        result(upload.finish())

        assert error(upload.commit(name)).code is Code.INVALID
        assert nothing_left(world)

    def test_a_name_cannot_be_given_before_the_end_nor_twice(self, world):
        upload = world.begin("a.csv.filepart", provisional=True)
        upload.write(0, CSV)

        assert error(upload.commit("a.csv")).code is Code.CONFLICT
        result(upload.finish())
        result(upload.commit("a.csv"))
        assert error(upload.commit("a.csv")).code is Code.CONFLICT
        assert len(world.uploads.records) == 1


def test_after_the_end_nothing_more_is_written_and_the_end_comes_once(world):
    world.threads.shut = True
    upload = world.begin()
    upload.write(0, CSV)
    finished = upload.finish()

    with pytest.raises(PipeError) as caught:
        upload.write(0, b"X")
    assert caught.value.code is Code.CONFLICT
    assert error(upload.finish()).code is Code.CONFLICT
    world.threads.open()

    result(finished)
    assert list(world.objects.stored.values()) == [CSV]


class TestAbort:
    def test_any_number_of_times(self, world):
        upload = world.begin()
        upload.write(0, CSV)

        upload.abort("connection lost")
        upload.abort("connection lost")

        assert nothing_left(world)
        assert world.endings() == ["upload.aborted"]
        assert world.events.of("upload.aborted")[0]["reason"] == "connection lost"
        assert error(upload.finish()).code is Code.INCOMPLETE

    @pytest.mark.parametrize("step", ["threads", "put"])
    def test_before_the_record_is_sent_leaves_nothing(self, world, step):
        gate = world.threads if step == "threads" else world.objects.putting
        upload = world.begin()
        upload.write(0, CSV)
        gate.shut = True
        finished = upload.finish()

        upload.abort("connection lost")
        gate.open()

        assert error(finished).code is Code.INCOMPLETE
        assert nothing_left(world)
        assert world.endings() == ["upload.aborted"]

    def test_after_the_record_was_sent_it_stands(self, world):
        upload = world.begin()
        upload.write(0, CSV)
        world.uploads.accepting.shut = True
        finished = upload.finish()

        upload.abort("connection lost")
        world.uploads.accepting.open()

        assert result(finished).id in world.uploads.records
        assert world.endings() == ["upload.stored"]

    def test_after_the_commit_it_does_nothing(self, world):
        upload = world.begin()
        upload.write(0, CSV)
        result(upload.finish())

        upload.abort("connection lost")

        assert world.endings() == ["upload.stored"]
        assert len(world.objects.stored) == 1

    @pytest.mark.parametrize("step", ["threads", "put", "accept"])
    def test_cancelling_is_an_abort(self, world, step):
        gate = {"threads": world.threads, "put": world.objects.putting, "accept": world.uploads.accepting}[step]
        upload = world.begin()
        upload.write(0, CSV)
        gate.shut = True
        finished = upload.finish()

        finished.cancel()
        with pytest.raises(CancelledError):
            result(finished)
        gate.open()

        assert world.parts() == []
        assert len(world.uploads.records) == len(world.objects.stored) == (1 if step == "accept" else 0)
        assert world.endings() == ["upload.stored" if step == "accept" else "upload.aborted"]


@pytest.mark.parametrize("step", ["put", "accept"])
def test_the_unexpected_rises_and_the_part_file_goes(world, step):
    gate = world.objects.putting if step == "put" else world.uploads.accepting
    gate.failures = [ZeroDivisionError()]

    with pytest.raises(ZeroDivisionError):
        result(world.put(CSV))

    assert (world.parts(), world.intake.live, world.uploads.records) == ([], 0, {})
    assert world.endings() == ["upload.refused"]
    result(world.intake.recover())
    assert world.objects.stored == {}


class TestVerdict:
    def put(self, tmp_path, wait: float = 5) -> tuple[World, Deferred]:
        world = World(tmp_path / "spool", limits=roomy(verdict_wait_s=wait))
        return world, world.put(CSV)

    def settle(self, world, state, problem=None):
        (recorded,) = world.uploads.records.values()
        world.uploads.settle(recorded, state, problem)

    def test_a_good_file_is_answered_when_it_is_completed(self, tmp_path):
        world, finished = self.put(tmp_path)
        world.clock.pump([0.1] * 10)
        assert not finished.called

        self.settle(world, State.COMPLETED)
        world.clock.advance(0.5)

        assert result(finished).state is State.COMPLETED

    def test_a_bad_file_is_refused_with_its_first_problem_in_ascii(self, tmp_path):
        world, finished = self.put(tmp_path)
        self.settle(world, State.FAILED, "line 2: not a date\n" + "é" * 500)
        world.clock.advance(0.1)

        refused = error(finished)
        assert refused.code is Code.BAD_FILE
        assert refused.message.startswith("line 2: not a date??")
        assert len(refused.message) == 200
        assert world.endings() == ["upload.stored"]

    def test_when_the_time_is_over_the_upload_is_answered_as_it_is(self, tmp_path):
        world, finished = self.put(tmp_path)
        world.uploads.getting.failures = [failed(Code.BUSY)] * 3
        for _ in range(49):
            world.clock.advance(0.1)
        assert not finished.called

        world.clock.advance(0.2)

        assert result(finished).state is State.PENDING

    @pytest.mark.parametrize("why", ["client gone", "draining"])
    def test_nobody_waits_for_a_verdict_in_vain(self, tmp_path, why):
        world = World(tmp_path / "spool", limits=roomy(verdict_wait_s=60))
        upload = world.begin()
        upload.write(0, CSV)
        finished = upload.finish()

        if why == "client gone":
            upload.abort("connection lost")
        else:
            assert world.intake.drain().called
        world.clock.advance(0.5)

        assert finished.called
        assert world.clock.getDelayedCalls() == []

    def test_one_that_waits_holds_no_other_up(self, tmp_path):
        world, first = self.put(tmp_path)
        second = world.put(CSV, "b.csv")
        world.uploads.settle(list(world.uploads.records.values())[1], State.COMPLETED)

        world.clock.advance(0.1)

        assert (first.called, second.called) == (False, True)
        world.clock.pump([1.0] * 6)
        assert first.called


class TestRecovery:
    def wreck(self, world) -> None:
        """Two part files, a recorded upload, three copies without a record."""
        result(world.put(CSV))
        for name in ("b.csv", "c.csv"):
            world.begin(name)
        for name in ("d.csv", "e.csv", "f.csv"):
            world.uploads.accepting.failures = [ZeroDivisionError()]
            with pytest.raises(ZeroDivisionError):
                result(world.put(CSV, name))

    @pytest.fixture(autouse=True)
    def _descriptors(self, monkeypatch):
        """A process that died left no descriptor open, but these tests have none that dies."""
        import os

        opened, real = [], os.open
        monkeypatch.setattr(os, "open", lambda *args, **kwargs: opened.append(real(*args, **kwargs)) or opened[-1])
        yield
        for one in opened:
            try:
                if ".part" in os.readlink(f"/proc/self/fd/{one}"):
                    os.close(one)
            except OSError:
                continue

    @pytest.mark.parametrize("crashes", [0, 1, 2, 5])
    def test_it_comes_to_the_same_end_however_often_it_is_broken_off(self, world, crashes):
        self.wreck(world)
        world.objects.moving.shut = True

        for number in range(crashes):
            world.new_intake().recover().addErrback(lambda failure: None)
            if number < 2:
                world.objects.moving.step()
            world.objects.moving.waiting.clear()
        world.objects.moving.shut = False
        result(world.new_intake().recover())

        assert world.parts() == []
        assert len(world.objects.stored) == len(world.uploads.records) == 1
        assert len(world.objects.aside) == 3

    def test_it_tells_what_it_found_and_a_second_time_finds_nothing(self, world):
        self.wreck(world)

        result(world.new_intake().recover())
        result(world.new_intake().recover())

        told = [(one["parts"], one["orphans"]) for one in world.events.of("service.recovered")]
        assert told == [(2, 3), (0, 0)]

    def test_young_and_foreign_copies_stay_where_others_store_too(self, world):
        self.wreck(world)
        world.objects.stored["other/thing"] = world.objects.stored["raw/of-somebody"] = b""
        world.clock.advance(299)
        result(world.intake.recover(older_than_s=300))
        assert world.objects.aside == {}

        world.clock.advance(2)
        result(world.intake.recover(older_than_s=300))

        assert len(world.objects.aside) == 3
        assert {"other/thing", "raw/of-somebody"} <= set(world.objects.stored)

    def test_it_makes_the_spool_and_touches_nothing_else_in_it(self, world, tmp_path):
        world.folder.rmdir()
        result(world.intake.recover())
        (world.folder / "note.txt").write_bytes(b"")

        result(world.intake.recover())

        assert [one.name for one in world.parts()] == ["note.txt"]
        assert world.folder.stat().st_mode & 0o777 == 0o700


def test_uploads_of_one_client_do_not_meet(world):
    """Two with the same name at once are two uploads."""
    first, second = world.begin(), world.begin()
    first.write(0, b"first\n")
    second.write(0, b"second\n")

    ids = {result(second.finish()).id, result(first.finish()).id}

    assert ids == set(world.uploads.records) == {first.id, second.id}
    assert sorted(world.objects.stored.values()) == [b"first\n", b"second\n"]
    assert CLIENT.client_id == "acme-1"
