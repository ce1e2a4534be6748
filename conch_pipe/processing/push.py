"""The chain of kind "push": one attempt to bring a recording to a remote, and what follows from how it went.

An attempt is counted and logged when its job is settled, in one transaction: whatever ends this process before that,
the same attempt is made again. Who carries the bytes is an IPusher, when is said in attempts.py, and whether a
connection may be made now in lanes.py. Events are told when the outcome is recorded, not before.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256
from uuid import UUID

from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from conch_pipe import events
from conch_pipe.crashpoints import crashpoint
from conch_pipe.interfaces import IEvents, IPusher, IRecordings, IRemotes
from conch_pipe.model import (
    Attempt,
    FileResult,
    Job,
    Outcome,
    Push,
    PushResult,
    PushState,
    Recording,
    Remote,
    Report,
    Role,
    Status,
    utc,
)
from conch_pipe.processing import attempts
from conch_pipe.processing.lanes import Lanes

WAIT_S = 1.0  # until a connection may be free
PROGRESS_S = 1.0  # between two events of one push
LOGGED_IN = frozenset({Status.OK, Status.INCORRECT_SFTP_FOLDER})  # these say that a login succeeded


@dataclass(frozen=True, slots=True)
class _Try:
    """One attempt at one push."""

    push: Push
    recording: Recording
    remote: Remote
    began_at: datetime
    late: bool

    @property
    def number(self) -> int:
        return 0 if self.push.manual else self.push.attempts + 1

    @property
    def wanted(self) -> frozenset[Role]:
        return frozenset(file.role for file in self.recording.files) - self.push.arrived

    def report(self, status: Status, reason: str, detail: str = "") -> Report:
        """Of an attempt that came to nothing, without the remote's doing."""
        files = (file for file in self.recording.files if file.role in self.wanted)
        return Report(status, reason, detail, tuple(FileResult(file.role, file.name, 0, reason) for file in files))


def after(push: Push, recording: Recording, report: Report, at: datetime) -> Push:
    """What an attempt makes of a push: pure.

    :param push: before; whether the attempt counts is its ``manual``.
    :param at: when it ended.
    """
    arrived = push.arrived | {file.role for file in report.files if not file.reason}
    roles = [file.role for file in recording.files]
    told = {file.role: file.reason for file in report.files if file.reason}
    problems = {
        role: told.get(role) or push.problems.get(role) or report.reason or "not_tried"
        for role in roles
        if role not in arrived
    }
    made = push.attempts + (not push.manual)
    if not problems:
        state = PushState.DELIVERED
    elif push.state is PushState.GIVEN_UP or made >= attempts.ATTEMPTS:
        state = PushState.GIVEN_UP
    else:
        state = PushState.PARTIAL if recording.main.role in arrived else PushState.WAITING
    final = state in (PushState.DELIVERED, PushState.GIVEN_UP)
    return replace(
        push,
        state=state,
        attempts=made,
        ended_at=push.ended_at if push.manual else at,
        manual=False,
        arrived=arrived,
        problems=problems,
        final_at=(push.final_at if state is push.state else at) if final else None,
    )


