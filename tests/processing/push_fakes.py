"""The catalog and the remotes as the push chain sees them, in memory, and a clock for a month of virtual time."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from conch_pipe.interfaces import IJobs, IPusher, IRecordings, IRemotes
from conch_pipe.model import (
    Attempt,
    Environment,
    FileResult,
    Job,
    Outcome,
    Push,
    PushState,
    RecordedFile,
    Recording,
    Remote,
    Report,
    Role,
    Status,
    new_id,
    utc,
)

FINAL = (PushState.DELIVERED, PushState.GIVEN_UP)


@dataclass(order=True)
class Call:
    """A delayed call of HeapClock."""

    time: float
    number: int
    function: Callable = field(compare=False)
    arguments: tuple = field(compare=False)
    keywords: dict = field(compare=False)
    state: str = field(default="active", compare=False)

    def active(self) -> bool:
        return self.state == "active"

    def cancel(self) -> None:
        assert self.active()
        self.state = "cancelled"

    def getTime(self) -> float:
        return self.time


@implementer(IReactorTime)
class HeapClock:
    """As twisted's Clock, which sorts all calls for each new one."""

    def __init__(self, start: datetime) -> None:
        self.rightNow = start.timestamp()
        self._calls: list[Call] = []
        self._count = 0

    def seconds(self) -> float:
        return self.rightNow

    def callLater(self, delay: float, function: Callable, *arguments: Any, **keywords: Any) -> Call:
        assert delay >= 0
        self._count += 1
        call = Call(self.rightNow + delay, self._count, function, arguments, keywords)
        heapq.heappush(self._calls, call)
        return call

    def getDelayedCalls(self) -> list[Call]:
        return [call for call in self._calls if call.active()]

    def next(self) -> float | None:
        """When the next call is due."""
        while self._calls and not self._calls[0].active():
            heapq.heappop(self._calls)
        return self._calls[0].time if self._calls else None

    def to(self, moment: float) -> None:
        """Pass time, and make the calls of it."""
        while (due := self.next()) is not None and due <= moment:
            call = heapq.heappop(self._calls)
            self.rightNow = max(self.rightNow, call.time)
            call.state = "called"
            call.function(*call.arguments, **call.keywords)
        self.rightNow = max(self.rightNow, moment)

    def advance(self, seconds: float) -> None:
        self.to(self.rightNow + seconds)


