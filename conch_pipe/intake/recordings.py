"""From a group of local files to the durable record of a recording: rules of names, and the way in.

The rules are pure; how a file is reached and hashed is in local_files.py. Does not copy, move or delete files, and
knows no manifest.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast
from uuid import UUID

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from conch_pipe import events
from conch_pipe.errors import Code, Mistakes, PipeError
from conch_pipe.intake import local_files
from conch_pipe.intake.local_files import Taken, Unfit
from conch_pipe.intake.record import certain
from conch_pipe.interfaces import IEvents, InThread, IRecordingIntake, IRecordings
from conch_pipe.model import Push, RecordedFile, Recording, Role, Submitted, new_id, utc

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)
_TENANT = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)  # names of organisations and environments
# At most 8 characters, so that no name is longer than that of the filmstrip.
_EXTENSION = re.compile(r"\.[A-Za-z0-9]{1,8}", re.ASCII)
_FILMSTRIP = "_filmstrip.jpg"
NAME_BYTES = 255 - len(_FILMSTRIP)  # NAME_MAX of common filesystems
# Nothing is wrong with the recording: the same call may be good later.
LATER = frozenset({Code.BUSY, Code.NO_SPACE, Code.FAILED, Code.UNKNOWN_OUTCOME})

_log = Logger(namespace="conch_pipe.intake")


def remote_names(name: str, files: Mapping[Role, Path]) -> dict[Role, str]:
    """The names on the remote, in the order of Role, without a file: the raw one keeps its extension, if it has one.

    :param name: NAME, see :func:`mistakes`.
    """
    raw = files.get(Role.RAW)
    extension = raw.suffix if raw is not None and _EXTENSION.fullmatch(raw.suffix) else ".mp4"
    names = {
        Role.MAIN: f"{name}.mp4",
        Role.RAW: f"{name}_raw{extension}",
        Role.SNAPSHOT: f"{name}.jpg",
        Role.FILMSTRIP: f"{name}{_FILMSTRIP}",
    }
    return {role: names[role] for role in Role if role in files}


def mistakes(recording_id: str, name: str, files: Mapping[Role, Path]) -> list[str]:
    """What is wrong with a recording that can be told without looking at the disk, one sentence each."""
    found = []
    if not ID.fullmatch(recording_id):
        found.append("id: 1 to 100 of A-Z, a-z, 0-9, '.', '_' and '-' are needed, the first a letter or digit")
    found += [f"name: {wrong}" for wrong in _wrong_name(name)]
    if Role.MAIN not in files and Role.RAW not in files:
        found.append("files: a main file is needed, or a raw one when there is no other")
    seen: dict[Path, Role] = {}
    for role in Role:
        if role in files and (first := seen.setdefault(files[role], role)) is not role:
            found.append(f"{role.value}: is the same file as {first.value}")
    return found


def _wrong_name(name: str) -> list[str]:
    found = []
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        return ["must be UTF-8"]
    if not 1 <= length <= NAME_BYTES:
        found.append(f"must have 1 to {NAME_BYTES} bytes, not {length}")
    # A backslash divides folders on servers that run on Windows.
    if "/" in name or "\\" in name:
        found.append("must not have slashes or backslashes")
    # Zl, Zp: separators that some log viewers break lines at.
    if any(unicodedata.category(one) in ("Cc", "Zl", "Zp") for one in name):
        found.append("must not have control characters")
    return found


@implementer(IRecordingIntake)
class RecordingIntake:
    """See :class:`conch_pipe.interfaces.IRecordingIntake`. In a program that embeds the service::

        recording = await intake.submit(
            "acme", "production", "rec-4711", "standup", {Role.MAIN: Path("/srv/media/4711.mp4")}
        )

    It is recorded when ``submit`` has fired, with one push for each remote of the environment; calling it again with
    the same id gives the same recording. The files stay where they are and belong to the service from then on: they
    must not change any more. :class:`~conch_pipe.errors.Mistakes` names all that is wrong, in ``mistakes``.
    Codes of :data:`LATER` mean: try again.

    :param recordings: IRecordings.
    :param roots: folders that files may be in, at any depth; links below them are not followed.
    :param in_thread: runs a function in a bounded pool; a recording takes one thread while its files are hashed.
    :param outcome_wait_s: how long the outcome of a commit is looked for.
    """

    def __init__(
        self,
        recordings: IRecordings,
        roots: Sequence[Path],
        in_thread: InThread,
        events: IEvents,
        clock: IReactorTime,
        *,
        outcome_wait_s: float = 10.0,
    ) -> None:
        self.recordings: Any = recordings
        self.roots = tuple(roots)
        self.in_thread = in_thread
        self.events = events
        self.clock = clock
        self.outcome_wait_s = outcome_wait_s

    def submit(
        self, organisation: str, environment: str, recording_id: str, name: str, files: Mapping[Role, Path]
    ) -> Deferred[Recording]:
        """See IRecordingIntake. Cancelling ends the hashing; once the record is on its way, it stands."""
        told = self.record(organisation, environment, recording_id, name, files)
        return told.addCallback(lambda submitted: submitted.recording)

    def record(
        self,
        organisation: str,
        environment: str,
        recording_id: str,
        name: str,
        files: Mapping[Role, Path],
        uid: UUID | None = None,
    ) -> Deferred[Submitted]:
        """The same, and tells whether it was known before.

        :param uid: our id of it, if it is new.
        """
        ended = threading.Event()
        uid = uid or new_id(utc(self.clock))
        submission = _Submission(self, organisation, environment, recording_id, name, dict(files), ended, uid)
        outer: Deferred[Submitted] = Deferred(lambda _: ended.set())

        def tell(result: Submitted | Failure) -> None:
            if not outer.called:
                outer.callback(cast(Submitted, result))
            elif isinstance(result, Failure) and not result.check(PipeError):
                _log.failure("recording {recording_id} went wrong", result, recording_id=recording_id)

        Deferred.fromCoroutine(self._told(submission)).addBoth(tell)
        return outer

    async def _told(self, submission: _Submission) -> Submitted:
        """Run one submission; each that came to an end is told as one event."""
        began = self.clock.seconds()
        try:
            recording, pushes = await submission.run()
        except PipeError as error:
            if error.code not in LATER:
                problem = "; ".join(error.mistakes) if isinstance(error, Mistakes) else error.message
                about = submission.about()
                self.events.note(events.RECORDING_REFUSED, **about, problem=problem, code=error.code.value)
            raise
        about = submission.about() | {"uid": str(recording.uid)}
        if recording.uid == submission.uid:
            self.events.note(
                events.RECORDING_ACCEPTED,
                **about,
                name=recording.name,
                files=len(recording.files),
                bytes=sum(one.bytes for one in recording.files),
                remotes=", ".join(push.remote for push in pushes) or "no remote",
                seconds=self.clock.seconds() - began,
            )
        else:
            self.events.note(events.RECORDING_REPEATED, **about)
        return Submitted(recording, pushes, again=recording.uid != submission.uid)


class _Submission:
    """One call of submit."""

    def __init__(
        self,
        intake: RecordingIntake,
        organisation: str,
        environment: str,
        recording_id: str,
        name: str,
        files: dict[Role, Path],
        ended: threading.Event,
        uid: UUID,
    ) -> None:
        self._recordings = intake.recordings
        self._roots = intake.roots
        self._in_thread = intake.in_thread
        self._clock = intake.clock
        self._wait_s = intake.outcome_wait_s
        self._organisation = organisation
        self._environment = environment
        self._id = recording_id
        self._name = name
        self._files = files
        self._ended = ended
        self.uid = uid

    def about(self) -> dict[str, Any]:
        """The fields that all its events have."""
        return {
            "recording_id": shown(self._id),
            "organisation": shown(self._organisation),
            "environment": shown(self._environment),
        }

    async def run(self) -> tuple[Recording, tuple[Push, ...]]:
        wrong = mistakes(self._id, self._name, self._files)
        environment = known = None
        if _TENANT.fullmatch(self._organisation) and _TENANT.fullmatch(self._environment):
            environment = await self._recordings.environment(self._organisation, self._environment)
            known = await self._recordings.find(self._organisation, self._id) if ID.fullmatch(self._id) else None
        # A recording that was delivered has no files any more, and its sender may not have heard of the first answer.
        if known is not None and not wrong and await self._in_thread(self._is, known):
            return known, await self._recordings.pushes(known.uid)
        found, unfit = await self._in_thread(self._look)
        if environment is None:
            no_such = PipeError(
                Code.NOT_FOUND,
                f"no environment {shown(self._environment)} of organisation {shown(self._organisation)}",
            )
            if not wrong + unfit:
                raise no_such
            wrong.insert(0, f"environment: {no_such.message}")
        self._refuse(wrong + unfit)
        taken, unfit = await self._in_thread(self._take, found)
        self._refuse(unfit)
        return await self._record(taken)

    def _refuse(self, wrong: list[str]) -> None:
        if wrong:
            raise Mistakes(f"recording {shown(self._id)}", wrong)

    async def _record(self, taken: dict[Role, Taken]) -> tuple[Recording, tuple[Push, ...]]:
        names = remote_names(self._name, self._files)
        files = tuple(
            RecordedFile(role, taken[role].path, name, taken[role].bytes, taken[role].mtime_ns, taken[role].sha256)
            for role, name in names.items()
        )
        recording = Recording(
            uid=self.uid,
            id=self._id,
            organisation=self._organisation,
            environment=self._environment,
            name=self._name,
            files=files,
            saved_at=utc(self._clock),
        )
        return await certain(
            lambda: self._recordings.accept(recording),
            lambda: Deferred.fromCoroutine(self._recorded()),
            self._clock,
            within_s=self._wait_s,
        )

    async def _recorded(self) -> tuple[Recording, tuple[Push, ...]] | None:
        """What was recorded by this very submission; of an earlier one, ``accept`` tells whether it is the same."""
        found = await self._recordings.find(self._organisation, self._id)
        if found is None or found.uid != self.uid:
            return None
        return found, await self._recordings.pushes(found.uid)

    # In a thread

    def _is(self, known: Recording) -> bool:
        """Whether a recording is this one, as far as names, sizes and times tell; a file that is gone, was it."""
        if (known.environment, known.name) != (self._environment, self._name):
            return False
        try:
            placed = {role: local_files.place(path, self._roots) for role, path in self._files.items()}
            stamps = {role: local_files.stamp(path) for role, path in placed.items()}
        except Unfit:
            return False
        recorded = {file.role: file for file in known.files}
        return placed == {role: file.path for role, file in recorded.items()} and all(
            stamp is None or stamp == (recorded[role].bytes, recorded[role].mtime_ns) for role, stamp in stamps.items()
        )

    def _look(self) -> tuple[dict[Role, Path], list[str]]:
        """Where the files are, and all that is wrong with them before any is hashed."""
        found: dict[Role, Path] = {}
        wrong = []
        decides = Role.MAIN if Role.MAIN in self._files else Role.RAW
        for role in Role:
            if role not in self._files:
                continue
            try:
                found[role] = local_files.place(self._files[role], self._roots)
                size = local_files.look(found[role]).st_size
                if not size and role is decides:
                    raise Unfit("is empty")
            except Unfit as unfit:
                wrong.append(self._sentence(role, unfit))
        return found, wrong

    def _take(self, found: dict[Role, Path]) -> tuple[dict[Role, Taken], list[str]]:
        taken: dict[Role, Taken] = {}
        wrong = []
        synced: set[Path] = set()
        for role, path in found.items():
            try:
                taken[role] = local_files.take(path, lambda: not self._ended.is_set(), synced)
            except Unfit as unfit:
                wrong.append(self._sentence(role, unfit))
        return taken, wrong

    def _sentence(self, role: Role, unfit: Unfit) -> str:
        return f"{role.value}: {shown(str(self._files[role]))} {unfit}"


def shown(text: str) -> str:
    """Without what could repaint a terminal, break a line or flood the log."""
    shown = "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text[:1000])
    return shown if len(text) <= 1000 else f"{shown}…"
