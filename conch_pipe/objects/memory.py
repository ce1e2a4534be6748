"""Raw copies in memory, for tests of other rooms."""

from __future__ import annotations

import hashlib
from pathlib import Path

from twisted.internet.defer import Deferred, execute
from zope.interface import implementer

from conch_pipe.errors import Code, PipeError
from conch_pipe.interfaces import IObjects
from conch_pipe.objects.keys import valid


@implementer(IObjects)
class MemoryObjects:
    """Objects in a dict; its Deferreds have fired.

    :param scratch: an existing folder in which ``fetch`` writes the files it gives out.
    """

    def __init__(self, scratch: Path) -> None:
        self.stored: dict[str, bytes] = {}
        self.aside: dict[str, bytes] = {}
        self._scratch = scratch

    def put(self, key: str, path: Path, sha256: bytes) -> Deferred[None]:
        """See :class:`IObjects`."""
        return execute(self._put, key, path)

    def store(self, key: str, content: bytes, sha256: bytes) -> Deferred[None]:
        """See :class:`IObjects`."""
        return execute(self._store, key, content, sha256)

    def fetch(self, key: str) -> Deferred[Path]:
        """See :class:`IObjects`."""
        return execute(self._fetch, key)

    def delete(self, key: str) -> Deferred[None]:
        """See :class:`IObjects`."""
        return execute(self._delete, key)

    def keys(self) -> Deferred[set[str]]:
        """See :class:`IObjects`."""
        return execute(set, self.stored)

    def set_aside(self, key: str) -> Deferred[None]:
        """See :class:`IObjects`."""
        return execute(self._set_aside, key)

    def _put(self, key: str, path: Path) -> None:
        self._keep(key, path.read_bytes())

    def _store(self, key: str, content: bytes, sha256: bytes) -> None:
        valid(key)
        if hashlib.sha256(content).digest() != sha256:
            raise PipeError(Code.CONFLICT, "the file cannot be stored", f"other bytes for {key} than were received")
        self._keep(key, content)

    def _keep(self, key: str, content: bytes) -> None:
        if self.stored.setdefault(valid(key), content) != content:
            raise PipeError(Code.CONFLICT, "the file cannot be stored", f"other bytes under {key}")

    def _delete(self, key: str) -> None:
        self.stored.pop(valid(key), None)

    def _fetch(self, key: str) -> Path:
        if valid(key) not in self.stored:
            raise PipeError(Code.NOT_FOUND, "the stored copy is gone", f"no object {key}")
        path = self._scratch / key.replace("/", "_")
        path.write_bytes(self.stored[key])
        return path

    def _set_aside(self, key: str) -> None:
        if valid(key) in self.stored:
            self.aside[key] = self.stored.pop(key)
