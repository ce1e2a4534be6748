"""A push, its job, its recording and its remote move together, each time in one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from conch_pipe.catalog.queries import environments, jobs, organisations, pushes, recordings, remotes, telling, webhooks
from conch_pipe.catalog.sealing import KeyFile
from conch_pipe.crashpoints import crashpoint
from conch_pipe.errors import Code, PipeError
from conch_pipe.model import Environment, Job, Outcome, Pin, Push, PushState, Recording, Remote, new_id

RETENTION = "retention"  # kind of the job that decides on a recording's files; its subject is the recording's uid
REMOVED = "removed"  # why pushes to a remote that was removed end
NO_OUTCOME = "internal"  # why a push ends whose job was given up without a result

Shown = tuple[Recording, tuple[Push, ...]]


def accept(connection: Connection, recording: Recording) -> Shown:
    """See :class:`conch_pipe.interfaces.IRecordings`."""
    crashpoint("A1")
    recorded = recordings.find(connection, recording.organisation, recording.id)
    if recorded is not None:
        if not recordings.same(recorded, recording):
            raise PipeError(
                Code.CONFLICT, f"recording {recording.id} is known already, with other files, names or environment"
            )
        return recorded, pushes.of_recording(connection, recorded.uid)
    environment = environments.existing(connection, recording.organisation, recording.environment)
    at = recording.saved_at
    recordings.add(connection, recording)
    added = tuple(Push(new_id(at), recording.uid, remote, due_at=at) for remote in environment.remotes)
    pushes.add(connection, added)
    for one in added:
        jobs.add(connection, _job(one, recording, at), at)
    if not added:
        _retain(connection, [recording.uid], at)
    crashpoint("A2")
    return recording, added


def push(connection: Connection, push_id: UUID) -> tuple[Push, Recording] | None:
    """A push with its recording."""
    found = pushes.get(connection, push_id)
    return None if found is None else (found, recordings.existing(connection, found.recording))


def show(connection: Connection, uid: UUID) -> Shown:
    """A recording with its pushes. :raises PipeError: NOT_FOUND."""
    return recordings.existing(connection, uid), pushes.of_recording(connection, uid)


def find_all(connection: Connection, wanted: recordings.RecordingFilter) -> tuple[Shown, ...]:
    """The newest recordings that pass a filter, newest first, with their pushes."""
    found = recordings.find_all(connection, wanted)
    known = pushes.of_recordings(connection, [recording.uid for recording in found])
    return tuple((recording, known.get(recording.uid, ())) for recording in found)


def settle(connection: Connection, job: Job, outcome: Outcome, at: datetime) -> None:
    """Write what an attempt at a push found; its job has just been settled, which is undone when this fails."""
    found = pushes.before(connection, UUID(job.subject))
    if found is None:
        return
    before, asked_at = found
    result = outcome.push
    if result is None:
        if not outcome.done and outcome.retry_at is None:
            _end(connection, [before], NO_OUTCOME, at)  # a dead job's push would wait for ever
        return
    after = replace(result.push, recording=before.recording, remote=before.remote)
    if after.state in pushes.UNFINISHED:
        after = replace(after, final_at=None)
    elif after.state is before.state:
        after = replace(after, final_at=before.final_at)  # a manual attempt in vain changes nothing of the end
    elif after.final_at is None:
        after = replace(after, final_at=at)
    attempt = result.attempt
    if attempt is not None:
        pushes.log(connection, attempt, before)
        if result.disable:
            refused = attempt.report.refused_key
            if remotes.disable(connection, before.remote, result.disable, refused, attempt.began_at, at):
                telling.remote_disabled(connection, remotes.existing(connection, before.remote), at)
    pushes.write(connection, [after])
    if (
        attempt is not None
        and asked_at is not None
        and asked_at > attempt.began_at
        and after.state is not PushState.DELIVERED
    ):
        # It was asked for while this attempt was under way, which knew nothing of what has changed.
        _release(connection, [after], at)
    if after.state is not before.state and after.state not in pushes.UNFINISHED:
        telling.push_ended(connection, after, at, str(job.payload.get("organisation", "")))
    if (after.state, after.final_at) != (before.state, before.final_at):
        _retain(connection, pushes.all_final(connection, [after.recording]), at)
    crashpoint("R7")


def retry(connection: Connection, uid: UUID, remote: str | None, at: datetime) -> tuple[Push, ...]:
    """An operator wants a manual attempt now, of all pushes that have not arrived or of one.

    :returns: those that will be tried.
    :raises PipeError: NOT_FOUND for the recording, or for the remote, which may be removed; CONFLICT when everything
        has arrived or the files are deleted.
    """
    recording, known = show(connection, uid)
    wanted = [one for one in known if remote in (None, one.remote)]
    if remote is not None and not wanted:
        raise PipeError(Code.NOT_FOUND, f"recording {recording.id} does not go to remote {remote}")
    if recording.deleted_at is not None:
        raise PipeError(Code.CONFLICT, f"the files of recording {recording.id} are deleted")
    missing = [one for one in wanted if one.state is not PushState.DELIVERED]
    if not missing:
        raise PipeError(Code.CONFLICT, f"recording {recording.id} has arrived{f' at {remote}' if remote else ''}")
    # A name may belong to another organisation by now.
    ours = {one.name for one in remotes.find_all(connection, recording.organisation)}
    there = [one for one in missing if one.remote in ours]
    if not there:
        gone = ", ".join(one.remote for one in missing)
        raise PipeError(Code.NOT_FOUND, f"no remote {gone} of {recording.organisation}: it was removed")
    _release(connection, there, at)
    ids = {one.id for one in there}
    return tuple(one for one in pushes.of_recording(connection, uid) if one.id in ids)


def release(connection: Connection, remote: str, at: datetime) -> int:
    """All pushes that wait for a remote are tried now. :returns: how many.

    :raises PipeError: NOT_FOUND.
    """
    remotes.existing(connection, remote)
    jobs.wake_lane(connection, pushes.KIND, remote, at)
    return pushes.ask_all(connection, remote, at)


def edit(
    connection: Connection,
    name: str,
    changes: Mapping[str, Any],
    secrets: Mapping[str, str | bytes | None],
    keys: KeyFile | None,
    at: datetime,
) -> Remote:
    """Change fields and secrets of a remote; what waits for it is tried now.

    When nothing is left to log in with it is disabled, until there is something again.

    :raises PipeError: NOT_FOUND; FAILED, no key to seal with.
    """
    unknown = set(changes) - remotes.EDITABLE
    if unknown:
        raise ValueError(f"not fields of a remote that can be edited: {sorted(unknown)}")
    before = remotes.existing(connection, name)
    if secrets and not remotes.change_secrets(connection, name, secrets, keys):
        changes = {**changes, **_disabled(remotes.CREDENTIALS, at)}
    elif secrets and before.disabled_reason == remotes.CREDENTIALS:
        changes = {**changes, **_ENABLED}
    return _changed(connection, name, changes, at)


def trust(connection: Connection, name: str, pin: Pin) -> Remote:
    """Trust one more host key; a remote that was disabled for another is enabled, and what waits is tried now.

    :raises PipeError: NOT_FOUND.
    """
    remotes.add_pin(connection, name, pin)
    return _trusting(connection, name, pin.added_at)


def set_pins(connection: Connection, name: str, pins: Iterable[Pin], at: datetime) -> Remote:
    """Trust these host keys and no other; otherwise as :func:`trust`, if any are left. :raises PipeError: NOT_FOUND."""
    remotes.existing(connection, name)
    remotes.set_pins(connection, name, pins)
    return _trusting(connection, name, at)


def enable(connection: Connection, name: str, at: datetime) -> Remote:
    """Attempts connect again; what waits is tried now.

    :raises PipeError: NOT_FOUND; CONFLICT when there is nothing to log in with.
    """
    remotes.existing(connection, name)
    if not remotes.has_secrets(connection, name):
        raise PipeError(Code.CONFLICT, f"remote {name} has no password and no key to log in with")
    return _changed(connection, name, _ENABLED, at)


def disable(connection: Connection, name: str, reason: str, at: datetime) -> Remote:
    """Attempts are made without a connection until it is enabled. :raises PipeError: NOT_FOUND."""
    remotes.existing(connection, name)
    return _changed(connection, name, _disabled(reason, at), at)


def remove_remote(connection: Connection, name: str, at: datetime) -> int:
    """A remote is gone with its pins and secrets; what was to go there never will.

    :returns: how many pushes ended with it.
    :raises PipeError: NOT_FOUND.
    """
    remotes.existing(connection, name)
    waiting = pushes.of_remote(connection, name)
    jobs.end_lane(connection, pushes.KIND, name, REMOVED, at)
    _end(connection, waiting, REMOVED, at)
    environments.forget_remote(connection, name)
    remotes.remove(connection, name)
    return len(waiting)


def remove_environment(connection: Connection, organisation: str, name: str) -> None:
    """:raises PipeError: NOT_FOUND; CONFLICT while pushes of its recordings are not final."""
    environments.existing(connection, organisation, name)
    waiting = pushes.unfinished(connection, organisation, name)
    if waiting:
        some = f"{waiting} pushes of its recordings are" if waiting > 1 else "a push of one of its recordings is"
        raise PipeError(Code.CONFLICT, f"environment {name} of {organisation} is in use: {some} not finished")
    environments.remove(connection, organisation, name)


def reseal_all(connection: Connection, keys: KeyFile | None) -> int:
    """Seal all that is sealed with the first key, of webhooks too: another key is to be forgotten.

    :returns: how many secrets there are.
    :raises PipeError: FAILED when one of them cannot be unsealed; nothing is changed then.
    """
    return remotes.reseal_all(connection, keys) + webhooks.reseal_all(connection, keys)


def environments_of(connection: Connection, organisation: str | None) -> tuple[Environment, ...]:
    """All environments, or an organisation's. :raises PipeError: NOT_FOUND for the organisation."""
    if organisation is not None:
        organisations.existing(connection, organisation)
    return environments.find_all(connection, organisation)


