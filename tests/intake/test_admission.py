"""Who may come in: names, sizes, room, and the closing hour."""

from __future__ import annotations

import os
from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conch_pipe.errors import Code, PipeError
from conch_pipe.intake.admission import Limits, amount, check_name
from conch_pipe.intake.temporary_names import OFF
from tests.intake.fakes import CLIENT, World, error, result


def refusal(act) -> PipeError:
    with pytest.raises(PipeError) as caught:
        act()
    return caught.value


@pytest.mark.parametrize(
    ("name", "format"),
    [("a.csv", "csv"), ("A.CSV", "csv"), ("x.y.Json", "json"), (" a.csv", "csv"), ("é.csv", "csv"), (".csv", "csv")]
    + [("x" * 251 + ".csv", "csv")],
)
def test_a_name_with_a_known_extension_is_taken(name, format):
    assert check_name(name) == format


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b.csv", "a\0.csv", "a\n.csv", "a\x7f.csv", "a\x85.csv", "a\u2028.csv"]
)
def test_a_name_that_could_be_a_path_or_break_a_line_is_refused(name):
    assert refusal(lambda: check_name(name)).code is Code.INVALID


@pytest.mark.parametrize("name", ["a", "csv", "a.csv ", "a.xlsx", "a.csv.gz", "a.csv.filepart"])
def test_another_extension_is_refused_with_what_to_do(name):
    assert refusal(lambda: check_name(name)).message == "use .csv or .json"


def test_a_name_is_measured_in_bytes_of_utf8():
    assert refusal(lambda: check_name("é" * 126 + ".csv")).message == "name must have 1 to 255 bytes"
    assert refusal(lambda: check_name("\udcff.csv")).message == "name must be UTF-8"


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (104_857_600, "100 MB"),
        (100_000_000, "100 MB"),
        (2 << 30, "2 GB"),
        (512 << 10, "512 KB"),
        (1000, "1 KB"),
        (999, "999 bytes"),
        (1 << 40, "1 TB"),
        (1_258_291, "1.1 MB"),
    ],
)
def test_a_limit_is_told_in_round_words(size, words):
    assert amount(size) == words


@given(st.integers(1, 1 << 45))
def test_a_limit_in_words_is_never_more_than_the_limit_nor_a_tenth_less(size):
    number, unit = amount(size).split()
    power = {"bytes": 0, "KB": 1, "MB": 2, "GB": 3, "TB": 4}[unit]

    assert any(0.9 * size <= float(number) * base**power <= size for base in (1000, 1024))


def test_a_declared_size_above_the_limit_is_refused_at_once(world):
    assert refusal(lambda: world.begin(size=104_857_601)).message == "max 100 MB"
    assert world.parts() == []
    world.begin(size=104_857_600).abort("enough")


def test_a_refused_begin_is_told_with_its_reason_whatever_the_name(world):
    refusal(lambda: world.begin("\udcff" * 2000))

    (told,) = world.events.of("upload.refused")
    assert told["code"] == "invalid"
    told["name"].encode()
    assert world.events.names() == ["upload.refused"]


def test_an_unknown_schema_is_refused(world):
    assert refusal(lambda: world.intake.begin(CLIENT, "no", "a.csv", door="sftp")).code is Code.NOT_FOUND


def test_a_provisional_name_is_held_to_the_rules_without_its_decoration(world):
    world.begin("a.csv.filepart", provisional=True).abort("enough")
    refused = refusal(lambda: world.begin("a.txt.filepart", provisional=True))

    assert refused.message == "use .csv or .json"
    assert world.intake.unfinished("a.csv.filepart") == "a.csv"
    assert world.intake.unfinished("a.csv") is None


def test_without_temporary_names_one_is_refused_like_any_other(tmp_path):
    world = World(tmp_path / "spool", names=OFF)

    assert world.intake.unfinished("a.csv.part") is None
    assert refusal(lambda: world.begin("a.csv.part")).code is Code.INVALID


class Disk:
    """A disk of 100 GiB with a million inodes, and a count of looks at it."""

    def __init__(self, monkeypatch):
        self.free, self.inodes, self.looks, self.files = 50 << 30, 500_000, 0, 1_000_000
        monkeypatch.setattr(os, "statvfs", self.statvfs)

    def statvfs(self, path):
        self.looks += 1
        return SimpleNamespace(
            f_frsize=4096,
            f_blocks=(100 << 30) // 4096,
            f_bavail=self.free // 4096,
            f_files=self.files,
            f_favail=self.inodes,
        )


def roomy(world) -> bool:
    world.clock.advance(1)
    try:
        world.begin().abort("enough")
    except PipeError as refused:
        assert (refused.code, refused.message) == (Code.NO_SPACE, "no space left on the server")
        return False
    return True


@pytest.mark.parametrize(("what", "low", "still", "back"), [("free", 4, 5.9, 6), ("inodes", 9_999, 11_999, 12_000)])
def test_a_full_disk_refuses_until_there_is_a_fifth_more_room(tmp_path, monkeypatch, what, low, still, back):
    disk = Disk(monkeypatch)
    world = World(tmp_path / "spool", limits=Limits())
    answers = []

    for value in (low, low, still, back, still):
        setattr(disk, what, int(value * (1 << 30)) if what == "free" else value)
        answers.append(roomy(world))

    assert answers == [False, False, False, True, True]
    assert [name for name in world.events.names() if name.startswith("disk")] == ["disk.low", "disk.ok"]


def test_the_disk_is_looked_at_once_a_second(tmp_path, monkeypatch):
    disk = Disk(monkeypatch)
    world = World(tmp_path / "spool", limits=Limits())

    for _ in range(10):
        world.begin().abort("enough")
        world.clock.advance(0.25)

    assert disk.looks == 3


def test_a_file_system_that_counts_no_inodes_has_enough(tmp_path, monkeypatch):
    disk = Disk(monkeypatch)
    disk.files = disk.inodes = 0

    assert roomy(World(tmp_path / "spool", limits=Limits()))


def test_a_spool_that_is_gone_fails_without_naming_it(tmp_path):
    world = World(tmp_path / "spool", limits=replace(Limits()))
    (tmp_path / "spool").rmdir()

    refused = refusal(world.begin)

    assert refused.code is Code.FAILED
    assert "spool" not in refused.message


def test_draining_begins_nothing_and_waits_for_what_runs(world):
    running, held = world.begin(), world.begin("b.csv")
    drained = world.intake.drain()

    assert refusal(world.begin).message == "shutting down, try again"
    running.write(0, b"id\n")
    result(running.finish())
    assert (drained.called, world.intake.live) == (False, 1)

    held.abort("closing")
    assert (drained.called, world.intake.live) == (True, 0)
    assert result(world.intake.drain()) is None


def test_draining_waits_for_the_last_part_file(world):
    upload = world.begin()
    world.threads.shut = True
    upload.abort("gone")
    drained = world.intake.drain()

    assert not drained.called
    world.threads.open()
    assert drained.called
    assert world.parts() == []


def test_every_refusal_at_the_door_is_a_known_code(world):
    assert error(world.put(b"x" * 3, size=4)).code is Code.INCOMPLETE
