"""What is done with an open part file in the pool's threads: hashed, synced, checked, closed, deleted.

Functions of a descriptor alone; which of them may run at a time is the spool's (spool.py).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.logger import Logger

from conch_pipe.crashpoints import crashpoint

ENDS = 64 << 10  # bytes of head and tail that the quick checks get
READ = 256 << 10  # bytes read at a time for the hash

CheckEnds = Callable[[bytes, bytes, int], None]  # head, tail, size; raises PipeError

_log = Logger(namespace="conch_pipe.intake")


def hash_between(file: int, sha256: Any, start: int, end: int) -> None:
    buffer = memoryview(bytearray(min(READ, end - start)))
    while start < end:
        count = os.preadv(file, [buffer[: end - start]], start)
        if count == 0:
            raise OSError(errno.EIO, "the part file is shorter than what was written")
        sha256.update(buffer[:count])
        start += count


def sync(file: int) -> None:
    os.fdatasync(file)


def finish(file: int, sha256: Any, hashed: int, size: int, check: CheckEnds, synced: bool) -> None:
    try:
        hash_between(file, sha256, hashed, size)
        head = os.pread(file, ENDS, 0)
        tail = head if size <= ENDS else os.pread(file, ENDS, size - ENDS)
        check(head, tail, size)
        if not synced:
            os.fdatasync(file)
    except BaseException:
        _close(file)
        raise
    # close() may tell of a write that failed late (NFS, quotas): then nothing is certain.
    os.close(file)
    crashpoint("C2")


def _close(file: int) -> None:
    try:
        os.close(file)
    except OSError as error:  # the descriptor is gone all the same
        _log.warn("closing a part file failed: {error}", error=str(error))


def remove(file: int | None, path: Path) -> None:
    if file is not None:
        _close(file)
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        _log.warn(
            "part file {file} could not be deleted, the next start will: {error}", file=path.name, error=str(error)
        )
