"""The SSH transport of both sides: packets, key exchange and re-keying behind strict rules and clocks.

A message is looked at only in a state that allows it; anything else, and any exception, ends the connection with one
DISCONNECT and one line in the log. Never logs a payload. Subclassed by the server (server_transport.py) and the client
(client_transport.py), which say what they offer, which messages they take and what happens when there are keys.
"""

from __future__ import annotations

import contextlib
import os
import socket
import traceback
from collections.abc import Callable
from typing import Any, ClassVar

from twisted.conch.ssh import transport
from twisted.conch.ssh.transport import (
    DISCONNECT_KEY_EXCHANGE_FAILED,
    DISCONNECT_MAC_ERROR,
    DISCONNECT_PROTOCOL_ERROR,
)
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime, ISystemHandle, ITCPTransport
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from conch_pipe.ssh import algorithms
from conch_pipe.ssh.algorithms import Agreed, Algorithms, NothingInCommon, Proposal
from conch_pipe.ssh.ciphers import CIPHERS, MACS, BadPacket, Direction, direction
from conch_pipe.ssh.fields import Malformed, Reader, printable, string, u32
from conch_pipe.ssh.kex import Secret, Transcript
from conch_pipe.ssh.limits import Limits
from conch_pipe.ssh.packets import Incoming, Outgoing

# Message numbers, RFC 4250 section 4.1.2.
DISCONNECT, IGNORE, UNIMPLEMENTED, DEBUG, SERVICE_REQUEST, SERVICE_ACCEPT, EXT_INFO = range(1, 8)
KEXINIT, NEWKEYS, KEX_FIRST, KEX_LAST = 20, 21, 30, 49
USERAUTH_REQUEST, CHANNEL_DATA = 50, 94
STRICT_CLIENT, STRICT_SERVER = b"kex-strict-c-v00@openssh.com", b"kex-strict-s-v00@openssh.com"
_QUICKACK = getattr(socket, "TCP_QUICKACK", None)  # Linux
_MOST_PACKETS = 2**31  # under one key, RFC 4344 section 3.1
_CROWD = 65_536  # bytes of replies of one turn; Twisted asks producers to pause at as many

CALM = frozenset((DISCONNECT, IGNORE, UNIMPLEMENTED, DEBUG))
KEX = frozenset(range(KEX_FIRST, KEX_LAST + 1))
# What a peer may send in the steps of a key exchange, also of a later one; everything else is a protocol error.
EXCHANGE: dict[str, frozenset[int]] = {
    "kexinit": CALM | {KEXINIT},  # the first key exchange: nothing else before it
    "exchange": CALM | KEX,
    "newkeys": CALM | {NEWKEYS},
}
# The same with strict key exchange, in the first one: not even IGNORE (CVE-2023-48795).
STRICT: dict[str, frozenset[int]] = {
    "kexinit": frozenset((DISCONNECT, KEXINIT)),
    "exchange": KEX | {DISCONNECT},
    "newkeys": frozenset((DISCONNECT, NEWKEYS)),
}


