"""One recording on its way to one remote: its state, and the log of every attempt."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from conch_pipe.model.recordings import Role


class Status(enum.Enum):
    """How an attempt ended: the statuses of the source, and one of ours (ruling 8)."""

    OK = "OK"  # the main file has arrived
    FILE_MISSING = "FILE_MISSING"
    UPLOAD_FAILED = "UPLOAD_FAILED"
    SFTP_LOGIN_FAILED = "SFTP_LOGIN_FAILED"
    INCORRECT_SFTP_FOLDER = "INCORRECT_SFTP_FOLDER"
    SFTP_CONNECTION_TIMEOUT = "SFTP_CONNECTION_TIMEOUT"
    HOST_KEY_MISMATCH = "HOST_KEY_MISMATCH"


class PushState(enum.Enum):
    """WAITING → PARTIAL → DELIVERED, or GIVEN_UP after the last attempt; a manual attempt may still deliver."""

    WAITING = "WAITING"  # the main file has not arrived
    PARTIAL = "PARTIAL"  # it has, others have not
    DELIVERED = "DELIVERED"  # all files have
    GIVEN_UP = "GIVEN_UP"  # no attempt is left; ``arrived`` tells what has


@dataclass(frozen=True, slots=True)
class FileResult:
    """What became of one file in an attempt."""

    role: Role
    name: str  # on the remote
    bytes: int = 0  # sent
    reason: str = ""  # one word why it did not arrive; empty: it did
    detail: str = ""  # a sentence, printable ASCII


@dataclass(frozen=True, slots=True)
class Report:
    """How one attempt went, as the room of remotes tells it."""

    status: Status
    reason: str = ""  # one stable word ("refused", "no_space", …); empty when all is well
    detail: str = ""  # a sentence for people, printable ASCII, no secret
    files: tuple[FileResult, ...] = ()  # those it tried or would have tried, in order
    host_key: str = ""  # fingerprint SHA256:…, as far as we got
    algorithms: str = ""  # key exchange, host key, cipher, MAC agreed on
    seconds: float = 0.0
    refused_key: bytes | None = None  # blob of a host key that is not the pinned one
    connected: bool = False  # TCP came about: the host is not dead


@dataclass(frozen=True, slots=True)
class Attempt:
    """One row of the push log."""

    push: UUID
    number: int  # 1 to 13; 0: a manual one, not counted
    began_at: datetime
    host: str
    port: int
    username: str
    folder: str
    report: Report
    late: bool = False  # its moment had passed while the service was down
    shared: bool = False  # no connection of its own: another recording had just met the same failure
    remote: str = ""  # filled when read
    recording: str = ""  # the sender's id; filled when read
    organisation: str = ""  # filled when read
    id: int = field(default=0, compare=False)  # of the row, for pages; filled when read
    recording_uid: UUID | None = field(default=None, compare=False)  # our id of it; filled when read


@dataclass(frozen=True, slots=True)
class Push:
    """One recording and one remote."""

    id: UUID
    recording: UUID  # Recording.uid
    remote: str
    state: PushState = PushState.WAITING
    attempts: int = 0  # made and counted, of 13
    ended_at: datetime | None = None  # of the last counted attempt
    manual: bool = False  # the next attempt is a manual one
    due_at: datetime | None = None  # the next attempt; None: there is none
    arrived: frozenset[Role] = frozenset()
    problems: Mapping[Role, str] = field(default_factory=dict)  # why the others have not, one word each
    final_at: datetime | None = None  # when it became DELIVERED or GIVEN_UP


@dataclass(frozen=True, slots=True)
class PushResult:
    """What an attempt changes; written with the end of its job in one transaction."""

    attempt: Attempt | None  # None: nothing to log
    push: Push  # as it shall be; ``due_at`` is the job's and not written from here
    disable: str = ""  # reason to disable the remote; its ``refused_key`` is the report's