class PushChain:
    """See runner.Chain.

    :param attempt_s: after which an attempt is stopped, however well it goes.
    """

    _log = Logger()

    def __init__(
        self,
        recordings: IRecordings,
        remotes: IRemotes,
        pusher: IPusher,
        lanes: Lanes,
        events: IEvents,
        clock: IReactorTime,
        *,
        attempt_s: float = 21_600.0,
    ) -> None:
        self.recordings = recordings
        self.remotes = remotes
        self.pusher = pusher
        self.lanes = lanes
        self.events = events
        self.clock = clock
        self.attempt_s = attempt_s
        self.up_since = utc(clock)  # moments before this passed without us
        # job id → what its outcome is about, as it was before; until that is recorded
        self._before: dict[int, tuple[Push, Recording, Remote | None]] = {}
        # remote → the host key it was disabled for, and its version then: several connections may meet it at a time
        self._disabled: dict[str, tuple[bytes | None, datetime | None]] = {}

    async def run(self, job: Job) -> Outcome:
        """Make the attempt that is due. :raises PipeError: BUSY to be tried later; see schedule.py for the others."""
        crashpoint("R1")
        found = await self._load(job)
        if isinstance(found, Outcome):
            return found
        now = utc(self.clock)
        if not found.push.manual and now < (moment := self._moment(found.push, found.recording)):
            return Outcome(retry_at=moment, failed=False, reason="its moment is still to come")
        self.lanes.know(found.remote)
        if not found.remote.enabled:
            return self._outcome(job, found, _disabled(found))
        if (failure := self.lanes.failure(found.remote)) is not None:
            known = found.report(failure.status, failure.reason, failure.detail)
            report = replace(known, host_key=failure.host_key, algorithms=failure.algorithms)
            return self._outcome(job, found, report, shared=True)
        if not self.lanes.enter(found.remote):
            return Outcome(retry_at=now + timedelta(seconds=WAIT_S), failed=False, reason="no connection is free")
        return self._outcome(job, found, await self._connect(found))

    async def _load(self, job: Job) -> _Try | Outcome:
        """:returns: an Outcome when there is nothing to try."""
        self._before.pop(job.id, None)
        # Before all that is read: the catalog tells by it whether an attempt knew of a change.
        began_at = utc(self.clock)
        self.up_since = min(self.up_since, began_at)  # the clock may be put back
        found: tuple[Push, Recording] | None = await self.recordings.push(UUID(job.subject))
        if found is None:
            return Outcome(done=True, reason="the push is gone")
        push, recording = found
        if push.state is PushState.DELIVERED or (push.state is PushState.GIVEN_UP and not push.manual):
            return Outcome(done=True, reason=f"the push is {push.state.value} already")
        remote: Remote | None = await self.remotes.get(push.remote)
        # A name that is free again may be given to another organisation.
        if remote is None or remote.organisation != recording.organisation:
            self._before[job.id] = push, recording, None
            ended = replace(push, state=PushState.GIVEN_UP, manual=False, final_at=push.final_at or began_at)
            return Outcome(done=True, reason="the remote was removed", push=PushResult(None, ended))
        number = push.attempts + 1
        late = not push.manual and self._instant(number, push, recording) < self.up_since
        return _Try(push, recording, remote, began_at, late)

    def _instant(self, number: int, push: Push, recording: Recording) -> datetime:
        return attempts.instant(min(number, attempts.ATTEMPTS), recording.saved_at, recording.uid, push.remote)

    def _moment(self, push: Push, recording: Recording) -> datetime:
        """When the next attempt begins, that is not a manual one."""
        number = min(push.attempts + 1, attempts.ATTEMPTS)
        due = attempts.due(number, recording.saved_at, recording.uid, push.remote, push.ended_at)
        return attempts.start(due, self.up_since, recording.uid, push.remote)

    async def _connect(self, found: _Try) -> Report:
        """Let the pusher do it, within the time an attempt may take."""
        crashpoint("R2")
        report: Report | None = None
        progress = _Progress(found, self.events, self.clock, lambda: self.lanes.worked(found.remote))
        try:
            carrying = self.pusher.push(found.remote, found.recording, found.wanted, progress)
            carrying.addTimeout(self.attempt_s, self.clock, lambda result, _: self._stopped(result, found))
            report = await carrying
            if report.status in LOGGED_IN:
                progress.worked()
        finally:
            self.lanes.leave(found.remote, report)
        crashpoint("R6")
        return report

    def _stopped(self, result: Report | Failure, found: _Try) -> Report | Failure:
        """The end of an attempt that took too long, unless the pusher knows better what came of it."""
        if isinstance(result, Failure) and result.check(CancelledError):
            return found.report(
                Status.UPLOAD_FAILED, "too_slow", f"the attempt did not end within {self.attempt_s:g} s"
            )
        return result

    def _outcome(self, job: Job, found: _Try, report: Report, *, shared: bool = False) -> Outcome:
        push, recording, remote = found.push, found.recording, found.remote
        attempt = Attempt(
            push.id,
            found.number,
            found.began_at,
            remote.host,
            remote.port,
            remote.username,
            remote.folder,
            report,
            late=found.late,
            shared=shared,
            remote=remote.name,
            recording=recording.id,
            organisation=recording.organisation,
        )
        fresh = after(push, recording, report, utc(self.clock))
        found_out = report.status is Status.HOST_KEY_MISMATCH and remote.enabled and not shared
        result = PushResult(attempt, fresh, disable="host_key" if found_out else "")
        self._before[job.id] = push, recording, remote
        reason = report.reason or " ".join(sorted(set(fresh.problems.values())))
        if fresh.final_at is not None:
            return Outcome(done=True, reason=reason, push=result)
        # Not a failure of the job: those are ours, and few are allowed.
        return Outcome(retry_at=self._moment(fresh, recording), failed=False, reason=reason, push=result)

    async def given_up(self, job: Job, problem: str, *, ours: bool) -> Outcome:
        """An attempt that failed by our own fault: counted, and the next one comes at its moment."""
        found = await self._load(job)
        if isinstance(found, Outcome):
            return found
        return self._outcome(job, found, found.report(Status.UPLOAD_FAILED, "internal", " ".join(problem.split())))

    def delayed(self, job: Job, reason: str) -> None:
        """Told to the log only: the push's own attempts are the events."""
        self._log.warn(
            "push {push_id} to {remote} waits: {reason}", push_id=job.subject, remote=job.lane, reason=reason
        )

    def settled(self, job: Job, outcome: Outcome) -> None:
        """Tell what came of an attempt."""
        before, result = self._before.pop(job.id, None), outcome.push
        if result is None or before is None:
            return
        crashpoint("R8")
        push, recording, remote = before
        about = {
            "push_id": job.subject,
            "recording_id": recording.id,
            "organisation": recording.organisation,
            "remote": push.remote,
        }
        if result.attempt is not None:
            self._tell_attempt(result.attempt, about)
        if result.attempt is not None and result.disable and remote is not None:
            self._tell_disabled(result.attempt.report, remote, about)
        state = result.push.state
        if state is PushState.DELIVERED:
            self.events.note(
                events.PUSH_DELIVERED,
                files=len(recording.files),
                bytes=sum(file.bytes for file in recording.files),
                seconds=(utc(self.clock) - recording.saved_at).total_seconds(),
                **about,
            )
        elif state is PushState.GIVEN_UP and push.state is not PushState.GIVEN_UP:
            self.events.note(
                events.PUSH_GIVEN_UP, attempts=result.push.attempts, reason=outcome.reason or "unknown", **about
            )

    def _tell_disabled(self, report: Report, remote: Remote, about: dict[str, str]) -> None:
        """Once for each key."""
        found = report.refused_key, remote.changed_at
        if self._disabled.get(remote.name) == found:
            return
        self._disabled[remote.name] = found
        old = ", ".join(_fingerprint(pin.blob) for pin in remote.pins) or "none"
        new = _fingerprint(report.refused_key) if report.refused_key else report.host_key or "unknown"
        self.events.note(events.REMOTE_DISABLED, old=old, new=new, **about)

    def _tell_attempt(self, attempt: Attempt, about: dict[str, str]) -> None:
        report = attempt.report
        self.events.note(
            events.PUSH_ATTEMPTED,
            number=attempt.number,
            status=report.status.value,
            reason=report.reason,
            detail=report.detail,
            bytes=sum(file.bytes for file in report.files),
            seconds=report.seconds,
            host_key=report.host_key,
            algorithms=report.algorithms,
            late=attempt.late,
            shared=attempt.shared,
            **about,
        )


