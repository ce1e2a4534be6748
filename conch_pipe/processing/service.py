"""Upkeep, workers and runner as one service, started and stopped in the order they need.

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
    """Start: work files cleared, workers warming, queue read. Stop: queue drained, then workers reaped."""

    def __init__(self, sweep: Sweep, workers: Workers, runner: Runner) -> None:
        self.sweep = sweep
        self.workers = workers
        self.runner = runner

    def startService(self) -> None:
        """Returns at once; jobs wait for the first worker that is ready."""
        super().startService()
        self.sweep.startService()
        self.workers.start()
        self.runner.startService()

    def stopService(self) -> Deferred[None]:
        """:returns: a Deferred that fires when no job runs here and all children are reaped."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await self.runner.stopService()
        await self.workers.stop()
        await self.sweep.stopService()