@implementer(IPushProducer)
class Transport(transport.SSHTransportBase):
    """One connection.

    A subclass has :attr:`messages`, :meth:`state` and :meth:`allowed`, makes the key exchange in :meth:`begin_exchange`
    and learns by :meth:`secured` that there are keys. ``service`` (Conch's ``setService``) gets messages of numbers 50
    to 255 by ``packetReceived``. Once ``trusted``, it is a connection service with ``channelData(packet)``, for the
    whole CHANNEL_DATA message as a view that is good until ``turnEnded()``: no more packets are there now.

    :param offered: what this side offers.
    """

    ourVersionString = b"SSH-2.0-pipe-sftp"
    messages: ClassVar[dict[int, Callable[[Any, bytes], object]]]  # by number, those of the transport itself
    transport: Any  # Twisted's, with registerProducer and abortConnection
    _log = Logger()

    def __init__(self, offered: Algorithms, limits: Limits, clock: IReactorTime) -> None:
        self.offered = offered
        self.limits = limits
        self.clock = clock
        self.ending: str | None = None  # why, once the connection is over for us
        self.packets_received = self.bytes_received = 0
        self.rekeyings = 0  # key exchanges that ended, after the first
        self.rekeyings_asked = 0  # those of them that the peer began
        self.agreed: Agreed | None = None
        self.strict = False
        self.secure = False  # the first key exchange is over
        self.trusted = False  # logged in, on either side: large packets, re-keying
        self.step: str | None = "kexinit"  # of a key exchange the peer is to do next
        self.gone = False
        self.incoming = Incoming(limits.packet_before_login)
        self.outgoing = Outgoing()
        self._exchange: Any = None  # ServerExchange or ClientExchange
        self._secret: Secret | None = None
        self._next: Direction | None = None  # what we read with after the peer's NEWKEYS
        self._proposal: Proposal | None = None  # ours, while an exchange of ours has not been answered
        self._ignore_guess = False
        self._queue: list[tuple[int, bytes]] | None = []  # messages that wait for the end of a key exchange
        self._queued = 0  # bytes of them
        self._early_kexes = 0
        self._ext_infos = 0
        self._turn = False  # packets are being dealt with: what is sent is collected
        self._out: list[bytearray] = []
        self._collected = 0  # bytes of them
        self._pauses: set[str] = set()
        self._timers: dict[str, IDelayedCall] = {}
        self._socket: Any = None  # the socket, where there is one

    # What a subclass says.

    def state(self) -> str:
        """The name of the state outside of key exchanges."""
        raise NotImplementedError

    def allowed(self, number: int) -> bool:
        """Whether a message may come in :meth:`state`."""
        raise NotImplementedError

    def begin_exchange(self, agreed: Agreed, transcript: Transcript) -> Any:
        """The object that does the key exchange: ``received(number, payload)``; may send messages of its own."""
        raise NotImplementedError

    def exchanged(self, number: int, payload: bytes) -> None:
        """A message of the key exchange came; ends with :meth:`new_keys` some time."""
        raise NotImplementedError

    def secured(self, first: bool) -> None:
        """Both directions have new keys."""

    def narrowed(self, theirs: Proposal) -> Algorithms:
        """What this side offers a peer whose KEXINIT came before ours was sent."""
        return self.offered

    def disagreed(self, error: NothingInCommon) -> None:
        """The negotiation failed; the connection is about to end."""

    def violated(self, what: str) -> None:
        """The peer broke the protocol; the connection is about to end."""

    # Twisted's calls.

    def connectionMade(self) -> None:
        """There is a connection."""
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
            self.transport.setTcpKeepAlive(True)
        if ISystemHandle.providedBy(self.transport):
            self._socket = self.transport.getHandle()
        self.transport.registerProducer(self, True)
        self.transport.write(self.ourVersionString + b"\r\n")

    def pauseProducing(self) -> None:
        """The peer does not read: neither do we, so that replies cannot pile up."""
        self.pause("peer")

    def resumeProducing(self) -> None:
        """The peer reads again."""
        self.resume("peer")

    def stopProducing(self) -> None:
        """The transport is gone; connectionLost follows."""

    def roomForData(self) -> memoryview:
        """See tcp.BufferedProtocol."""
        return self.incoming.room()

    def dataCame(self, count: int) -> None:
        """See tcp.BufferedProtocol."""
        self.bytes_received += count
        self.incoming.filled(count)
        self._read()
        self._acknowledge()

    def dataReceived(self, data: bytes) -> None:
        """Bytes that came through another kind of connection."""
        if self.ending is None:
            self.bytes_received += len(data)
            self.incoming.feed(data)
            self._read()

    def connectionLost(self, reason: Failure | None = None) -> None:
        """The end."""
        self.gone = True
        if self.ending is None:
            self.ending = f"the {'server' if self.isClient else 'client'} closed the connection"
        self.incoming.close()
        for name in list(self._timers):
            self.stop_timer(name)
        service, self.service = self.service, None
        if service is not None:
            service.serviceStopped()

    # Reading.

    def _read(self) -> None:
        """Deal with what has come. Whatever goes wrong ends this connection and nothing else (C20)."""
        if self._turn:
            return
        self._turn = True
        try:
            if self.ending is None and (self.gotVersion or self.take_version()):
                self._packets()
                if self.trusted and self.ending is None:
                    self.service.turnEnded()  # type: ignore[union-attr]
                    self._rekey_if_due()
        except BadPacket:
            self._broken("the authentication of a packet failed", DISCONNECT_MAC_ERROR)
        except Malformed as error:
            self._broken(str(error))
        except Exception as error:  # noqa: BLE001 - a door's edge: also for faults of other people's parsing
            place = traceback.extract_tb(error.__traceback__)[-1]
            self._broken(f"{type(error).__name__} at {place.filename}:{place.lineno}")
        finally:
            self._turn = False
        self._end_turn()

    def _packets(self) -> None:
        incoming, left = self.incoming, self.limits.turn
        while self.ending is None and not self._pauses:
            packet = incoming.next()
            if packet is None:
                return
            self.packets_received += 1
            number = packet[0]
            if number == CHANNEL_DATA and self.step is None and self.trusted:
                self.service.channelData(packet)  # type: ignore[union-attr]
            else:
                if not self.trusted:
                    self._check_budget()
                self.dispatchMessage(number, bytes(packet[1:]))
            left -= 1
            if not left:
                # Thousands of tiny packets fit into one read: let others have their turn.
                self._turn_soon()
                return

    def _turn_soon(self) -> None:
        if "turn" not in self._timers:
            self.pause("turn")
            self._timers["turn"] = self.clock.callLater(0, self._next_turn)

    def _next_turn(self) -> None:
        del self._timers["turn"]
        self.resume("turn")

    def _check_budget(self) -> None:
        """Before login a few KiB in a few packets are all that is needed."""

    def _end_turn(self) -> None:
        if self.ending is None:
            self.incoming.rest()
        else:
            self.incoming.close()
        self.flush()

    def _acknowledge(self) -> None:
        """Have what was read acknowledged now, not in 40 ms.

        ssh2 (Node) sends each WRITE as two segments without TCP_NODELAY and holds the second back until the first is
        acknowledged: 10 MB by ssh2-sftp-client took 7.0 s, now 0.3 s. The kernel forgets the option: after each read.
        Small ones too: one client's logins by libssh2 are 398 a second with it, 21 without.
        """
        if self._socket is not None and _QUICKACK is not None:
            with contextlib.suppress(OSError):  # closed meanwhile
                self._socket.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)

    def take_version(self) -> bool:
        """Whether the peer's version line has come; nothing may come before it, RFC 4253 section 4.2.

        :raises Malformed: it is too long, or none.
        """
        line = self.incoming.line(self.limits.version_line)
        if line is None:
            return False
        self.got_version(line)
        return self.gotVersion

    def got_version(self, line: bytes) -> None:
        """The first line; sets ``gotVersion`` when it is a version of SSH 2."""
        raise NotImplementedError

    def pause(self, why: str) -> None:
        """Look at nothing more, and read nothing more, until all who paused have resumed."""
        if not self._pauses and not self.gone:
            self.transport.pauseProducing()
        self._pauses.add(why)

    def resume(self, why: str) -> None:
        """See :meth:`pause`; what is waiting is dealt with at once."""
        if why not in self._pauses:
            return
        self._pauses.discard(why)
        if not self._pauses and not self.gone:
            self.transport.resumeProducing()
            self._read()

    def dispatchMessage(self, messageNum: int, payload: bytes) -> None:
        """Look at one message, if the state allows it.

        :raises Malformed: it does not.
        """
        if self.step is not None:
            # Strict or not is known once the first KEXINIT has come.
            table = STRICT if self.strict and not self.secure else EXCHANGE
            may = messageNum in table[self.step]
        else:
            may = self.allowed(messageNum)
        if not may:
            raise Malformed(f"message {messageNum} came in state {self.step or self.state()}")
        if KEX_FIRST <= messageNum <= KEX_LAST:
            if self._ignore_guess:
                self._ignore_guess = False  # a wrong guess, RFC 4253 section 7
            else:
                self.exchanged(messageNum, payload)
            return
        own = self.messages.get(messageNum)
        if own is not None:
            own(self, payload)
        elif self.service is not None and messageNum >= USERAUTH_REQUEST:
            self.service.packetReceived(messageNum, payload)
        else:
            self.sendUnimplemented()

    def _broken(self, what: str, reason: int = DISCONNECT_PROTOCOL_ERROR) -> None:
        self.violated(what)
        self.sendDisconnect(reason, b"protocol error" if reason == DISCONNECT_PROTOCOL_ERROR else what.encode())

    # Sending.

    def sendPacket(self, messageType: int, payload: bytes) -> None:
        """Send, or keep until a key exchange is over; too much kept ends the connection (C18)."""
        if self.gone or (self.ending is not None and messageType != DISCONNECT):
            return
        if self._queue is not None and not (
            KEXINIT <= messageType <= KEX_LAST or messageType in CALM or messageType == DISCONNECT
        ):
            self._queued += len(payload) + 1
            if self._queued > self.limits.backlog:
                self.abort("the key exchange does not end")
                return
            self._queue.append((messageType, payload))
            return
        packet = self.outgoing.packet(bytes((messageType,)) + payload)
        self._out.append(packet)
        self._collected += len(packet)
        if not self._turn:
            self.flush()

    def flush(self) -> None:
        """Hand what was collected to the connection."""
        if self._out:
            out, self._out, self._collected = self._out, [], 0
            if not self.gone:
                self.transport.write(b"".join(out))

    def crowded(self) -> bool:
        """Whether a service should answer nothing more for now: what was sent must go first. Another turn will come.

        Without it one packet of requests whose replies are large (OPENDIR, READDIR, CLOSE: 50 bytes for 32 KB) made
        20 MB of them.
        """
        if "peer" in self._pauses:
            return True
        if self._collected < _CROWD:
            return False
        self._turn_soon()
        return True

    def sendUnimplemented(self) -> None:
        """For the packet just read."""
        self.sendPacket(UNIMPLEMENTED, u32((self.incoming.sequence - 1) & 0xFFFFFFFF))

    def sendDisconnect(self, reason: int, desc: bytes | str) -> None:
        """Say why and end; what the peer sends then is not looked at, and it has some time to take what is queued."""
        if self.ending is not None:
            return
        text = desc if isinstance(desc, bytes) else desc.encode()
        self.ending = printable(text)
        self.sendPacket(DISCONNECT, u32(reason) + string(text) + string(b""))
        self._part()

    def _part(self) -> None:
        self.flush()
        self.transport.unregisterProducer()
        self.transport.loseConnection()
        self.start_timer("lingering", self.limits.lingering_s, self.ending or "")

    def abort(self, reason: str) -> None:
        """Cut the connection now, without a word to the peer."""
        if self.ending is None:
            self.ending = reason
        self.transport.abortConnection()

    # Messages of both sides.

    def ssh_DISCONNECT(self, packet: bytes) -> None:
        """The peer's last word."""
        reader = Reader(packet)
        code, text = reader.u32(), reader.string()
        side = "server" if self.isClient else "client"
        self.ending = f"the {side} disconnected: {code} {printable(text, 100)}"
        self._part()

    def ignored(self, packet: bytes) -> None:
        """IGNORE, DEBUG, UNIMPLEMENTED."""

    # Key exchange.

    def sendKexInit(self) -> None:
        """Begin a key exchange, or answer the peer's KEXINIT; nothing when one has begun."""
        if self._proposal is not None:
            return
        first = self.sessionID is None
        markers: tuple[bytes, ...] = ()
        if first:
            # Not later, RFC 8308 section 2.1: paramiko and OpenSSH 7 would send EXT_INFO in the middle of a transfer.
            markers = (b"ext-info-c", STRICT_CLIENT) if self.isClient else (b"ext-info-s", STRICT_SERVER)
        payload = algorithms.write(os.urandom(16), self.offered, markers)
        self._proposal = algorithms.read(payload)
        self.ourKexInitPayload = bytes((KEXINIT,)) + payload
        self.sendPacket(KEXINIT, payload)
        if self._queue is None:
            self._queue = []
        if not first:
            self.start_timer("kex", self.limits.kex_s, "a key exchange did not end in time")

    def ssh_KEXINIT(self, packet: bytes) -> None:
        """The peer's half of the negotiation; a peer that asks for one all the time is thrown out."""
        first = self.sessionID is None
        if not first and self._proposal is None and self.incoming.received < self.limits.peer_rekey_bytes:
            self._early_kexes += 1
            if self._early_kexes > self.limits.peer_rekey_breaches:
                raise Malformed("too many key exchanges")
        if not first and self._proposal is None:
            self.rekeyings_asked += 1
        theirs = algorithms.read(packet)
        self.otherKexInitPayload = bytes((KEXINIT,)) + packet
        if first:
            marker = STRICT_SERVER if self.isClient else STRICT_CLIENT
            self.strict = marker in theirs.exchanges
            if self.strict and self.incoming.sequence != 1:
                raise Malformed("strict key exchange: something came before KEXINIT")
        self.step = "exchange"
        if first and self._proposal is None:
            self.offered = self.narrowed(theirs)
        self.sendKexInit()
        ours = self._proposal
        assert ours is not None
        try:
            agreed = algorithms.agree(ours, theirs) if self.isClient else algorithms.agree(theirs, ours)
        except NothingInCommon as error:
            self.disagreed(error)
            self.sendDisconnect(DISCONNECT_KEY_EXCHANGE_FAILED, str(error).encode())
            return
        self.agreed = agreed
        self.kexAlg, self.keyAlg = agreed.exchange, agreed.host_key  # Conch's names
        self._ignore_guess = theirs.guess and not agreed.guess_was_right
        versions = self.otherVersionString, self.ourVersionString
        inits = self.otherKexInitPayload, self.ourKexInitPayload
        if self.isClient:
            versions, inits = versions[::-1], inits[::-1]
        self._exchange = self.begin_exchange(agreed, Transcript(*versions, *inits))

    def new_keys(self, secret: Secret) -> None:
        """The exchange gave a secret: our NEWKEYS goes out, and everything after it is under the new keys."""
        assert self.agreed is not None
        self._exchange = None
        if self.sessionID is None:
            self.sessionID = secret.hash
        to_server = (self.agreed.cipher_to_server, self.agreed.mac_to_server, b"A", b"C", b"E")
        to_client = (self.agreed.cipher_to_client, self.agreed.mac_to_client, b"B", b"D", b"F")
        out, into = (to_server, to_client) if self.isClient else (to_client, to_server)
        self.step = "newkeys"
        self._next = self._direction(secret, *into, sending=False)
        self.sendPacket(NEWKEYS, b"")
        self.outgoing.change(self._direction(secret, *out, sending=True), restart=self.strict)
        # The queue waits for the peer's NEWKEYS no longer: OpenSSH does so, too (packet.c, ssh_packet_send2).
        queue, self._queue, self._queued = self._queue or [], None, 0
        for number, payload in queue:
            self.sendPacket(number, payload)

    def _direction(
        self, secret: Secret, cipher: bytes, mac: bytes, iv: bytes, key: bytes, mac_key: bytes, *, sending: bool
    ) -> Direction:
        session = self.sessionID
        assert session is not None
        key_size, iv_size = CIPHERS[cipher]
        mac_size = MACS[mac][1] if mac else 0
        return direction(
            cipher,
            mac,
            secret.derive(key, session, key_size),
            secret.derive(iv, session, iv_size),
            secret.derive(mac_key, session, mac_size),
            sending=sending,
        )

    def ssh_NEWKEYS(self, packet: bytes) -> None:
        """What follows is under the new keys."""
        if packet or self._next is None:
            raise Malformed("NEWKEYS takes no data")
        self.incoming.change(self._next, restart=self.strict)
        self._next = self._proposal = self.step = None
        self.stop_timer("kex")
        first, self.secure = not self.secure, True
        if not first:
            self.rekeyings += 1
        self.stop_timer("rekey")
        self._timers["rekey"] = self.clock.callLater(self.limits.rekey_s, self._rekey_due)
        self.secured(first)

    def _rekey_due(self) -> None:
        self._timers["rekey"] = self.clock.callLater(self.limits.rekey_s, self._rekey_due)
        if self.trusted and self._proposal is None and self.ending is None:
            self.sendKexInit()

    def _rekey_if_due(self) -> None:
        if (
            self.incoming.received + self.outgoing.sent >= self.limits.rekey_bytes
            or self.incoming.packets + self.outgoing.packets >= _MOST_PACKETS
        ) and self._proposal is None:
            self.sendKexInit()

    # Timers.

    def start_timer(self, name: str, seconds: float, why: str) -> None:
        """Abort after so many seconds."""
        self.stop_timer(name)
        self._timers[name] = self.clock.callLater(seconds, self._expired, name, why)

    def stop_timer(self, name: str) -> None:
        """It was in time."""
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()

    def _expired(self, name: str, why: str) -> None:
        del self._timers[name]
        self.expired(name, why)
        self.abort(why)

    def expired(self, name: str, why: str) -> None:
        """A deadline passed; the connection is about to be cut."""

    # Conch asks these.

    def isEncrypted(self, direction: str = "out") -> bool:
        """There are keys."""
        return self.sessionID is not None and self.step is None

    isVerified = isEncrypted
