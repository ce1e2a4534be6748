"""Upkeep, workers and runners as one service, started and stopped in the order they need.

Children of a MultiService are stopped at the same time; workers that end before the runner has drained would count as
deaths of innocent jobs.
"""

from __future__ import annotations

from twisted.application.service import Service
from twisted.internet.defer import Deferred

from conch_pipe.processing.runner import Runner
from conch_pipe.processing.sweep import Sweep
from conch_pipe.processing.workers import Workers


class Processing(Service):
    """Start: work files cleared, workers warming, queue read. Stop: queue drained, then workers reaped.

    :param pushes: the runner of what goes out, which has a queue and a limit of its own; None: nothing does.
    :param notices: the runner of what webhooks are told, likewise.
    """

    def __init__(
        self,
        sweep: Sweep,
        workers: Workers,
        runner: Runner,
        pushes: Runner | None = None,
        notices: Runner | None = None,
    ) -> None:
        self.sweep = sweep
        self.workers = workers
        self.runner = runner
        self.pushes = pushes
        self.notices = notices
        self._drained: Deferred[None] | None = None  # of the pushes

    def startService(self) -> None:
        """Returns at once; jobs wait for the first worker that is ready."""
        super().startService()
        self.sweep.startService()
        self.workers.start()
        self.runner.startService()
        if self.pushes is not None:
            self._drained = None
            self.pushes.startService()
        if self.notices is not None:
            self.notices.startService()

    def drain_pushes(self) -> None:
        """Begin to stop what goes out, ahead of the rest: no new attempts."""
        if self.pushes is not None and self._drained is None:
            self._drained = self.pushes.stopService()

    def stopService(self) -> Deferred[None]:
        """:returns: a Deferred that fires when no job runs here and all children are reaped."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self.drain_pushes()
        told = self.notices.stopService() if self.notices is not None else None
        await self.runner.stopService()
        if self._drained is not None:
            await self._drained
        if told is not None:
            await told
        await self.workers.stop()
        await self.sweep.stopService()
