"""The chain of kind "retention": the local files of a recording whose pushes have all ended.

Everywhere arrived: deleted when its environment says so, else left alone for good. In vain somewhere: kept for 28 days,
with notices, then deleted. Every step may have run before, also half. Deletes what was recorded and nothing else: a
regular file, in an allowed folder, as it was when it was accepted, and that no other recording needs.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

from twisted.internet.interfaces import IReactorTime
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from conch_pipe import events
from conch_pipe.crashpoints import crashpoint
from conch_pipe.interfaces import IEvents, InThread, IRecordings
from conch_pipe.model import Environment, Job, Outcome, Push, PushState, RecordedFile, Recording, utc
from conch_pipe.processing import attempts

AGAIN_S = 600.0  # while an attempt may still need the files
TROUBLE_S = 3600.0  # when they cannot be deleted
FINAL = frozenset({PushState.DELIVERED, PushState.GIVEN_UP})


@dataclass(frozen=True, slots=True)
class Fate:
    """What is to become of a recording's files."""

    delete: bool = False
    wait: bool = False  # an attempt may still need them
    purge_at: datetime | None = None  # when they are deleted although some remote has not got them
    missing: tuple[str, ...] = ()  # the remotes that have not


def fate(pushes: Sequence[Push], environment: Environment | None, now: datetime) -> Fate:
    """Decide: pure.

    :param environment: None: it was removed, and nobody says that files may go.
    """
    in_vain = [push for push in pushes if push.state is PushState.GIVEN_UP]
    if any(push.state not in FINAL for push in pushes) or any(push.manual for push in in_vain):
        return Fate(wait=True)
    if not in_vain:
        return Fate(delete=environment is not None and environment.delete_delivered)
    purge = max(attempts.purge_at(push.final_at or now) for push in in_vain)
    return Fate(now >= purge, purge_at=purge, missing=tuple(sorted(push.remote for push in in_vain)))


@dataclass(slots=True)
class Deleted:
    """What came of deleting files."""

    files: int = 0  # gone, now or before
    left: list[tuple[Path, str]] = field(default_factory=list)  # what is not ours any more, and why
    trouble: str = ""  # why some are still there: to be tried again


def delete(files: Iterable[RecordedFile], roots: Sequence[Path], needed: Collection[Path] = frozenset()) -> Deleted:
    """Delete recorded files; blocks.

    :param roots: folders outside which nothing is touched.
    :param needed: files that are left for another recording.
    """
    done = Deleted()
    allowed = [root.resolve() for root in roots]
    crashpoint("T1")
    for file in files:
        try:
            reason = "needed by another recording" if file.path in needed else _delete(file, allowed)
        except OSError as error:
            done.trouble = f"{file.path}: {error.strerror}"
            continue
        if reason:
            done.left.append((file.path, reason))
        else:
            done.files += 1
            if done.files == 1:
                crashpoint("T2")
    crashpoint("T3")
    return done


def _delete(file: RecordedFile, allowed: Sequence[Path]) -> str:
    """:returns: why it is left alone; empty: it is gone. :raises OSError: it cannot be deleted now."""
    folder = file.path.parent.resolve()
    if not any(folder.is_relative_to(root) for root in allowed):
        return "outside the allowed folders"
    try:
        # All that follows is about this folder, whatever its name stands for by then.
        place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return ""
    try:
        found = os.stat(file.path.name, dir_fd=place, follow_symlinks=False)
        if not stat.S_ISREG(found.st_mode):
            return "not a regular file"
        if (found.st_size, found.st_mtime_ns) != (file.bytes, file.mtime_ns):
            return "another file than was accepted"
        os.unlink(file.path.name, dir_fd=place)
        os.fsync(place)
    except FileNotFoundError:
        pass
    finally:
        os.close(place)
    return ""


