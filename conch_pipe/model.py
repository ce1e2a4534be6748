"""The words of the product as frozen values that cross from room to room.

Times are timezone-aware UTC. Sizes are bytes.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    # A worker process uses these values and should not load Twisted for them (12 MB, 35 ms).
    from twisted.internet.interfaces import IReactorTime


def utc(clock: IReactorTime) -> datetime:
    """The clock's time as UTC; every record's time comes from here."""
    return datetime.fromtimestamp(clock.seconds(), UTC)


def new_id(at: datetime) -> UUID:
    """A UUIDv7: sorts by time, unguessable in its low 74 bits.

    :source: RFC 9562 section 5.7.
    """
    milliseconds = int(at.timestamp() * 1000) & (1 << 48) - 1
    noise = int.from_bytes(os.urandom(10), "big")
    value = milliseconds << 80 | 0x7 << 76 | (noise >> 62 & 0xFFF) << 64 | 0b10 << 62 | noise & (1 << 62) - 1
    return UUID(int=value)


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of one connection, as the log names it."""

    address: str
    port: int
    banner: str = ""  # the client's SSH version string or HTTP user agent, escaped, at most 255 characters
    session: str = ""  # our id of the connection: 16 hexadecimal digits


@dataclass(frozen=True, slots=True)
class Client:
    """Who is at a door after logging in: a credential of an organisation, on one connection."""

    client_id: str
    organisation: str
    schemas: frozenset[str]  # names of the schemas enabled for the organisation at login
    peer: Peer


@dataclass(frozen=True, slots=True)
class Organisation:
    """A tenant."""

    name: str  # unique, ``[a-z0-9][a-z0-9-]{0,62}``
    title: str
    created_at: datetime
    schemas: tuple[str, ...] = ()  # enabled schemas, sorted


@dataclass(frozen=True, slots=True)
class Secret:
    """One secret of a credential; two are alive while a partner changes over."""

    hash: bytes  # bcrypt
    created_at: datetime
    expires_at: datetime | None = None  # None: until revoked


@dataclass(frozen=True, slots=True)
class Credential:
    """A client_id with what is needed to check its secret."""

    client_id: str
    organisation: str
    label: str
    created_at: datetime
    revoked_at: datetime | None
    last_login_at: datetime | None = None
    secrets: tuple[Secret, ...] = ()  # alive ones, newest first
    schemas: tuple[str, ...] = ()  # enabled for its organisation


class State(enum.Enum):
    """The states of an upload (ruling 7)."""

    PENDING = "PENDING"
    PROCESSING = "PROCESSING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a file, at a place a person can find."""

    reason: str  # a sentence without the value: "not an integer"
    line: int | None = None  # physical line of the file, from 1; None: the file as a whole
    row: int | None = None  # record number, from 1, the header not counted
    column: str | None = None
    value: str | None = None  # at most 80 characters


@dataclass(frozen=True, slots=True)
class Verdict:
    """What validation found."""

    rows: int  # good rows, ready to load
    rejected: int  # rows left out (0 unless the schema says ``on_bad_row = "reject_row"``)
    accepted: bool  # False: nothing of the file is loaded
    problems: tuple[Problem, ...] = ()  # the first 100
    problem_count: int = 0  # all of them


@dataclass(frozen=True, slots=True)
class Upload:
    """One file received, whatever the door."""

    id: UUID
    organisation: str
    client_id: str
    door: str  # "sftp", "http", "cli"
    schema: str
    name: str  # the client's own file name: a label, never a path
    state: State
    bytes: int
    sha256: str  # 64 hexadecimal digits
    received_at: datetime
    object_key: str = ""
    finished_at: datetime | None = None
    rows: int | None = None
    rejected: int | None = None
    problem: str | None = None  # the first problem or the reason of failure, one line
    problem_count: int = 0
    peer: str = ""  # address of the client
    banner: str = ""
    session: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)  # stage → duration


@dataclass(frozen=True, slots=True)
class Job:
    """A durable piece of work: one row in the catalog, record and queue at once."""

    kind: str  # "ingest", …
    subject: str  # the id of what it is about, e.g. an upload's
    due_at: datetime
    id: int = 0  # 0: not stored yet
    payload: Mapping[str, Any] = field(default_factory=dict)
    claims: int = 0  # times it was leased since it was last settled, this time included: processes died on the others
    failures: int = 0  # attempts that ended badly
    fence: int = 0  # grows with each lease; a settle with an older fence is refused


def ingest_job(upload: Upload, due_at: datetime) -> Job:
    """The job that makes rows of an upload; its payload is what the job's events say of the upload."""
    told = {"organisation": upload.organisation, "client_id": upload.client_id, "schema": upload.schema}
    return Job("ingest", str(upload.id), due_at, payload=told | {"name": upload.name})


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt at a job ended; settled in one transaction with the upload it is about.

    Exactly one of the three: ``done``, ``retry_at`` or neither (dead: kept for the record, never due again).
    """

    done: bool = False
    retry_at: datetime | None = None
    failed: bool = True  # with retry_at: counts as a failure (False: released, or waiting for a resource)
    reason: str = ""
    stored: bool = False  # the upload's raw copy is durable in the object store: the catalog need not keep its bytes
    upload: Mapping[str, Any] | None = None  # columns of the upload to set, e.g. {"state": State.COMPLETED}
    problems: tuple[Problem, ...] = ()
