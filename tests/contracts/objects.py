"""What every IObjects promises; an implementation subclasses this and says how it is made.

class TestFolder(ObjectsContract):
    @pytest.fixture
    def objects(self, tmp_path): ...
"""

from __future__ import annotations

import hashlib

import pytest
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from conch_pipe.errors import Code, PipeError
from conch_pipe.interfaces import IObjects

KEY = "raw/2026/11/0193a1b2-c3d4"


def result(deferred: Deferred):
    """What a fired Deferred holds; a failure is raised."""
    fired = []
    deferred.addBoth(fired.append)
    [value] = fired
    if isinstance(value, Failure):
        value.raiseException()
    return value


def spooled(folder, content: bytes, name="spooled"):
    """A finished local file and its sha256."""
    path = folder / name
    path.write_bytes(content)
    return path, hashlib.sha256(content).digest()


class ObjectsContract:
    """The cases; ``objects`` is a fixture of the subclass whose Deferreds have fired."""

    def test_it_provides_the_interface(self, objects):
        assert verifyObject(IObjects, objects)

    def test_what_was_put_is_fetched(self, objects, tmp_path):
        path, sha256 = spooled(tmp_path, b"id\n1\n")

        result(objects.put(KEY, path, sha256))
        path.unlink()

        assert result(objects.fetch(KEY)).read_bytes() == b"id\n1\n"
        assert result(objects.keys()) == {KEY}

    def test_a_put_may_be_repeated(self, objects, tmp_path):
        path, sha256 = spooled(tmp_path, b"id\n1\n")
        again, _ = spooled(tmp_path, b"id\n1\n", "again")

        for source in (path, path, again):
            result(objects.put(KEY, source, sha256))

        assert result(objects.keys()) == {KEY}

    def test_a_key_is_never_given_other_bytes(self, objects, tmp_path):
        first, other = spooled(tmp_path, b"first"), spooled(tmp_path, b"other", "other")
        result(objects.put(KEY, *first))

        with pytest.raises(PipeError) as caught:
            result(objects.put(KEY, *other))

        assert caught.value.code is Code.CONFLICT
        assert result(objects.fetch(KEY)).read_bytes() == b"first"
        assert other[0].read_bytes() == b"other"

    def test_bytes_are_stored_like_a_file(self, objects, tmp_path):
        path, sha256 = spooled(tmp_path, b"id\n1\n")

        result(objects.store(KEY, b"id\n1\n", sha256))
        result(objects.store(KEY, b"id\n1\n", sha256))
        result(objects.put(KEY, path, sha256))

        assert result(objects.fetch(KEY)).read_bytes() == b"id\n1\n"
        assert result(objects.keys()) == {KEY}

    def test_bytes_are_stored_only_under_their_own_sum_and_a_free_key(self, objects, tmp_path):
        first, sum_of_first = b"first", spooled(tmp_path, b"first")[1]
        sum_of_other = spooled(tmp_path, b"other")[1]

        for content, sha256 in ((b"other", sum_of_first), (first, sum_of_first), (b"other", sum_of_other)):
            if content == first:
                result(objects.store(KEY, content, sha256))
                continue
            with pytest.raises(PipeError) as caught:
                result(objects.store(KEY, content, sha256))
            assert caught.value.code is Code.CONFLICT

        assert result(objects.fetch(KEY)).read_bytes() == first

    def test_an_empty_file_is_an_object(self, objects, tmp_path):
        result(objects.put(KEY, *spooled(tmp_path, b"")))

        assert result(objects.fetch(KEY)).read_bytes() == b""

    def test_what_is_not_there_is_not_found(self, objects):
        with pytest.raises(PipeError) as caught:
            result(objects.fetch(KEY))
        assert caught.value.code is Code.NOT_FOUND
        assert result(objects.keys()) == set()

    def test_a_delete_may_be_repeated(self, objects, tmp_path):
        result(objects.put(KEY, *spooled(tmp_path, b"x")))

        result(objects.delete(KEY))
        result(objects.delete(KEY))

        assert result(objects.keys()) == set()
        with pytest.raises(PipeError):
            result(objects.fetch(KEY))

    def test_an_object_set_aside_is_no_object_any_more_and_again_is_no_error(self, objects, tmp_path):
        result(objects.put(KEY, *spooled(tmp_path, b"x")))
        result(objects.put("raw/kept", *spooled(tmp_path, b"y", "kept")))

        result(objects.set_aside(KEY))
        result(objects.set_aside(KEY))

        assert result(objects.keys()) == {"raw/kept"}

    @pytest.mark.parametrize(
        "key", ["", "/", "a/", "/a", "a//b", "..", "a/../b", ".a", "a/.b", "A", "a b", "a\n", "ä", "-a", "a" * 256]
    )
    def test_a_wrong_key_is_refused_everywhere(self, objects, tmp_path, key):
        path, sha256 = spooled(tmp_path, b"x")

        for call in (
            lambda: objects.put(key, path, sha256),
            lambda: objects.store(key, b"x", sha256),
            lambda: objects.fetch(key),
            lambda: objects.delete(key),
            lambda: objects.set_aside(key),
        ):
            with pytest.raises(PipeError) as caught:
                result(call())
            assert caught.value.code is Code.FAILED
        assert result(objects.keys()) == set()
