"""Groups of files that are to be delivered, and the environments that say to which remotes."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID


class Role(enum.Enum):
    """What a file of a group is; in the order in which files are sent."""

    MAIN = "main"  # the processed recording
    RAW = "raw"
    SNAPSHOT = "snapshot"
    FILMSTRIP = "filmstrip"


@dataclass(frozen=True, slots=True)
class Environment:
    """Where the recordings of one application go."""

    organisation: str
    name: str  # unique in the organisation, ``[a-z0-9][a-z0-9-]{0,62}``
    created_at: datetime
    remotes: tuple[str, ...] = ()  # names, sorted
    delete_delivered: bool = False  # files go as soon as every remote has all of them; off: they are never deleted


@dataclass(frozen=True, slots=True)
class RecordedFile:
    """One local file of a recording, as it was when the recording was accepted."""

    role: Role
    path: Path  # absolute
    name: str  # on the remote
    bytes: int
    mtime_ns: int
    sha256: str  # 64 hexadecimal digits


@dataclass(frozen=True, slots=True)
class Recording:
    """A group of files to deliver. The main file is the processed one, or the raw one when there is no other."""

    uid: UUID  # ours, UUIDv7
    id: str  # the sender's, unique in the organisation, ``[A-Za-z0-9][A-Za-z0-9._-]{0,99}``
    organisation: str
    environment: str
    name: str  # NAME of the remote file names
    files: tuple[RecordedFile, ...]  # at least one, in the order of Role
    saved_at: datetime  # when it was accepted: the attempts are counted from here
    deleted_at: datetime | None = None  # when its local files were deleted
    purge_at: datetime | None = None  # when they will be, all pushes having ended and some in vain

    @property
    def main(self) -> RecordedFile:
        """The file that decides whether an attempt was good."""
        return self.files[0]
