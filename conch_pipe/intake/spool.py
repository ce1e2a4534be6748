"""One upload's bytes until they are committed or dropped: a small file's in memory, a larger one's on local disk.

A file that stays small never gets a part file: its bytes go into the catalog with its record, and need no fsync of
their own. It gets one as soon as it is more than ``small_bytes``, or all small files together are too much.

On disk, bytes are written in place on the reactor's thread, into the page cache. Hashing (but see HASH_IN_PLACE) and
fdatasync follow behind in the pool: at most one job of each at a time, so that a failed fdatasync is seen by exactly
one caller (I26). What they do there is in part_file.py.
Knows nothing of SFTP or HTTP. Does not decide whether a file is allowed (see admission.py).

The hash that follows is read back from the file rather than from copies of the chunks: 0.70 against 0.93 CPU s/GB,
writing included, and no memory (2 vCPU EPYC, ext4, Python 3.11, 32 KiB chunks, reads of 256 KiB; spread 3 %).
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from twisted.internet.defer import Deferred, succeed

from conch_pipe.crashpoints import crashpoint
from conch_pipe.errors import Code, PipeError
from conch_pipe.intake import part_file
from conch_pipe.intake.extents import Extents, TooScattered
from conch_pipe.intake.memory import NO_MEMORY, Memory, SmallFile
from conch_pipe.intake.part_file import ENDS, CheckEnds
from conch_pipe.intake.system_errors import refused_by_system
from conch_pipe.interfaces import InThread

T = TypeVar("T")

_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
# With a core to spare the hash follows in another thread. With two, which others want as well, that thread only takes
# turns with ours: 700 MB by OpenSSH's client on two cores took 1.9 CPU s/GB so, and 1.55 when they were hashed where
# they lie, at 1.15 times the speed (2 rounds).
HASH_IN_PLACE = _CORES <= 2
HASH_STEP = 4 << 20  # bytes hashed by one job
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Spooled:
    """A finished file: complete and checked; its bytes, or a part file that is durable and closed."""

    path: Path | None  # None: a small file, which has no part file
    size: int
    sha256: bytes
    content: bytes | None = None  # of a small file


def open_spool(
    folder: Path,
    upload_id: UUID,
    in_thread: InThread,
    *,
    lag_bytes: int,
    sync_bytes: int,
    small_bytes: int = 0,
    memory: Memory = NO_MEMORY,
) -> Spool:
    """A place for the bytes of one upload: its part file is ``<upload_id>.part``; nothing a client said is part of it.

    :param small_bytes: size up to which a file stays in memory; 0: none does, and the part file is made at once.
    :param memory: shared by all.
    :raises PipeError: NO_SPACE, FAILED.
    """
    spool = Spool(folder, upload_id, in_thread, lag_bytes, sync_bytes, small_bytes, memory)
    if not small_bytes:
        spool.to_disk()
    crashpoint("W1")
    return spool


class Spool:
    """An open file. Made by :func:`open_spool`; ends with ``finish`` and ``drop``, or ``drop`` alone.

    ``size`` is the highest offset written; ``lagging`` is True while more than ``lag_bytes`` wait for the pool.
    """

    def __init__(
        self,
        folder: Path,
        upload_id: UUID,
        in_thread: InThread,
        lag_bytes: int,
        sync_bytes: int,
        small_bytes: int,
        memory: Memory,
    ) -> None:
        self._folder = folder
        self._upload_id = upload_id
        self.size = 0
        self.lagging = False
        self.on_failure: Callable[[PipeError], object] | None = None  # told once, of what failed behind the writes
        self._content: SmallFile | None = SmallFile(small_bytes, memory)  # None: in the part file
        self._file: int | None = None
        self._in_thread = in_thread
        self._lag_bytes = lag_bytes
        # No step is longer than the lag allowed: else the door would wait for work that never becomes due.
        self._hash_step = min(HASH_STEP, lag_bytes)
        self._sync_step = min(sync_bytes, lag_bytes)
        self._extents = Extents()
        self._closed = False
        self._gone = False  # dropped, or about to be
        self._failed: PipeError | None = None
        self._written = 0  # bytes ever written, also the same place twice
        self._wake_at = min(self._hash_step, self._sync_step)  # value of _written at which _follow looks again
        self._synced = 0  # value of _written that the last good fdatasync covers
        self._syncing = False
        self._sha256 = hashlib.sha256()
        self._hashed = 0  # bytes of the prefix in _sha256
        self._hash_to = 0  # bytes of the prefix a job has been told to read: they must not change any more
        self._rehash = False  # they did: only finish hashes, all from the start
        self._hashing = False
        self._finishing = False
        self._ends: list[Deferred[None]] = []  # wait for the end of the next piece of work
        self._relief: list[Deferred[None]] = []

    @property
    def path(self) -> Path:
        """Where the part file is, or would be."""
        return self._folder / f"{self._upload_id}.part"

    # Writing, on the reactor's thread

    def write(self, offset: int, *pieces: Any) -> None:
        """Store a chunk, or pieces that follow each other, in one call to the system. Not after ``finish`` or ``drop``.

        :raises PipeError: NO_SPACE, FAILED, or INVALID when the chunks are too scattered; the file is useless then.
        """
        if self._failed is not None:
            raise self._failed
        if self._closed:
            raise PipeError(Code.CONFLICT, "the file is closed")
        length = sum(map(len, pieces))
        if not length:
            return
        end = offset + length
        first = not self.size
        try:
            content = self._content
            if content is None:
                self._to_file(offset, pieces)
            elif not content.keep(offset, end, pieces):
                self.to_disk()
                self._to_file(offset, pieces)
            self._extents.add(offset, end)
        except OSError as error:
            raise self._fail(refused_by_system(error)) from error
        except TooScattered:
            raise self._fail(PipeError(Code.INVALID, "too many separate pieces")) from None
        if end > self.size:
            self.size = end
        if first:
            crashpoint("W2")
        if self._written >= self._wake_at:
            self._follow()

    def to_disk(self) -> None:
        """Make the part file, unless there is one, with what is in memory.

        :raises PipeError: NO_SPACE, FAILED; the file is useless then.
        """
        if self._content is None:
            return
        try:
            self._file = os.open(self.path, _NEW, 0o600)
            if content := self._forget():
                self._to_file(0, [content])
        except OSError as error:
            raise self._fail(refused_by_system(error)) from error

    def _forget(self) -> bytearray | None:
        """Nothing is held in memory any more. :returns: what was."""
        content, self._content = self._content, None
        return content.release() if content is not None else None

    def _to_file(self, offset: int, pieces: Sequence[Any]) -> None:
        assert self._file is not None
        length = sum(map(len, pieces))
        done = os.pwritev(self._file, pieces, offset)
        if done < length:  # the kernel took less than all (a full disk, a signal): go on until it says why
            rest = memoryview(b"".join(pieces))
            while done < length:
                more = os.pwrite(self._file, rest[done:], offset + done)
                if more == 0:
                    raise OSError(errno.EIO, "wrote nothing")
                done += more
        if offset < self._hash_to:
            self._rehash = True
        elif HASH_IN_PLACE and offset == self._hashed and not (self._hashing or self._rehash):
            for piece in pieces:
                self._sha256.update(piece)
            self._hashed = self._hash_to = offset + length
        self._written += done

    @property
    def hole(self) -> int | None:
        """Offset of the first byte that is missing below ``size``, or None."""
        prefix = self._extents.prefix
        return prefix if prefix < self.size else None

    # Following behind, in the pool

    def _follow(self) -> None:
        self._wake_at = self._written + min(self._hash_step, self._sync_step)
        if not self._hashing and self._hash_due():
            self._hashing = True
            Deferred.fromCoroutine(self._hash_behind())
        if not self._syncing and self._sync_due():
            self._syncing = True
            Deferred.fromCoroutine(self._sync_behind())
        self._weigh()

    def _hash_due(self) -> bool:
        return (
            not (self._closed or self._failed or self._rehash)
            and self._extents.prefix - self._hashed >= self._hash_step
        )

    def _sync_due(self) -> bool:
        return not (self._closed or self._failed) and self._written - self._synced >= self._sync_step

    async def _hash_behind(self) -> None:
        try:
            while self._hash_due():
                start, end = self._hashed, self._hashed + self._hash_step
                self._hash_to = end
                await self._job(part_file.hash_between, self._file, self._sha256, start, end)
                self._hashed = end
                self._weigh()
        except PipeError as error:
            self._fail_behind(error)
        finally:
            self._hashing = False
            # A job that ended badly may have fed half of its bytes to the hash.
            self._rehash = self._rehash or self._hashed != self._hash_to
            self._tell_end()

    async def _sync_behind(self) -> None:
        try:
            while self._sync_due():
                await self._sync_once()
                self._weigh()
        except PipeError as error:
            self._fail_behind(error)
        finally:
            self._syncing = False
            self._tell_end()

    async def _sync_once(self) -> None:
        covered = self._written
        await self._job(part_file.sync, self._file)
        self._synced = max(self._synced, covered)

    async def sync(self) -> None:
        """Make what was written so far durable, on disk.

        :raises PipeError: NO_SPACE, FAILED; the file is useless then.
        """
        if not self._closed:
            self.to_disk()
        wanted = self._written
        while self._syncing or self._finishing:
            await self._next_end()
        if self._failed is not None:
            raise self._failed
        if self._file is None or self._synced >= wanted:  # None: finish() has done it
            return
        self._syncing = True
        try:
            await self._sync_once()
        except PipeError as error:
            raise self._fail(error) from error
        finally:
            self._syncing = False
            self._tell_end()
        self._weigh()

    def _weigh(self) -> None:
        unhashed = 0 if self._rehash else self._extents.prefix - self._hashed
        self.lagging = not (self._closed or self._failed) and (
            unhashed > self._lag_bytes or self._written - self._synced > self._lag_bytes
        )
        if not self.lagging and self._relief:
            relief, self._relief = self._relief, []
            for waiting in relief:
                waiting.callback(None)

    def caught_up(self) -> Deferred[None]:
        """:returns: Deferred[None] that fires when ``lagging`` is False, also because the file is given up."""
        if not self.lagging:
            return succeed(None)
        waiting: Deferred[None] = Deferred(self._relief.remove)
        self._relief.append(waiting)
        return waiting

    # The end

    async def finish(self, check: CheckEnds) -> Spooled:
        """Hash what is left, check the ends, make it durable and close it, in one job. Called once.

        A small file is hashed and checked at once and stays in memory until ``drop``.

        :param check: called with head, tail and size, but for a small file in the pool's thread; what it raises is
            passed on.
        :raises PipeError: NO_SPACE, FAILED; whatever happens, ``drop`` is still to be called.
        """
        self._closed = True
        if self._content is not None:
            return self._finish_small(self._content, check)
        self._weigh()
        await self._when_idle()
        if self._failed is not None:
            raise self._failed
        if self._rehash:
            self._sha256, self._hashed = hashlib.sha256(), 0
        file, self._file = self._file, None
        # Nothing to sync when the last running one covers all that was written.
        synced = 0 < self._written == self._synced
        self._finishing = True
        try:
            await self._job(part_file.finish, file, self._sha256, self._hashed, self.size, check, synced)
        except PipeError as error:
            raise self._fail(error) from error
        finally:
            self._finishing = False
            self._tell_end()
        return Spooled(self.path, self.size, self._sha256.digest())

    def _finish_small(self, small: SmallFile, check: CheckEnds) -> Spooled:
        if self._failed is not None:
            raise self._failed
        content = bytes(small.held)
        try:
            check(content[:ENDS], content[-ENDS:], self.size)
        except PipeError as error:
            raise self._fail(error) from error
        crashpoint("C2")
        return Spooled(None, self.size, hashlib.sha256(content).digest(), content)

    def forget(self) -> bool:
        """Drop it at once, if nothing of it is on disk. :returns: whether it is gone; else ``drop`` it."""
        if self._content is not None:
            self._closed = True
            self._forget()
            self._gone = True
        return self._gone

    async def drop(self) -> None:
        """Close and delete it, as soon as no job uses it. Any number of times, never fails."""
        self._closed = True
        self._fail(PipeError(Code.INCOMPLETE, "the upload was dropped"))
        if self.forget():
            return
        await self._when_idle()
        file, self._file = self._file, None
        self._gone = True
        await self._in_thread(part_file.remove, file, self.path)

    def _fail(self, error: PipeError) -> PipeError:
        self._failed = self._failed or error
        self._weigh()
        return self._failed

    def _fail_behind(self, error: PipeError) -> None:
        failed = self._fail(error)
        if self.on_failure is not None:
            self.on_failure(failed)

    async def _job(self, function: Callable[..., T], *args: Any) -> T:
        try:
            result: T = await self._in_thread(function, *args)
        except OSError as error:
            raise refused_by_system(error) from error
        return result

    async def _when_idle(self) -> None:
        """Wait until no job uses the descriptor: closed under one, its number could become another file's."""
        while self._hashing or self._syncing or self._finishing:
            await self._next_end()

    def _next_end(self) -> Deferred[None]:
        waiting: Deferred[None] = Deferred()
        self._ends.append(waiting)
        return waiting

    def _tell_end(self) -> None:
        ends, self._ends = self._ends, []
        for waiting in ends:
            waiting.callback(None)
