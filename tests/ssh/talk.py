"""The client's side in tests: SFTP requests by hand, and an SFTP server without SSH to send them to."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from twisted.internet.task import Clock

from conch_pipe.ssh.fields import Reader, string, u32, u64
from conch_pipe.ssh.limits import Limits
from conch_pipe.ssh.sftp.server import SFTPServer
from conch_pipe.ssh.sftp.wire import Type
from tests.ssh.memory import MemoryFile, MemoryTree

INIT = struct.pack(">LBL", 5, 1, 3)
PUT = 0x1A  # WRITE | CREAT | TRUNC


def ask(kind: int, request: int, *fields: bytes) -> bytes:
    """A request on the wire."""
    body = bytes((kind,)) + u32(request) + b"".join(fields)
    return u32(len(body)) + body


def opening(request: int, path: bytes = b"/in/a.csv", flags: int = PUT, attributes: bytes = bytes(4)) -> bytes:
    return ask(Type.OPEN, request, string(path), u32(flags), attributes)


def writing(request: int, handle: bytes, offset: int, data: bytes) -> bytes:
    return ask(Type.WRITE, request, string(handle), u64(offset), string(data))


def closing(request: int, handle: bytes) -> bytes:
    return ask(Type.CLOSE, request, string(handle))


def extended(request: int, name: bytes, *fields: bytes) -> bytes:
    return ask(Type.EXTENDED, request, string(name), *fields)


@dataclass(frozen=True)
class Reply:
    """One reply; ``code`` and ``text`` are a STATUS's, ``handle`` a HANDLE's."""

    kind: int
    request: int
    body: bytes

    @property
    def code(self) -> int:
        assert self.kind == Type.STATUS, self
        return Reader(self.body).u32()

    @property
    def text(self) -> str:
        reader = Reader(self.body)
        reader.u32()
        return reader.string().decode("ascii")

    @property
    def handle(self) -> bytes:
        assert self.kind == Type.HANDLE, (self.kind, self.body)
        return Reader(self.body).string()


def replies(data: bytes) -> list[Reply]:
    """All replies in a stream, VERSION left out."""
    found = []
    while data:
        size = int.from_bytes(data[:4], "big")
        packet, data = data[4 : 4 + size], data[4 + size :]
        assert len(packet) == size, "a reply is cut"
        if packet[0] != Type.VERSION:
            found.append(Reply(packet[0], int.from_bytes(packet[1:5], "big"), packet[5:]))
    return found


class MemoryPipe:
    """The channel's part, remembering what it was asked."""

    def __init__(self) -> None:
        self.sent = b""
        self.sizes: list[int] = []
        self.told: list[str] = []
        self.status: int | None = None
        self.dropped: str | None = None

    def write(self, data: bytes) -> None:
        self.sent += data
        self.sizes.append(len(data))

    def tell(self, sentence: str) -> None:
        self.told.append(sentence)

    def finished(self, status: int) -> None:
        assert self.status is None, "finished twice"
        self.status = status

    def drop(self, reason: str) -> None:
        self.dropped = reason

    def crowded(self) -> bool:
        return False

    def release(self) -> None:
        pass


class Talk:
    """A conversation with an SFTP server over a memory tree; INIT is done unless ``greet`` is False."""

    def __init__(self, limits: Limits | None = None, greet: bool = True) -> None:
        self.tree = MemoryTree()
        self.pipe = MemoryPipe()
        self.clock = Clock()
        self.server = SFTPServer(self.tree, self.pipe, self.clock, limits or Limits())
        self._last = 0
        if greet:
            self.server.dataReceived(INIT)
            self.pipe.sent = b""

    def send(self, *packets: bytes) -> list[Reply]:
        """Send all at once; what is answered at once."""
        self.pipe.sent = b""
        self.server.dataReceived(b"".join(packets))
        return self.new()

    def new(self) -> list[Reply]:
        """Replies since the last look."""
        sent, self.pipe.sent = self.pipe.sent, b""
        return replies(sent)

    def one(self, packet: bytes) -> Reply:
        """The one reply to one request."""
        (reply,) = self.send(packet)
        return reply

    def open(self, path: bytes = b"/in/a.csv") -> tuple[bytes, MemoryFile]:
        """An open file: handle and backend."""
        handle = self.one(opening(9000, path)).handle
        return handle, self.tree.opened[-1]
