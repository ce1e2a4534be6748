"""The SFTP door as a Twisted service: listens, watches, drains. Puts the room together, decides nothing itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from twisted.application.service import Service
from twisted.conch.ssh.keys import Key
from twisted.conch.ssh.transport import DISCONNECT_BY_APPLICATION
from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IListeningPort, IReactorTime, IStreamServerEndpoint
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from conch_pipe.errors import PipeError
from conch_pipe.interfaces import ICredentials, IEvents, IIntake, ILogin, IUploads
from conch_pipe.sftp.listener import ConnectionEvents
from conch_pipe.sftp.login import PasswordChecker
from conch_pipe.sftp.realm import PutRealm
from conch_pipe.sftp.visits import Visits
from conch_pipe.sftp.watch import Watch
from conch_pipe.ssh.interfaces import FileSystemStatus
from conch_pipe.ssh.limits import Limits
from conch_pipe.ssh.server.factory import PutFactory
from conch_pipe.ssh.transport.tcp import hasten

_LOOK_S = 0.25


@dataclass(frozen=True, slots=True)
class Rules:
    """Numbers of this room; those of the wire are in ssh.limits.

    :param connections_per_client: logged-in connections of one client_id.
    :param files_remembered: files one connection is shown in its listings.
    :param elsewhere_s: seconds for which STAT on another connection of the client knows an upload.
    :param leftover_s: seconds a complete file waits under its temporary name for RENAME.
    """

    connections_per_client: int = 10
    files_remembered: int = 5000
    elsewhere_s: float = 600.0
    leftover_s: float = 600.0


class SFTPService(Service):
    """Listens for partners.

    :param endpoint: where; its ``listen`` must answer at once, as Twisted's own do.
    :param host_keys: private Ed25519 and RSA keys.
    :param login: who may come in; started and stopped with the service.
    :param disk: gives the spool's numbers for statvfs.
    :param door: what PutFactory may be told besides: ``tally``, ``seconds``, ``penalty_exempt``, ``proxy_from``.
    :param say: sends a message to the other processes that listen, when there are some; they get it by ``hear``.
    """

    name = "sftp"  # type: ignore[assignment]  # twisted declares None

    def __init__(
        self,
        endpoint: IStreamServerEndpoint,
        host_keys: Sequence[Key],
        *,
        intake: IIntake,
        uploads: IUploads,
        credentials: ICredentials,
        events: IEvents,
        clock: IReactorTime,
        login: ILogin,
        disk: Callable[[], FileSystemStatus],
        limits: Limits,
        rules: Rules,
        door: Mapping[str, Any] | None = None,
        say: Callable[..., None] | None = None,
    ) -> None:
        self._endpoint: Any = endpoint
        self._clock = clock
        self._login: Any = login
        self._uploads: Any = uploads
        self._alone = say is None  # every upload passes here
        self.visits = Visits(
            clock,
            self._disconnect,
            per_client=rules.connections_per_client,
            remembered=rules.files_remembered,
            keep_s=rules.elsewhere_s,
            leftover_s=rules.leftover_s,
            tally=(door or {}).get("tally"),
            say=say,
        )
        checker = PasswordChecker(login, events, self._disconnect, self._waits)
        realm = PutRealm(self.visits, intake, uploads, events, disk)
        listener = ConnectionEvents(self.visits, events)
        self._factory = PutFactory(Portal(realm, [checker]), host_keys, listener, clock, limits, **(door or {}))
        self._watch = Watch(self.visits, credentials, login, events, clock)
        self._port: IListeningPort | None = None
        self._drain_by: float | None = None

    @property
    def port(self) -> int:
        """The TCP port in use.

        :raises RuntimeError: not listening.
        """
        if self._port is None:
            raise RuntimeError("the SFTP service is not listening")
        address: Any = self._port.getHost()
        return int(address.port)

    @property
    def connections(self) -> int:
        """How many there are, logged in or not."""
        return len(self._factory.live())

    def startService(self) -> None:
        """Listen; an address that cannot be had stops the start.

        :raises twisted.internet.error.CannotListenError: somebody else has the port.
        """
        failures: list[Failure] = []
        self._endpoint.listen(self._factory).addCallbacks(self._listening, failures.append)
        for failure in failures:
            failure.raiseException()
        self._login.start()
        self._watch.start()
        if self._alone:
            self._uploads.newest().addCallbacks(self._know_the_past, lambda failure: failure.trap(PipeError) and None)
        super().startService()

    def stopService(self) -> Deferred[None]:
        """End all connections and stop; :meth:`drain` before it lets running puts finish."""
        return Deferred.fromCoroutine(self._stop())

    def hear(self, message: Mapping[str, Any]) -> None:
        """What another process said."""
        if not self.visits.neighbours.hear(message):
            self._login.hear(message)

    async def shut(self) -> None:
        """Take no new connections; those that are here go on as before."""
        port, self._port = self._port, None
        if port is not None:
            await maybeDeferred(port.stopListening)

    def drain(self, seconds: float) -> Deferred[None]:
        """Take no new connections, logins and files; end all connections once no put is running.

        :param seconds: how long running puts may take at most.
        :returns: Deferred that fires when no connection is left.
        """
        return Deferred.fromCoroutine(self._drain(seconds))

    def _know_the_past(self, newest: datetime | None) -> None:
        """What was taken before this start. When the catalog does not tell, it is asked at every STAT."""
        self.visits.newest_elsewhere = -math.inf if newest is None else newest.timestamp()

    def _listening(self, port: IListeningPort) -> None:
        hasten(port)
        self._port = port

    async def _stop(self) -> None:
        await self._drain(0)
        self._watch.stop()
        if self.running:
            super().stopService()
            self._login.stop()

    async def _drain(self, seconds: float) -> None:
        by = self._clock.seconds() + seconds
        self._drain_by = by if self._drain_by is None else min(by, self._drain_by)
        self.visits.draining = True
        await self.shut()
        for connection in self._factory.live():
            if not connection.avatar_known:
                connection.sendDisconnect(DISCONNECT_BY_APPLICATION, b"shutting down")
        while self.visits.running() and self._clock.seconds() < self._drain_by:
            await deferLater(self._clock, _LOOK_S)
        self._factory.end_all()
        await self._factory.drain()

    def _disconnect(self, session: str, text: str) -> None:
        connection = self._factory.find(session)
        if connection is not None:
            connection.sendDisconnect(DISCONNECT_BY_APPLICATION, text)

    def _waits(self, session: str) -> bool:
        connection = self._factory.find(session)
        return connection is not None and connection.open_for_login
