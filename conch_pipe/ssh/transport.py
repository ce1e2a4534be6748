"""The SSH transport of the server: Conch's framing and key exchange behind strict rules and clocks.

A message is looked at only in a state that allows it; anything else, and any exception, ends the connection with one
DISCONNECT and one line in the log. Never logs a payload.
"""

from __future__ import annotations

import contextlib
import socket
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from twisted.conch.ssh import _kex, transport
from twisted.conch.ssh.transport import (
    DISCONNECT_PROTOCOL_ERROR,
    DISCONNECT_PROTOCOL_VERSION_NOT_SUPPORTED,
    DISCONNECT_SERVICE_NOT_AVAILABLE,
)
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime, ISystemHandle, ITCPTransport
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from conch_pipe.ssh.auth import LoginState, PasswordAuth
from conch_pipe.ssh.fields import Malformed, Reader, printable, string, u32
from conch_pipe.ssh.interfaces import Peer
from conch_pipe.ssh.limits import Limits

if TYPE_CHECKING:
    from conch_pipe.ssh.factory import PutFactory

# Names of RFC 4253 section 12 that Conch's tables do not export one by one.
DISCONNECT, IGNORE, UNIMPLEMENTED, DEBUG, SERVICE_REQUEST, EXT_INFO = 1, 2, 3, 4, 5, 7
KEXINIT, NEWKEYS, KEX_FIRST = 20, 21, 30
USERAUTH_REQUEST = 50
_QUICKACK = getattr(socket, "TCP_QUICKACK", None)  # Linux
_CALM = frozenset((DISCONNECT, IGNORE, UNIMPLEMENTED, DEBUG))

# What a peer may send in which state; everything else is a protocol error. None: whatever its service takes.
ALLOWED: dict[str, frozenset[int] | None] = {
    "kexinit": _CALM | {KEXINIT},  # the first key exchange: nothing else before it
    "exchange": _CALM | {KEX_FIRST},
    "newkeys": _CALM | {NEWKEYS},
    "service": _CALM | {EXT_INFO, SERVICE_REQUEST},
    "login": _CALM | {EXT_INFO, USERAUTH_REQUEST},
    "running": None,
}
_NOT_FOR_SERVICES = frozenset(range(KEXINIT + 1, USERAUTH_REQUEST)) | {SERVICE_REQUEST}

# Conch's tables minus what ssh-audit 3.9.0 fails: SHA-1, MD5, CBC, nist curves, group14; gex needs moduli and is slow.
_EXCHANGES = (b"mlkem768x25519-sha256", b"curve25519-sha256", b"curve25519-sha256@libssh.org")


