"""Who is told over HTTP of what happens here, and how each attempt to tell ended."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import datetime

LONGEST_URL = 200  # characters, as the source has it


class Happening(enum.Enum):
    """What a webhook may be told; the value is the ``type`` of its messages."""

    UPLOAD_COMPLETED = "upload.completed"
    UPLOAD_FAILED = "upload.failed"
    RECORDING_PUSHED = "recording.pushed"  # all files of a recording have arrived at one remote
    RECORDING_GIVEN_UP = "recording.given_up"  # no attempt is left for one remote
    REMOTE_DISABLED = "remote.disabled"
    CREDENTIAL_REVOKED = "credential.revoked"


# What belongs to an environment; the others only to an organisation.
OF_ENVIRONMENTS = frozenset({Happening.RECORDING_PUSHED, Happening.RECORDING_GIVEN_UP, Happening.REMOTE_DISABLED})
TEST = "webhook.test"  # type of the message that ``conch-pipe webhook test`` sends


class Shape(enum.Enum):
    """How a message is written."""

    STANDARD = "standard"  # {"type", "timestamp", "data"}, as Standard Webhooks has it
    PIPE = "pipe"  # the source's own ``video_copied_ftp``; recording.pushed only


@dataclass(frozen=True, slots=True)
class Webhook:
    """An address that is told. Its signing secret is apart: a Webhook may be shown to anybody who runs the service."""

    id: str  # ``wh_`` and 20 letters or digits
    organisation: str
    url: str
    events: tuple[Happening, ...]  # in the order of Happening
    created_at: datetime
    environment: str = ""  # only what happens in it; empty: all of the organisation
    shape: Shape = Shape.STANDARD
    enabled: bool = True
    disabled_reason: str = ""  # "operator", "gone"
    changed_at: datetime | None = None  # when an operator last changed anything of it


@dataclass(frozen=True, slots=True)
class Answer:
    """How one request went; expected faults too."""

    status: int | None  # of HTTP; None: there was no answer
    reason: str = ""  # one stable word; empty: it was taken
    detail: str = ""  # a sentence for people, printable
    body: str = field(default="", repr=False)  # the beginning of what was answered, printable
    seconds: float = 0.0
    retry_after_s: float = 0.0  # asked for by the receiver; 0: not


@dataclass(frozen=True, slots=True)
class Notice:
    """One row of a webhook's log."""

    webhook: str
    message: str  # the message's id: the same for every attempt at it
    event: str
    number: int  # of the attempt, from 1; 0: a test
    began_at: datetime
    answer: Answer
    next_at: datetime | None = None  # of the next attempt; None: there is none
    shared: bool = False  # no request of its own: another message had just met the same failure
    id: int = field(default=0, compare=False)  # of the row, for pages; filled when read


@dataclass(frozen=True, slots=True)
class NoticeResult:
    """What an attempt changes; written with the end of its job in one transaction."""

    notice: Notice
    disable: str = ""  # reason to disable the webhook
