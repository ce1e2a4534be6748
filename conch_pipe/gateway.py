"""The running service: in which order its parts start and stop, and what it does for door processes.

Builds nothing (see assembly.py). Decides nothing about files, clients or jobs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred, succeed
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from conch_pipe import events
from conch_pipe.catalog import Database
from conch_pipe.errors import Mistakes, PipeError
from conch_pipe.events import Events
from conch_pipe.formats.schema import SchemaBook
from conch_pipe.intake.arrivals import Arrivals
from conch_pipe.intake.intake import Intake
from conch_pipe.intake.manifests import Manifests
from conch_pipe.interfaces import IJobs, ILogin
from conch_pipe.metrics.lag import Lag
from conch_pipe.model import utc
from conch_pipe.presence import Presence
from conch_pipe.processes import counts
from conch_pipe.processes.door import close_door
from conch_pipe.processes.doors import Doors
from conch_pipe.processes.share import COMPLAINTS, COUNTS, LOG, MARK
from conch_pipe.processing.service import Processing
from conch_pipe.processing.workers import Workers
from conch_pipe.progress import Progress
from conch_pipe.settings import Settings, load
from conch_pipe.sftp.service import SFTPService
from conch_pipe.ssh.server.tally import SharedTally
from conch_pipe.web.service import WebService

TELL_S = 1.0  # between looks whether status would tell something new
DOORS_LEAVE_S = 30.0  # beyond the drain
# What takes effect in fresh door processes without a restart; all else is the parent's, too.
OF_DOORS = ("ssh", "limits", "uploads", "disk")


def own_spool(settings: Settings, number: int) -> Path:
    """The spool of a door process, numbered as they are started."""
    return settings.spool.folder / f"door-{number}"


class Gateway(Service):
    """The whole service. Start: state locked, catalog open, spool recovered, queue running, and last the door.

    Stop is the same backwards: the door drains while the queue goes on, and the catalog closes when all is still. What
    goes out drains together with the door.

    :param disk: threads of the spool.
    :param files: threads that read, hash and delete the files of recordings.
    :param login: hears of logins that failed in door processes.
    :param key: of what door processes must not tell in clear; the login's, too.
    :param tell_insecure: warns of remotes that take any host key.
    :param counted: takes what door processes have counted.
    :param lag: measures how late the event loop is.
    """

    _log = Logger(namespace="conch_pipe")

    def __init__(
        self,
        settings: Settings,
        reactor: Any,
        load_host_keys: Callable[[Settings], object],
        *,
        events: Events,
        presence: Presence,
        disk: ThreadPool,
        files: ThreadPool,
        database: Database,
        schemas: SchemaBook,
        intake: Intake,
        jobs: IJobs,
        loaders: Workers,
        processing: Processing,
        manifests: Manifests,
        arrivals: Arrivals,
        progress: Progress,
        sftp: SFTPService | Doors,
        login: ILogin,
        key: bytes,
        web: WebService | None,
        tell_insecure: Callable[[], Coroutine[Any, Any, None]],
        counted: Callable[[Sequence[Any]], None],
        lag: Lag,
    ) -> None:
        self.settings = settings
        self._load_host_keys = load_host_keys
        self._door_settings = settings
        self._texts_told: dict[str, str] = {}
        self.reactor = reactor
        self.events = events
        self.presence = presence
        self.disk = disk
        self.files = files
        self.database = database
        self.schemas = schemas
        self.intake = intake
        self.jobs = jobs
        self.loaders = loaders
        self.processing = processing
        self.manifests = manifests
        self.arrivals = arrivals
        self.progress = progress
        self.sftp = sftp
        self.login: Any = login
        self.web = web
        self._tell_insecure = tell_insecure
        self._counted = counted
        self._lag = lag
        self._looking = LoopingCall(self._look_at_schemas)
        self._looking.clock = reactor
        self.log: Any = sys.stdout  # where the log goes, for door processes
        self._counts = -1  # the descriptor of what door processes count together in
        self._tally: SharedTally | None = None
        self._key = key.hex()
        self._mark = -1  # the descriptor of presence.alone
        self._facts: dict[str, Any] = {}
        self._telling = LoopingCall(self._tell)
        self._telling.clock = reactor
        self._starting: Deferred[None] | None = None
        self._schema_problem = ""  # the mistakes last told: not again until they change

    def startService(self) -> None:
        """:raises PipeError: another service has the state, or catalog or schemas cannot be used."""
        self.presence.hold()
        self.schemas.refresh()
        self.database.open()
        super().startService()
        self.events.note(events.SCHEMAS_LOADED, names=", ".join(self.schemas.names()))
        self.disk.start()
        self.files.start()
        self.loaders.start()
        self._starting = Deferred.fromCoroutine(self._open_the_door())
        self._starting.addErrback(self._cannot_start)

    async def _open_the_door(self) -> None:
        # Longer than those of a killed parent take to drain.
        self._mark = await self.presence.alone(self.reactor, self.settings.service.drain_s + DOORS_LEAVE_S)
        await self.intake.recover()
        await self._free_leases()
        await self._tell_insecure()
        await self._drop_leftovers()
        self.processing.startService()
        self.manifests.startService()
        if self.settings.schemas.reload_s:
            self._looking.start(self.settings.schemas.reload_s, now=False)
        await maybeDeferred(self.sftp.startService)
        self._facts = {"pid": os.getpid(), "ssh_port": self.sftp.port, "started_at": utc(self.reactor).isoformat()}
        if self.web is not None:
            await self.web.startService()
            self._facts |= {"http_port": self.web.port, "http_url": self.web.url}
        self._telling.start(TELL_S)
        self._lag.start()
        self.events.note(events.SERVICE_STARTED, ssh_port=self.sftp.port, pid=os.getpid())

    async def _free_leases(self) -> None:
        """What a process that was killed had leased need not wait: the state folder is locked, nobody else is here."""
        try:
            freed = await self.jobs.release_all()
        except PipeError as error:
            # A full disk, say: no reason not to start, they run out by themselves.
            self._log.warn("jobs of the last run wait until their leases end: {error}", error=error)
            return
        if freed:
            self._log.info("{freed} jobs of the last run, which was killed, are taken up again", freed=freed)

    async def _drop_leftovers(self) -> None:
        """Of recordings whose files were coming when the process was killed."""
        try:
            dropped = await self.arrivals.recover()
        except (PipeError, OSError) as error:
            self._log.warn("what came of unfinished recordings stays in the spool: {error}", error=error)
            return
        if dropped:
            self._log.info("{dropped} recordings were not complete when the last run ended", dropped=dropped)

    def _cannot_start(self, failure: Failure) -> None:
        if failure.check(CancelledError):  # told to stop meanwhile
            return
        self._log.critical("the service cannot start: {problem}", problem=failure.getErrorMessage())
        # twistd has no exit status of its own for this, and systemd restarts on failure only.
        self.reactor.addSystemEventTrigger("after", "shutdown", os._exit, 1)
        self.reactor.callWhenRunning(self.reactor.stop)

    def stopService(self) -> Deferred[None]:
        """:returns: fires when every connection, job, child and thread of ours has ended."""
        return Deferred.fromCoroutine(self._stop())

    def _tell(self) -> None:
        """What status tells."""
        if isinstance(self.sftp, Doors):
            fresh = {"sessions": self.sftp.sessions, "doors": self.sftp.facts()}
        else:
            fresh = {"sessions": len(self.sftp.visits)}
        self._facts |= fresh
        self.presence.announce(**self._facts)

    # What door processes are given and tell.

    def document(self, number: int, index: int) -> dict[str, Any]:
        """What a door process is given; see assemble_door."""
        own_spool(self.settings, number).mkdir(mode=0o700, exist_ok=True)
        return {
            "settings": self._door_settings.model_dump(mode="json"),
            "schemas": self._schema_texts(),
            "number": number,
            "index": index,
            "key": self._key,
            "family": self.sftp.family if isinstance(self.sftp, Doors) else 0,
        }

    def descriptors(self) -> dict[int, int]:
        """Which of our descriptors a door process gets."""
        if self._tally is None:
            self._counts, self._tally = counts.make(self.settings.service.processes)
        return {LOG: self.log.fileno(), COMPLAINTS: 2, MARK: self._mark, COUNTS: self._counts}

    def tidy(self, number: int, index: int) -> Deferred[None]:
        """A door process has ended: nothing of it counts any more, and what it left on the spool goes."""
        if self._tally is not None:
            self._tally.forget(index)
        return self.intake.tidy(own_spool(self.settings, number))

    def heard(self, message: Mapping[str, Any]) -> None:
        """What a door process tells."""
        if "stored" in message:
            self.processing.runner.nudge()
        elif "counted" in message:
            self._counted(message["counted"])
        else:
            self.login.hear(message)

    def replace_doors(self) -> None:
        """Fresh door processes, one after another, with the settings that are in the file now."""
        if not isinstance(self.sftp, Doors):
            self._log.warn("nothing to replace: service.processes is 1")
            return
        try:
            fresh = load(self.settings.file)
            self._load_host_keys(fresh)
        except PipeError as error:
            self.events.note(events.DOORS_KEPT, reason=str(error))
            return
        sections = {name: getattr(fresh, name) for name in OF_DOORS}
        self._door_settings = self.settings.model_copy(update=sections)
        self.sftp.roll()

    def _schema_texts(self) -> dict[str, str]:
        return {name: self.schemas.text(name) or "" for name in self.schemas.names()}

    def hurry(self) -> None:
        """While stopping: end running uploads and pushes now."""
        self.sftp.drain(0)
        if self.web is not None:
            self.web.drain(0)
        for runner in (self.processing.pushes, self.processing.notices):
            if runner is not None:
                runner.hurry()

    async def _stop(self) -> None:
        began = self.reactor.seconds()
        seconds = self.settings.service.drain_s
        super().stopService()
        if self._starting is not None and not self._starting.called:
            self._starting.cancel()
        uploads = self.sftp.uploads if isinstance(self.sftp, Doors) else self.intake.live
        self.events.note(events.SERVICE_DRAINING, uploads=uploads, seconds=seconds)
        if self._looking.running:
            self._looking.stop()
        if self._telling.running:
            self._telling.stop()
            self._lag.stop()
        if self.manifests.running:
            await self.manifests.stopService()
        if self.processing.running:
            self.processing.drain_pushes()
        web = succeed(None) if self.web is None else self.web.drain(seconds)
        await close_door(self.intake, self.sftp, seconds, self.reactor)
        await web
        if self.web is not None:
            await self.web.stopService()
        if self.processing.running:
            await self.processing.stopService()
        self.progress.stop()
        await self.loaders.stop()
        await self.database.close()
        await maybeDeferred(self.disk.stop)
        await maybeDeferred(self.files.stop)
        self.presence.leave()
        self.events.note(events.SERVICE_STOPPED, seconds=self.reactor.seconds() - began)

    def _look_at_schemas(self) -> None:
        problem = ""
        changed = False
        try:
            changed = self.schemas.refresh()
        except Mistakes as error:
            problem = "; ".join(error.mistakes)
        if problem and problem != self._schema_problem:
            self.events.note(events.SCHEMAS_REFUSED, problem=problem)
        elif changed or (self._schema_problem and not problem):
            self.events.note(events.SCHEMAS_LOADED, names=", ".join(self.schemas.names()))
        if isinstance(self.sftp, Doors) and (texts := self._schema_texts()) != self._texts_told:
            self._texts_told = texts
            self.sftp.tell(schemas=texts)
        self._schema_problem = problem
