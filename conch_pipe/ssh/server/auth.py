"""Login by password, one attempt at a time, bounded, and exactly one identity for each connection.

The portal decides who may log in and how long a refusal takes. Counts live on the transport, which outlives
this service.
"""

from __future__ import annotations

import traceback
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from twisted.conch.interfaces import IConchUser
from twisted.conch.ssh import userauth
from twisted.conch.ssh.transport import DISCONNECT_NO_MORE_AUTH_METHODS_AVAILABLE
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred
from zope.interface import implementer

from conch_pipe.ssh.fields import Reader, string
from conch_pipe.ssh.interfaces import IPasswordAttempt, Peer
from conch_pipe.ssh.server.connection import PutConnection
from conch_pipe.ssh.server.penalties import Offence

if TYPE_CHECKING:
    from conch_pipe.ssh.server.transport import PutTransport

_METHODS = string(b"password")


@implementer(IPasswordAttempt)
class PasswordAttempt:
    """One user name and password with where they came from. Its repr shows neither."""

    def __init__(self, username: bytes, password: bytes, peer: Peer) -> None:
        self.username = username
        self.password = password
        self.address = peer.address
        self.port = peer.port
        self.banner = peer.banner
        self.session = peer.session

    def checkPassword(self, password: bytes) -> bool:
        """Part of IUsernamePassword, for checkers that keep plain passwords."""
        return self.password == password


@dataclass(slots=True)
class LoginState:
    """What a connection has tried so far."""

    requests: int = 0
    failures: int = 0
    attempts: int = 0  # passwords, whatever came of them
    checking: bool = False
    waiting: deque[bytes] = field(default_factory=deque)


class PasswordAuth(userauth.SSHUserAuthServer):
    """The service ssh-userauth."""

    transport: PutTransport

    def serviceStarted(self) -> None:
        """The client asked for it; the transport allows that once."""

    def serviceStopped(self) -> None:
        """Logged in, or gone."""
        self.transport.login.waiting.clear()

    def packetReceived(self, messageNum: int, packet: bytes) -> None:
        """A login request: no other message is let through before login.

        :raises Malformed: the transport disconnects then.
        """
        state, limits = self.transport.login, self.transport.limits
        state.requests += 1
        if state.requests > limits.auth_requests or len(state.waiting) >= limits.auth_queue:
            self._no_more(b"too many login requests")
            return
        state.waiting.append(packet)
        self._next()

    def _next(self) -> None:
        state = self.transport.login
        while state.waiting and not state.checking and self.transport.open_for_login:
            self._request(Reader(state.waiting.popleft()))

    def _request(self, reader: Reader) -> None:
        """Check one request; the reply comes now or when the portal has decided."""
        user, service, method = reader.string(), reader.string(), reader.string()
        limits = self.transport.limits
        if method != b"password":
            # "none" asks which methods there are; a key or keyboard-interactive is not offered. Nothing was guessed.
            self._refuse()
            return
        self.transport.login.attempts += 1
        change, password = reader.flag(), reader.string()
        if change:
            reader.string()
        reader.end()
        bounded = 0 < len(user) <= limits.user_name and len(password) <= limits.password
        if change or not bounded or service != PutConnection.name:
            transport = self.transport
            transport.factory.offence(transport, Offence.WRONG)
            self._failed()
            return
        attempt = PasswordAttempt(user, password, self.transport.peer)
        self.transport.login.checking = True
        Deferred.fromCoroutine(self._check(attempt))

    async def _check(self, attempt: PasswordAttempt) -> None:
        state, transport = self.transport.login, self.transport
        try:
            _, avatar, logout = await self.portal.login(attempt, transport.peer, IConchUser)
        except UnauthorizedLogin:
            accepted = False
            if transport.open_for_login:  # else it was put off: nobody could tell whether the password was right
                transport.factory.offence(transport, Offence.WRONG)
        except Exception as error:  # noqa: BLE001 - a door's edge: the checker's fault is a refusal, and no secret is told
            self._log_fault(error)
            accepted = False
        else:
            accepted = self._log_in(avatar, logout)
        state.checking = False
        if not accepted and transport.open_for_login:
            self._failed()
            self._next()

    @property
    def portal(self) -> Any:
        """The factory's portal."""
        return self.transport.factory.portal

    def _log_in(self, avatar: object, logout: Any) -> bool:
        transport = self.transport
        if not transport.open_for_login:
            # It came too late: the client is gone. Without this the avatar would never be logged out.
            logout()
            return False
        transport.logged_in(avatar, logout)
        transport.factory.welcomed(transport)
        transport.sendPacket(userauth.MSG_USERAUTH_SUCCESS, b"")
        transport.setService(PutConnection())
        return True

    def _failed(self) -> None:
        state, limits = self.transport.login, self.transport.limits
        state.failures += 1
        if state.failures >= limits.auth_failures:
            self._no_more(b"too many failed logins")
        else:
            self._refuse()

    def _refuse(self) -> None:
        self.transport.sendPacket(userauth.MSG_USERAUTH_FAILURE, _METHODS + b"\x00")

    def _no_more(self, why: bytes) -> None:
        self.transport.factory.refused(self.transport.peer.address, why.decode())
        self.transport.sendDisconnect(DISCONNECT_NO_MORE_AUTH_METHODS_AVAILABLE, why)

    def _log_fault(self, error: BaseException) -> None:
        # Only type and place: the text of an exception may repeat what was checked.
        frames = traceback.extract_tb(error.__traceback__)
        self._log.error(
            "checking a password failed with {kind} at {place}",
            kind=type(error).__name__,
            place=", ".join(f"{frame.filename}:{frame.lineno}" for frame in frames[-5:]),
        )
