"""Bytes on disk: followers, holding back, and every system call that can fail."""

from __future__ import annotations

import errno
import gc
import hashlib
import os
import stat

import pytest

from conch_pipe.errors import Code, PipeError
from conch_pipe.intake import spool as spool_module
from conch_pipe.intake.admission import Limits
from tests.intake.fakes import ENDINGS, ROOMY, World, error, result

MIB = 1 << 20


def limits(**changes) -> Limits:
    return Limits(free_bytes=0, free_share=0, free_inodes_share=0, **changes)


@pytest.fixture
def small_steps(tmp_path, monkeypatch):
    """Hashing every 8 bytes, syncing every 16, behind by at most 32."""
    monkeypatch.setattr(spool_module, "HASH_STEP", 8)
    return World(tmp_path / "spool", limits=limits(lag_bytes=32, sync_bytes=16))


class Calls:
    """Counts calls of functions of ``os`` on part files; the n-th fails, once or from then on."""

    def __init__(self, monkeypatch, names, fail_at=0, code=errno.EIO, persistent=False):
        self.made, self.fail_at, self.code, self.persistent = [], fail_at, code, persistent
        for name in names:
            monkeypatch.setattr(os, name, self.counted(name, getattr(os, name)))

    def counted(self, name, real):
        def call(*args, **kwargs):
            if name == "open" and not str(args[0]).endswith(".part"):
                return real(*args, **kwargs)
            self.made.append((name, args[0]))
            number = len(self.made)
            if number == self.fail_at or (self.persistent and 0 < self.fail_at < number):
                if name == "close":  # Linux frees the descriptor even then
                    real(*args)
                raise OSError(self.code, os.strerror(self.code))
            return real(*args, **kwargs)

        return call


def test_a_part_file_is_private_new_and_named_by_the_id_alone(world):
    upload = world.begin("$(rm).csv")

    (part,) = world.parts()
    assert part.name == f"{upload.id}.part"
    assert stat.S_IMODE(part.stat().st_mode) == 0o600
    upload.abort("enough")


def test_a_link_in_the_place_of_a_part_file_is_not_followed(world, tmp_path, monkeypatch):
    other = tmp_path / "other"
    other.write_bytes(b"precious")
    monkeypatch.setattr("conch_pipe.intake.intake.new_id", lambda at: "planned")
    (world.folder / "planned.part").symlink_to(other)

    with pytest.raises(PipeError) as caught:
        world.begin()

    assert (caught.value.code, caught.value.detail[:6]) == (Code.FAILED, "EEXIST")
    assert other.read_bytes() == b"precious"


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("order", ["forward", "backward", "odd first", "twice"])
def test_bytes_and_hash_are_right_in_whatever_order_they_came(small_steps, monkeypatch, order, in_place):
    monkeypatch.setattr(spool_module, "HASH_IN_PLACE", in_place)
    world, data = small_steps, os.urandom(301)
    chunks = [(at, data[at : at + 7]) for at in range(0, len(data), 7)]
    chunks = {
        "forward": chunks,
        "backward": chunks[::-1],
        "odd first": chunks[1::2] + chunks[::2],
        "twice": [(at, b"\0" * len(one)) for at, one in chunks] + chunks,
    }[order]
    upload = world.begin()

    for at, one in chunks:
        upload.write(at, memoryview(one))
    recorded = result(upload.finish())

    assert list(world.objects.stored.values()) == [data]
    assert recorded.sha256 == hashlib.sha256(data).hexdigest()
    assert world.parts() == []


def test_bytes_changed_while_a_hash_of_them_is_under_way_are_hashed_as_they_end_up(small_steps):
    world = small_steps
    world.threads.shut = True
    upload = world.begin()
    upload.write(0, b"a" * 16)

    upload.write(0, b"b")
    finished = upload.finish()
    world.threads.open()

    assert result(finished).sha256 == hashlib.sha256(b"b" + b"a" * 15).hexdigest()


def test_lagging_storage_holds_the_door_back_until_it_has_caught_up(small_steps):
    world = small_steps
    world.threads.shut = True
    upload = world.begin()
    upload.write(0, b"a" * 32)
    assert not upload.lagging
    upload.write(32, b"a" * 8)
    assert upload.lagging
    caught_up = upload.caught_up()

    world.threads.step()
    assert not caught_up.called
    world.threads.open()

    assert caught_up.called
    assert not upload.lagging
    assert result(upload.caught_up()) is None
    upload.abort("enough")


