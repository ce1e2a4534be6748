"""Whether a file may come in: rules about its name, its size and the room on the disk.

The rules are pure; only :class:`Room` looks at the world, by one statvfs a second. Does not look at content.
"""

from __future__ import annotations

import os
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from twisted.internet.interfaces import IReactorTime

from conch_pipe import events
from conch_pipe.errors import Code, PipeError
from conch_pipe.formats import quick
from conch_pipe.intake.system_errors import refused_by_system
from conch_pipe.interfaces import IEvents

NAME_BYTES = 255


@dataclass(frozen=True, slots=True)
class Limits:
    """What is allowed; sizes are bytes.

    :source: DESIGN rulings 1 and 5; reliability.md section 6.2.
    """

    max_bytes: int = 104_857_600  # of one file
    same_bytes_within_s: float = 86_400  # ruling 5; 0: never
    verdict_wait_s: float = 0  # how long finish() waits for the verdict; 0: not at all
    lag_bytes: int = 32 << 20  # written, but not yet hashed or not yet synced: the door holds back above it
    sync_bytes: int = 16 << 20  # between two running fdatasyncs
    small_bytes: int = 0  # up to so many, a file stays in memory and goes into the catalog with its record; 0: none
    memory_bytes: int = 16 << 20  # of all small files together; what is more goes to the spool
    free_bytes: int = 1 << 30  # least room on the spool's disk …
    free_share: float = 0.05  # … or this share of it, whichever is more
    free_inodes_share: float = 0.01
    look_s: float = 1.0  # between two looks at the room
    outcome_wait_s: float = 10.0  # how long the outcome of a commit is looked for


def check_name(name: str) -> str:
    """The rules for a final name. Spaces are kept as they came: the name is a label, never a path.

    :returns: "csv" or "json".
    :raises PipeError: INVALID.
    """
    try:
        length = len(name.encode())
    except UnicodeEncodeError:  # a lone surrogate: the door could not decode the client's bytes
        raise PipeError(Code.INVALID, "name must be UTF-8") from None
    if not 1 <= length <= NAME_BYTES:
        raise PipeError(Code.INVALID, f"name must have 1 to {NAME_BYTES} bytes")
    if name in (".", "..") or "/" in name:
        raise PipeError(Code.INVALID, "name must not be a path")
    # Cc: control characters; Zl, Zp: separators that some log viewers break lines at.
    if not name.isprintable() and any(unicodedata.category(one) in ("Cc", "Zl", "Zp") for one in name):
        raise PipeError(Code.INVALID, "name must not have control characters")
    return quick.check_name(name)


def check_size(size: int | None, limit: int) -> None:
    """:raises PipeError: TOO_LARGE when ``size`` bytes are more than ``limit``; None is not known yet."""
    if size is not None and size > limit:
        raise too_large(limit)


def too_large(limit: int) -> PipeError:
    """What is said of a file of more than ``limit`` bytes."""
    return PipeError(Code.TOO_LARGE, f"max {amount(limit)}")


def amount(size: int) -> str:
    """A limit in words, never more than it is: "100 MB", "2 GB", "512 KB", "1000 bytes".

    Units are powers of 1,024, unless only powers of 1,000 give a whole number.
    """
    for base in (1024, 1000):
        for power, unit in ((4, "TB"), (3, "GB"), (2, "MB"), (1, "KB")):
            if size >= base**power and size % base**power == 0:
                return f"{size // base**power} {unit}"
    for power, unit in ((4, "TB"), (3, "GB"), (2, "MB"), (1, "KB")):
        if size >= 1024**power:
            return f"{size * 10 // 1024**power / 10:g} {unit}"
    return f"{size} bytes"


class Room:
    """Whether the spool's disk has room for more uploads; tells of each change once.

    :param folder: on the disk in question.
    """

    def __init__(self, folder: Path, limits: Limits, events: IEvents, clock: IReactorTime) -> None:
        self._folder = folder
        self._limits = limits
        self._events = events
        self._clock = clock
        self._looked_at: float | None = None
        self.low = False

    def check(self) -> None:
        """:raises PipeError: NO_SPACE. Looks at most once in ``look_s``."""
        now = self._clock.seconds()
        if self._looked_at is None or not 0 <= now - self._looked_at < self._limits.look_s:
            self._looked_at = now
            self._look()
        if self.low:
            raise PipeError(Code.NO_SPACE, "no space left on the server")

    def _look(self) -> None:
        try:
            disk = os.statvfs(self._folder)
        except OSError as error:
            raise refused_by_system(error) from error
        free = disk.f_bavail * disk.f_frsize
        # Back only at 20 % more, so that an upload more or less does not switch it to and fro.
        factor = 1.2 if self.low else 1.0
        need = max(self._limits.free_bytes, self._limits.free_share * disk.f_blocks * disk.f_frsize) * factor
        # Some file systems count no inodes (btrfs): f_files is 0, and so is what is needed.
        need_inodes = self._limits.free_inodes_share * disk.f_files * factor
        low = free < need or disk.f_favail < need_inodes
        if low and not self.low:
            self._events.note(events.SPACE_LOW, free=free, free_inodes=disk.f_favail)
        elif self.low and not low:
            self._events.note(events.SPACE_BACK, free=free, free_inodes=disk.f_favail)
        self.low = low
