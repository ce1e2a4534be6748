"""Objects in a folder: linked, durable before the answer, and never overwritten."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from twisted.internet.defer import execute

from conch_pipe.errors import Code, PipeError
from conch_pipe.objects import FolderObjects
from tests.contracts.objects import KEY, ObjectsContract, result, spooled

PUT = """
import sys, hashlib
from pathlib import Path
from twisted.internet.defer import execute
from conch_pipe.objects import FolderObjects
source = Path(sys.argv[1])
FolderObjects(Path(sys.argv[2]), execute).put(sys.argv[3], source, hashlib.sha256(source.read_bytes()).digest())
"""


@pytest.fixture
def objects(tmp_path):
    return FolderObjects(tmp_path / "objects", execute)


@pytest.fixture
def unlinkable(monkeypatch):
    """The spool is on another filesystem than the objects."""
    link = Path.hardlink_to

    def refuse(self, target):
        if ".copies" not in Path(target).parts:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        link(self, target)

    monkeypatch.setattr(Path, "hardlink_to", refuse)


class TestFolder(ObjectsContract):
    @pytest.fixture
    def objects(self, objects):
        return objects


class TestFolderOnAnotherFilesystem(ObjectsContract):
    @pytest.fixture
    def objects(self, objects, unlinkable):
        return objects


@pytest.fixture
def steps(monkeypatch):
    """The order of links and fsyncs; an fsync is named by the path it makes durable."""
    taken = []
    link, fsync = Path.hardlink_to, os.fsync

    def linked(self, target):
        link(self, target)
        taken.append(("link", self))

    def synced(descriptor):
        fsync(descriptor)
        taken.append(("fsync", Path(os.readlink(f"/proc/self/fd/{descriptor}"))))

    monkeypatch.setattr(Path, "hardlink_to", linked)
    monkeypatch.setattr(os, "fsync", synced)
    return taken


def test_a_put_copies_nothing_and_the_object_is_read_only(objects, tmp_path):
    path, sha256 = spooled(tmp_path, b"x")

    result(objects.put(KEY, path, sha256))

    stored = result(objects.fetch(KEY))
    assert stored.samefile(path)
    assert stat.S_IMODE(stored.stat().st_mode) == 0o440


def test_every_name_on_the_way_is_durable_before_the_answer(objects, steps, tmp_path):
    path, sha256 = spooled(tmp_path, b"x")
    root = tmp_path / "objects"

    result(objects.put("a/b/c", path, sha256))
    first = list(steps)
    steps.clear()
    result(objects.put("a/b/d", path, sha256))

    assert first == [
        ("fsync", tmp_path),
        ("fsync", root),
        ("fsync", root / "a"),
        ("link", root / "a/b/c"),
        ("fsync", root / "a/b"),
    ]
    assert steps == [("link", root / "a/b/d"), ("fsync", root / "a/b")]


def test_a_folder_left_by_a_crash_is_made_durable_too(objects, steps, tmp_path):
    """It exists, but whether its name reached the disk nobody knows."""
    root = tmp_path / "objects"
    root.mkdir()

    result(objects.put("c", *spooled(tmp_path, b"x")))

    assert steps[0] == ("fsync", tmp_path)


def test_a_repeated_put_makes_the_name_durable_again(objects, steps, tmp_path):
    """The put before may have died between link and fsync."""
    path, sha256 = spooled(tmp_path, b"x")
    result(objects.put("c", path, sha256))
    steps.clear()

    result(objects.put("c", path, sha256))

    assert steps == [("fsync", tmp_path / "objects")]


def test_a_failed_fsync_is_told_and_not_tried_again(objects, tmp_path, monkeypatch):
    path, sha256 = spooled(tmp_path, b"x")
    result(objects.put("a", path, sha256))
    calls = []

    def fail(descriptor):
        calls.append(descriptor)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(PipeError) as caught:
        result(objects.put("b", path, sha256))

    assert caught.value.code is Code.FAILED
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("number", "code"), [(errno.ENOSPC, Code.NO_SPACE), (errno.EDQUOT, Code.NO_SPACE), (errno.EROFS, Code.FAILED)]
)
def test_errors_of_the_disk_are_told_without_a_path(objects, tmp_path, monkeypatch, number, code):
    def fail(self, target):
        raise OSError(number, os.strerror(number), str(self))

    monkeypatch.setattr(Path, "hardlink_to", fail)
    with pytest.raises(PipeError) as caught:
        result(objects.put("a/b", *spooled(tmp_path, b"x")))

    assert caught.value.code is code
    assert str(tmp_path) not in caught.value.message and str(tmp_path) in caught.value.detail


def test_a_copy_is_durable_before_it_has_its_name_and_leaves_nothing_else(objects, unlinkable, steps, tmp_path):
    path, sha256 = spooled(tmp_path, b"x" * 3_000_000)
    root = tmp_path / "objects"
    (root / ".copies").mkdir(parents=True)
    (root / ".copies" / "left-by-a-crash").write_bytes(b"half")

    result(objects.put("c", path, sha256))

    copied = [path for step, path in steps if step == "fsync" and path.parent.name == ".copies"]
    assert len(copied) == 1
    assert steps.index(("fsync", copied[0])) < steps.index(("fsync", root))
    assert list((root / ".copies").iterdir()) == []
    assert not result(objects.fetch("c")).samefile(path)


def test_the_copy_that_another_living_process_is_making_is_left_alone(objects, unlinkable, tmp_path):
    """Door processes copy into one folder, and each clears it of what the dead have left before its first copy."""
    copies = tmp_path / "objects" / ".copies"
    copies.mkdir(parents=True)
    for process in (os.getppid(), os.getpid()):
        (copies / f"{process}-0123").write_bytes(b"half")

    result(objects.put("c", *spooled(tmp_path, b"x")))

    assert [path.name for path in copies.iterdir()] == [f"{os.getppid()}-0123"]


def test_a_file_that_changed_before_it_was_copied_is_not_stored(objects, unlinkable, tmp_path):
    path, sha256 = spooled(tmp_path, b"x")
    path.write_bytes(b"y")

    with pytest.raises(PipeError) as caught:
        result(objects.put("c", path, sha256))

    assert caught.value.code is Code.FAILED
    assert result(objects.keys()) == set()


def test_an_orphan_is_kept_for_an_operator(tmp_path):
    objects = FolderObjects(tmp_path / "objects", execute, orphans=tmp_path / "aside")
    result(objects.put("raw/a", *spooled(tmp_path, b"x")))

    result(objects.set_aside("raw/a"))

    assert (tmp_path / "aside" / "raw_a").read_bytes() == b"x"


@pytest.mark.crash
@pytest.mark.parametrize("label", ["C3", "C4"])
def test_a_kill_in_a_put_leaves_the_whole_object_and_a_repeat_succeeds(objects, tmp_path, label):
    path, sha256 = spooled(tmp_path, b"x")

    arguments = [sys.executable, "-c", PUT, str(path), str(tmp_path / "objects"), KEY]
    killed = subprocess.run(arguments, env=os.environ | {"PIPE_CRASH": label})

    assert killed.returncode == -9
    assert result(objects.fetch(KEY)).read_bytes() == b"x"
    result(objects.put(KEY, path, sha256))