@pytest.mark.parametrize("end", ["abort", "failure"])
def test_a_door_that_waits_is_let_go_when_the_upload_ends(small_steps, monkeypatch, end):
    world = small_steps
    world.threads.shut = True
    upload = world.begin()
    upload.write(0, b"a" * 40)
    caught_up = upload.caught_up()

    if end == "abort":
        upload.abort("gone")
    else:
        Calls(monkeypatch, ["fdatasync"], fail_at=1)
        world.threads.open()

    assert caught_up.called
    world.threads.open()
    assert world.parts() == []


def test_a_cancelled_wait_is_forgotten(small_steps):
    world = small_steps
    world.threads.shut = True
    upload = world.begin()
    upload.write(0, b"a" * 40)
    caught_up = upload.caught_up()
    caught_up.addErrback(lambda failure: None)

    caught_up.cancel()
    world.threads.open()

    assert not upload.lagging
    upload.abort("enough")


def test_closing_syncs_only_what_no_running_sync_has_covered(small_steps, monkeypatch):
    calls = Calls(monkeypatch, ["fdatasync"])

    result(small_steps.put(b"a" * 16))
    result(small_steps.put(b"b" * 17))

    assert len(calls.made) == 2
    result(small_steps.put(b"c" * 3))
    assert len(calls.made) == 3


def test_a_sync_covers_only_what_was_written_before_it(small_steps, monkeypatch):
    world = small_steps
    calls = Calls(monkeypatch, ["fdatasync"])
    world.threads.shut = True
    upload = world.begin()
    upload.write(0, b"a" * 16)
    upload.write(16, b"late")
    finished = upload.finish()

    world.threads.open()

    assert result(finished).bytes == 20
    assert len(calls.made) == 2


def test_a_sync_that_fails_while_the_end_waits_for_it_is_not_tried_again(small_steps, monkeypatch):
    world = small_steps
    calls = Calls(monkeypatch, ["fdatasync"], fail_at=1)
    world.threads.shut = True
    upload = world.begin()
    upload.write(0, b"a" * 20)
    finished = upload.finish()

    world.threads.open()

    assert error(finished).code is Code.FAILED
    assert len(calls.made) == 1
    assert world.parts() == []


def test_a_hash_that_was_broken_off_is_begun_again(small_steps, monkeypatch, logged_errors):
    world = small_steps
    upload = world.begin()
    with monkeypatch.context() as patch:
        real, times = os.preadv, iter(range(9))

        def preadv(file, buffers, at):
            if next(times) == 0:
                return real(file, [buffers[0][:3]], at)
            raise MemoryError

        patch.setattr(os, "preadv", preadv)
        upload.write(0, b"12345678")
    upload.write(8, b"9")
    recorded = result(upload.finish())
    gc.collect()

    assert recorded.sha256 == hashlib.sha256(b"123456789").hexdigest()
    assert len(logged_errors.flush(MemoryError)) == 1


def test_a_small_lag_still_makes_its_work_due(tmp_path):
    world = World(tmp_path / "spool", limits=limits(lag_bytes=4))
    upload = world.begin()

    for at in range(0, 60, 5):
        upload.write(at, b"12345")
        assert not upload.lagging

    upload.abort("enough")


def test_sync_makes_what_was_written_durable_and_only_once(world, monkeypatch):
    calls = Calls(monkeypatch, ["fdatasync"])
    upload = world.begin()
    upload.write(0, b"id\n")

    assert result(upload.sync()) is None
    assert result(upload.sync()) is None

    assert len(calls.made) == 1
    upload.abort("enough")


def test_a_sync_that_is_overtaken_by_the_end_still_answers(small_steps):
    world = small_steps
    world.threads.shut = True
    upload = world.begin()
    upload.write(0, b"a" * 20)
    upload.write(20, b"a")
    synced, finished = upload.sync(), upload.finish()

    while world.threads.waiting:
        world.threads.step()

    assert result(synced) is None
    assert result(finished).bytes == 21


def test_the_descriptor_is_not_closed_under_a_running_job(small_steps):
    world = small_steps
    world.threads.shut = True
    upload = world.begin()
    upload.write(0, b"a" * 20)

    upload.abort("gone")

    assert [os.fstat(work.__closure__[0].cell_contents[0]).st_size for _, work in world.threads.waiting] == [20, 20]
    world.threads.open()
    assert world.parts() == []


