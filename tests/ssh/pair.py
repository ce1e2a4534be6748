"""A client made of Conch's own transport and our server, joined by memory and a Clock."""

from __future__ import annotations

import struct
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from twisted.conch.ssh.keys import Key
from twisted.conch.ssh.transport import SSHClientTransport
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from conch_pipe.ssh.fields import Reader, string, u32
from conch_pipe.ssh.limits import Limits
from tests.ssh.memory import PASSWORD, Door
from tests.ssh.talk import INIT, Reply, replies


@cache
def host_key() -> Key:
    """One Ed25519 key for all tests."""
    return Key(Ed25519PrivateKey.generate())


class Wire(StringTransport):
    """Bytes written wait in ``value()``; endings are flags."""

    aborted = False
    reading = True

    def abortConnection(self) -> None:
        self.aborted = True

    def pauseProducing(self) -> None:
        self.reading = False

    def resumeProducing(self) -> None:
        self.reading = True

    def take(self) -> bytes:
        data = self.value()
        self.clear()
        return data


class RawClient(SSHClientTransport):
    """Does the key exchange and keeps every other message in ``got``, but for announced host keys."""

    ourVersionString = b"SSH-2.0-OpenSSH_9.2p1 Debian-2"

    def __init__(self) -> None:
        self.got: list[tuple[int, bytes]] = []
        self.announced: list[bytes] = []
        self.secure = 0

    def verifyHostKey(self, hostKey: bytes, fingerprint: str) -> Deferred[None]:
        return succeed(None)

    def connectionSecure(self) -> None:
        self.secure += 1

    def dispatchMessage(self, messageNum: int, payload: bytes) -> None:
        if 20 <= messageNum < 50:
            super().dispatchMessage(messageNum, payload)
        elif messageNum == 80 and payload.startswith(string(b"hostkeys-00@openssh.com")):
            self.announced.append(payload)
        else:
            self.got.append((messageNum, payload))


class Pair:
    """One connection. ``pump`` moves bytes until nothing moves; ``over`` tells that the server's side has ended.

    :param preamble: sent before the client's first byte, as by a proxy.
    """

    def __init__(
        self,
        door: Door | None = None,
        limits: Limits | None = None,
        address: str = "192.0.2.7",
        banner: bytes | None = None,
        preamble: bytes = b"",
    ) -> None:
        self.door = door or Door([host_key()], Clock(), limits)
        self.clock: Clock = self.door.clock
        self.over = False
        self.server: Any = self.make_server(address)
        assert self.server is not None, "refused"
        self.client: Any = self.make_client()
        if banner is not None:
            self.client.ourVersionString = banner
        self.to_server, self.to_client = Wire(), Wire()
        self.to_server.write(preamble)
        self.client.makeConnection(self.to_server)
        self.server.makeConnection(self.to_client)

    def make_server(self, address: str) -> Any:
        """The server's side."""
        return self.door.factory.buildProtocol(IPv4Address("TCP", address, 50000))

    def make_client(self) -> Any:
        """The client's side; keeps in ``got`` what is none of the transport's business."""
        return RawClient()

    def pump(self) -> Pair:
        while True:
            if self.to_client.aborted and not self.over:
                self.cut(ConnectionLost())
            upstream = b"" if self.over or not self.to_client.reading else self.to_server.take()
            if upstream:
                self.server.dataReceived(upstream)
            downstream = self.to_client.take()
            if downstream:
                self.client.dataReceived(downstream)
            if self.to_client.disconnecting and not downstream and not self.over:
                self.cut(ConnectionDone())
            if not upstream and not downstream and not self.next_turn():
                return self

    def next_turn(self) -> bool:
        """Let pass what waits for the reactor's next turn only; whether anything did."""
        due = [call for call in self.clock.getDelayedCalls() if call.getTime() <= self.clock.seconds()]
        self.clock.advance(0)
        return bool(due)

    def cut(self, reason: BaseException | None = None) -> None:
        """The server's side learns that the connection is gone."""
        if not self.over:
            self.over = True
            self.server.connectionLost(Failure(reason or ConnectionLost()))

    def send(self, number: int, *fields: bytes) -> list[tuple[int, bytes]]:
        """Send a message; the messages that come back."""
        self.client.sendPacket(number, b"".join(fields))
        self.pump()
        return self.got()

    def got(self) -> list[tuple[int, bytes]]:
        got, self.client.got = self.client.got, []
        return got

    def advance(self, seconds: float, step: float = 5.0) -> None:
        """Let time pass as a reactor would, moving bytes in between."""
        while seconds > 0:
            self.clock.advance(min(step, seconds))
            self.pump()
            seconds -= step

    def disconnected(self) -> tuple[int, str] | None:
        """Code and text of a DISCONNECT, if one came."""
        for number, payload in self.client.got:
            if number == 1:
                reader = Reader(payload)
                return reader.u32(), reader.string().decode()
        return None

    # Steps of an ordinary session.

    def ask_for_login(self) -> Pair:
        self.pump()
        assert self.client.secure == 1, "no keys"
        self.send(5, string(b"ssh-userauth"))
        return self

    def try_password(self, password: bytes = PASSWORD, user: bytes = b"ann") -> list[int]:
        """Message numbers that come back."""
        fields = string(user) + string(b"ssh-connection") + string(b"password") + b"\0" + string(password)
        return [number for number, _ in self.send(50, fields)]

    def log_in(self) -> Pair:
        self.ask_for_login()
        assert self.try_password() == [52], "not logged in"
        return self

    def open_channel(
        self, kind: bytes = b"session", number: int = 7, window: int = 2**31, packet: int = 32768
    ) -> list[tuple[int, bytes]]:
        return self.send(90, string(kind), u32(number), u32(window), u32(packet))

    def request(
        self, kind: bytes, *fields: bytes, channel: int = 0, want_reply: bool = True
    ) -> list[tuple[int, bytes]]:
        return self.send(98, u32(channel), string(kind), bytes((want_reply,)), *fields)

    def start_sftp(self, **channel: Any) -> Pair:
        self.log_in()
        ((number, _),) = self.open_channel(**channel)
        assert number == 91
        assert [n for n, _ in self.request(b"subsystem", string(b"sftp"))] == [99]
        self.sftp(INIT)
        return self

    def sftp(self, data: bytes, channel: int = 0) -> list[Reply]:
        """Send SFTP packets in data messages of 32 KiB; the SFTP replies that come back."""
        before, self.client.got = self.client.got, []
        for at in range(0, len(data), 32768):
            self.client.sendPacket(94, u32(channel) + string(data[at : at + 32768]))
        self.pump()
        stream, others = b"", []
        for number, payload in self.client.got:
            if number == 94:
                stream += Reader(payload[4:]).string()
            else:
                others.append((number, payload))
        self.client.got = before + others
        return replies(stream)


def numbers(messages: list[tuple[int, bytes]]) -> list[int]:
    """Message numbers."""
    return [number for number, _ in messages]


def words(payload: bytes) -> tuple[int, ...]:
    """A payload of 32-bit numbers."""
    return struct.unpack(f">{len(payload) // 4}L", payload)
