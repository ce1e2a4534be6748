"""Small files: in memory until CLOSE, then in the catalog with their record; on disk as soon as they are not small."""

from __future__ import annotations

import os

import pytest

from conch_pipe.errors import Code, PipeError
from conch_pipe.intake.admission import Limits
from tests.intake.fakes import CLIENT, World, error, fired, result


def world_of(tmp_path, **changes) -> World:
    limits = Limits(free_bytes=0, free_share=0, free_inodes_share=0, small_bytes=100, **changes)
    return World(tmp_path / "spool", limits=limits)


@pytest.fixture
def world(tmp_path):
    return world_of(tmp_path)


def held(world: World) -> int:
    """Bytes that small files hold in memory."""
    return world.intake._memory.held


def test_a_small_file_is_recorded_with_its_bytes_and_touches_no_disk(world):
    world.threads.shut = True  # nothing of it needs the pool
    upload = world.begin()
    upload.write(0, b"id\n")
    upload.write(3, b"1\n")
    assert held(world) == 5

    recorded = result(upload.finish())

    assert world.uploads.contents == {recorded.id: b"id\n1\n"}
    assert (recorded.bytes, recorded.object_key[:4]) == (5, "raw/")
    assert world.objects.stored == {}
    assert world.parts() == []
    assert (held(world), world.intake.live) == (0, 0)


@pytest.mark.parametrize("order", ["forward", "backward", "twice"])
@pytest.mark.parametrize("size", [99, 100, 101, 300])
def test_bytes_are_right_in_whatever_order_they_came(world, order, size):
    data = os.urandom(size)
    chunks = [(at, data[at : at + 7]) for at in range(0, size, 7)]
    chunks = {"forward": chunks, "backward": chunks[::-1], "twice": chunks + chunks}[order]
    upload = world.begin()
    for at, chunk in chunks:
        upload.write(at, memoryview(chunk))

    recorded = result(upload.finish())

    small = size <= 100
    assert world.uploads.contents == ({recorded.id: data} if small else {})
    assert list(world.objects.stored.values()) == ([] if small else [data])
    assert world.parts() == []
    assert held(world) == 0


def test_a_hole_in_a_small_file_refuses_it(world):
    upload = world.begin()
    upload.write(10, b"x")

    refused = error(upload.finish())

    assert (refused.code, refused.message) == (Code.INCOMPLETE, "bytes missing at offset 0")
    assert (held(world), world.intake.live, world.parts()) == (0, 0, [])


def test_small_files_together_hold_no_more_than_allowed(tmp_path):
    """The one that is too much goes to disk, with what it had in memory, and is right as well."""
    world = world_of(tmp_path, memory_bytes=150)
    first, second = world.begin("a.csv"), world.begin("b.csv")
    first.write(0, b"a" * 90)
    second.write(0, b"b" * 60)
    assert (held(world), world.parts()) == (150, [])

    second.write(60, b"c")

    assert held(world) == 90
    assert [part.read_bytes() for part in world.parts()] == [b"b" * 60 + b"c"]
    assert world.uploads.contents == {result(first.finish()).id: b"a" * 90}
    result(second.finish())
    assert list(world.objects.stored.values()) == [b"b" * 60 + b"c"]
    assert held(world) == 0


def test_fsync_puts_a_small_file_on_disk(world):
    upload = world.begin()
    upload.write(0, b"id\n1\n")

    result(upload.sync())

    assert [part.read_bytes() for part in world.parts()] == [b"id\n1\n"]
    result(upload.finish())
    assert (list(world.objects.stored.values()), world.uploads.contents) == ([b"id\n1\n"], {})


def test_a_disk_that_takes_no_part_file_refuses_the_write_that_needs_one(world, monkeypatch):
    upload = world.begin()
    upload.write(0, b"x" * 100)
    world.folder.rmdir()

    with pytest.raises(PipeError) as caught:
        upload.write(100, b"x")

    assert (caught.value.code, caught.value.detail[:6]) == (Code.FAILED, "ENOENT")
    assert world.endings() == ["upload.refused"]
    assert held(world) == 0


@pytest.mark.parametrize("how", ["aborted", "cancelled", "too large"])
def test_a_small_file_given_up_leaves_nothing(tmp_path, how):
    world = world_of(tmp_path, max_bytes=50)
    upload = world.begin()
    upload.write(0, b"id\n1\n")
    if how == "aborted":
        upload.abort("cut")
    elif how == "too large":
        with pytest.raises(PipeError):
            upload.write(0, b"x" * 51)
    else:
        world.uploads.accepting.shut = True
        done = upload.finish()
        done.addErrback(lambda _: None)
        done.cancel()
        world.uploads.accepting.open()
        # The record was on its way: it stands, and nobody waits for it.
        assert list(world.uploads.contents.values()) == [b"id\n1\n"]

    assert (held(world), world.intake.live, world.parts()) == (0, 0, [])


def test_a_small_file_refused_by_the_catalog_leaves_nothing(world):
    world.uploads.accepting.failures = [PipeError(Code.BUSY, "in use elsewhere")]

    refused = error(world.put(b"id\n1\n"))

    assert refused.code is Code.BUSY
    assert (world.uploads.contents, world.objects.stored, held(world)) == ({}, {}, 0)


def test_an_unknown_outcome_is_settled_with_the_same_bytes(world):
    """The COMMIT never came: the second one brings the bytes again."""
    world.uploads.never_sent = 1

    recorded = world.put(b"id\n1\n")
    world.clock.pump([0.1] * 20)

    assert world.uploads.contents == {result(recorded).id: b"id\n1\n"}


def test_a_small_file_waits_in_memory_for_its_final_name(world):
    upload = world.begin("a.csv.filepart", provisional=True)
    upload.write(0, b"id\n1\n")
    assert result(upload.finish()) is None
    assert held(world) == 5

    recorded = result(upload.commit("a.csv"))

    assert world.uploads.contents == {recorded.id: b"id\n1\n"}
    assert held(world) == 0


def test_the_same_small_file_again_is_the_same_upload(world):
    first = result(world.put(b"id\n1\n"))

    again = result(world.put(b"id\n1\n"))

    assert again.id == first.id
    assert world.uploads.contents == {first.id: b"id\n1\n"}
    assert world.endings() == ["upload.stored", "upload.repeated"]


def test_a_small_file_that_fails_the_quick_check_is_not_recorded(tmp_path):
    def refuse(name, head, tail, size, schema):
        assert (head, tail, size) == (b"id\n1\n", b"id\n1\n", 5)
        raise PipeError(Code.BAD_FILE, "no")

    world = world_of(tmp_path)
    world = World(tmp_path / "spool", limits=world.limits, check_ends=refuse)
    done = world.put(b"id\n1\n")

    assert fired(done)
    assert error(done).code is Code.BAD_FILE
    assert (world.uploads.records, held(world)) == ({}, 0)
    assert CLIENT.client_id == world.events.of("upload.refused")[0]["client_id"]
