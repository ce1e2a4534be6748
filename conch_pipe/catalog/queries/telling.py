"""What webhooks are told, written as jobs in the transaction of what it tells of: neither is there without the other.

A message is built at once, so that it tells what was and every attempt sends the same bytes. It is bounded, and holds
no secret, no value out of a partner's file and no path of ours.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, select

from conch_pipe.catalog.queries import jobs, recordings, uploads, webhooks
from conch_pipe.catalog.tables import environment_remotes
from conch_pipe.model import (
    Credential,
    Happening,
    Job,
    Push,
    PushState,
    Recording,
    Remote,
    Role,
    Shape,
    State,
    Upload,
    new_id,
)

PROBLEMS = 10  # of an upload, in a message
LONGEST = 500  # characters of a sentence in it

_UPLOADS = {State.COMPLETED: Happening.UPLOAD_COMPLETED, State.FAILED: Happening.UPLOAD_FAILED}
_PUSHES = {PushState.DELIVERED: Happening.RECORDING_PUSHED, PushState.GIVEN_UP: Happening.RECORDING_GIVEN_UP}


def upload_settled(connection: Connection, job: Job, state: State, at: datetime) -> None:
    """An upload has moved to a state; most states are told to nobody."""
    if state not in _UPLOADS:
        return
    upload_id = UUID(job.subject)
    organisation = job.payload.get("organisation") or uploads.existing(connection, upload_id).organisation
    if not (listening := webhooks.listening(connection, organisation, _UPLOADS[state])):
        return
    upload = uploads.existing(connection, upload_id)
    data = _upload(upload)
    if state is State.FAILED:
        found = uploads.find_problems(connection, upload_id, 0, PROBLEMS)
        data["problems"] = [
            {"reason": _cut(one.reason), "line": one.line, "row": one.row, "column": _cut(one.column)} for one in found
        ]
    _tell(connection, listening, _UPLOADS[state], data, at)


def push_ended(connection: Connection, push: Push, at: datetime, organisation: str = "") -> None:
    """A push has become final.

    :param organisation: the recording's, when it is known already.
    """
    event = _PUSHES[push.state]
    recording = None if organisation else recordings.existing(connection, push.recording)
    listening = webhooks.listening(connection, recording.organisation if recording else organisation, event)
    if not listening:
        return
    recording = recording or recordings.existing(connection, push.recording)
    within = frozenset({recording.environment})
    _tell(connection, listening, event, _push(push, recording), at, within, _pipe(recording))


def remote_disabled(connection: Connection, remote: Remote, at: datetime) -> None:
    """A remote is not connected to any more.

    :param remote: as it is now.
    """
    listening = webhooks.listening(connection, remote.organisation, Happening.REMOTE_DISABLED)
    if not listening:
        return
    environment = environment_remotes.c
    query = select(environment.environment).where(
        environment.remote == remote.name, environment.organisation == remote.organisation
    )
    within = sorted(connection.execute(query).scalars())
    data = {
        "organisation": remote.organisation,
        "remote": remote.name,
        "environments": within,
        "host": remote.host,
        "port": remote.port,
        "reason": remote.disabled_reason,
        "disabled_at": _time(remote.disabled_at),
        "trusted_host_keys": [_fingerprint(pin.blob) for pin in remote.pins],
        "refused_host_key": _fingerprint(remote.refused_key) if remote.refused_key else None,
    }
    _tell(connection, listening, Happening.REMOTE_DISABLED, data, at, frozenset(within))


def credential_revoked(connection: Connection, credential: Credential, at: datetime) -> None:
    """A credential lets nobody in any more."""
    listening = webhooks.listening(connection, credential.organisation, Happening.CREDENTIAL_REVOKED)
    data = {
        "organisation": credential.organisation,
        "client_id": credential.client_id,
        "label": _cut(credential.label),
        "revoked_at": _time(credential.revoked_at),
    }
    _tell(connection, listening, Happening.CREDENTIAL_REVOKED, data, at)


def written(event: str, data: Mapping[str, Any], at: datetime) -> str:
    """A message in the standard shape, as it is sent. :param event: its type."""
    return _text({"type": event, "timestamp": _time(at), "data": data})


def _tell(
    connection: Connection,
    listening: list[tuple[str, str, Shape]],
    event: Happening,
    data: Mapping[str, Any],
    at: datetime,
    within: frozenset[str] = frozenset(),
    pipe: Mapping[str, Any] | None = None,
) -> None:
    """:param within: the environments in which it happened."""
    for webhook_id, environment, shape in listening:
        if environment and environment not in within:
            continue
        body = _text(pipe) if shape is Shape.PIPE and pipe is not None else written(event.value, data, at)
        payload = {"event": event.value, "body": body}
        jobs.add(connection, Job(webhooks.KIND, f"msg_{new_id(at).hex}", at, payload=payload, lane=webhook_id), at)


def _upload(upload: Upload) -> dict[str, Any]:
    return {
        "organisation": upload.organisation,
        "upload_id": str(upload.id),
        "client_id": upload.client_id,
        "door": upload.door,
        "schema": upload.schema,
        "name": upload.name,
        "state": upload.state.value,
        "bytes": upload.bytes,
        "sha256": upload.sha256,
        "received_at": _time(upload.received_at),
        "finished_at": _time(upload.finished_at),
        "rows": upload.rows,
        "rejected": upload.rejected,
        "problem": _cut(upload.problem),
        "problem_count": upload.problem_count,
    }


def _push(push: Push, recording: Recording) -> dict[str, Any]:
    return {
        "organisation": recording.organisation,
        "environment": recording.environment,
        "recording_id": recording.id,
        "name": recording.name,
        "remote": push.remote,
        "state": push.state.value,
        "attempts": push.attempts,
        "saved_at": _time(recording.saved_at),
        "final_at": _time(push.final_at),
        "files": [
            {
                "role": file.role.value,
                "name": file.name,
                "bytes": file.bytes,
                "sha256": file.sha256,
                "arrived": file.role in push.arrived,
                "reason": push.problems.get(file.role, ""),
            }
            for file in recording.files
        ],
    }


def _pipe(recording: Recording) -> dict[str, Any]:
    """As the source tells of a recording that was pushed; what only its recorder knows (codecs, pixels) is left out."""
    main = next((file for file in recording.files if file.role is Role.MAIN), recording.main)
    return {
        "version": "1.0",
        "event": "video_copied_ftp",
        "data": {
            "ftpUploadStatus": "upload success",
            "videoName": recording.name,
            "type": main.name.rpartition(".")[2].upper(),
            "size": main.bytes,
            "id": recording.id,
        },
    }


def _text(document: Mapping[str, Any]) -> str:
    return json.dumps(document, separators=(",", ":"))


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _cut(text: str | None) -> str | None:
    return text if text is None or len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _fingerprint(blob: bytes) -> str:
    return "SHA256:" + b64encode(sha256(blob).digest()).decode().rstrip("=")
