"""Connect to an SFTP server: one call, two deadlines, one session or one exception that says what was wrong.

Decides nothing about addresses, pins or retries; its user does.
"""

from __future__ import annotations

from typing import Any

from twisted.internet import error
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from conch_pipe.ssh.client.auth import Credentials
from conch_pipe.ssh.client.errors import (
    ClientError,
    ConnectionEnded,
    ConnectionRefused,
    NameNotFound,
    TooLate,
    Unreachable,
)
from conch_pipe.ssh.client.limits import ClientLimits
from conch_pipe.ssh.client.tcp import endpoint
from conch_pipe.ssh.client.transport import ClientTransport
from conch_pipe.ssh.sftp.client import SFTPClient
from conch_pipe.ssh.transport.algorithms import CLIENT, Agreed, Algorithms

__all__ = ["ClientSession", "connect", "endpoint"]


class ClientSession:
    """A connection that is logged in and speaks SFTP.

    :ivar sftp: all that can be asked.
    :ivar host_key: the blob that the policy trusted.
    :ivar server_version: the server's version line, printable ASCII.
    :ivar ended: fires with None when the connection is gone, whatever the reason.
    """

    def __init__(self, transport: ClientTransport, sftp: SFTPClient) -> None:
        self._transport = transport
        self.sftp = sftp
        self.host_key: bytes = transport.host_key or b""
        self.server_version = transport.server_version
        self.ended = transport.ended

    @property
    def agreed(self) -> Agreed | None:
        """The algorithms in use."""
        return self._transport.agreed

    @property
    def rekeyings(self) -> int:
        """How often the keys were changed."""
        return self._transport.rekeyings

    @property
    def error(self) -> ClientError | None:
        """Why the session can be used no more; None while it can."""
        return self.sftp.over

    def close(self) -> Deferred[None]:
        """Leave. What still waits fails.

        :returns: fires when the connection is gone.
        """
        self._transport.leave()
        waiter: Deferred[None] = Deferred()
        self.ended.addBoth(lambda _: waiter.callback(None))
        return waiter


def connect(
    reactor: Any,
    endpoint: Any,
    credentials: Credentials,
    policy: Any,
    algorithms: Algorithms = CLIENT["default-2026"],
    limits: ClientLimits | None = None,
) -> Deferred[ClientSession]:
    """Connect, check the host key, log in, start SFTP.

    :param reactor: an IReactorTime.
    :param endpoint: an IStreamClientEndpoint; :func:`endpoint` makes the fastest. A ClientError it fails with is told
        as it is.
    :param policy: an IHostKeyPolicy.
    :returns: a ClientSession, or fails with a ClientError; then the connection is closed. Cancelling it closes too.
    """
    try:
        attempt = _Attempt(reactor, endpoint, credentials, policy, algorithms, limits or ClientLimits())
    except ClientError as error:
        return fail(error)
    return attempt.start()


class _Attempt:
    """One connect: whichever comes first, the session, an error, a deadline or the caller's cancelling, wins."""

    def __init__(
        self,
        reactor: Any,
        endpoint: Any,
        credentials: Credentials,
        policy: Any,
        algorithms: Algorithms,
        limits: ClientLimits,
    ) -> None:
        self._endpoint = endpoint
        self._limits = limits
        self._clock = reactor
        self._transport = ClientTransport(credentials, policy, algorithms, limits, reactor)
        self._result: Deferred[ClientSession] = Deferred(lambda _: self._cancelled())
        self._timer: IDelayedCall | None = None
        self._connecting: Deferred[Any] | None = None
        self._over = False

    def start(self) -> Deferred[ClientSession]:
        """Begin; the first deadline runs from here."""
        self._wait(self._limits.connect_s)
        self._transport.keyed.addCallback(self._keyed)
        self._transport.ready.addCallbacks(self._ready, lambda failure: self._stop(failure.value))
        factory = Factory.forProtocol(lambda: self._transport)
        factory.noisy = False
        self._connecting = self._endpoint.connect(factory)
        self._connecting.addCallbacks(self._connected, self._not_connected)
        return self._result

    def _connected(self, _: object) -> None:
        self._connecting = None

    def _not_connected(self, failure: Failure) -> None:
        self._connecting = None
        self._stop(_explained(failure, self._limits.connect_s))

    def _ready(self, sftp: SFTPClient) -> None:
        if self._end():
            self._result.callback(ClientSession(self._transport, sftp))

    def _keyed(self, _: None) -> None:
        if not self._over:
            self._wait(self._limits.login_s)

    def _wait(self, seconds: float) -> None:
        """From now on there are so many seconds; what was left of the others is void."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._clock.callLater(seconds, self._late, seconds)

    def _late(self, seconds: float) -> None:
        self._timer = None
        self._stop(TooLate(self._transport.stage, seconds))

    def _cancelled(self) -> None:
        why = ConnectionEnded("cancelled")
        self._stop(why)
        self._tell(why)

    def _stop(self, why: ClientError) -> None:
        """The first error is told when the connection is gone, which it is at once unless the socket is full."""
        if not self._end():
            return
        self._transport.fail(why)
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            connecting.cancel()
        if self._transport.transport is None:
            self._tell(why)
        else:
            self._transport.ended.addCallback(lambda _: self._tell(why))

    def _tell(self, why: ClientError) -> None:
        if not self._result.called:
            self._result.errback(why)

    def _end(self) -> bool:
        """Whether this is the first end."""
        first, self._over = not self._over, True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return first


def _explained(failure: Failure, seconds: float) -> ClientError:
    """What an endpoint fails with, in our words; the original is the cause."""
    problem = failure.value
    if isinstance(problem, ClientError):
        return problem
    explained: ClientError
    if isinstance(problem, error.DNSLookupError):
        explained = NameNotFound("the host's name has no address")
    elif isinstance(problem, error.ConnectionRefusedError):
        explained = ConnectionRefused("nobody listens there")
    elif isinstance(problem, error.TimeoutError | error.TCPTimedOutError | CancelledError):
        explained = TooLate("connect", seconds)
    else:
        explained = Unreachable(f"the host cannot be reached ({type(problem).__name__})")
    explained.__cause__ = problem
    return explained
