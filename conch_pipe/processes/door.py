"""What a door process does: one SFTP door with its intake, without lock, queue and recovery, which are the parent's.

Also how a single process closes its door: both take the same steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

from conch_pipe.errors import Mistakes
from conch_pipe.formats.schema import Schema, parse_schema

LOOK_S = 0.25  # whether the last session has left
TELL_S = 1.0  # how many there are
SOON_S = 0.05  # within which the parent is told once that there are more jobs
COMMIT_S = 10.0  # a commit under way when every connection is gone


async def close_door(intake: Any, sftp: Any, seconds: float, clock: Any) -> None:
    """Take nothing new; returns when no connection is left and nothing is on the spool.

    :param seconds: how long running puts may take at most.
    """
    emptied = intake.drain()
    await sftp.drain(seconds)
    await sftp.stopService()
    # With every connection gone, what is left on the spool is a commit under way; it ends by itself.
    patience = deferLater(clock, COMMIT_S).addErrback(lambda _: None)
    patience.addCallback(lambda _: emptied.cancel())
    await emptied.addErrback(lambda _: None)
    patience.cancel()


class Door:
    """One door process, from its start to its end.

    :param schemas: what ``intake`` looks names up in; filled here as the parent says.
    :param database: the catalog's Database, of the newest version already.
    :param disk: the ThreadPool of the spool.
    :param sftp: the SFTPService on the shared socket.
    :param drain_s: what running puts may take when the linger is over or the parent has died.
    :param report: sends a message to the parent.
    :param ended: called once, when everything is still.
    :param counts: what is measured here, a metrics.away.Away; the parent is told at most once a second, and at the end.
    """

    _log = Logger(namespace="conch_pipe.processes")

    def __init__(
        self,
        clock: Any,
        *,
        schemas: dict[str, Schema],
        database: Any,
        disk: Any,
        intake: Any,
        sftp: Any,
        drain_s: float,
        report: Callable[..., None],
        ended: Callable[[], None],
        counts: Any = None,
    ) -> None:
        self.intake = intake
        self.sftp = sftp
        self.drain_s = drain_s
        self._clock = clock
        self._schemas = schemas
        self._database = database
        self._disk = disk
        self._report = report
        self._ended = ended
        self._counts = counts
        self._told = (0, 0, 0)
        self._telling = LoopingCall(self._tell)
        self._telling.clock = clock
        self._soon: IDelayedCall | None = None
        self._more = False  # to tell at its end
        self._started = False
        self._leave_at: float | None = None
        self._watching: LoopingCall | None = None
        self._stopping = False
        self.still = False  # everything has ended

    def start(self, schemas: Mapping[str, str]) -> None:
        """Take connections.

        :param schemas: name → TOML.
        :raises PipeError: the catalog cannot be used.
        """
        self.take_schemas(schemas)
        self._database.open()
        self._disk.start()
        self.sftp.startService()
        self._started = True
        if self._counts is not None:
            self._counts.start()
        self._telling.start(TELL_S, now=False)
        self._report(ready=True)

    def obey(self, order: Mapping[str, Any]) -> None:
        """What the parent says."""
        if "schemas" in order:
            self.take_schemas(order["schemas"])
        elif "retire" in order:
            self.retire(float(order["retire"]))
        elif "drain" in order:
            self.drain(float(order["drain"]))
        else:
            self.sftp.hear(order)

    def take_schemas(self, texts: Mapping[str, str]) -> None:
        """The schemas are these now; the parent has found no mistake in them."""
        fresh = {}
        for name, text in texts.items():
            try:
                fresh[name] = parse_schema(text, name)
            except Mistakes as error:  # an older program than the parent's
                self._log.error("schema {name} is not understood: {problem}", name=name, problem=str(error))
        self._schemas.clear()
        self._schemas.update(fresh)

    def retire(self, seconds: float) -> None:
        """Take no new connections; drain when the last session has left.

        :param seconds: after which those that are left are drained, too.
        """
        if self._stopping or self._watching is not None:
            return
        maybeDeferred(self.sftp.shut).addCallback(lambda _: self._report(shut=True))
        self._leave_at = self._clock.seconds() + seconds
        self._watching = LoopingCall(self._look)
        self._watching.clock = self._clock
        self._watching.start(LOOK_S)

    def drain(self, seconds: float) -> None:
        """End once no put is running; again with fewer seconds hurries.

        :param seconds: how long running puts may take at most.
        """
        if self._watching is not None and self._watching.running:
            self._watching.stop()
        if not self._stopping:
            self._stopping = True
            Deferred.fromCoroutine(self._stop(seconds)).addBoth(self._over)
        elif self._started:
            self.sftp.drain(seconds)

    def stored(self) -> None:
        """An upload was recorded: its job waits. The parent is told at once, and once of those that come soon after."""
        self._more = True
        if self._soon is None:
            self._tell_stored()

    def _tell_stored(self) -> None:
        self._soon = None
        if self._more:
            self._more = False
            self._soon = self._clock.callLater(SOON_S, self._tell_stored)
            self._report(stored=True)

    def _look(self) -> None:
        assert self._leave_at is not None
        if not self.sftp.connections or self._clock.seconds() >= self._leave_at:
            self.drain(self.drain_s)

    async def _stop(self, seconds: float) -> None:
        if self._started:
            await self.sftp.shut()
            self._report(shut=True)
            await close_door(self.intake, self.sftp, seconds, self._clock)
            if self._soon is not None:
                self._soon.cancel()  # the parent looks at its queue by itself, too
            self._telling.stop()
            if self._counts is not None:
                self._counts.stop()
            self._tell()
            await self._database.close()
            await maybeDeferred(self._disk.stop)

    def _over(self, result: Any) -> Any:
        self.still = True
        self._ended()
        return result

    def _tell(self) -> None:
        numbers = (len(self.sftp.visits), self.sftp.visits.running(), self.sftp.connections)
        if numbers != self._told:
            self._told = numbers
            self._report(sessions=numbers[0], uploads=numbers[1], connections=numbers[2])
        if self._counts is not None and (counted := self._counts.take()):
            self._report(counted=counted)
