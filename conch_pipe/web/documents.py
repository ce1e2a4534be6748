"""The documents of the API: what is taken and what is answered, checked and described by the same models."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from conch_pipe.errors import Code, PipeError
from conch_pipe.model import Problem, State, Upload

Key = Annotated[str, StringConstraints(pattern=r"^[\x20-\x7e]{1,255}$")]


def _no_number(text: Any) -> Any:
    """Pydantic would take seconds since 1970 as well, which the description does not say."""
    if isinstance(text, str) and text.replace(".", "", 1).lstrip("+-").isdecimal():
        raise ValueError("should be a time with a zone, as RFC 3339 has it")
    return text


Moment = Annotated[AwareDatetime, BeforeValidator(_no_number)]


class Taken(BaseModel):
    """What a client sends; a name that is not known is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, validate_by_name=True)


class Given(BaseModel):
    """What a client is answered."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, validate_by_name=True, serialize_by_alias=True)


class TokenRequest(BaseModel):
    """A client_id and its secret, as for SFTP."""

    model_config = ConfigDict(frozen=True, extra="ignore", title="TokenRequest")

    client_id: str = Field(description="The SFTP user name.", examples=["pipe_abc123"])
    client_secret: str = Field(description="The SFTP password.", repr=False, json_schema_extra={"format": "password"})


class Token(BaseModel):
    """What goes into the Authorization header of other requests."""

    access_token: str = Field(description="Send it as `Authorization: Bearer …`.", repr=False)
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - a kind of token
    expires_in: int = Field(description="Seconds it is good for.", examples=[900])


class UploadQuery(Taken):
    """What may be said of a file besides sending it; the fields of a form have the same names."""

    schema_type: str | None = Field(None, description="A schema enabled for your organisation; X-Schema-Type, too.")
    idempotency_key: Key | None = Field(None, description="A name of your own for this upload; Idempotency-Key, too.")
    file_name: str | None = Field(None, description="Ends in .csv or .json; X-File-Name, too.")
    wait: float = Field(0, ge=0, le=60, description="Seconds the answer may wait for the verdict.")


class UploadForm(BaseModel):
    """The fields of multipart/form-data; put schemaType before file."""

    schemaType: str = Field(description="A schema enabled for your organisation.")  # noqa: N815
    idempotencyKey: Key | None = Field(None, description="A name of your own for this upload.")  # noqa: N815
    file: str = Field(description="The file, CSV or JSON.", json_schema_extra={"format": "binary"})


class StatusQuery(Taken):
    """Which of the problems are wanted, and whether to wait for the verdict."""

    page: int = Field(1, ge=1, le=10_000, description="Of the problems.")
    page_size: int = Field(100, ge=1, le=1000, description="Problems on a page.")
    wait: float = Field(0, ge=0, le=60, description="Seconds the answer may wait for the verdict.")


class ListQuery(Taken):
    """Which uploads are wanted; all that is given must hold."""

    status: State | None = None
    schema_type: str | None = None
    file_name: str | None = Field(None, max_length=255, description="Part of the file's name.")
    client_id: str | None = Field(None, description="One of your organisation's credentials.")
    source: Literal["sftp", "http", "cli"] | None = None
    since: Moment | None = Field(None, alias="from", description="Received then or later, RFC 3339.")
    until: Moment | None = Field(None, alias="to", description="Received before then.")
    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = Field(None, max_length=100, description="nextCursor of the page before.")


class Accepted(Given):
    """The file is stored and recorded; it is processed next. The same key and file give the same answer again."""

    upload_id: UUID
    status: State
    schema_type: str
    file_name: str
    bytes: int
    sha256: str = Field(description="Of the file as it came.")
    received_at: datetime
    status_url: str = Field(description="Where to ask how it went.")


class Uploaded(Accepted):
    """One upload as it stands."""

    client_id: str
    source: str = Field(description='"sftp", "http" or "cli".')
    finished_at: datetime | None = None
    rows: int | None = Field(None, description="Rows loaded.")
    rejected: int | None = Field(None, description="Rows left out.")
    problem: str | None = Field(None, description="The first problem, or why it failed.")
    problem_count: int = Field(0, description="All of them, also beyond those that are kept.")
    seconds: dict[str, float] = Field(default_factory=dict, description="What took how long.")


class ProblemFound(Given):
    """One thing that is wrong with a file."""

    reason: str
    line: int | None = Field(None, description="Of the file, from 1.")
    row: int | None = Field(None, description="Of the data, from 1.")
    column: str | None = None
    value: str | None = Field(None, description="At most 80 characters of it.")


class Status(Uploaded):
    """One upload with a page of what was found in it."""

    problems: list[ProblemFound]
    next_page: int | None = Field(None, description="Of the problems; null: there are no more.")


class Uploads(Given):
    """Uploads, newest first."""

    uploads: list[Uploaded]
    next_cursor: str | None = Field(None, description="For the next page; null: there is none.")


class Error(BaseModel):
    """What is wrong."""

    code: str = Field(description="Stable; programs go by it.")
    message: str = Field(description="For people.")
    mistakes: list[str] | None = Field(None, description="Each by itself, when the request has several.")


class Refusal(BaseModel):
    """Every answer that is not 2xx."""

    error: Error


def accepted(upload: Upload) -> Accepted:
    """What is answered to an upload: only what was known when it was recorded, so that it is the same every time."""
    return Accepted(**_accepted(upload))


def uploaded(upload: Upload) -> Uploaded:
    """An upload as it stands."""
    return Uploaded(**_accepted(upload), **_verdict(upload))


def status(upload: Upload, problems: tuple[Problem, ...], next_page: int | None) -> Status:
    """An upload with a page of its problems."""
    found = [
        ProblemFound(reason=one.reason, line=one.line, row=one.row, column=one.column, value=one.value)
        for one in problems
    ]
    return Status(**_accepted(upload), **_verdict(upload), problems=found, next_page=next_page)


def _accepted(upload: Upload) -> dict[str, Any]:
    return {
        "upload_id": upload.id,
        "status": upload.state,
        "schema_type": upload.schema,
        "file_name": upload.name,
        "bytes": upload.bytes,
        "sha256": upload.sha256,
        "received_at": upload.received_at,
        "status_url": f"/api/external/upload/{upload.id}/status",
    }


def _verdict(upload: Upload) -> dict[str, Any]:
    return {
        "client_id": upload.client_id,
        "source": upload.door,
        "finished_at": upload.finished_at,
        "rows": upload.rows,
        "rejected": upload.rejected,
        "problem": upload.problem,
        "problem_count": upload.problem_count,
        "seconds": {name: round(seconds, 6) for name, seconds in upload.seconds.items()},
    }


def cursor(upload: Upload) -> str:
    """Where the next page goes on; opaque to clients."""
    return base64.urlsafe_b64encode(f"{upload.received_at.isoformat()} {upload.id}".encode()).decode().rstrip("=")


def after(text: str) -> tuple[datetime, UUID]:
    """What a cursor says. :raises PipeError: INVALID, it is none of ours."""
    try:
        at, upload_id = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode().split(" ")
        received_at = datetime.fromisoformat(at)
        if received_at.tzinfo is None:
            raise ValueError("a time without a zone")
        return received_at, UUID(upload_id)
    except (ValueError, binascii.Error, OverflowError):
        raise PipeError(Code.INVALID, "cursor: not one that was given out here") from None