def test_short_writes_are_completed(world, monkeypatch):
    real = os.pwrite
    half = lambda file, data, at: real(file, bytes(data)[: max(1, len(data) // 2)], at)  # noqa: E731
    monkeypatch.setattr(os, "pwrite", half)
    monkeypatch.setattr(os, "pwritev", lambda file, pieces, at: half(file, b"".join(pieces), at))

    assert result(world.put(b"0123456789" * 10)).sha256 == hashlib.sha256(b"0123456789" * 10).hexdigest()


def test_a_client_that_scatters_its_writes_is_refused(world):
    upload = world.begin()

    with pytest.raises(PipeError) as caught:
        for number in range(2000):
            upload.write(number * 2, b"x")

    assert caught.value.code is Code.INVALID
    assert world.parts() == []


def test_a_write_of_nothing_changes_nothing(world):
    upload = world.begin()

    upload.write(100, b"")

    assert upload.size == 0
    assert result(upload.finish()).bytes == 0


FAULTS = [errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.EACCES, errno.ESTALE]


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("code", FAULTS)
def test_no_step_may_fail_unseen(tmp_path, monkeypatch, code, persistent, in_place):
    """Fail the n-th system call, for n = 1, 2, … until none fails: never OK, nothing left, fdatasync never retried."""
    monkeypatch.setattr(spool_module, "HASH_IN_PLACE", in_place)
    monkeypatch.setattr(spool_module, "HASH_STEP", 8)
    number = 0
    while True:
        number += 1
        world = World(tmp_path / f"spool{number}", limits=limits(lag_bytes=32, sync_bytes=16))
        with monkeypatch.context() as patch:
            calls = Calls(patch, ["open", "pwritev", "pread", "preadv", "fdatasync", "close"], number, code, persistent)
            refused = put_in_pieces(world)
        if number > len(calls.made):
            break

        assert refused is not None, f"call {number}, {calls.made[number - 1][0]}, failed and OK was said"
        assert refused.code is (Code.NO_SPACE if code in (errno.ENOSPC, errno.EDQUOT) else Code.FAILED)
        assert errno.errorcode[code] in refused.detail
        assert errno.errorcode[code] not in refused.message
        assert (world.parts(), world.objects.stored, world.uploads.records) == ([], {}, {})
        assert world.intake.live == 0
        assert [name for name in world.events.names() if name in ENDINGS] == ["upload.refused"]
        if calls.made[number - 1][0] == "fdatasync":
            assert [name for name, _ in calls.made[number:]] == ["close"]
    assert refused is None
    assert number > 12


def put_in_pieces(world) -> PipeError | None:
    """A put of 39 bytes in 13 writes; the first refusal, or None."""
    try:
        upload = world.begin()
        for at in range(0, 39, 3):
            upload.write(at, b"abc")
        finished = upload.finish()
    except PipeError as refused:
        if world.parts() or world.intake.live:
            raise AssertionError("a refused upload left something") from refused
        return refused
    try:
        result(finished)
    except PipeError as refused:
        return refused
    return None


def test_the_first_failure_sticks(world, monkeypatch):
    upload = world.begin()
    with monkeypatch.context() as patch:
        Calls(patch, ["pwritev"], 1, errno.ENOSPC)
        with pytest.raises(PipeError):
            upload.write(0, b"id\n")

    with pytest.raises(PipeError) as again:
        upload.write(0, b"id\n")
    answers = [again.value, error(upload.sync()), error(upload.finish()), error(upload.commit("a.csv"))]
    upload.abort("gone")

    assert {one.message for one in answers} == {"no space left on the server"}
    assert world.events.names() == ["upload.begun", "upload.refused"]


def test_a_sync_that_failed_behind_the_writes_drops_the_upload_at_once(small_steps, monkeypatch):
    upload = small_steps.begin()
    Calls(monkeypatch, ["fdatasync"], 1, errno.EIO, persistent=True)

    upload.write(0, b"a" * 16)

    assert small_steps.parts() == []
    with pytest.raises(PipeError):
        upload.write(16, b"a")


def test_a_part_file_cut_by_another_hand_is_noticed(world):
    upload = world.begin()
    upload.write(0, b"id\n1\n")
    os.truncate(world.parts()[0], 2)

    assert error(upload.finish()).code is Code.FAILED


def test_a_part_file_that_cannot_be_deleted_harms_nobody(world, monkeypatch):
    upload = world.begin()
    with monkeypatch.context() as patch:

        def unlink(path, *, missing_ok=False):
            raise PermissionError(errno.EPERM, "no")

        patch.setattr("pathlib.Path.unlink", unlink)
        upload.abort("gone")

    assert world.intake.live == 0
    assert len(world.parts()) == 1
    result(world.intake.recover())
    assert world.parts() == []


def test_the_defaults_of_the_room_are_those_of_the_design():
    assert Limits().max_bytes == 104_857_600
    assert (Limits().free_bytes, Limits().free_share, Limits().free_inodes_share) == (1 << 30, 0.05, 0.01)
    assert ROOMY.sync_bytes == 16 * MIB
