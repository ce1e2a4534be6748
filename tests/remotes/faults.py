"""A TCP proxy on 127.0.0.1 that does harm: delays, throttles, cuts after so many bytes, resets, stalls, half-closes."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol

from tests.remotes.lines import Line, Trouble


class _Side(Protocol):
    """One end of a pair; ``line`` carries what is received here to the other end."""

    line: Line | None = None
    other: _Side | None = None

    def __init__(self, proxy: FaultProxy) -> None:
        self.proxy = proxy
        self.early = b""

    def connectionMade(self) -> None:
        self.proxy.sides.add(self)

    def dataReceived(self, data: bytes) -> None:
        if self.line is None:
            self.early += data
        else:
            self.line.feed(data)

    def join(self, other: _Side, trouble: Trouble) -> None:
        """What comes here goes there."""
        self.other = other
        self.line = Line(self.proxy.reactor, trouble, other.transport.write, self._end)
        early, self.early = self.early, b""
        self.line.feed(early)

    def _end(self, how: str) -> None:
        assert self.other is not None
        if how == "reset":
            self.transport.abortConnection()
            self.other.transport.abortConnection()
        elif how == "close":
            self.transport.loseConnection()
            self.other.transport.loseConnection()
        elif how == "half_close":
            self.other.transport.loseWriteConnection()

    def connectionLost(self, reason: Any = None) -> None:
        self.proxy.sides.discard(self)
        if self.line is not None:
            self.line.stop()
        if self.other is not None:
            self.other.transport.loseConnection()
        self.proxy.look()


class FaultProxy:
    """Listens on a port and connects each that comes to another.

    :param up: what is wrong with what the client sends.
    :param down: what is wrong with what the server sends.
    """

    def __init__(self, reactor: Any, port: int, up: Trouble | None = None, down: Trouble | None = None) -> None:
        self.reactor = reactor
        self.upstream = port
        self.up = up or Trouble()
        self.down = down or Trouble()
        self.sides: set[_Side] = set()
        self.port = 0
        self.connections = 0
        self._listening: Any = None
        self._empty: Deferred[None] | None = None

    async def start(self) -> FaultProxy:
        """Listen."""
        factory = Factory.forProtocol(lambda: _Accepted(self))
        factory.noisy = False
        self._listening = await TCP4ServerEndpoint(self.reactor, 0, interface="127.0.0.1").listen(factory)
        self.port = self._listening.getHost().port
        return self

    async def stop(self) -> None:
        """Listen no more; ends when the last connection has."""
        await self._listening.stopListening()
        for side in list(self.sides):
            side.transport.abortConnection()
        if self.sides:
            self._empty = Deferred()
            await self._empty

    def look(self) -> None:
        """Whether all have gone."""
        if not self.sides and self._empty is not None:
            empty, self._empty = self._empty, None
            empty.callback(None)


class _Accepted(_Side):
    def connectionMade(self) -> None:
        super().connectionMade()
        self.proxy.connections += 1
        factory = Factory.forProtocol(lambda: _Side(self.proxy))
        factory.noisy = False
        connecting = TCP4ClientEndpoint(self.proxy.reactor, "127.0.0.1", self.proxy.upstream).connect(factory)
        connecting.addCallbacks(self._joined, lambda _: self.transport.abortConnection())

    def _joined(self, server: _Side) -> None:
        server.join(self, self.proxy.down)
        self.join(server, self.proxy.up)
