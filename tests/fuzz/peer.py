"""A client that breaks rules, and a connection to our server in every state it can be in."""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred

from conch_pipe.ssh.fields import string, u32
from conch_pipe.ssh.limits import Limits
from tests.ssh.memory import PASSWORD, Door
from tests.ssh.pair import Pair, RawClient, Wire, numbers
from tests.ssh.talk import INIT, ask, opening, writing

STRICT = b"kex-strict-c-v00@openssh.com"
FILE = (1).to_bytes(4, "big")  # the handle of the first file a client opens


class StrictClient(RawClient):
    """Asks for the strict key exchange of OpenSSH 9.6 (PROTOCOL section 1.10) and keeps to it."""

    supportedKeyExchanges = [*RawClient.supportedKeyExchanges, STRICT]

    def sendPacket(self, messageType: int, payload: bytes) -> None:
        super().sendPacket(messageType, payload)
        if messageType == 21:
            self.outgoingPacketSequence = 0

    def _newKeys(self) -> None:
        super()._newKeys()
        self.incomingPacketSequence = 0


class Unread(Wire):
    """A socket whose peer reads when told: as Twisted's does, it pauses its producer when 64 KiB wait."""

    paused = False

    def write(self, data: bytes) -> None:
        super().write(data)
        if not self.paused and self.producer is not None and self.io.tell() > 2**16:
            self.paused = True
            self.producer.pauseProducing()

    def take(self) -> bytes:
        data = super().take()
        if self.paused:
            self.paused = False
            self.producer.resumeProducing()
        return data


class Hostile(Pair):
    """One connection whose client sends what it is told, whatever its own state, into the server's own buffer.

    ``written`` counts the bytes our server sent. While ``deaf`` the client hears nothing, so that an exchange stands
    still; :meth:`listen` lets it go on.
    """

    def __init__(self, client: RawClient | None = None, limits: Limits | None = None, door: Door | None = None) -> None:
        super().__init__(door=door, limits=limits)
        if client is not None:
            self.client, self.to_server = client, Wire()
            self.client.makeConnection(self.to_server)
        self.server.dataReceived = self._fill
        self.written = 0
        self.deaf = False
        self.owed = b""  # what the client would have sent by now
        self.asked = False  # for the login service
        self._unheard = b""
        self.client.dataReceived, self._hear = self._maybe_hear, self.client.dataReceived  # type: ignore[method-assign]

    def _fill(self, data: bytes) -> None:
        """As our own TCP connections do: the bytes go straight into the transport's buffer."""
        view = memoryview(data)
        while len(view):
            room = self.server.roomForData()
            size = min(len(room), len(view))
            room[:size] = view[:size]
            self.server.dataCame(size)
            view = view[size:]

    def _maybe_hear(self, data: bytes) -> None:
        self.written += len(data)
        if self.deaf:
            self._unheard += data
        else:
            self._hear(data)

    def ask_for_login(self) -> Hostile:
        self.asked = True
        super().ask_for_login()
        return self

    def listen(self) -> None:
        """Hear what came meanwhile, and go on."""
        if self.owed:
            self.to_server.write(self.owed)
            self.client.outgoingPacketSequence += 1
            self.owed = b""
        self.pump()
        self.deaf = False
        unheard, self._unheard = self._unheard, b""
        if unheard:
            self._hear(unheard)
        self.pump()

    def up(self) -> None:
        """What the client has written reaches the server; its answers wait."""
        self.server.dataReceived(self.to_server.take())

    def down(self) -> None:
        """What the server has written reaches the client; its answers wait."""
        self.client.dataReceived(self.to_client.take())

    def framed(self, payload: bytes, length: int | None = None, padding: int | None = None) -> bytes:
        """A packet with the client's present keys; the length fields may lie, the MAC is right."""
        client, block = self.client, self.client.currentEncryptions.encBlockSize
        filler = block - (5 + len(payload)) % block
        filler += block if filler < 4 else 0
        head = struct.pack(
            ">LB",
            1 + len(payload) + filler if length is None else length & 0xFFFFFFFF,
            filler if padding is None else padding & 0xFF,
        )
        packet = head + payload + bytes(filler)
        keys, number = client.currentEncryptions, client.outgoingPacketSequence
        client.outgoingPacketSequence += 1
        return keys.encrypt(packet) + keys.makeMAC(number, packet)

    def push(self, *payloads: bytes) -> None:
        """Send messages at once, whatever key exchange the client believes in."""
        self.to_server.write(b"".join(self.framed(payload) for payload in payloads))
        self.pump()

    def flood(self, payload: bytes, times: int) -> int:
        """Send a message many times and read nothing; how often it was taken."""
        self.pump()
        self.to_client.__class__ = Unread
        for taken in range(times):
            if self.ended or not self.to_client.reading:
                return taken
            self.server.dataReceived(self.framed(payload))
        return times

    @property
    def unread(self) -> int:
        """Bytes that wait for the client to read them."""
        return len(self.to_client.value())

    @property
    def ended(self) -> bool:
        """Our server has ended the connection, or has said that it does."""
        return self.over or self.to_client.aborted or self.to_client.disconnecting

    @property
    def known(self) -> bool:
        """Somebody has logged in."""
        return bool(self.door.realm.avatars)

    @property
    def fates(self) -> list[str]:
        """How the files of all channels ended, or "open"."""
        return [file.fate for avatar in self.door.realm.avatars for tree in avatar.trees for file in tree.opened]

    def answers(self) -> bool:
        """Whether the connection goes on correctly: the step its state waits for is done and answered."""
        self.listen()
        if self.ended:
            return False
        if not self.known:
            for later in self.door.checker.later or ():
                if not later.called:
                    later.callback(None)
            self.door.checker.later = None
            self.pump()
        if not self.known:
            if not self.asked and 6 not in numbers(self.client.got):
                self.send(5, string(b"ssh-userauth"))
            self.try_password()
        return 82 in numbers(self.send(80, string(b"keepalive@openssh.com"), b"\1"))


