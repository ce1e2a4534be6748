"""The spool of recordings: a door for programs that leave files in a folder, and then a manifest that names them.

A manifest is a small JSON file, renamed into the folder when its files are complete. Accepted ones go to ``accepted/``,
others to ``refused/`` with all their mistakes in a text beside them. What a recording may be is decided by the intake
(recordings.py); a manifest that is looked at twice, since a crash came between its record and its move, is harmless.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, gatherResults, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from conch_pipe import events
from conch_pipe.errors import Mistakes, PipeError
from conch_pipe.intake import manifest_folder
from conch_pipe.intake.manifest_folder import Found, Stamp
from conch_pipe.intake.manifest_text import Manifest, Unfinished, parse
from conch_pipe.intake.recordings import LATER, shown
from conch_pipe.interfaces import IEvents, InThread, IRecordingIntake
from conch_pipe.model import Recording, utc

AT_ONCE = 2  # recordings being hashed: threads they take from others
SETTLE_S = 5.0  # a manifest that cannot be parsed may be one that is being written in place
LONGEST_WAIT_S = 60.0  # between two tries of one that cannot be accepted now
KEPT_S = 7 * 86_400.0  # accepted manifests; the recording itself is in the catalog
TIDY_S = 3600.0


@dataclass(frozen=True, slots=True)
class Waiting:
    """A manifest that stays where it is for now."""

    stamp: Stamp
    since: float  # when it was first seen like this
    times: int
    due: float


class Manifests(Service):
    """Looks into the spool every ``look_s`` seconds while it runs.

    :param folder: the spool; it must be one of the intake's roots for files that lie in it.
    :param intake: where recordings go; also the way in for a program that embeds the service.
    :param in_thread: runs a function in a bounded pool; all disk work is done there.
    """

    _log = Logger(namespace="conch_pipe.intake")

    def __init__(
        self,
        folder: Path,
        intake: IRecordingIntake,
        in_thread: InThread,
        events: IEvents,
        clock: IReactorTime,
        *,
        look_s: float = 1.0,
    ) -> None:
        self.folder = folder
        self.intake: Any = intake
        self._in_thread = in_thread
        self._events = events
        self._clock = clock
        self._look_s = look_s
        self._waiting: dict[str, Waiting] = {}
        self._submitted: set[Deferred[Recording]] = set()
        self._looking: Deferred[None] = succeed(None)
        self._looks = LoopingCall(self._begin_look)
        self._looks.clock = clock
        self._tidied_at = float("-inf")
        self._trouble = ""  # why the folder cannot be read, told once

    def startService(self) -> None:
        """Look at once, then again and again."""
        super().startService()
        self._looks.start(self._look_s).addErrback(lambda failure: self._log.failure("no manifests any more", failure))

    def stopService(self) -> Deferred[None]:
        """:returns: a Deferred that fires when nothing is read or moved any more; what is being hashed is given up."""
        super().stopService()
        if self._looks.running:
            self._looks.stop()
        for one in list(self._submitted):
            one.cancel()
        ended: Deferred[None] = Deferred()
        self._looking.chainDeferred(ended)
        return ended

    def _begin_look(self) -> Deferred[None]:
        self._looking = Deferred.fromCoroutine(self._look())
        return self._looking

    async def _look(self) -> None:
        now = self._clock.seconds()
        pending = {name: one.stamp for name, one in self._waiting.items() if one.due > now}
        try:
            names, found = await self._in_thread(manifest_folder.read, self.folder, pending)
            if now - self._tidied_at >= TIDY_S:
                self._tidied_at = now
                await self._in_thread(manifest_folder.tidy, self.folder, now - KEPT_S)
        except OSError as error:
            if self._trouble != str(error):
                self._log.error("no manifests can be looked for: {error}", error=str(error))
            self._trouble = str(error)
            return
        self._trouble = ""
        self._waiting = {name: one for name, one in self._waiting.items() if name in names}
        rest = iter(found)
        await gatherResults([Deferred.fromCoroutine(self._work(rest)) for _ in range(AT_ONCE)])

    async def _work(self, rest: Iterator[Found]) -> None:
        for found in rest:
            if not self.running:
                return
            try:
                await self._settle(found)
            except CancelledError:
                return
            except OSError as error:  # it cannot be moved
                self._later(found, f"it cannot be moved: {error.strerror}")
            except Exception:  # noqa: BLE001 - the edge of this door
                self._log.failure("manifest {manifest} went wrong", manifest=shown(found.name))
                self._later(found, "internal error")

    async def _settle(self, found: Found) -> None:
        """One manifest: accepted, refused, or left for later."""
        try:
            if found.problem:
                raise Mistakes(found.name, [found.problem])
            await self._submit(parse(found.content, self.folder))
        except Unfinished as unfinished:
            if self._may_be_written(found):
                return
            problems = [str(unfinished)]
        except Mistakes as error:
            problems = error.mistakes
        except PipeError as error:
            if error.code in LATER:
                self._later(found, str(error))
                return
            problems = [error.message]
        else:
            await self._in_thread(manifest_folder.accepted, self.folder, found)
            self._waiting.pop(found.name, None)
            return
        await self._in_thread(manifest_folder.refused, self.folder, found, problems, utc(self._clock))
        self._waiting.pop(found.name, None)
        self._events.note(events.MANIFEST_REFUSED, manifest=shown(found.name), problem="; ".join(problems))

    async def _submit(self, manifest: Manifest) -> None:
        submitted = self.intake.submit(
            manifest.organisation, manifest.environment, manifest.id, manifest.name, manifest.files
        )
        self._submitted.add(submitted)
        try:
            await submitted
        finally:
            self._submitted.discard(submitted)

    def _may_be_written(self, found: Found) -> bool:
        """Whether a manifest that is no JSON was touched just now; it is looked at again then."""
        now = self._clock.seconds()
        before = self._waiting.get(found.name)
        since = before.since if before and before.stamp == found.stamp else now
        # By its own time, or by ours when its time is in the future: a share's clock may be wrong.
        if now - found.stamp[1] / 1e9 >= SETTLE_S or now - since >= SETTLE_S:
            return False
        self._waiting[found.name] = Waiting(found.stamp, since, 0, now)
        return True

    def _later(self, found: Found, reason: str) -> None:
        """Leave it; told once, however often it is tried."""
        now = self._clock.seconds()
        before = self._waiting.get(found.name)
        if before is None or before.stamp != found.stamp:
            before = Waiting(found.stamp, now, 0, now)
        if not before.times:
            self._events.note(events.MANIFEST_DELAYED, manifest=shown(found.name), reason=reason)
        wait_s = min(LONGEST_WAIT_S, 2.0 ** min(before.times, 10))
        self._waiting[found.name] = Waiting(found.stamp, before.since, before.times + 1, now + wait_s)
