"""A network in memory with a Clock: names, servers at addresses, connections with trouble, all moved by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost, ConnectionRefusedError, TimeoutError
from twisted.internet.interfaces import IHostnameResolver
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.remotes.lines import Line, Trouble
from tests.ssh.pair import Wire
from tests.ssh.sftp_peer import Outcome

Answer = Callable[[], Any] | Exception | None  # a server's protocol, how connecting fails, or nothing ever


@implementer(IHostnameResolver)
class Net(Clock):
    """An IReactorTCP and IReactorTime as far as clients need it.

    :ivar names: name → addresses, or a list of such lists of which each is given once, the last one for ever; None:
        no answer comes.
    :ivar servers: (address, port) → what listens there; ``refused`` for all others.
    :ivar connected: (address, port, address connected from) of each connection that was begun.
    :ivar heard: all that clients have sent so far, encrypted or not.
    """

    def __init__(self) -> None:
        super().__init__()
        self.nameResolver = self
        self.names: dict[str, Any] = {}
        self.asked: list[str] = []
        self.servers: dict[tuple[str, int], Answer] = {}
        self.connected: list[tuple[str, int, Any]] = []
        self.links: list[Link] = []
        self.up = self.down = Trouble()

    def resolveHostName(self, receiver: Any, name: str, port: int = 0, *others: Any, **more: Any) -> None:
        """See IHostnameResolver."""
        self.asked.append(name)
        answers = self.names.get(name, ())
        if answers is None:
            return
        if answers and isinstance(answers[0], list):
            answers = answers.pop(0) if len(answers) > 1 else answers[0]
        receiver.resolutionBegan(None)
        for address in answers:
            receiver.addressResolved(address if not isinstance(address, str) else IPv4Address("TCP", address, port))
        receiver.resolutionComplete()

    def connectTCP(self, host: str, port: int, factory: Any, timeout: float = 30, bindAddress: Any = None) -> Any:
        """See IReactorTCP."""
        self.connected.append((host, port, bindAddress))
        answer = self.servers.get((host, port), ConnectionRefusedError())
        return _Connector(self, IPv4Address("TCP", host, port), factory, answer, timeout)

    def settle(self) -> Net:
        """Move bytes until nothing moves."""
        while any([link.move() for link in list(self.links)]):
            pass
        return self

    def pass_s(self, seconds: float, step: float = 1.0) -> Net:
        """Let time pass as a reactor would, moving bytes in between."""
        self.settle()
        while seconds > 0:
            self.advance(min(step, seconds))
            self.settle()
            seconds -= step
        return self

    def outcome(self, deferred: Deferred[Any], within_s: float = 0.0) -> Any:
        """What a Deferred fires with, or its exception raised.

        :param within_s: at most so much time passes.
        """
        outcome = Outcome(deferred)
        self.settle()
        while not outcome.fired and within_s > 0:
            self.pass_s(min(1.0, within_s))
            within_s -= 1.0
        assert outcome.fired == 1, "no outcome yet"
        if outcome.error is not None:
            raise outcome.error
        return outcome.value


class _Connector:
    """One connectTCP."""

    def __init__(self, net: Net, where: IPv4Address, factory: Any, answer: Answer, timeout: float) -> None:
        self.where = where
        self.factory = factory
        self.timer: Any = None
        factory.doStart()
        factory.startedConnecting(self)
        if answer is None:
            self.timer = net.callLater(timeout, self._fail, TimeoutError())
        elif isinstance(answer, Exception):
            self._fail(answer)
        else:
            net.links.append(Link(net, factory.buildProtocol(None), answer()))

    def _fail(self, error: Exception) -> None:
        self.timer = None
        self.factory.clientConnectionFailed(self, Failure(error))

    def getDestination(self) -> IPv4Address:
        """See IConnector."""
        return self.where

    def stopConnecting(self) -> None:
        """See IConnector."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class Link:
    """One connection."""

    def __init__(self, net: Net, client: Any, server: Any) -> None:
        self.net = net
        self.client, self.server = client, server
        self.to_server, self.to_client = Wire(), Wire()
        self.up = Line(net, net.up, self._to_server, self._end)
        self.down = Line(net, net.down, self._to_client, self._end)
        self.heard = b""  # by the server
        self.over = False
        server.makeConnection(self.to_client)
        client.makeConnection(self.to_server)

    def _to_server(self, data: bytes) -> None:
        self.heard += data
        if not self.over:
            self.server.dataReceived(data)

    def _to_client(self, data: bytes) -> None:
        if not self.over:
            self.client.dataReceived(data)

    def move(self) -> bool:
        """Some bytes. :returns: whether there were any."""
        if self.over:
            return False
        upstream, downstream = self.to_server.take(), self.to_client.take()
        self.up.feed(upstream)
        self.down.feed(downstream)
        aborted = self.to_server.aborted or self.to_client.aborted
        left = any(wire.disconnecting and not wire.value() for wire in (self.to_server, self.to_client))
        if not self.over and (aborted or left):
            self._lost(ConnectionDone())
        return not self.over and bool(upstream or downstream or self.to_server.value() or self.to_client.value())

    def _end(self, how: str) -> None:
        if how != "stall":
            self._lost(ConnectionDone() if how == "close" else ConnectionLost())

    def _lost(self, why: BaseException) -> None:
        if self.over:
            return
        self.over = True
        self.up.stop()
        self.down.stop()
        self.net.links.remove(self)
        for side in (self.client, self.server):
            side.connectionLost(Failure(why))

    def cut(self) -> None:
        """The connection is lost."""
        self._lost(ConnectionLost())
