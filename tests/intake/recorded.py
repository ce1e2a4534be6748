"""Recordings in memory, and files for them."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from zope.interface import implementer

from conch_pipe.catalog import Catalog, DirectDatabase
from conch_pipe.errors import Code, PipeError
from conch_pipe.intake.recordings import RecordingIntake
from conch_pipe.interfaces import IRecordings
from conch_pipe.model import Environment, Push, Recording, Role, new_id, utc
from tests import catalogs
from tests.intake.fakes import START, Gate, HeardEvents


@implementer(IRecordings)
class MemoryRecordings:
    """Records. ``lost`` counts answers of accept that get lost after its COMMIT, ``never_sent`` before it."""

    def __init__(self, clock: Clock) -> None:
        made = utc(clock)
        self.environments = {
            ("acme", name): Environment("acme", name, made, ("archive", "studio")) for name in ("production", "staging")
        }
        self.records: dict[tuple[str, str], Recording] = {}
        self.accepting = Gate()
        self.asked = 0
        self.lost = 0
        self.never_sent = 0

    def accept(self, recording: Recording) -> Deferred[tuple[Recording, tuple[Push, ...]]]:
        return self.accepting.pass_through(lambda: self._accept(recording))

    def _accept(self, recording: Recording) -> tuple[Recording, tuple[Push, ...]]:
        self.accepting.trip()
        self.asked += 1
        if self.never_sent:
            self.never_sent -= 1
            raise PipeError(Code.UNKNOWN_OUTCOME, "no answer")
        known = self.records.setdefault((recording.organisation, recording.id), recording)
        if _content(known) != _content(recording):
            raise PipeError(Code.CONFLICT, "the id is known with other files, names or environment")
        if self.lost:
            self.lost -= 1
            raise PipeError(Code.UNKNOWN_OUTCOME, "no answer")
        return known, self._pushes(known)

    def _pushes(self, known: Recording) -> tuple[Push, ...]:
        remotes = self.environments[known.organisation, known.environment].remotes
        return tuple(Push(new_id(known.saved_at), known.uid, remote) for remote in remotes)

    def environment(self, organisation: str, name: str) -> Deferred[Environment | None]:
        return succeed(self.environments.get((organisation, name)))

    def find(self, organisation: str, recording_id: str) -> Deferred[Recording | None]:
        return succeed(self.records.get((organisation, recording_id)))

    def get(self, uid: UUID) -> Deferred[Recording | None]:
        return succeed(next((one for one in self.records.values() if one.uid == uid), None))

    def push(self, push_id: UUID) -> Deferred[tuple[Push, Recording] | None]:
        return succeed(None)

    def pushes(self, uid: UUID) -> Deferred[tuple[Push, ...]]:
        (known,) = (one for one in self.records.values() if one.uid == uid)
        return succeed(self._pushes(known))

    def purge_at(self, uid: UUID, at: Any) -> Deferred[None]:
        return succeed(None)

    def files_deleted(self, uid: UUID, at: Any) -> Deferred[None]:
        return succeed(None)


def _content(one: Recording) -> tuple[Any, ...]:
    return one.environment, one.name, {(file.role, file.name, file.sha256) for file in one.files}


@dataclass
class Studio:
    """A folder of media and an intake that takes recordings from it; ``threads`` can be shut.

    :ivar media: an allowed root.
    """

    folder: Path
    clock: Clock = field(default_factory=Clock)
    events: HeardEvents = field(default_factory=HeardEvents)
    threads: Gate = field(default_factory=Gate)

    def __post_init__(self) -> None:
        self.clock.rightNow = START
        self.media = self.folder / "media"
        self.media.mkdir()
        self.recordings: Any = self.made_recordings()
        self.intake = RecordingIntake(
            self.recordings, [self.media], self.in_thread, self.events, self.clock, outcome_wait_s=10
        )

    def made_recordings(self) -> Any:
        return MemoryRecordings(self.clock)

    def in_thread(self, function: Any, *args: Any) -> Deferred[Any]:
        return self.threads.pass_through(lambda: function(*args))

    def file(self, name: str, content: bytes = b"content") -> Path:
        path = self.media / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def group(self) -> dict[Role, Path]:
        """One file of each role."""
        return {
            Role.MAIN: self.file("standup.mp4", b"processed"),
            Role.RAW: self.file("standup.webm", b"raw"),
            Role.SNAPSHOT: self.file("standup.jpg", b"snapshot"),
            Role.FILMSTRIP: self.file("strip.jpg", b"filmstrip"),
        }

    def submit(
        self, files: dict[Role, Path], id: str = "rec-1", name: str = "standup", environment: str = "production"
    ) -> Deferred[Recording]:
        return self.intake.submit("acme", environment, id, name, files)


class CatalogStudio(Studio):
    """The same with a catalog, for what does not need its failures."""

    def made_recordings(self) -> Any:
        database = DirectDatabase(catalogs.on_disk(self.folder / "catalog.sqlite"))
        database.open()
        catalog = Catalog(database, self.clock)
        catalog.organisations.create("acme")
        for name in ("production", "staging"):
            catalog.environments.create("acme", name)
        return catalog.recordings


def open_files(below: Path) -> list[str]:
    """Files and folders that this process has open there."""
    found = []
    for one in Path("/proc/self/fd").iterdir():
        try:
            found.append(os.readlink(one))
        except FileNotFoundError:
            continue
    return [one for one in found if one.startswith(str(below))]
