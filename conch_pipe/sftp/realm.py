"""From a checked client to its avatar: the visit, and an SFTP server object for each channel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

from twisted.conch.avatar import ConchUser
from twisted.conch.interfaces import IConchUser
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import IRealm
from zope.interface import implementer

from conch_pipe import events
from conch_pipe.errors import PipeError
from conch_pipe.interfaces import IEvents, IIntake, IUploads
from conch_pipe.model import Client
from conch_pipe.sftp.session import PutSession
from conch_pipe.sftp.visits import Visit, Visits
from conch_pipe.ssh.interfaces import FileSystemStatus, IPutServer, Security

# What a login's event tells of its protection.
_TOLD = tuple(one.name for one in fields(Security) if one.name != "retiring")


def _protection(security: Security | None) -> dict[str, Any]:
    return {} if security is None else {name: getattr(security, name) for name in _TOLD}


class Partner(ConchUser):
    """A logged-in client on one connection; adapted to IPutServer once per SFTP channel."""

    def __init__(self, visit: Visit, session: Callable[[Visit], PutSession]) -> None:
        super().__init__()
        self.visit = visit
        self._session = session

    def __conform__(self, interface: Any) -> PutSession | None:
        """Zope's hook for adapting; ISFTPServer is what Conch's own protocol asks for."""
        return self._session(self.visit) if IPutServer.isOrExtends(interface) else None


@implementer(IRealm)
class PutRealm:
    """Makes the avatars.

    :param visits: all logged-in connections; refuses too many of one client.
    :param disk: gives the spool's numbers for statvfs.
    """

    def __init__(
        self,
        visits: Visits,
        intake: IIntake,
        uploads: IUploads,
        events: IEvents,
        disk: Callable[[], FileSystemStatus],
    ) -> None:
        self._visits = visits
        self._intake = intake
        self._uploads = uploads
        self._events = events
        self._disk = disk

    def requestAvatar(
        self, avatarId: object, mind: object, *interfaces: Any
    ) -> tuple[Any, Partner, Callable[[], None]]:
        """See IRealm.

        :param avatarId: a model.Client, from ``login``.
        :param mind: an ssh.interfaces.Peer.
        :raises UnauthorizedLogin: too many connections of the client, or draining; the client was told and is cut off.
        """
        if IConchUser not in interfaces:
            raise NotImplementedError("only IConchUser")
        assert isinstance(avatarId, Client)
        client = avatarId
        try:
            visit = self._visits.open(client)
        except PipeError as error:
            # As a refused login it would look like a wrong secret, and somebody would go and change it.
            self._events.note(events.SESSION_REFUSED, address=client.peer.address, reason=error.message)
            self._visits.disconnect(client.peer.session, error.message)
            raise UnauthorizedLogin(error.message) from error
        security: Security | None = getattr(mind, "security", None)
        self._events.note(
            events.LOGIN_SUCCEEDED,
            client_id=client.client_id,
            organisation=client.organisation,
            address=client.peer.address,
            banner=client.peer.banner,
            session=client.peer.session,
            **_protection(security),
        )
        if security is not None and security.retiring:
            self._events.note(
                events.HOST_KEY_OLD,
                client_id=client.client_id,
                organisation=client.organisation,
                address=client.peer.address,
                banner=client.peer.banner,
                session=client.peer.session,
                host_key=security.host_key,
            )
        return IConchUser, Partner(visit, self._channel), lambda: self._visits.close(visit)

    def _channel(self, visit: Visit) -> PutSession:
        return PutSession(visit, self._visits, self._intake, self._uploads, self._events, self._disk)