def _version(**options: Any) -> Hostile:
    pair = Hostile(**options)
    pair.client.outgoingPacketSequence = 0
    pair.owed = pair.to_server.take()
    pair.deaf = True
    return pair


def _kexinit(**options: Any) -> Hostile:
    pair = Hostile(**options)
    line, newline, pair.owed = pair.to_server.take().partition(b"\r\n")
    pair.to_server.write(line + newline)
    pair.up()
    pair.client.outgoingPacketSequence = 0
    pair.deaf = True
    return pair


def _exchange(**options: Any) -> Hostile:
    pair = Hostile(**options)
    pair.up()
    pair.deaf = True
    return pair


def _newkeys(**options: Any) -> Hostile:
    pair = Hostile(**options)
    pair.up()
    pair.down()
    pair.up()
    pair.deaf = True
    return pair


def _service(**options: Any) -> Hostile:
    pair = Hostile(**options)
    pair.pump()
    return pair


def _login(**options: Any) -> Hostile:
    pair = Hostile(**options)
    pair.ask_for_login()
    return pair


def _checking(**options: Any) -> Hostile:
    pair = _login(**options)
    pair.door.checker.later = []
    pair.try_password()
    return pair


def _running(**options: Any) -> Hostile:
    pair = Hostile(**options)
    pair.log_in()
    return pair


def _channel(**options: Any) -> Hostile:
    pair = _running(**options)
    pair.open_channel()
    return pair


def _sftp(**options: Any) -> Hostile:
    pair = Hostile(**options)
    pair.start_sftp()
    return pair


def _file(**options: Any) -> Hostile:
    pair = _sftp(**options)
    pair.sftp(opening(1) + writing(2, FILE, 0, b"id\n1\n"))
    return pair


def _writing(**options: Any) -> Hostile:
    """A file is open and storage has not taken its WRITE yet."""
    pair = _sftp(**options)
    pair.door.tree.slow = True
    pair.sftp(opening(1) + writing(2, FILE, 0, b"id\n1\n"))
    return pair


def _closing(**options: Any) -> Hostile:
    """A CLOSE is not answered yet."""
    pair = _file(**options)
    pair.door.tree.closing = Deferred()
    pair.sftp(ask(4, 3, string(FILE)))
    return pair


def _rekey_theirs(**options: Any) -> Hostile:
    """The client sent its KEXINIT and has not read ours."""
    pair = _file(**options)
    pair.client.sendKexInit()
    pair.up()
    pair.deaf = True
    return pair


def _rekey_theirs_newkeys(**options: Any) -> Hostile:
    """The client owes its NEWKEYS."""
    pair = _rekey_theirs(**options)
    pair.deaf = False
    pair.down()
    pair.up()
    pair.deaf = True
    return pair


def _rekey_ours(**options: Any) -> Hostile:
    """Our KEXINIT is on its way; the client has not heard of it."""
    pair = Hostile(limits=Limits(rekey_s=50), **options)
    pair.start_sftp()
    pair.sftp(opening(1) + writing(2, FILE, 0, b"id\n1\n"))
    pair.deaf = True
    pair.clock.advance(50)
    pair.pump()
    return pair


def _rekey_ours_exchange(**options: Any) -> Hostile:
    """The client's KEXINIT has come, and it owes the first message of the exchange."""
    pair = _rekey_ours(**options)
    pair.client.sendKexInit()
    pair.pump()
    return pair


def _rekey_ours_newkeys(**options: Any) -> Hostile:
    """The client owes its NEWKEYS."""
    pair = _rekey_ours(**options)
    pair.deaf = False
    pair._hear(pair._unheard)
    pair._unheard = b""
    pair.deaf = True
    pair.pump()
    return pair


def _disconnecting(**options: Any) -> Hostile:
    """Our DISCONNECT is on its way."""
    pair = _file(**options)
    pair.server.sendDisconnect(11, b"bye")
    return pair


def _left(**options: Any) -> Hostile:
    """The client's DISCONNECT has come, its socket is still open."""
    pair = _file(**options)
    pair.to_server.write(pair.framed(b"\x01" + u32(11) + string(b"bye") + string(b"")))
    pair.up()
    return pair


def _strictly(state: Callable[..., Hostile]) -> Hostile:
    return state(client=StrictClient())


STATES: dict[str, Callable[..., Hostile]] = {
    "before version": _version,
    "kexinit": _kexinit,
    "exchange": _exchange,
    "newkeys": _newkeys,
    "service": _service,
    "login": _login,
    "login being checked": _checking,
    "running": _running,
    "channel open": _channel,
    "sftp running": _sftp,
    "file open": _file,
    "write pending": _writing,
    "close pending": _closing,
    "their re-key": _rekey_theirs,
    "their re-key, newkeys": _rekey_theirs_newkeys,
    "our re-key": _rekey_ours,
    "our re-key, exchange": _rekey_ours_exchange,
    "our re-key, newkeys": _rekey_ours_newkeys,
    "strict, kexinit": partial(_strictly, _kexinit),
    "strict, exchange": partial(_strictly, _exchange),
    "strict, newkeys": partial(_strictly, _newkeys),
    "our disconnect": _disconnecting,
    "their disconnect": _left,
}
__all__ = ["FILE", "INIT", "PASSWORD", "STATES", "STRICT", "Hostile", "StrictClient"]
