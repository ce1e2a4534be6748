"""Files that come with their recording, over a connection: taken into a folder of the spool, then told to the intake.

Each recording has a folder of its own, named by its uid: in ``receiving/`` while its files come, then, moved whole,
in ``received/``, where they stay. A mark lies in ``receiving/`` from before the move until the record is certain, so
that after a crash it is known what belongs to nobody. What a recording may be is decided by the intake (recordings.py).
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any
from uuid import UUID

from twisted.internet.interfaces import IReactorTime

from conch_pipe.errors import Code, PipeError
from conch_pipe.intake.system_errors import refused_by_system
from conch_pipe.interfaces import InThread
from conch_pipe.model import Role, Submitted, new_id, utc

RECEIVING, RECEIVED = "receiving", "received"  # folders in the spool
SYNC_BYTES = 16 << 20  # between two running fdatasyncs
_MARK = ".moved"
_EXTENSION = re.compile(r"\.[A-Za-z0-9]{1,8}", re.ASCII)
_UID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ENDINGS = {Role.MAIN: ".mp4", Role.RAW: ".mp4", Role.SNAPSHOT: ".jpg", Role.FILMSTRIP: ".jpg"}


class Arrivals:
    """The folders.

    :param spool: one of the roots of the intake.
    :param intake: a RecordingIntake.
    :param in_thread: runs a function in a bounded pool.
    :param free_bytes: that are left on the disk, whatever comes.
    """

    def __init__(
        self, spool: Path, intake: Any, in_thread: InThread, clock: IReactorTime, *, free_bytes: int = 0
    ) -> None:
        self.spool = spool
        self.intake = intake
        self.in_thread = in_thread
        self.clock = clock
        self.free_bytes = free_bytes

    def begin(self) -> Arrival:
        """A recording whose files are going to come."""
        return Arrival(self, new_id(utc(self.clock)))

    async def recover(self) -> int:
        """After a start, before any begins: drop what belongs to no recording. :returns: how many that were."""
        dropped, moved = await self.in_thread(self._look)
        for uid in moved:
            if await self.intake.recordings.get(uid) is None:
                await self.in_thread(shutil.rmtree, self.spool / RECEIVED / str(uid), True)
                dropped += 1
            await self.in_thread((self.spool / RECEIVING / f"{uid}{_MARK}").unlink, True)
        return int(dropped)

    def _look(self) -> tuple[int, list[UUID]]:
        """Drop what never was complete, and folders whose files are gone. :returns: how many, and what is in doubt."""
        dropped, moved = 0, []
        for path in _within(self.spool / RECEIVING):
            if path.suffix == _MARK and _UID.fullmatch(path.stem):
                moved.append(UUID(path.stem))
            else:
                shutil.rmtree(path, ignore_errors=True)
                dropped += 1
        for path in _within(self.spool / RECEIVED):
            try:
                path.rmdir()
            except OSError:
                continue  # its files are there
        return dropped, moved


class Arrival:
    """One recording. Call ``file``, ``write`` … for each of its files, then ``submit``; and ``end`` in any case."""

    def __init__(self, arrivals: Arrivals, uid: UUID) -> None:
        self._all = arrivals
        self.uid = uid
        self._folder = arrivals.spool / RECEIVING / str(uid)
        self._place = arrivals.spool / RECEIVED / str(uid)
        self._mark = arrivals.spool / RECEIVING / f"{uid}{_MARK}"
        self._files: dict[Role, Path] = {}
        self._file = -1
        self._unsynced = 0
        self._kept = False  # it is recorded, or nobody knows

    async def file(self, role: Role, name: str) -> None:
        """The next file begins; the one before is complete.

        :param name: the sender's; only its ending is used.
        :raises PipeError: INVALID, there is one in that role; NO_SPACE, FAILED.
        """
        if role in self._files:
            raise PipeError(Code.INVALID, f"there is more than one {role.value} file")
        extension = Path(name).suffix
        ending = extension.lower() if _EXTENSION.fullmatch(extension) else _ENDINGS[role]
        self._files[role] = Path(f"{role.value}{ending}")
        await self._run(self._begin_file, self._files[role])

    async def write(self, data: bytes) -> None:
        """Bytes of the file; returns when the disk has them. :raises PipeError: NO_SPACE, FAILED."""
        await self._run(self._write, data)

    async def submit(self, organisation: str, environment: str, recording_id: str, name: str) -> Submitted:
        """All files are complete.

        :raises PipeError: as IRecordingIntake.submit; nothing is left of the files then, unless it is not known
            whether they are recorded.
        """
        await self._run(self._move)
        files = {role: self._place / path for role, path in self._files.items()}
        try:
            told: Submitted = await self._all.intake.record(
                organisation, environment, recording_id, name, files, self.uid
            )
        except PipeError as error:
            self._kept = error.code is Code.UNKNOWN_OUTCOME  # the mark stays: the next start knows
            raise
        self._kept = not told.again
        if self._kept:
            await self._all.in_thread(self._mark.unlink, True)
        return told

    async def end(self) -> None:
        """The request is over; what is not recorded is deleted. Again is no error."""
        if not self._kept:
            await self._all.in_thread(self._drop)

    async def _run(self, work: Any, *about: Any) -> None:
        try:
            await self._all.in_thread(work, *about)
        except OSError as error:
            raise refused_by_system(error) from error

    # In a thread

    def _begin_file(self, name: Path) -> None:
        self._close()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self._folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        self._look_at_room()

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._file, view) :]
        self._unsynced += len(data)
        if self._unsynced >= SYNC_BYTES:
            # So that the sync of the whole at the end is short, and the page cache does not fill.
            os.fdatasync(self._file)
            self._unsynced = 0
            self._look_at_room()

    def _look_at_room(self) -> None:
        disk = os.statvfs(self._folder)
        if disk.f_bavail * disk.f_frsize < self._all.free_bytes:
            raise PipeError(Code.NO_SPACE, "no space left on the server")

    def _move(self) -> None:
        """The files are synced by the intake, with their names; the folder's own name is made durable here."""
        self._close()
        if not self._files:
            return  # the intake says what is missing
        self._place.parent.mkdir(exist_ok=True)
        self._mark.touch()
        _sync(self._folder.parent)
        self._folder.rename(self._place)
        _sync(self._place.parent)
        _sync(self._all.spool)

    def _close(self) -> None:
        if self._file >= 0:
            file, self._file = self._file, -1
            os.close(file)
        self._unsynced = 0

    def _drop(self) -> None:
        self._close()
        for folder in (self._folder, self._place):
            shutil.rmtree(folder, ignore_errors=True)
        self._mark.unlink(missing_ok=True)


def _within(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
