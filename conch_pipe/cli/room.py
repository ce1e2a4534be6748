"""The room on the spool's disk, and when the service refuses uploads for lack of it: the rule of intake's admission."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conch_pipe.settings import Settings


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes and inodes of a disk; ``least…``: below these uploads are refused."""

    free: int
    total: int
    least: int
    inodes: int
    least_inodes: int


def room(settings: Settings) -> Room:
    """Look at the disk of the spool, or of the nearest folder above it that exists.

    :raises OSError: this user may not look.
    """
    folder = settings.spool.folder
    while not folder.exists():
        folder = folder.parent
    found, asked = os.statvfs(folder), settings.disk
    total = found.f_blocks * found.f_frsize
    return Room(
        free=found.f_bavail * found.f_frsize,
        total=total,
        least=max(asked.free_bytes, int(asked.free_share * total)),
        inodes=found.f_favail,
        least_inodes=int(asked.free_inodes_share * found.f_files),
    )