@implementer(IPushProducer)
class PutTransport(transport.SSHServerTransport):
    """One connection. Made by :class:`~conch_pipe.ssh.factory.PutFactory`, which sets ``peer``."""

    ourVersionString = b"SSH-2.0-pipe-sftp"
    supportedKeyExchanges = [name for name in _EXCHANGES if name in _kex.getSupportedKeyExchanges()]
    supportedCiphers = [b"aes256-ctr", b"aes192-ctr", b"aes128-ctr"]
    supportedMACs = [b"hmac-sha2-256", b"hmac-sha2-512"]
    supportedCompressions = [b"none"]

    transport: Any  # Twisted's, with registerProducer and abortConnection
    factory: PutFactory
    _log = Logger()

    def __init__(self, peer: Peer, limits: Limits, clock: IReactorTime) -> None:
        self.peer = peer
        self.limits = limits
        self.clock = clock
        self.login = LoginState()
        self.ending: str | None = None  # why, once the connection is over for us
        self.packets_received = 0
        self.avatar_known = False
        self._gone = False
        self._logout: Callable[[], None] | None = None
        self._exchange: str | None = "kexinit"  # the step of a key exchange the peer is to do next
        self._received = 0  # bytes
        self._since_kex = 0  # bytes received
        self._early_kexes = 0
        self._blocked = 0  # bytes of messages waiting for a key exchange
        self._timers: dict[str, IDelayedCall] = {}
        self._socket: Any = None  # the socket, where there is one

    # Twisted's calls.

    def connectionMade(self) -> None:
        """Accepted: the clock of the login runs from here, whatever the client does (C8)."""
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
            self.transport.setTcpKeepAlive(True)
        if ISystemHandle.providedBy(self.transport):
            self._socket = self.transport.getHandle()
        self.transport.registerProducer(self, True)
        self._began = self.clock.seconds()
        self._start_timer("login", self.limits.login_s, "it did not log in in time")
        super().connectionMade()

    def pauseProducing(self) -> None:
        """The peer does not read: neither do we, so that replies cannot pile up."""
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """The peer reads again."""
        self.transport.resumeProducing()

    def stopProducing(self) -> None:
        """The transport is gone; connectionLost follows."""

    def dataReceived(self, data: bytes) -> None:
        """Bytes from the peer. Whatever goes wrong ends this connection and nothing else (C20)."""
        if self.ending is not None:
            return
        self._since_kex += len(data)
        self._received += len(data)
        self.buf = self.buf + data
        try:
            if self.gotVersion or self._take_version():
                while self.ending is None and (packet := self.getPacket()) is not None:
                    if not packet:
                        raise Malformed("an empty packet")
                    self.packets_received += 1
                    if not self.avatar_known and self._received > self.limits.before_login:
                        raise Malformed("too much before the login")
                    self.dispatchMessage(packet[0], packet[1:])
        except Malformed as error:
            self._violated(str(error))
        except Exception as error:  # noqa: BLE001 - a door's edge: also for faults of Conch's own parsing
            place = traceback.extract_tb(error.__traceback__)[-1]
            self._violated(f"{type(error).__name__} at {place.filename}:{place.lineno}")
        self._acknowledge()

    def _acknowledge(self) -> None:
        """Have what was read acknowledged now, not in 40 ms.

        ssh2 (Node) sends each WRITE as two segments without TCP_NODELAY and holds the second back until the first is
        acknowledged: 10 MB by ssh2-sftp-client took 7.0 s, now 0.3 s. The kernel forgets the option: after each read.
        Small ones too: one client's logins by libssh2 are 398 a second with it, 21 without.
        """
        if self._socket is not None and _QUICKACK is not None:
            with contextlib.suppress(OSError):  # closed meanwhile
                self._socket.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)

    def connectionLost(self, reason: Failure | None = None) -> None:
        """The end: files are aborted, the avatar logged out, the factory told."""
        self._gone = True
        if self.ending is None:
            self.ending = "the client closed the connection"
        for name in list(self._timers):
            self._stop_timer(name)
        service, self.service = self.service, None
        logout, self._logout = self._logout, None
        try:
            if service is not None:
                service.serviceStopped()
        finally:
            try:
                if logout is not None:
                    logout()
            finally:
                self.factory.left(self, self.clock.seconds() - self._began, self.ending)

    # What the services and the factory use.

    @property
    def banner(self) -> str:
        """The client's version string, printable."""
        return self.peer.banner

    @property
    def open_for_login(self) -> bool:
        """Nobody has logged in, and the client is there."""
        return not self._gone and self.ending is None and not self.avatar_known

    @property
    def open_files(self) -> int:
        """Files being put."""
        return getattr(self.service, "open_files", 0)

    def logged_in(self, avatar: object, logout: Callable[[], None]) -> None:
        """The one identity of this connection."""
        self.avatar = avatar
        self.avatar_known = True
        self._logout = logout
        self._stop_timer("login")

    def abort(self, reason: str) -> None:
        """Cut the connection now, without a word to the peer."""
        if self.ending is None:
            self.ending = reason
        self.transport.abortConnection()

    def sendDisconnect(self, reason: int, desc: bytes | str) -> None:
        """Say why and end; what the peer sends after that is not looked at, and it has 5 s to take what is queued."""
        if self.ending is not None:
            return
        text = desc if isinstance(desc, bytes) else desc.encode()
        self.ending = printable(text)
        self.sendPacket(DISCONNECT, u32(reason) + string(text) + string(b""))
        self.transport.unregisterProducer()
        self.transport.loseConnection()
        self._start_timer("lingering", self.limits.lingering_s, self.ending)

    def sendPacket(self, messageType: int, payload: bytes) -> None:
        """Send, or keep until a key exchange is over; too much kept ends the connection (C18)."""
        if self._gone or (self.ending is not None and messageType != DISCONNECT):
            return
        if self._keyExchangeState != self._KEY_EXCHANGE_NONE and not self._allowedKeyExchangeMessageType(messageType):
            self._blocked += len(payload) + 1
            if self._blocked > self.limits.backlog:
                self.abort("the key exchange does not end")
                return
        super().sendPacket(messageType, payload)
        self.outgoingPacketSequence &= 0xFFFFFFFF

    def sendUnimplemented(self) -> None:
        """For the packet just read (Conch names the next one)."""
        self.sendPacket(UNIMPLEMENTED, u32((self.incomingPacketSequence - 1) & 0xFFFFFFFF))

    # Reading.

    def _take_version(self) -> bool:
        """The client's first line, RFC 4253 section 4.2; nothing may come before it."""
        line, newline, rest = self.buf.partition(b"\n")
        if len(line) + len(newline) > self.limits.version_line:
            raise Malformed("the version line is too long")
        if not newline:
            return False
        line = line.removesuffix(b"\r")
        if not line.startswith((b"SSH-2.0-", b"SSH-1.99-")) or not all(32 <= byte < 127 for byte in line):
            self.factory.refused(self.peer.address, "not an SSH 2 client")
            self.sendDisconnect(DISCONNECT_PROTOCOL_VERSION_NOT_SUPPORTED, b"not an SSH 2 client")
            return False
        self.gotVersion = True
        self.otherVersionString = line
        self.peer = Peer(self.peer.address, self.peer.port, printable(line), self.peer.session)
        self.buf = rest
        return True

    def getPacket(self) -> bytes | None:
        """The next packet.

        :raises Malformed: it is longer than the state allows, also when only its length has come.
        """
        packet: bytes | None = super().getPacket()
        first: bytes | None = getattr(self, "first", None)
        if packet is not None:
            size = len(packet)
        elif first is not None:
            size = int.from_bytes(first[:4], "big")
        else:
            return None
        if size > (self.limits.packet if self.avatar_known else self.limits.packet_before_login):
            raise Malformed("an SSH packet is too long")
        self.incomingPacketSequence &= 0xFFFFFFFF
        return packet

    def dispatchMessage(self, messageNum: int, payload: bytes) -> None:
        """Look at one message, if the state allows it.

        :raises Malformed: it does not.
        """
        if self.ignoreNextPacket and KEX_FIRST <= messageNum < USERAUTH_REQUEST:
            self.ignoreNextPacket = False  # a wrong guess, RFC 4253 section 7
            return
        allowed = ALLOWED[self._state()]
        if messageNum in _NOT_FOR_SERVICES if allowed is None else messageNum not in allowed:
            raise Malformed(f"message {messageNum} came in state {self._state()}")
        own = self._own.get(messageNum)
        if own is not None:
            own(self, payload)
        elif self.service is not None and messageNum >= USERAUTH_REQUEST:
            self.service.packetReceived(messageNum, payload)
        else:
            self.sendUnimplemented()

    def _state(self) -> str:
        # Not Conch's _keyExchangeState: that stays REQUESTED all through an exchange the peer began.
        if self._exchange is not None:
            return self._exchange
        if self.avatar_known:
            return "running"
        return "service" if self.service is None else "login"

    def _violated(self, what: str) -> None:
        self.factory.violated(self.peer.address, what)
        self.sendDisconnect(DISCONNECT_PROTOCOL_ERROR, b"protocol error")

    # Messages.

    def ssh_DISCONNECT(self, packet: bytes) -> None:
        """The peer's last word."""
        reader = Reader(packet)
        code, text = reader.u32(), reader.string()
        self.ending = f"the client disconnected: {code} {printable(text, 100)}"
        self.transport.unregisterProducer()
        self.transport.loseConnection()
        self._start_timer("lingering", self.limits.lingering_s, self.ending)

    def ssh_KEXINIT(self, packet: bytes) -> None:
        """A key exchange begins; a peer that asks for one all the time is thrown out."""
        if self.sessionID is not None and self._since_kex < self.limits.rekey_bytes:
            self._early_kexes += 1
            if self._early_kexes > self.limits.rekey_breaches:
                raise Malformed("too many key exchanges")
        self._since_kex = 0
        self._exchange = "exchange"
        if self.sessionID is not None:
            self._start_timer("kex", self.limits.kex_s, "a key exchange did not end in time")
        super().ssh_KEXINIT(packet)

    def _keySetup(self, sharedSecret: bytes, exchangeHash: bytes) -> None:
        self._exchange = "newkeys"
        super()._keySetup(sharedSecret, exchangeHash)

    def _newKeys(self) -> None:
        self._stop_timer("kex")
        self._exchange = None
        self._blocked = 0
        super()._newKeys()

    def ssh_SERVICE_REQUEST(self, packet: bytes) -> None:
        """ssh-userauth, once: asking again would start the counts anew (C10)."""
        reader = Reader(packet)
        name = reader.string()
        if name != PasswordAuth.name:
            self.sendDisconnect(DISCONNECT_SERVICE_NOT_AVAILABLE, b"log in first")
            return
        self.sendPacket(transport.MSG_SERVICE_ACCEPT, string(name))
        self.setService(PasswordAuth())

    def _nothing(self, packet: bytes) -> None:
        """IGNORE, DEBUG, UNIMPLEMENTED; EXT_INFO, which Conch parses in quadratic time (C16)."""

    _own: ClassVar[dict[int, Callable[[PutTransport, bytes], None]]] = {
        DISCONNECT: ssh_DISCONNECT,
        IGNORE: _nothing,
        UNIMPLEMENTED: _nothing,
        DEBUG: _nothing,
        EXT_INFO: _nothing,
        SERVICE_REQUEST: ssh_SERVICE_REQUEST,
        KEXINIT: ssh_KEXINIT,
        NEWKEYS: transport.SSHServerTransport.ssh_NEWKEYS,
        KEX_FIRST: transport.SSHServerTransport.ssh_KEX_DH_GEX_REQUEST_OLD,
    }

    # Timers.

    def _start_timer(self, name: str, seconds: float, why: str) -> None:
        self._stop_timer(name)
        self._timers[name] = self.clock.callLater(seconds, self._expired, name, why)

    def _stop_timer(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()

    def _expired(self, name: str, why: str) -> None:
        del self._timers[name]
        if name == "login":
            self.factory.refused(self.peer.address, why)
        self.abort(why)
