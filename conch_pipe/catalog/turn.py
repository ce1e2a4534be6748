"""Whose turn it is to write, among the processes of one service.

SQLite lets one of them write and has the others sleep and try again, longer each time: the one that has just written
is there first, and the others may wait for seconds. Here they wait for each other, each for one transaction of the
others; processes that do not take part, such as ``conch-pipe``, meet SQLite's own lock as before.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class Turn:
    """A context manager for one thread of each process; the end of a process gives its turn on.

    :param path: of two lock files, ``PATH`` and ``PATH.next``; made at the first turn, never removed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._locks: tuple[int, int] | None = None

    def __enter__(self) -> None:
        """Wait. Who has just written must be next before it writes again, and somebody else is next already."""
        if self._locks is None:
            self._locks = _open(self._path), _open(self._path.with_name(self._path.name + ".next"))
        now, following = self._locks
        fcntl.flock(following, fcntl.LOCK_EX)
        try:
            fcntl.flock(now, fcntl.LOCK_EX)
        finally:
            fcntl.flock(following, fcntl.LOCK_UN)

    def __exit__(self, *_: object) -> None:
        if self._locks is not None:
            fcntl.flock(self._locks[0], fcntl.LOCK_UN)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
