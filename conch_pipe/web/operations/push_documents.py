"""The documents of the push log."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from pydantic import Field

from conch_pipe.model import Attempt, Role, Status
from conch_pipe.web.documents import Given, Moment
from conch_pipe.web.operations.taking import PageQuery


class LogQuery(PageQuery):
    """Which attempts are wanted; all that is given must hold."""

    organisation: str | None = Field(None, max_length=63)
    recording: UUID | None = Field(None, description="The uid of a recording.")
    remote: str | None = Field(None, max_length=63)
    status: Status | None = None
    since: Moment | None = Field(None, alias="from", description="Begun then or later, RFC 3339.")
    until: Moment | None = Field(None, alias="to", description="Begun before then.")


class FilePushed(Given):
    """What became of one file in an attempt."""

    role: Role
    name: str = Field(description="On the remote.")
    bytes: int = Field(description="Sent.")
    reason: str = Field(description="One word why it did not arrive; empty: it did.")
    detail: str


class AttemptGiven(Given):
    """One row of the push log."""

    recording_id: str = Field(description="The sender's.")
    began_at: datetime
    host: str
    username: str
    folder: str
    protocol: str = Field(description="With the port.", examples=["SFTP/22"])
    files: list[FilePushed] = Field(description="At most four; main file first.")
    status: Status
    reason: str = Field(description="One word; empty: all is well.")
    detail: str
    bytes: int = Field(description="Of all files together.")
    seconds: float
    host_key: str = Field(description="Fingerprint, as ssh-keygen shows it.")
    refused_host_key: str = Field(description="Fingerprint of one that is not trusted.")
    algorithms: str = Field(description="That were agreed on: key exchange, host key, cipher, MAC.")
    organisation: str
    remote: str
    push: UUID
    number: int = Field(description="Of 13; 0: a manual one, which is not counted.")
    late: bool = Field(description="Its moment had passed while the service was down.")
    shared: bool = Field(description="No connection of its own: another recording had just met the same failure.")


class PushLog(Given):
    """Attempts, newest first."""

    pushes: list[AttemptGiven]
    next_cursor: str | None = None


def attempt(one: Attempt, refused_key: str) -> AttemptGiven:
    """A row. :param refused_key: its fingerprint."""
    report = one.report
    return AttemptGiven(
        recording_id=one.recording,
        began_at=one.began_at,
        host=one.host,
        username=one.username,
        folder=one.folder,
        protocol=f"SFTP/{one.port}",
        files=[
            FilePushed(role=file.role, name=file.name, bytes=file.bytes, reason=file.reason, detail=file.detail)
            for file in report.files
        ],
        status=report.status,
        reason=report.reason,
        detail=report.detail,
        bytes=sum(file.bytes for file in report.files),
        seconds=round(report.seconds, 6),
        host_key=report.host_key,
        refused_host_key=refused_key,
        algorithms=report.algorithms,
        organisation=one.organisation,
        remote=one.remote,
        push=one.push,
        number=one.number,
        late=one.late,
        shared=one.shared,
    )
