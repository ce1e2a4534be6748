"""Logging in over SSH: the login core's answer as Twisted's cred has it. Decides nothing itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from conch_pipe import events
from conch_pipe.errors import Code, PipeError
from conch_pipe.interfaces import IEvents, ILogin
from conch_pipe.model import Peer
from conch_pipe.ssh.interfaces import IPasswordAttempt


@implementer(ICredentialsChecker)
class PasswordChecker:
    """Checks an ssh.interfaces.IPasswordAttempt.

    :param disconnect: ends a connection that cannot be told yes or no now: session id and text for the client.
    :param waits: whether a connection, by its session id, is there and still waits for an answer.
    """

    credentialInterfaces = (IPasswordAttempt,)
    _log = Logger(namespace="conch_pipe.sftp")

    def __init__(
        self, login: ILogin, events: IEvents, disconnect: Callable[[str, str], None], waits: Callable[[str], bool]
    ) -> None:
        self._login: Any = login
        self._events = events
        self._disconnect = disconnect
        self._waits = waits

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        """See ICredentialsChecker.

        :returns: Deferred of a model.Client; fails with UnauthorizedLogin whatever was wrong. When nobody could tell
            (too many checks wait, the catalog cannot be asked) the connection is ended with a text first.
        """
        peer = Peer(credentials.address, credentials.port, credentials.banner, credentials.session)
        checked: Deferred[Any] = self._login.check(
            credentials.username, credentials.password, peer, lambda: self._waits(peer.session)
        )
        return checked.addErrback(self._refused, peer)

    def _refused(self, failure: Failure, peer: Peer) -> None:
        failure.trap(PipeError)
        error: Any = failure.value
        if error.code is Code.UNAUTHORIZED:
            raise UnauthorizedLogin(error.message) from error
        self._log.warn("a login from {address} was put off: {problem}", address=peer.address, problem=str(error))
        self._events.note(events.SESSION_REFUSED, address=peer.address, reason=error.message)
        self._disconnect(peer.session, error.message)
        raise UnauthorizedLogin("try again later") from error
