"""TCP connections to other servers: large buffers go to the socket from where they lie, small ones as ever.

Twisted copies what the socket does not take at once. Here the rest of a large buffer waits in place, and whatever is
written meanwhile waits behind it.
"""

from __future__ import annotations

from collections.abc import Callable
from errno import EAGAIN, EWOULDBLOCK
from typing import Any

from twisted.internet import main, tcp
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.interfaces import IReactorPluggableNameResolver
from zope.interface import directlyProvides

from conch_pipe.ssh.transport.tcp import Client

_FULL = (EAGAIN, EWOULDBLOCK)


class PushingClient(Client):
    """A connection that can ``push``."""

    producer: Any
    _rest: list[memoryview] | None = None  # of a push
    _pushed: Callable[[], None] | None = None
    _behind: list[bytes] | None = None  # written since
    _behind_size = 0

    @property
    def behind(self) -> bool:
        """The socket has not taken all that was written."""
        return self._rest is not None or bool(self.dataBuffer) or bool(self._tempDataLen)

    def push(self, views: list[memoryview], pushed: Callable[[], None]) -> bool:
        """Send buffers, in order; nothing may be :attr:`behind`.

        :returns: whether all is sent; else the buffers must stay as they are until ``pushed`` is called, and they may
            be used again in it.
        """
        left = self._send(views)
        if not left:
            return True
        self._rest, self._pushed, self._behind, self._behind_size = left, pushed, [], 0
        self.startWriting()
        return False

    def _send(self, views: list[memoryview]) -> list[memoryview]:
        """What the socket does not take now. A broken connection shows itself when the reactor sends."""
        try:
            sent = self.socket.sendmsg(views)
        except OSError:
            return views
        for at, view in enumerate(views):
            if sent < len(view):
                return [view[sent:], *views[at + 1 :]]
            sent -= len(view)
        return []

    def write(self, data: bytes) -> None:
        """See FileDescriptor."""
        if self._rest is None:
            super().write(data)
            return
        assert self._behind is not None
        self._behind.append(data)
        self._behind_size += len(data)
        if self._behind_size > self.bufferSize and self.producer is not None and not self.producerPaused:
            self.producerPaused = True
            self.producer.pauseProducing()

    def doWrite(self) -> Any:
        """See FileDescriptor."""
        if self._rest is None:
            return super().doWrite()
        try:
            sent = self.socket.sendmsg(self._rest)
        except OSError as error:
            return None if error.errno in _FULL else main.CONNECTION_LOST
        while sent and sent >= len(self._rest[0]):
            sent -= len(self._rest.pop(0))
        if self._rest:
            self._rest[0] = self._rest[0][sent:]
            return None
        pushed, behind = self._pushed, self._behind
        self._rest = self._pushed = self._behind = None
        self.stopWriting()
        if behind:
            super().write(b"".join(behind))
        if self.disconnecting:
            self.startWriting()  # Twisted's own closes when it finds nothing to send
        elif self.producerPaused and self.producer is not None and not self.behind:
            self.producerPaused = False
            self.producer.resumeProducing()
        if pushed is not None:
            pushed()
        return None

    def connectionLost(self, reason: Any) -> None:
        """See IProtocol's."""
        self._rest = self._pushed = self._behind = None
        super().connectionLost(reason)


class PushingConnector(tcp.Connector):
    """Makes such connections."""

    def _makeTransport(self) -> PushingClient:
        return PushingClient(self.host, self.port, self.bindAddress, self, self.reactor)


class PushingReactor:
    """A reactor whose ``connectTCP`` makes such connections: endpoints ask for nothing else that differs."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        if IReactorPluggableNameResolver.providedBy(reactor):
            directlyProvides(self, IReactorPluggableNameResolver)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def connectTCP(
        self, host: str, port: int, factory: Any, timeout: float = 30, bindAddress: Any = None
    ) -> PushingConnector:
        """See IReactorTCP."""
        connector = PushingConnector(host, port, factory, timeout, bindAddress, self._reactor)
        connector.connect()
        return connector


def endpoint(reactor: Any, host: str, port: int, timeout_s: float = 30.0) -> Any:
    """An IStreamClientEndpoint to a host by name or address; several addresses are tried as RFC 8305 says.

    :raises ValueError: the host is empty or has a control character or a blank in it.
    """
    if not host or not all("!" <= c != "\x7f" for c in host):
        raise ValueError("a host's name is empty or has a control character or a blank in it")  # CVE-2025-61985
    pushing = PushingReactor(reactor)
    if isIPAddress(host):
        return TCP4ClientEndpoint(pushing, host, port, timeout_s)
    if isIPv6Address(host):
        return TCP6ClientEndpoint(pushing, host, port, timeout_s)
    return HostnameEndpoint(pushing, host, port, timeout_s)