def _fingerprint(blob: bytes) -> str:
    """Of a host key, as OpenSSH shows it."""
    return "SHA256:" + b64encode(sha256(blob).digest()).decode().rstrip("=")


def _disabled(found: _Try) -> Report:
    if found.remote.disabled_reason == "host_key":
        return found.report(Status.HOST_KEY_MISMATCH, "host_key", "the remote is disabled: its host key has changed")
    if found.remote.disabled_reason == "credentials":
        return found.report(Status.SFTP_LOGIN_FAILED, "credentials", "the remote's password and key were taken away")
    return found.report(Status.UPLOAD_FAILED, "disabled", "the remote is disabled")


class _Progress:
    """What the pusher says of acknowledged bytes, told on at most once a second.

    :param logged_in: called once, when the login is known to have succeeded.
    """

    def __init__(self, found: _Try, events: IEvents, clock: IReactorTime, logged_in: Callable[[], None]) -> None:
        self.found = found
        self.events = events
        self.clock = clock
        self._logged_in: Callable[[], None] | None = logged_in
        self._files = {file.role: file for file in found.recording.files}
        self._role: Role | None = None
        self._began = 0.0  # the file
        self._told = float("-inf")

    def worked(self) -> None:
        if self._logged_in is not None:
            logged_in, self._logged_in = self._logged_in, None
            logged_in()

    def __call__(self, role: Role, sent: int) -> None:
        self.worked()
        now = self.clock.seconds()
        if role is not self._role:
            self._role, self._began = role, now
        if now - self._told < PROGRESS_S:
            return
        self._told = now
        self.events.note(
            events.PUSH_PROGRESS,
            push_id=str(self.found.push.id),
            recording_id=self.found.recording.id,
            organisation=self.found.recording.organisation,
            remote=self.found.remote.name,
            file=self._files[role].name,
            sent=sent,
            size=self._files[role].bytes,
            seconds=now - self._began,
        )
