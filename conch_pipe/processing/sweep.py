"""Upkeep: work files nobody works on, and the copies and records whose time is over.

Work files are cleared at the start, before the runner claims anything. Deletes in small batches, so that the catalog is
free in between; what a crash leaves is found by the next round.
"""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from conch_pipe.errors import PipeError
from conch_pipe.interfaces import IObjects, IPeople, IUploads, IWebhooks
from conch_pipe.model import utc

BATCH = 100
ROUND_S = 3600.0


class Sweep(Service):
    """Clears work files at the start; every hour deletes what is older than it is kept.

    :param folder: the folder given to ``ingest.stages``; the service owns it.
    :param copies_days: a raw copy is deleted so many days after its upload ended; 0: kept.
    :param records_days: a record is deleted so many days after its upload ended; 0: kept. At least ``copies_days``
        when both are set, else a copy would lose its record first.
    :param webhooks: whose log is kept as long as records; None: there is none.
    :param people: whose sessions are deleted when they are over; None: nobody signs in.
    """

    _log = Logger()

    def __init__(
        self,
        uploads: IUploads,
        objects: IObjects,
        folder: Path,
        clock: IReactorTime,
        *,
        copies_days: float = 90,
        records_days: float = 400,
        webhooks: IWebhooks | None = None,
        people: IPeople | None = None,
    ) -> None:
        self.uploads = uploads
        self.objects = objects
        self.folder = folder
        self.clock = clock
        self.copies_days = copies_days
        self.records_days = records_days
        self.webhooks = webhooks
        self.people = people
        self._running: Deferred[None] = succeed(None)
        self._rounds = LoopingCall(self._round)
        self._rounds.clock = clock

    def startService(self) -> None:
        """Clear the work files at once, then look every hour."""
        super().startService()
        self.folder.mkdir(parents=True, exist_ok=True)
        for left in self.folder.iterdir():
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        self._rounds.start(ROUND_S).addErrback(lambda failure: self._log.failure("the upkeep ended", failure))

    def stopService(self) -> Deferred[None]:
        """:returns: a Deferred that fires when the batch at hand is done."""
        super().stopService()
        if self._rounds.running:
            self._rounds.stop()
        ended: Deferred[None] = Deferred()
        self._running.chainDeferred(ended)
        return ended

    def _round(self) -> Deferred[None]:
        self._running = Deferred.fromCoroutine(self._sweep())
        return self._running

    async def _sweep(self) -> None:
        try:
            await self._drop_copies()
            await self._drop_records()
            await self._drop_notices()
            if self.people is not None:
                await self.people.sweep()
        except PipeError as error:
            self._log.warn("upkeep goes on in an hour: {error}", error=error)

    async def _drop_copies(self) -> None:
        """The object goes first: a crash in between deletes it again, which is success."""
        while self.running and self.copies_days:
            before = utc(self.clock) - timedelta(days=self.copies_days)
            old = await self.uploads.old_copies(before, BATCH)
            for _, key in old:
                await self.objects.delete(key)
            if old:
                await self.uploads.copies_deleted([upload_id for upload_id, _ in old])
                self._log.info("{count} raw copies are past their time and deleted", count=len(old))
            if len(old) < BATCH:
                return

    async def _drop_records(self) -> None:
        while self.running and self.records_days:
            before = utc(self.clock) - timedelta(days=self.records_days)
            count = await self.uploads.forget(before, BATCH)
            if count:
                self._log.info("{count} records are past their time and deleted", count=count)
            if count < BATCH:
                return

    async def _drop_notices(self) -> None:
        while self.running and self.records_days and self.webhooks is not None:
            before = utc(self.clock) - timedelta(days=self.records_days)
            if await self.webhooks.forget(before, BATCH) < BATCH:
                return