@implementer(IJobs, IRecordings, IRemotes)
class MemoryPushes:
    """The part of the catalog that pushes live in. ``down``: every call fails with it."""

    def __init__(self, clock: Any) -> None:
        self.clock = clock
        self.jobs: dict[int, Job] = {}
        self.leases: dict[int, datetime] = {}
        self.ended: dict[int, str] = {}
        self.outcomes: list[tuple[Job, Outcome]] = []
        self.recordings: dict[UUID, Recording] = {}
        self.of: dict[UUID, list[UUID]] = {}  # recording → pushes
        self.all_pushes: dict[UUID, Push] = {}
        self.job_of: dict[UUID, int] = {}
        self.remotes: dict[str, Remote] = {}
        self.environments: dict[tuple[str, str], Environment] = {}
        self.log: list[Attempt] = []
        self.down: Exception | None = None
        self._queue: list[tuple[datetime, int]] = []

    # What tests do.

    def remote(self, name: str, **fields: Any) -> Remote:
        made = Remote(name, "acme", f"{name}.example", "pipe", utc(self.clock), **fields)
        self.remotes[name] = made
        return made

    def change(self, name: str, **fields: Any) -> None:
        """An operator edits a remote: its waiting pushes are tried once more, now."""
        self.remotes[name] = replace(self.remotes[name], changed_at=utc(self.clock), **fields)
        for push in list(self.all_pushes.values()):
            if push.remote == name and push.state not in FINAL:
                self.retry(push.id)

    def retry(self, push_id: UUID) -> None:
        """One more attempt, now."""
        self.all_pushes[push_id] = replace(self.all_pushes[push_id], manual=True)
        job = self.jobs[self.job_of[push_id]]
        if job.id in self.ended:
            self._add("push", str(push_id), utc(self.clock), job.lane)
        else:
            self._move(replace(job, due_at=utc(self.clock)))

    def save(self, files: tuple[RecordedFile, ...], remotes: list[str], *, delete: bool = True, **fields: Any):
        """A recording is accepted. :returns: it."""
        name = f"e{delete}"
        self.environments["acme", name] = Environment("acme", name, utc(self.clock), tuple(remotes), delete)
        uid = new_id(utc(self.clock))
        given = {"id": f"r{len(self.recordings)}", "saved_at": utc(self.clock)} | fields
        recording = Recording(uid, organisation="acme", environment=name, name="talk", files=files, **given)
        self.recordings[uid] = recording
        self.of[uid] = []
        for remote in sorted(remotes):
            push = Push(new_id(utc(self.clock)), uid, remote)
            self.all_pushes[push.id] = push
            self.of[uid].append(push.id)
            self._add("push", str(push.id), recording.saved_at, remote)
        if not remotes:
            self._add("retention", str(uid), utc(self.clock), "")
        return recording

    def state(self, recording: Recording, remote: str) -> Push:
        return next(push for push in map(self.all_pushes.get, self.of[recording.uid]) if push.remote == remote)

    def attempts(self, recording: Recording, remote: str) -> list[Attempt]:
        push = self.state(recording, remote)
        return [attempt for attempt in self.log if attempt.push == push.id]

    def kill(self) -> None:
        """The process that held leases is gone; the next one frees them."""
        for job_id in list(self.leases):
            del self.leases[job_id]
            self._move(replace(self.jobs[job_id], fence=self.jobs[job_id].fence + 1))

    def pass_time(self, seconds: float, nudge: Callable[[], None]) -> None:
        """As if somebody looked at the queue every second, without all the looks at nothing."""
        nudge()
        end = self.clock.seconds() + seconds
        while (now := self.clock.seconds()) < end:
            due = self.next_due()
            # A job that is due and stays where it is waits for room.
            look = due if due is None or due > now else now + 1
            soonest = min(moment for moment in (end, self.clock.next(), look) if moment is not None)
            self.clock.to(soonest)
            if due is not None and due <= soonest:
                nudge()

    def next_due(self) -> float | None:
        """When the next job that nobody holds is due."""
        while self._queue and not self._current(*self._queue[0]):
            heapq.heappop(self._queue)
        return self._queue[0][0].timestamp() if self._queue else None

    # The queue.

    def _add(self, kind: str, subject: str, due_at: datetime, lane: str) -> None:
        job = Job(kind, subject, due_at, id=len(self.jobs) + 1, lane=lane)
        if kind == "push":
            self.job_of[UUID(subject)] = job.id
        self._move(job)

    def _move(self, job: Job) -> None:
        self.jobs[job.id] = job
        if job.id not in self.leases and job.id not in self.ended:
            heapq.heappush(self._queue, (job.due_at, job.id))

    def _current(self, due_at: datetime, job_id: int) -> bool:
        return job_id not in self.ended and job_id not in self.leases and self.jobs[job_id].due_at == due_at

    def _answer(self, function: Callable[[], Any]) -> Deferred[Any]:
        return fail(self.down) if self.down is not None else succeed(function())

    def claim(self, kinds, limit, lease_s, lanes=None, room=None):
        return self._answer(lambda: self._claim(kinds, limit, lease_s, dict(lanes or {}), room))

    def _claim(self, kinds, limit: int, lease_s: float, lanes: dict[str, int], room: int | None) -> list[Job]:
        now = utc(self.clock)
        for job_id in [job_id for job_id, until in self.leases.items() if until <= now]:
            del self.leases[job_id]
            self._move(self.jobs[job_id])
        taken, aside = [], []
        while self._queue and self._queue[0][0] <= now and len(taken) < limit:
            due_at, job_id = heapq.heappop(self._queue)
            if not self._current(due_at, job_id):
                continue
            job = self.jobs[job_id]
            left = lanes.get(job.lane, room) if job.lane else None
            if job.kind not in kinds:
                left = 0
            if left is not None and left <= 0:
                aside.append((due_at, job_id))
                continue
            if left is not None:
                lanes[job.lane] = left - 1
            leased = replace(job, claims=job.claims + 1, fence=job.fence + 1)
            self.jobs[job_id] = leased
            self.leases[job_id] = now + timedelta(seconds=lease_s)
            taken.append(leased)
        for entry in aside:
            heapq.heappush(self._queue, entry)
        return taken

    def _ours(self, job: Job) -> bool:
        return self.jobs[job.id].fence == job.fence and job.id in self.leases

    def renew(self, job, lease_s):
        if self._ours(job) and self.down is None:
            self.leases[job.id] = utc(self.clock) + timedelta(seconds=lease_s)
        return self._answer(lambda: self._ours(job))

    def settle(self, job, outcome):
        return self._answer(lambda: self._settle(job, outcome))

    def _settle(self, job: Job, outcome: Outcome) -> bool:
        assert not (outcome.done and outcome.retry_at)
        if not self._ours(job):
            return False
        del self.leases[job.id]
        self.outcomes.append((job, outcome))
        stored = self.jobs[job.id]
        if outcome.retry_at is not None:
            failures = stored.failures + (1 if outcome.failed else 0)
            self._move(replace(stored, due_at=outcome.retry_at, failures=failures, claims=0))
        else:
            self.ended[job.id] = "done" if outcome.done else "dead"
        if outcome.push is not None:
            self._write(outcome)
        return True

    def _write(self, outcome: Outcome) -> None:
        push = outcome.push.push
        if outcome.push.attempt is not None:
            self.log.append(outcome.push.attempt)
        self.all_pushes[push.id] = push
        if outcome.push.disable:
            self.remotes[push.remote] = replace(
                self.remotes[push.remote], enabled=False, disabled_reason=outcome.push.disable
            )
        if all(self.all_pushes[one].state in FINAL for one in self.of[push.recording]):
            self._add("retention", str(push.recording), utc(self.clock), "")

    def waiting(self):
        raise NotImplementedError("the command line does this")

    def release_all(self):
        raise NotImplementedError("see kill")

    # Recordings and remotes.

    def push(self, push_id):
        push = self.all_pushes.get(push_id)
        return self._answer(lambda: push and (push, self.recordings[push.recording]))

    def pushes(self, uid):
        return self._answer(lambda: tuple(self.all_pushes[one] for one in self.of[uid]))

    def get(self, key):
        return self._answer(lambda: self.remotes.get(key) if isinstance(key, str) else self.recordings.get(key))

    def environment(self, organisation, name):
        return self._answer(lambda: self.environments.get((organisation, name)))

    def purge_at(self, uid, at):
        def write() -> None:
            self.recordings[uid] = replace(self.recordings[uid], purge_at=at)

        return self._answer(write)

    def shared(self, uid):
        ours = {file.path for file in self.recordings[uid].files}
        others = {
            file.path
            for push in self.all_pushes.values()
            if push.state is not PushState.DELIVERED and push.recording != uid
            for file in self.recordings[push.recording].files
            if self.recordings[push.recording].deleted_at is None
        }
        return self._answer(lambda: frozenset(ours & others))

    def files_deleted(self, uid, at):
        def write() -> None:
            self.recordings[uid] = replace(self.recordings[uid], deleted_at=at)

        return self._answer(write)

    def accept(self, recording):
        raise NotImplementedError("the intake does this")

    def find(self, organisation, recording_id):
        raise NotImplementedError("the command line does this")

    def secrets(self, name):
        raise NotImplementedError("the pusher does this")