class Retention:
    """See runner.Chain.

    :param roots: folders files may be deleted in.
    """

    _log = Logger()

    def __init__(
        self,
        recordings: IRecordings,
        events: IEvents,
        clock: IReactorTime,
        roots: Sequence[Path],
        *,
        in_thread: InThread = deferToThread,
    ) -> None:
        self.recordings = recordings
        self.events = events
        self.clock = clock
        self.roots = tuple(roots)
        self.in_thread = in_thread
        self._telling: dict[int, Callable[[], None]] = {}  # job id → what is told when its end is recorded

    async def run(self, job: Job) -> Outcome:
        """Look what became of the pushes, and delete or wait. :raises PipeError: see schedule.py."""
        self._telling.pop(job.id, None)
        recording: Recording | None = await self.recordings.get(UUID(job.subject))
        if recording is None or recording.deleted_at is not None:
            return Outcome(done=True, reason="its files are gone already")
        pushes = await self.recordings.pushes(recording.uid)
        environment = await self.recordings.environment(recording.organisation, recording.environment)
        now = utc(self.clock)
        found = fate(pushes, environment, now)
        if found.wait:
            return self._again(now + timedelta(seconds=AGAIN_S), "a push needs its files")
        if found.delete:
            return await self._delete(job, recording, found)
        if found.purge_at is None:
            self._telling[job.id] = lambda: self.events.note(
                events.RECORDING_KEPT, reason="everywhere it should be", until="for good", **_about(recording)
            )
            return Outcome(done=True, reason="its files are kept")
        if recording.purge_at != found.purge_at:
            await self.recordings.purge_at(recording.uid, found.purge_at)
        self._telling[job.id] = self._notice(recording, found, job.due_at)
        return self._again(attempts.next_notice(found.purge_at, now), f"its files are kept until {_date(found)}")

    def _again(self, at: datetime, reason: str) -> Outcome:
        return Outcome(retry_at=at, failed=False, reason=reason)

    def _notice(self, recording: Recording, found: Fate, due_at: datetime) -> Callable[[], None]:
        """What is told of files that are to be purged: first how long they are kept, later that they go soon."""
        assert found.purge_at is not None
        missing = ", ".join(found.missing)
        if due_at < found.purge_at - max(attempts.NOTICES):
            reason = f"not at {missing}"
            return lambda: self.events.note(
                events.RECORDING_KEPT, reason=reason, until=f"until {_date(found)}", **_about(recording)
            )
        return lambda: self.events.note(
            events.RECORDING_PURGE_SOON, remotes=missing, until=_date(found), **_about(recording)
        )

    async def _delete(self, job: Job, recording: Recording, found: Fate) -> Outcome:
        needed: frozenset[Path] = await self.recordings.shared(recording.uid)
        done: Deleted = await self.in_thread(delete, recording.files, self.roots, needed)
        now = utc(self.clock)
        if done.trouble:
            self._log.warn("files of recording {uid} cannot be deleted: {why}", uid=recording.uid, why=done.trouble)
            return self._again(now + timedelta(seconds=TROUBLE_S), f"cannot be deleted: {done.trouble}")
        await self.recordings.files_deleted(recording.uid, now)
        self._telling[job.id] = lambda: self._tell_deleted(recording, found, done)
        return Outcome(done=True, reason="its files are deleted")

    def _tell_deleted(self, recording: Recording, found: Fate, done: Deleted) -> None:
        about = _about(recording)
        for path, reason in done.left:
            self.events.note(events.RECORDING_LEFT, file=str(path), reason=reason, **about)
        if found.missing:
            self.events.note(events.RECORDING_PURGED, remotes=", ".join(found.missing), files=done.files, **about)
        else:
            self.events.note(events.RECORDING_CLEARED, files=done.files, **about)

    async def given_up(self, job: Job, problem: str, *, ours: bool) -> Outcome:
        """Never: files whose time is over must go, and an hour more harms nobody."""
        return self._again(utc(self.clock) + timedelta(seconds=TROUBLE_S), problem)

    def delayed(self, job: Job, reason: str) -> None:
        """Told to the log only."""
        self._log.warn("the files of recording {uid} wait: {reason}", uid=job.subject, reason=reason)

    def settled(self, job: Job, outcome: Outcome) -> None:
        """Tell what became of the files."""
        if (tell := self._telling.pop(job.id, None)) is not None:
            tell()


def _about(recording: Recording) -> dict[str, str]:
    return {"recording_id": recording.id, "organisation": recording.organisation}


def _date(found: Fate) -> str:
    return f"{found.purge_at:%Y-%m-%d %H:%M} UTC"
