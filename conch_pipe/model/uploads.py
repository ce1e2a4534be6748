"""What was received over a door, and what was found in it."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID


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