_ENABLED: Mapping[str, Any] = {"enabled": True, "disabled_reason": "", "disabled_at": None, "refused_key": None}


def _disabled(reason: str, at: datetime) -> Mapping[str, Any]:
    return {"enabled": False, "disabled_reason": reason, "disabled_at": at}


def _trusting(connection: Connection, name: str, at: datetime) -> Remote:
    found = remotes.existing(connection, name)
    mended = found.disabled_reason == remotes.HOST_KEY and found.pins and not found.enabled
    return _changed(connection, name, _ENABLED if mended else {}, at)


def _changed(connection: Connection, name: str, values: Mapping[str, Any], at: datetime) -> Remote:
    before = remotes.existing(connection, name)
    remotes.change(connection, name, values, at)
    changed = remotes.existing(connection, name)
    if changed.enabled:
        release(connection, name, at)
    elif before.enabled:
        telling.remote_disabled(connection, changed, at)
    return changed


def _release(connection: Connection, chosen: Sequence[Push], at: datetime) -> None:
    pushes.ask(connection, [one.id for one in chosen], at)
    alive = jobs.wake(connection, pushes.KIND, [str(one.id) for one in chosen], at)
    for one in chosen:
        if str(one.id) not in alive:
            jobs.add(connection, _job(one, recordings.existing(connection, one.recording), at), at)


