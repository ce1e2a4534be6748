"""TCP connections that read into the protocol's own buffer and send at once what the socket takes.

Twisted's own read a new ``bytes`` of 64 KiB each time and send on the next round of the reactor. Subclasses of them;
anything else about a connection stays Twisted's.
"""

from __future__ import annotations

from errno import EAGAIN, EWOULDBLOCK
from functools import partial
from typing import Any, Protocol

from twisted.internet import main, tcp
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.python.failure import Failure

from conch_pipe.ssh.transport.vigil import Vigil


class BufferedProtocol(Protocol):
    """What such a connection needs of its protocol, besides IProtocol."""

    def roomForData(self) -> memoryview:
        """Where the next bytes go; not empty."""

    def dataCame(self, count: int) -> None:
        """So many bytes were written there."""


class Buffered:
    """Mixed into Twisted's connections."""

    protocol: Any
    socket: Any
    vigil: Vigil | None = None

    def doRead(self) -> ConnectionLost | ConnectionDone | None:
        """See tcp.Connection."""
        protocol = self.protocol
        room = getattr(protocol, "roomForData", None)
        if room is None:
            return super().doRead()  # type: ignore[misc]
        try:
            count = self.socket.recv_into(room())
        except OSError as error:
            return None if error.errno in (EAGAIN, EWOULDBLOCK) else main.CONNECTION_LOST
        if not count:
            return main.CONNECTION_DONE
        vigil = self.vigil
        if vigil is not None:
            vigil.heard(self, count)
        protocol.dataCame(count)
        return None

    def write(self, data: bytes) -> None:
        """See FileDescriptor; what can be sent now is not queued, which saves a round of the reactor."""
        this: Any = self
        if this.connected and not (this.dataBuffer or this._tempDataLen or this._writeDisconnected):
            try:
                sent = self.socket.send(data)
            except OSError:
                sent = 0  # a broken connection shows itself when the reactor sends
            if sent == len(data):
                if self.vigil is not None:
                    self.vigil.told(self)
                return
            data = data[sent:]
        super().write(data)  # type: ignore[misc]

    def loseConnection(self) -> None:
        """See FileDescriptor; with nothing left to send there is no need to wait until the socket takes something."""
        this: Any = self
        waits = this.dataBuffer or this._tempDataBuffer or this.producer is not None
        if waits or not this.connected or this.disconnecting:
            super().loseConnection()  # type: ignore[misc]
        else:
            this.disconnecting = True
            this.stopReading()
            this.reactor.callLater(0, this.connectionLost, Failure(main.CONNECTION_DONE))


class Server(Buffered, tcp.Server):
    """An accepted connection.

    :param vigil: of its port.
    """

    def __init__(self, vigil: Vigil, *about: Any) -> None:
        super().__init__(*about)
        self.vigil: Vigil = vigil

    def connectionLost(self, reason: Failure) -> None:
        """See IProtocol's."""
        self.vigil.gone(self)
        super().connectionLost(reason)


class Client(Buffered, tcp.Client):
    """A connection we make."""


def hasten(port: Any) -> None:
    """Let a listening port make such connections; ports that are not TCP stay as they are.

    ``Port.transport`` is Twisted's place for that. Protocols that are no BufferedProtocol get their bytes as ever.
    """
    if isinstance(port, tcp.Port):
        reactor: Any = port.reactor
        port.transport = partial(Server, Vigil(reactor))  # type: ignore[assignment]
