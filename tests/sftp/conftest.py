"""A service without SSH: an SFTP client wired to our SFTPServer in memory, over the rooms behind it."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from twisted.conch.interfaces import IConchUser
from twisted.conch.ssh.common import NS
from twisted.conch.ssh.filetransfer import FXP_FSETSTAT, FileTransferClient, SFTPError
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from conch_pipe.model import Client, Peer
from conch_pipe.sftp.realm import PutRealm
from conch_pipe.sftp.visits import Visits
from conch_pipe.ssh.interfaces import FileSystemStatus, IPutServer
from conch_pipe.ssh.limits import Limits
from conch_pipe.ssh.sftp.server import SFTPServer
from tests.sftp.fakes import HeardEvents, MemoryIntake, MemoryUploads

START = 1_760_000_000.0  # 2025-10-09T08:53:20Z
SCHEMAS = frozenset({"orgShifts", "orgTransactions"})
READ, WRITE, APPEND, CREAT, TRUNC, EXCL = 1, 2, 4, 8, 0x10, 0x20
PUT = WRITE | CREAT | TRUNC
DISK = FileSystemStatus(block_size=4096, blocks=1000, free_blocks=500, files=100, free_files=50)


class Pair:
    """One SFTP channel: ``client`` at one end, our server at the other, no bytes lost and none waiting."""

    def __init__(self, service: Any, avatar: Any) -> None:
        self.avatar = avatar
        self.dropped: str | None = None
        self.client = FileTransferClient()
        self._to_server = StringTransport()
        self._to_client = bytearray()
        self.client.makeConnection(self._to_server)
        self.server = SFTPServer(IPutServer(avatar), self, service.clock, Limits())
        self.flush()

    # What SFTPServer needs of its channel.

    def write(self, data: bytes) -> None:
        self._to_client += data

    def tell(self, sentence: str) -> None:
        assert sentence.isascii()

    def finished(self, status: int) -> None: ...

    def drop(self, reason: str) -> None:
        self.dropped = reason

    def release(self) -> None: ...

    def crowded(self) -> bool:
        return False

    # What a test does.

    def flush(self) -> None:
        """Carry bytes both ways until there are none."""
        while self._to_server.value() or self._to_client:
            to_server = self._to_server.value()
            self._to_server.clear()
            self.server.dataReceived(to_server)
            to_client, self._to_client = bytes(self._to_client), bytearray()
            self.client.dataReceived(to_client)

    def begin(self, request: Deferred[Any]) -> list[Any]:
        """Send a request; the list gets its answer when there is one."""
        answers: list[Any] = []
        request.addBoth(answers.append)
        self.flush()
        return answers

    def ask(self, request: Deferred[Any]) -> Any:
        """The answer to a request, at once; a refusal is raised."""
        (answer,) = self.begin(request)
        if isinstance(answer, Failure):
            answer.raiseException()
        return answer

    def refused(self, request: Deferred[Any]) -> tuple[int, str]:
        """Code and text of a request that must be refused."""
        with pytest.raises(SFTPError) as raised:
            self.ask(request)
        return raised.value.code, raised.value.message

    def open(self, path: bytes, flags: int = PUT, attrs: dict[str, int] | None = None) -> Any:
        return self.ask(self.client.openFile(path, flags, attrs or {}))

    def put(self, path: bytes, data: bytes, flags: int = PUT) -> None:
        handle = self.open(path, flags)
        if data:
            self.ask(handle.writeChunk(0, data))
        self.ask(handle.close())

    def stat(self, path: bytes) -> Any:
        return self.ask(self.client.getAttrs(path))

    def names(self, path: bytes) -> list[bytes]:
        return [name for name, _, _ in self.rows(path)]

    def rows(self, path: bytes) -> list[tuple[bytes, bytes, dict[str, int]]]:
        folder = self.ask(self.client.openDirectory(path))
        rows = []
        while True:
            (answer,) = self.begin(folder.read())
            if isinstance(answer, Failure):
                answer.trap(EOFError, SFTPError)
                break
            rows += answer
        self.ask(folder.close())
        return rows

    def fsetstat(self, handle: Any, attrs: dict[str, int]) -> Any:
        # ClientFile.setAttrs of Conch sends FSTAT.
        return self.client._sendRequest(FXP_FSETSTAT, handle.handle + self.client._packAttributes(attrs))

    def posix_rename(self, old: bytes, new: bytes) -> Deferred[Any]:
        return self.client.extendedRequest(b"posix-rename@openssh.com", NS(old) + NS(new))

    def cut(self) -> None:
        """The channel is gone."""
        self.server.connectionLost("connection lost")
        for request in list(self.client.openRequests.values()):
            request.addErrback(lambda failure: failure.trap(ConnectionLost, SFTPError))
        self.client.connectionLost(Failure(ConnectionLost()))


class Connection:
    """One logged-in SSH connection, as far as SFTP sees it."""

    def __init__(self, service: Any, client: Client) -> None:
        self.service = service
        _, self.avatar, self._logout = service.realm.requestAvatar(client, None, IConchUser)
        self.pairs: list[Pair] = []

    def channel(self) -> Pair:
        self.pairs.append(Pair(self.service, self.avatar))
        return self.pairs[-1]

    def end(self) -> None:
        for pair in self.pairs:
            pair.cut()
        self._logout()


class Service:
    """Everything behind the login."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.advance(START)
        self.events = HeardEvents()
        self.uploads = MemoryUploads()
        self.intake = MemoryIntake(self.clock, self.uploads)
        self.ended: list[tuple[str, str]] = []
        self.visits = Visits(self.clock, lambda session, text: self.ended.append((session, text)))
        self.realm = PutRealm(self.visits, self.intake, self.uploads, self.events, lambda: DISK)
        self._sessions = itertools.count(1)

    def peer(self, address: str = "192.0.2.1") -> Peer:
        return Peer(address, 50000, "SSH-2.0-test", f"{next(self._sessions):016x}")

    def login(
        self, client_id: str = "acme-1", organisation: str = "acme", schemas: frozenset[str] = SCHEMAS
    ) -> Connection:
        return Connection(self, Client(client_id, organisation, schemas, self.peer()))

    @property
    def recorded(self) -> list[tuple[str, str, bytes]]:
        """Schema, name and bytes of what was accepted."""
        return [(one.schema, one.name, self.intake.contents[one.id]) for one in self.uploads.records]


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def connection(service: Service) -> Connection:
    return service.login()


@pytest.fixture
def pair(connection: Connection) -> Pair:
    return connection.channel()
