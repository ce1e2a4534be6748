"""One process's ear at the socket that all door processes share.

Whichever process is quickest accepts: of four long uploads, both processes had two each in half of the rounds, and one
of them all four in the other half, at 0.8 of the speed. So whoever has more connections than another leaves a new one
to that one, for a moment; nobody waits for a process that is stuck.
"""

from __future__ import annotations

import os
from socket import AddressFamily
from typing import Any, Protocol

from twisted.internet import tcp
from twisted.internet.defer import Deferred, execute
from twisted.internet.interfaces import IDelayedCall, IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.python.failure import Failure
from zope.interface import implementer

WAIT_S = 0.002  # which others have to take a connection


class Share(Protocol):
    """What processes know of each other; see SharedTally."""

    def listen(self, does: bool) -> None:
        """Whether this process takes connections."""

    def lead(self) -> int:
        """How many connections this process has more than another that takes them."""


class SharedPort(tcp.Port):
    """Takes a connection when its turn has come, or nobody else has taken it."""

    reactor: Any
    share: Share
    _waiting: IDelayedCall | None = None

    def startListening(self) -> None:
        """See IListeningPort."""
        super().startListening()
        self.share.listen(True)

    def doRead(self) -> None:
        """A connection is there, unless somebody else was quicker."""
        if self.share.lead() > 0:
            self.stopReading()
            self._waiting = self.reactor.callLater(WAIT_S, self._waited)
        else:
            self._accept()

    def _waited(self) -> None:
        self._waiting = None
        if not self.disconnecting:  # connectionLost is about to come
            self.startReading()
            self._accept()

    def _accept(self) -> None:
        self.numberAccepts = 1  # the next one is looked at anew
        super().doRead()

    def connectionLost(self, reason: Failure) -> None:
        """It was closed."""
        self.share.listen(False)
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        super().connectionLost(reason)


@implementer(IStreamServerEndpoint)
class SharedSocket:
    """Where it is.

    :param descriptor: of the listening socket; ours from now on, and good for one ``listen``.
    """

    def __init__(self, reactor: Any, descriptor: int, family: AddressFamily, share: Share) -> None:
        self._reactor = reactor
        self._descriptor = descriptor
        self._family = family
        self._share = share

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """See IStreamServerEndpoint."""
        return execute(self._listen, protocolFactory)

    def _listen(self, factory: IProtocolFactory) -> IListeningPort:
        # As reactor.adoptStreamPort does it, which has no place for another class.
        port = SharedPort._fromListeningDescriptor(self._reactor, self._descriptor, self._family, factory)
        os.close(self._descriptor)  # that was a copy
        port.share = self._share
        port.startListening()
        listening: IListeningPort = port
        return listening
