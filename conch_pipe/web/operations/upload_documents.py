"""The documents of uploads as operators see them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import Field

from conch_pipe.model import Problem, State, Upload
from conch_pipe.web.documents import Given, Moment, Taken
from conch_pipe.web.operations.taking import PageQuery


class UploadsQuery(PageQuery):
    """Which uploads are wanted; all that is given must hold."""

    organisation: str | None = Field(None, max_length=63)
    status: State | None = None
    schema_type: str | None = Field(None, max_length=255)
    file_name: str | None = Field(None, max_length=255, description="Part of the file's name.")
    client_id: str | None = Field(None, max_length=64)
    source: Literal["sftp", "http", "cli"] | None = None
    since: Moment | None = Field(None, alias="from", description="Received then or later, RFC 3339.")
    until: Moment | None = Field(None, alias="to", description="Received before then.")


class ProblemsQuery(Taken):
    """Which of the problems are wanted."""

    page: int = Field(1, ge=1, le=10_000, description="Of the problems.")
    page_size: int = Field(100, ge=1, le=1000, description="Problems on a page.")
    lines: bool = Field(
        False, description="Tell the lines of the file that they are about, too; the token needs the scope uploads."
    )


class UploadReceived(Given):
    """A file that was received, whatever the door."""

    upload_id: UUID
    organisation: str
    client_id: str
    source: str = Field(description='"sftp", "http" or "cli".')
    schema_type: str
    file_name: str
    status: State
    bytes: int
    sha256: str = Field(description="Of the file as it came.")
    received_at: datetime
    finished_at: datetime | None = None
    rows: int | None = Field(None, description="Rows loaded.")
    rejected: int | None = Field(None, description="Rows left out.")
    problem: str | None = Field(None, description="The first problem, or why it failed.")
    problem_count: int = Field(description="All of them, also beyond those that are kept.")
    address: str = Field(description="Of the client.")
    software: str = Field(description="Of the client.")
    session: str = Field(description="Our id of its connection, as in the log.")
    raw_copy: bool = Field(description="Its very bytes are kept: they can be had, and it can be processed again.")
    seconds: dict[str, float] = Field(description="What took how long.")


class UploadsReceived(Given):
    """Uploads, newest first."""

    uploads: list[UploadReceived]
    next_cursor: str | None = None


class ProblemBeside(Given):
    """One thing that is wrong with a file."""

    reason: str
    line: int | None = Field(None, description="Of the file, from 1.")
    row: int | None = Field(None, description="Of the data, from 1.")
    column: str | None = None
    value: str | None = Field(None, description="At most 80 characters of it.")
    text: str | None = Field(None, description="The line or record, 500 characters of it at most, when asked for.")


class UploadWithProblems(UploadReceived):
    """A file with a page of what was found in it."""

    problems: list[ProblemBeside]
    next_page: int | None = Field(None, description="Of the problems; null: there are no more.")


def received(one: Upload) -> UploadReceived:
    """A file that was received."""
    return UploadReceived(
        upload_id=one.id,
        organisation=one.organisation,
        client_id=one.client_id,
        source=one.door,
        schema_type=one.schema,
        file_name=one.name,
        status=one.state,
        bytes=one.bytes,
        sha256=one.sha256,
        received_at=one.received_at,
        finished_at=one.finished_at,
        rows=one.rows,
        rejected=one.rejected,
        problem=one.problem,
        problem_count=one.problem_count,
        address=one.peer,
        software=one.banner,
        session=one.session,
        raw_copy=bool(one.object_key),
        seconds={name: round(seconds, 6) for name, seconds in one.seconds.items()},
    )


def with_problems(
    one: Upload, problems: Sequence[Problem], texts: Sequence[str | None], next_page: int | None
) -> UploadWithProblems:
    """A file with a page of what was found in it. :param texts: as many as there are problems."""
    found = [
        ProblemBeside(reason=each.reason, line=each.line, row=each.row, column=each.column, value=each.value, text=text)
        for each, text in zip(problems, texts, strict=True)
    ]
    return UploadWithProblems(**received(one).model_dump(by_alias=False), problems=found, next_page=next_page)
