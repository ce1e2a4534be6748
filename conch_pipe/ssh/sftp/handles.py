"""What a client has open, and the order of the work on it.

An open file takes its operations one after the other; its first failure is its last word: everything after it fails
with the same text and code, and the backend was told ``abort``. Knows no packets and sends nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from twisted.conch.ssh.filetransfer import SFTPError
from twisted.internet.defer import Deferred
from twisted.logger import Logger


class Line:
    """Does jobs one at a time in the order they came. A job must not raise."""

    def __init__(self) -> None:
        self._jobs: deque[Callable[[], Awaitable[None]]] = deque()
        self.busy = False

    def add(self, job: Callable[[], Awaitable[None]]) -> None:
        """Do ``job`` after all before it; at once when there is none."""
        self._jobs.append(job)
        if not self.busy:
            self.busy = True
            Deferred.fromCoroutine(self._work())

    async def _work(self) -> None:
        try:
            while self._jobs:
                await self._jobs.popleft()()
        finally:
            self.busy = False


class Folder:
    """An open folder: rows still to be told."""

    def __init__(self, path: bytes, rows: Any) -> None:
        self.path = path
        self.line = Line()
        self.rows: Iterator[tuple[bytes, bytes, dict[str, Any]]] = iter(rows)

    def abort(self, why: str) -> None:
        """Nothing to undo."""


class File:
    """An open file.

    :param backend: an IPutFile.
    :param now: time of the opening, seconds.
    """

    _log = Logger()

    def __init__(self, path: bytes, backend: Any, now: float) -> None:
        self.path = path
        self.backend = backend
        self.line = Line()
        self.refusal: SFTPError | None = None  # the first failure, for everything that follows
        self.waiting = False  # for caughtUp
        self.wrote_at = now
        self._over = False  # close or abort was called: the backend's part is done
        self._waiters: list[Deferred[None]] | None = []

    def check(self) -> None:
        """:raises SFTPError: the first failure, when there was one."""
        if self.refusal is not None:
            raise SFTPError(self.refusal.code, self.refusal.message)

    def poison(self, refusal: SFTPError) -> None:
        """The first failure: remembered, and the backend aborts."""
        if self.refusal is None:
            self.refusal = refusal
        self.abort(refusal.message)

    def abort(self, why: str) -> None:
        """Tell the backend that the file will not be completed, unless its close was called or it knows."""
        if self.refusal is None:
            self.refusal = SFTPError(4, why)
        if self._over:
            return
        self._over = True
        try:
            self.backend.abort(why)
        except Exception:  # noqa: BLE001 - one file's fault must not keep the others from being aborted
            self._log.failure("a file's abort failed")

    def close(self) -> Any:
        """Complete the file; the only way to the backend's ``close``, for a CLOSE that was read whole.

        :returns: what the backend does: done, or a Deferred.
        :raises SFTPError: the file's first failure, or what the backend says.
        """
        self.check()
        self._over = True
        return self.backend.close()

    def settle(self) -> None:
        """The CLOSE was answered: what waited for that goes on."""
        waiters, self._waiters = self._waiters or [], None
        for waiter in waiters:
            waiter.callback(None)

    async def settled(self) -> None:
        """Wait until the CLOSE was answered."""
        if self._waiters is not None:
            waiter: Deferred[None] = Deferred()
            self._waiters.append(waiter)
            await waiter


async def value(result: Any) -> Any:
    """What a backend's method means: its result now, or when its Deferred fires."""
    return await result if isinstance(result, Deferred) else result


class Handles:
    """The table of one channel. Handles are counted, never reused, and mean nothing to anyone else."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._last = 0
        self._opening = 0
        self._open: dict[bytes, File | Folder] = {}

    def __iter__(self) -> Iterator[File | Folder]:
        return iter(list(self._open.values()))

    def __len__(self) -> int:
        return len(self._open)

    def reserve(self) -> None:
        """:raises SFTPError: too many are open; else :meth:`give` or :meth:`release` must follow."""
        if len(self._open) + self._opening >= self._most:
            raise SFTPError(4, f"more than {self._most} files open")
        self._opening += 1

    def release(self) -> None:
        """What was reserved did not open."""
        self._opening -= 1

    def give(self, what: File | Folder) -> bytes:
        """A handle for something that opened."""
        self._opening -= 1
        self._last += 1
        handle = self._last.to_bytes(4, "big")
        self._open[handle] = what
        return handle

    def get(self, handle: bytes) -> File | Folder | None:
        """What it stands for, if anything."""
        return self._open.get(handle)

    def find(self, handle: bytes) -> File | Folder:
        """:raises SFTPError: FAILURE "invalid handle", as OpenSSH says."""
        try:
            return self._open[handle]
        except KeyError:
            raise SFTPError(4, "invalid handle") from None

    def file(self, handle: bytes) -> File:
        """:raises SFTPError: FAILURE for a folder as well."""
        found = self.find(handle)
        if not isinstance(found, File):
            raise SFTPError(4, "the handle is not a file's")
        return found

    def folder(self, handle: bytes) -> Folder:
        """:raises SFTPError: FAILURE for a file as well."""
        found = self.find(handle)
        if not isinstance(found, Folder):
            raise SFTPError(4, "the handle is not a folder's")
        return found

    def take(self, handle: bytes) -> File | Folder:
        """Remove and return, so that a second CLOSE finds nothing (C2)."""
        found = self.find(handle)
        del self._open[handle]
        return found

    def clear(self) -> list[File | Folder]:
        """Remove and return all."""
        all_open = list(self._open.values())
        self._open.clear()
        return all_open
