"""The documents of recordings."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated
from uuid import UUID

from pydantic import Field, StringConstraints
from pydantic.config import JsonDict

from conch_pipe.model import Actor, Delivery, PushState, Recording, Role, Shown
from conch_pipe.web.documents import Given, Moment, Taken
from conch_pipe.web.operations.taking import PageQuery

ONE_FILE: JsonDict = {"format": "binary"}
LocalPath = Annotated[str, StringConstraints(min_length=1, max_length=4096)]


class RecordingsQuery(PageQuery):
    """Which recordings are wanted; all that is given must hold."""

    organisation: str | None = Field(None, max_length=63)
    environment: str | None = Field(None, max_length=63)
    id: str | None = Field(None, max_length=100, description="The sender's.")
    state: PushState | None = Field(None, description="Of one of its pushes, to remote if that is given.")
    remote: str | None = Field(None, max_length=63)
    since: Moment | None = Field(None, alias="from", description="Saved then or later, RFC 3339.")
    until: Moment | None = Field(None, alias="to", description="Saved before then.")


class LocalFiles(Taken):
    """Absolute paths of files on the service's machine, in the folders push.spool and push.roots."""

    main: LocalPath | None = Field(None, description="The processed recording.")
    raw: LocalPath | None = Field(None, description="The raw one; the main file when there is no other.")
    snapshot: LocalPath | None = Field(None, description="A picture.")
    filmstrip: LocalPath | None = Field(None, description="A row of pictures.")

    def paths(self) -> dict[Role, Path]:
        """Those that are given."""
        return {role: Path(path) for role in Role if (path := getattr(self, role.value)) is not None}


class NewRecording(Taken):
    """A group of files to deliver. They stay where they are and must not change any more."""

    organisation: str = Field(max_length=63)
    environment: str = Field(max_length=63)
    id: str = Field(max_length=1000, description="Yours: 1 to 100 of A-Z, a-z, 0-9, '.', '_' and '-'.")
    name: str | None = Field(
        None, max_length=1000, description="Of the files on the remotes: NAME.mp4, NAME_raw.…; the id without it."
    )
    files: LocalFiles


class RecordingForm(Taken):
    """The same with the files themselves; put them after the other fields, in any order."""

    organisation: str
    environment: str
    id: str = Field(description="Yours: 1 to 100 of A-Z, a-z, 0-9, '.', '_' and '-'.")
    name: str | None = Field(None, description="Of the files on the remotes; the id without it.")
    main: str | None = Field(None, description="The processed recording.", json_schema_extra=ONE_FILE)
    raw: str | None = Field(None, description="The raw one.", json_schema_extra=ONE_FILE)
    snapshot: str | None = Field(None, description="A picture.", json_schema_extra=ONE_FILE)
    filmstrip: str | None = Field(None, description="A row of pictures.", json_schema_extra=ONE_FILE)


class Again(Taken):
    """Which of the pushes are tried."""

    remote: str | None = Field(
        None, max_length=63, description="Only to this one; without it, all that have not arrived."
    )


class RecordedFileGiven(Given):
    """A file of a recording."""

    role: Role
    name: str = Field(description="On the remote.")
    path: str | None = Field(None, description="On the service's machine; null for a token of one organisation.")
    bytes: int
    sha256: str


class PushGiven(Given):
    """A recording on its way to one remote."""

    push: UUID
    remote: str
    state: PushState
    attempts: int = Field(description="Made and counted, of 13.")
    attempts_left: int
    next_attempt_at: datetime | None = None
    manual: bool = Field(description="The next attempt is a manual one.")
    last_attempt_ended_at: datetime | None = None
    final_at: datetime | None = Field(None, description="When it arrived or was given up.")
    arrived: list[Role]
    problems: dict[Role, str] = Field(description="Why the others have not, one word each.")
    instants: list[datetime] = Field(description="The 13 attempts on paper.")


class RecordingGiven(Given):
    """A recording and its way to each remote."""

    uid: UUID
    id: str = Field(description="The sender's.")
    organisation: str
    environment: str
    name: str = Field(description="Of the files on the remotes.")
    saved_at: datetime = Field(description="The attempts are counted from here.")
    attempts_end_at: datetime = Field(description="75 hours later.")
    purge_at: datetime | None = Field(None, description="When its files are deleted, some pushes having been in vain.")
    deleted_at: datetime | None = Field(None, description="When they were.")
    files: list[RecordedFileGiven]
    pushes: list[PushGiven]


class RecordingTold(RecordingGiven):
    """A recording that is recorded."""

    again: bool = Field(description="It was known before, with the same files.")


class Recordings(Given):
    """Recordings, newest first."""

    recordings: list[RecordingGiven]
    next_cursor: str | None = None


def recording(shown: Shown, actor: Actor) -> RecordingGiven:
    """A recording and its way to each remote, as somebody sees it."""
    one: Recording = shown.recording
    return RecordingGiven(
        uid=one.uid,
        id=one.id,
        organisation=one.organisation,
        environment=one.environment,
        name=one.name,
        saved_at=one.saved_at,
        attempts_end_at=shown.ends_at,
        purge_at=one.purge_at,
        deleted_at=one.deleted_at,
        files=[
            RecordedFileGiven(
                role=file.role,
                name=file.name,
                path=str(file.path) if actor.organisation is None else None,
                bytes=file.bytes,
                sha256=file.sha256,
            )
            for file in one.files
        ],
        pushes=[_push(each) for each in shown.deliveries],
    )


def told(shown: Shown, actor: Actor, again: bool) -> RecordingTold:
    """A recording that is recorded."""
    return RecordingTold(**recording(shown, actor).model_dump(by_alias=False), again=again)


def _push(one: Delivery) -> PushGiven:
    push = one.push
    return PushGiven(
        push=push.id,
        remote=push.remote,
        state=push.state,
        attempts=push.attempts,
        attempts_left=one.left,
        next_attempt_at=push.due_at,
        manual=push.manual,
        last_attempt_ended_at=push.ended_at,
        final_at=push.final_at,
        arrived=[role for role in Role if role in push.arrived],
        problems=dict(push.problems),
        instants=list(one.instants),
    )
