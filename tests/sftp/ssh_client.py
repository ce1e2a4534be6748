"""An SSH client in memory: Conch's, over a wire without sockets, so that a service can be tested whole on a Clock."""

from __future__ import annotations

from typing import Any

from twisted.conch.ssh.channel import SSHChannel
from twisted.conch.ssh.common import NS
from twisted.conch.ssh.connection import SSHConnection
from twisted.conch.ssh.filetransfer import FileTransferClient
from twisted.conch.ssh.transport import SSHClientTransport
from twisted.conch.ssh.userauth import SSHUserAuthClient
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError, ConnectionDone
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer


@implementer(IListeningPort)
class MemoryPort:
    """Listens on nothing."""

    def __init__(self, endpoint: MemoryEndpoint) -> None:
        self._endpoint = endpoint

    def startListening(self) -> None: ...

    def stopListening(self) -> Deferred[None]:
        self._endpoint.factory = None
        return succeed(None)

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", "127.0.0.1", 2222)


@implementer(IStreamServerEndpoint)
class MemoryEndpoint:
    """Where the service listens and clients connect."""

    def __init__(self) -> None:
        self.factory: Any = None
        self.taken = False

    def listen(self, protocolFactory: Any) -> Deferred[IListeningPort]:
        if self.taken:
            failed: Deferred[IListeningPort] = Deferred()
            failed.errback(CannotListenError("127.0.0.1", 2222, OSError("in use")))
            return failed
        self.factory = protocolFactory
        return succeed(MemoryPort(self))

    def connect(self, username: bytes, password: bytes, address: str = "192.0.2.1") -> SSHClient:
        """A client that logs in as far as it is let.

        :raises ConnectionRefusedError: nobody listens, or the connection is not accepted.
        """
        server = self.factory and self.factory.buildProtocol(IPv4Address("TCP", address, 50_000))
        if server is None:
            raise ConnectionRefusedError
        return SSHClient(server, username, password)


class _Transport(SSHClientTransport):
    """Trusts every host key."""

    def __init__(self, client: SSHClient) -> None:
        self.client = client
        self.asked = False

    def verifyHostKey(self, hostKey: bytes, fingerprint: str) -> Deferred[bool]:
        return succeed(True)

    def connectionSecure(self) -> None:
        self.requestService(_Auth(self.client))

    def receiveError(self, reasonCode: int, description: bytes) -> None:
        self.client.disconnected = (reasonCode, description.decode())


class _Auth(SSHUserAuthClient):
    preferredOrder = [b"password"]

    def __init__(self, client: SSHClient) -> None:
        super().__init__(client.username, _Connection(client))
        self.client = client
        self.tried = False

    def getPassword(self, prompt: bytes | None = None) -> Any:
        if self.tried:
            self.client.failures += 1
            return None
        self.tried = True
        return succeed(self.client.password)


class _Connection(SSHConnection):
    def __init__(self, client: SSHClient) -> None:
        super().__init__()
        self.client = client

    def serviceStarted(self) -> None:
        super().serviceStarted()
        self.client.logged_in = True
        self.client.connection = self


class _Channel(SSHChannel):
    name = b"session"

    def __init__(self, client: SSHClient) -> None:
        super().__init__(conn=client.connection)
        self.client = client

    def channelOpen(self, specificData: bytes) -> None:
        self.conn.sendRequest(self, b"subsystem", NS(b"sftp"), wantReply=True).addCallback(self._started)

    def _started(self, _: object) -> None:
        self.client.sftp = FileTransferClient()
        self.client.sftp.makeConnection(self)

    def dataReceived(self, data: bytes) -> None:
        self.client.sftp.dataReceived(data)


class SSHClient:
    """One connection: what became of it, and ``sftp`` once it was asked for."""

    def __init__(self, server: Any, username: bytes, password: bytes) -> None:
        self.username, self.password = username, password
        self.logged_in = False
        self.failures = 0
        self.disconnected: tuple[int, str] | None = None
        self.lost = False
        self.connection: Any = None
        self.sftp: Any = None
        self._server, self._server_side = server, StringTransport()
        self._client, self._client_side = _Transport(self), StringTransport()
        server.makeConnection(self._server_side)
        self._client.makeConnection(self._client_side)
        self.flush()

    def flush(self) -> None:
        """Carry bytes both ways until there are none; then close what is to be closed."""
        while not self.lost:
            to_client, to_server = self._server_side.value(), self._client_side.value()
            if not to_client and not to_server:
                break
            self._server_side.clear()
            self._client_side.clear()
            if to_client:
                self._client.dataReceived(to_client)
            if to_server and not self._server_side.disconnecting:
                self._server.dataReceived(to_server)
        if not self.lost and (self._server_side.disconnecting or self._client_side.disconnecting):
            self.vanish()

    def vanish(self) -> None:
        """The TCP connection is gone."""
        self.lost = True
        self._server.connectionLost(Failure(ConnectionDone()))
        self._client.connectionLost(Failure(ConnectionDone()))

    def open_sftp(self) -> FileTransferClient:
        self.connection.openChannel(_Channel(self))
        self.flush()
        return self.sftp

    def ask(self, request: Deferred[Any]) -> Any:
        """The answer to a request, at once; a refusal is raised."""
        answers: list[Any] = []
        request.addBoth(answers.append)
        self.flush()
        (answer,) = answers
        if isinstance(answer, Failure):
            answer.raiseException()
        return answer
