"""What is measured and what is asked whether it works: the parts of the service behind /metrics and /readyz."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool

import twisted
from conch_pipe.catalog import Catalog
from conch_pipe.errors import Code, PipeError
from conch_pipe.events import Events
from conch_pipe.health import Health
from conch_pipe.intake.intake import Intake
from conch_pipe.metrics import catalogue as all_of
from conch_pipe.metrics.catalogue import COUNTED, Sample
from conch_pipe.metrics.counting import Counting
from conch_pipe.metrics.exposition import Exposition
from conch_pipe.metrics.lag import Lag
from conch_pipe.metrics.machine import Children, Disks
from conch_pipe.metrics.tally import Tally
from conch_pipe.model import utc
from conch_pipe.processes.doors import Doors
from conch_pipe.processing.workers import Workers
from conch_pipe.settings import Settings, local_path
from conch_pipe.sftp.service import SFTPService


class Watching:
    """All of it, for one service; counts from now on.

    :ivar lag: to be started and stopped with the service.
    """

    def __init__(
        self,
        settings: Settings,
        happenings: Events,
        catalog: Catalog,
        reactor: Any,
        *,
        intake: Intake,
        workers: Workers,
        loaders: Workers,
        sftp: SFTPService | Doors,
    ) -> None:
        self._catalog = catalog
        self._clock = reactor
        self._intake = intake
        self._workers = workers
        self._loaders = loaders
        self._sftp = sftp
        self.tally = Tally(COUNTED)
        self._counting = Counting(self.tally)
        happenings.listeners.append(self._counting)
        self.lag = Lag(reactor, self.tally, "parent")
        self.connections: Callable[[], int] = lambda: 0  # over HTTP, once there is such a door
        self._places = {
            "spool": settings.spool.folder,
            "catalog": _place(settings.catalog.url),
            "objects": _place(settings.objects.url),
            "warehouse": _place(settings.warehouse.url),
        }
        self.health = Health(self._checks(), reactor)
        disk = settings.disk
        looks = (
            _build,
            self._now,
            Disks(self._places, lambda size: max(disk.free_bytes, disk.free_share * size)),
            Children({"door": self._door_pids, "worker": lambda: [*workers.pids, *loaders.pids]}),
        )
        self.metrics = Exposition(self.tally, reactor, looks, (self._readiness, self._standing), self._in_thread)

    # What is asked whether it works.

    def _checks(self) -> dict[str, Callable[[], Any]]:
        return {
            "catalog": self._catalog_works,
            "objects": lambda: _writable(self._places["objects"]),
            "warehouse": self._warehouse_works,
            "disk": self._room_is_left,
            "worker": self._workers_work,
            "door": self._doors_are_open,
        }

    async def _catalog_works(self) -> str:
        await self._catalog.watch.answers()
        place = self._places["catalog"]
        return _writable(place.parent, place.name)

    def _warehouse_works(self) -> str:
        # That an analyst has the file open is no fault: uploads wait, and the age of the queue tells for how long.
        _needed(self._loaders.pids, "the process that loads rows has ended; another one is being started")
        place = self._places["warehouse"]
        return _writable(place.parent, place.name)

    def _room_is_left(self) -> str:
        self._intake.room.check()
        return "there is room"

    def _workers_work(self) -> str:
        number = len(_needed(self._workers.pids, "no worker process is there yet; uploads wait"))
        return f"{number} of {self._workers.count}"

    def _doors_are_open(self) -> str:
        if isinstance(self._sftp, Doors):
            ready = [one for one in self._sftp.facts() if one["stage"] == "ready"]
            return f"{len(_needed(ready, 'no process takes connections'))} of {self._sftp.count}"
        _needed(self._sftp.running, "the SFTP door is not open")
        return "open"

    # Gauges.

    def _now(self) -> Iterator[Sample]:
        sftp = self._sftp
        if isinstance(sftp, Doors):
            sessions, connections, uploads = sftp.sessions, sftp.connections, sftp.uploads + self._intake.live
        else:
            sessions, connections, uploads = len(sftp.visits), sftp.connections, self._intake.live
        yield all_of.SESSIONS, (), sessions
        yield all_of.CONNECTIONS, ("sftp",), connections
        yield all_of.CONNECTIONS, ("http",), self.connections()
        yield all_of.RUNNING, (), uploads
        if self._counting.certificate_until is not None:
            yield all_of.CERTIFICATE, (), self._counting.certificate_until

    def _in_thread(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        return deferToThreadPool(self._clock, self._clock.getThreadPool(), function, *arguments)

    def _door_pids(self) -> list[int]:
        return [one["pid"] for one in self._sftp.facts()] if isinstance(self._sftp, Doors) else []

    def _readiness(self) -> Deferred[Iterable[Sample]]:
        return Deferred.fromCoroutine(self._ask_health())

    async def _ask_health(self) -> list[Sample]:
        checks = await self.health.look()
        samples: list[Sample] = [(all_of.READY, (), all(check.ok for check in checks))]
        for check in checks:
            samples.append((all_of.CHECK_OK, (check.name,), check.ok))
            samples.append((all_of.CHECK_SECONDS, (check.name,), check.seconds))
        return samples

    def _standing(self) -> Deferred[Iterable[Sample]]:
        return Deferred.fromCoroutine(self._ask_catalog())

    async def _ask_catalog(self) -> list[Sample]:
        found = await self._catalog.watch.standing()
        now = utc(self._clock)
        samples: list[Sample] = [(all_of.PRESSING, (), found.pressing)]
        for kind in all_of.KINDS:
            depth = found.queue.get(kind)
            later, due, running = (depth.later, depth.due, depth.running) if depth else (0, 0, 0)
            samples += [
                (all_of.JOBS, (kind, state), number)
                for state, number in (("later", later), ("due", due), ("running", running))
            ]
            oldest = depth.oldest_due_at if depth else None
            samples.append((all_of.JOB_AGE, (kind,), max(0.0, (now - oldest).total_seconds()) if oldest else 0.0))
        samples += [(all_of.PUSHES, (state.value,), number) for state, number in found.pushes.items()]
        for metric, states, numbers in (
            (all_of.REMOTES, all_of.REMOTE_STATES, found.remotes),
            (all_of.WEBHOOKS, all_of.WEBHOOK_STATES, found.webhooks),
        ):
            samples += [(metric, (state,), numbers.get(state, 0)) for state in states]
        return samples


def _build() -> Iterator[Sample]:
    yield all_of.BUILD, (version("pipe-sftp"), platform.python_version(), twisted.version.base()), 1


def _place(url: str) -> Path:
    path = local_path(url)
    if path is None:
        raise PipeError(Code.INVALID, f"no implementation for {url}")
    return path


def _writable(folder: Path, file: str = "") -> str:
    """Whether this process can write there; what is not there yet is made by the first that comes.

    :raises PipeError: FAILED: gone, not its own, not a folder, or a disk that is read-only.
    """
    if file and (folder / file).exists() and not os.access(folder / file, os.W_OK):
        raise PipeError(Code.FAILED, "the file cannot be written", f"{folder / file}")
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise PipeError(Code.FAILED, "the folder cannot be written", f"{folder}")
    return "it can be written"


def _needed(found: Any, problem: str) -> Any:
    """:raises PipeError: BUSY, there is none."""
    if not found:
        raise PipeError(Code.BUSY, problem)
    return found
