"""A connection that a trusted proxy made: waits for its header, then is a connection of the client it names."""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.python.failure import Failure

from conch_pipe.ssh.fields import Malformed
from conch_pipe.ssh.server.proxy_protocol import Header, parse

HEADER_S = 5.0  # a proxy sends its header with the first packet
_READING = ("dataReceived", "roomForData", "dataCame")  # what transports call: Twisted's, and those that fill buffers


class Arrivals(Protocol):
    """The factory's part."""

    def named(self, arrival: BehindProxy, header: Header) -> Any:
        """The connection of the client that the header names; None: it may not come in."""

    def nameless(self, arrival: BehindProxy, problem: str | None) -> None:
        """It is gone, or there was a problem and it is being cut, before it had a name."""


class BehindProxy(TwistedProtocol):
    """:param address: the proxy's.
    :param port: the proxy's.
    """

    transport: Any

    def __init__(self, factory: Arrivals, address: str, port: int, clock: IReactorTime) -> None:
        self.address = address
        self.port = port
        self._arrivals = factory
        self._clock = clock
        self._data = b""
        self._deadline: IDelayedCall | None = None
        self._connection: Any = None
        self._over = False

    def connectionMade(self) -> None:
        """The header must come soon."""
        self._deadline = self._clock.callLater(HEADER_S, self._late)

    def dataReceived(self, data: bytes) -> None:
        """The header, and whatever came with it; all else goes to the connection without us."""
        if self._over:
            return
        self._data += data
        try:
            header = parse(self._data)
        except Malformed as error:
            self._end(str(error))
            return
        if header is None:
            return
        rest, self._data = self._data[header.consumed :], b""
        self._stop_clock()
        connection = self._arrivals.named(self, header)
        if connection is None:
            self._over = True
            self.transport.abortConnection()
            return
        self._connection = connection
        for name in _READING:  # nothing in between for each read
            if hasattr(connection, name):
                setattr(self, name, getattr(connection, name))
        connection.makeConnection(self.transport)
        if rest:
            connection.dataReceived(rest)

    def connectionLost(self, reason: Failure | None = None) -> None:
        """Gone: a proxy may come and go without a word to see whether we live."""
        if self._connection is not None:
            self._connection.connectionLost(reason)
        elif not self._over:
            self._over = True
            self._stop_clock()
            self._arrivals.nameless(self, None)

    def abort(self) -> None:
        """Cut it: it has no name yet, and nobody to say goodbye to."""
        self._end(None)

    def _late(self) -> None:
        self._deadline = None
        self._end("no PROXY header came")

    def _end(self, problem: str | None) -> None:
        if not self._over:
            self._over = True
            self._stop_clock()
            self._arrivals.nameless(self, problem)
            self.transport.abortConnection()

    def _stop_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