def _end(connection: Connection, ended: Sequence[Push], reason: str, at: datetime) -> None:
    """Give pushes up; those that have ended before keep their states and moments."""
    unfinished = [one for one in ended if one.state in pushes.UNFINISHED]
    uids = list({one.recording for one in unfinished})
    known = {one.uid: one for one in recordings.several(connection, uids)}
    changed = [replace(one, manual=False) for one in ended if one.state not in pushes.UNFINISHED]
    for one in unfinished:
        roles = {file.role for file in known[one.recording].files}
        missing = {role: reason for role in roles - one.arrived}
        problems = {**one.problems, **missing}
        changed.append(replace(one, state=PushState.GIVEN_UP, final_at=at, problems=problems, manual=False))
    pushes.write(connection, changed)
    for one in changed[len(changed) - len(unfinished) :]:
        telling.push_ended(connection, one, at, known[one.recording].organisation)
    _retain(connection, pushes.all_final(connection, uids), at)


def _retain(connection: Connection, uids: Sequence[UUID], at: datetime) -> None:
    """What becomes of the files of recordings is decided now, for the first time or anew."""
    alive = jobs.wake(connection, RETENTION, [str(uid) for uid in uids], at)
    for recording in recordings.several(connection, [uid for uid in uids if str(uid) not in alive]):
        jobs.add(connection, Job(RETENTION, str(recording.uid), at, payload=_told(recording)), at)


def _job(one: Push, recording: Recording, due_at: datetime) -> Job:
    told = _told(recording) | {"remote": one.remote}
    return Job(pushes.KIND, str(one.id), due_at, payload=told, lane=one.remote)


def _told(recording: Recording) -> dict[str, str]:
    """What the events of its jobs say of it."""
    return {"organisation": recording.organisation, "recording_id": recording.id, "name": recording.name}
