"""The server's side in tests of the SFTP client: replies by hand, or our own server without SSH."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from conch_pipe.ssh.client.limits import ClientLimits
from conch_pipe.ssh.fields import Reader, string, u32
from conch_pipe.ssh.limits import Limits
from conch_pipe.ssh.sftp.client import SFTPClient
from conch_pipe.ssh.sftp.server import SFTPServer
from conch_pipe.ssh.sftp.wire import Type, packet
from tests.ssh.memory import MemoryTree

VERSION = packet(Type.VERSION, u32(3))


def version(*names: bytes) -> bytes:
    """VERSION with these extensions."""
    return packet(Type.VERSION, u32(3) + b"".join(string(name) + string(b"1") for name in names))


def reply(kind: int, request: int, *fields: bytes) -> bytes:
    """A reply on the wire."""
    body = bytes((kind,)) + u32(request) + b"".join(fields)
    return u32(len(body)) + body


def status(request: int, code: int = 0, text: bytes = b"", language: bytes = b"en") -> bytes:
    """STATUS."""
    return reply(Type.STATUS, request, u32(code), string(text), string(language))


class Outcome:
    """What a Deferred fired with, and how often it tried to."""

    def __init__(self, deferred: Deferred[Any]) -> None:
        self.fired = 0
        self.value: Any = None
        self.error: BaseException | None = None
        deferred.addCallbacks(self._done, self._failed)

    def _done(self, value: Any) -> None:
        self.fired += 1
        self.value = value

    def _failed(self, failure: Failure) -> None:
        self.fired += 1
        self.error = failure.value


class HandPipe:
    """Keeps what is sent; ``room`` is what a test says it is, and shrinks as files are sent."""

    def __init__(self, room: int = 2**30) -> None:
        self.room = room
        self.sent = bytearray()
        self.pieces: list[int] = []
        self.dropped: str | None = None

    def write(self, data: bytes) -> None:
        self.sent += data

    def send_file(self, head: bytes, fd: int, offset: int, size: int) -> None:
        assert len(head) + size <= self.room, "more than there is room for"
        data = os.pread(fd, size, offset)
        if len(data) < size:
            raise EOFError
        self.room -= len(head) + size
        self.pieces.append(size)
        self.sent += head + data

    def drop(self, reason: str) -> None:
        assert self.dropped is None, "dropped twice"
        self.dropped = reason


class ByHand:
    """A client whose server is the test."""

    def __init__(self, hello: bytes | None = VERSION, limits: ClientLimits | None = None, room: int = 2**30) -> None:
        self.clock = Clock()
        self.pipe = HandPipe(room)
        self.client = SFTPClient(self.pipe, self.clock, limits)
        self.greeting = Outcome(self.client.start())
        if hello is not None:
            self.hear(hello)
            self.asked()

    def hear(self, *packets: bytes) -> None:
        self.client.dataReceived(b"".join(packets))
        self.client.resume()

    def asked(self) -> list[tuple[int, int, bytes]]:
        """Type, id and fields of the requests since the last look."""
        found, data = [], bytes(self.pipe.sent)
        self.pipe.sent.clear()
        while data:
            size = int.from_bytes(data[:4], "big")
            found.append((data[4], int.from_bytes(data[5:9], "big"), data[9 : 4 + size]))
            data = data[4 + size :]
        return found

    def last(self) -> int:
        """Id of the newest request."""
        return self.asked()[-1][1]


class WithServer:
    """A client and our own server over a tree in memory; ``pump`` moves bytes between them."""

    def __init__(self, limits: ClientLimits | None = None) -> None:
        self.clock = Clock()
        self.tree = MemoryTree()
        self.pipe = HandPipe()
        self.client = SFTPClient(self.pipe, self.clock, limits)
        self.replies = bytearray()
        self.server = SFTPServer(self.tree, self, self.clock, Limits())
        self.greeting = Outcome(self.client.start())
        self.pump()

    def pump(self) -> WithServer:
        while self.pipe.sent or self.replies:
            requests, self.pipe.sent = bytes(self.pipe.sent), bytearray()
            self.server.dataReceived(requests)
            answers, self.replies = bytes(self.replies), bytearray()
            self.client.dataReceived(answers)
            self.client.resume()
        return self

    def ask(self, deferred: Deferred[Any]) -> Any:
        """The value of a request, or its exception raised."""
        outcome = Outcome(deferred)
        self.pump()
        assert outcome.fired == 1, "not answered"
        if outcome.error is not None:
            raise outcome.error
        return outcome.value

    # The server's pipe.

    def write(self, data: bytes) -> None:
        self.replies += data

    def tell(self, sentence: str) -> None:
        pass

    def finished(self, status: int) -> None:
        pass

    def drop(self, reason: str) -> None:
        raise AssertionError(reason)

    def crowded(self) -> bool:
        return False

    def release(self) -> None:
        pass


def write_fields(body: bytes) -> tuple[bytes, int, bytes]:
    """Handle, offset and data of a WRITE."""
    reader = Reader(body)
    fields = reader.string(), reader.u64(), reader.string()
    reader.end()
    return fields