def report(status: Status = Status.OK, reason: str = "", **fields: Any) -> Report:
    """How an attempt went."""
    return Report(status, reason, **fields)


@implementer(IPusher)
class ScriptedPusher:
    """Pushes that take as long and end as ``plan`` says.

    :param plan: (remote, recording, wanted) → (seconds, Report or exception or None for all has arrived).
    """

    def __init__(self, clock: Any, plan: Callable[[Remote, Recording, frozenset[Role]], tuple[float, Any]]) -> None:
        self.clock = clock
        self.plan = plan
        self.began: list[tuple[datetime, str, UUID]] = []  # connections: when, to which remote, for which recording
        self.now: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.groups: set[tuple[UUID, str]] = set()  # being pushed
        self.cancelled = 0
        self.calls: list[tuple[frozenset[Role], Callable[[Role, int], None]]] = []

    def push(self, remote, recording, wanted, progress):
        group = (recording.uid, remote.name)
        assert group not in self.groups, "two attempts at once"
        self.groups.add(group)
        self.began.append((utc(self.clock), remote.name, recording.uid))
        self.calls.append((wanted, progress))
        self.now[remote.name] += 1
        self.most[remote.name] = max(self.most[remote.name], self.now[remote.name])
        self.most["all"] = max(self.most["all"], sum(self.now.values()))
        seconds, end = self.plan(remote, recording, wanted)

        def leave(result):
            self.groups.discard(group)
            self.now[remote.name] -= 1
            if timer.active():
                timer.cancel()
                self.cancelled += 1
            return result

        def finish() -> None:
            if isinstance(end, Exception):
                done.errback(end)
            else:
                done.callback(end or arrived(recording, wanted))

        done: Deferred[Report] = Deferred()
        done.addBoth(leave)
        timer = self.clock.callLater(seconds, finish)
        return done


def arrived(recording: Recording, wanted: frozenset[Role], **reasons: str) -> Report:
    """All is well but for these files, by the name of their role."""
    files = [
        FileResult(file.role, file.name, file.bytes, reasons.get(file.role.value, ""))
        for file in recording.files
        if file.role in wanted
    ]
    return Report(Status.OK, files=tuple(files), connected=True)


def files_in(folder: Path, name: str, *roles: Role) -> tuple[RecordedFile, ...]:
    """Small files as they are when a recording of them is accepted."""
    made = []
    for role in roles or (Role.MAIN,):
        path = folder / f"{name}_{role.value}"
        path.write_bytes(role.value.encode())
        found = path.stat()
        made.append(RecordedFile(role, path, f"{name}.{role.value}", found.st_size, found.st_mtime_ns, "0" * 64))
    return tuple(made)


def no_files(*roles: Role) -> tuple[RecordedFile, ...]:
    """Files that nobody looks at."""
    return tuple(
        RecordedFile(role, Path("/nowhere") / role.value, f"talk.{role.value}", 100, 0, "0" * 64)
        for role in roles or (Role.MAIN,)
    )


START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
