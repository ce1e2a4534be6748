"""Packets in and out of one SSH connection: turns, pauses, deadlines and one end.

What goes wrong while packets are dealt with ends the connection with one DISCONNECT and one line in the log. Never logs
a payload. Knows messages by number only; what they mean is transport.py's.
"""

from __future__ import annotations

import socket
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.conch.ssh import transport
from twisted.conch.ssh.transport import DISCONNECT_MAC_ERROR, DISCONNECT_PROTOCOL_ERROR
from twisted.internet.interfaces import IPushProducer, IReactorTime, ISystemHandle, ITCPTransport
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from conch_pipe.ssh.fields import Malformed, Reader, printable, string, u32
from conch_pipe.ssh.limits import Limits
from conch_pipe.ssh.transport.ciphers import BadPacket
from conch_pipe.ssh.transport.deadlines import Deadlines
from conch_pipe.ssh.transport.packets import Incoming, Outgoing
from conch_pipe.ssh.transport.states import CALM, CHANNEL_DATA, DISCONNECT, KEX_LAST, KEXINIT, UNIMPLEMENTED

_QUICKACK = getattr(socket, "TCP_QUICKACK", None)  # Linux
_CROWD = 65_536  # bytes of replies of one turn; Twisted asks producers to pause at as many


@implementer(IPushProducer)
class PacketTransport(transport.SSHTransportBase):
    """One connection.

    ``service`` (Conch's ``setService``) is a connection service once ``trusted``: ``channelData(packet)`` takes a whole
    CHANNEL_DATA message as a view that is good until ``turnEnded()``: no more packets are there now.
    """

    transport: Any  # Twisted's, with registerProducer and abortConnection
    ourVersionString = b"SSH-2.0-pipe-sftp"
    _log = Logger()

    def __init__(self, limits: Limits, clock: IReactorTime) -> None:
        self.limits = limits
        self.clock = clock
        self.ending: str | None = None  # why, once the connection is over for us
        self.packets_received = self.bytes_received = 0
        self.trusted = False  # logged in, on either side: large packets, re-keying
        self.step: str | None = "kexinit"  # of a key exchange the peer is to do next
        self.gone = False
        self.incoming = Incoming(limits.packet_before_login)
        self.outgoing = Outgoing()
        self._queue: list[tuple[int, bytes]] | None = []  # messages that wait for the end of a key exchange
        self._queued = 0  # bytes of them
        self._turn = False  # packets are being dealt with: what is sent is collected
        self._out: list[bytearray] = []
        self._collected = 0  # bytes of them
        self._pauses: set[str] = set()
        self._deadlines = Deadlines(clock)
        self._answered = False  # something was sent since it was last asked
        self._socket: Any = None  # the socket, where there is one

    # What a subclass says.

    def got_version(self, line: bytes) -> None:
        """The first line; sets ``gotVersion`` when it is a version of SSH 2."""
        raise NotImplementedError

    def violated(self, what: str) -> None:
        """The peer broke the protocol; the connection is about to end."""

    def _check_budget(self) -> None:
        """Before login a few KiB in a few packets are all that is needed."""

    def turn_done(self) -> None:
        """The packets that were there are dealt with, after login."""

    def expired(self, name: str, why: str) -> None:
        """A deadline passed; the connection is about to be cut."""

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
        self._answered = False
        self._read()
        if not self._answered and self.ending is None:
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
        self._deadlines.clear()
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
                    self.turn_done()
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
        if "turn" not in self._deadlines:
            self.pause("turn")
            self.after("turn", 0, partial(self.resume, "turn"))

    def _end_turn(self) -> None:
        if self.ending is None:
            self.incoming.rest()
        else:
            self.incoming.close()
        self.flush()
        self._deadlines.wind()

    def _acknowledge(self) -> None:
        """Have what was read acknowledged now, not in 40 ms. A reply that was sent at once has done so already.

        ssh2 (Node) sends each WRITE as two segments without TCP_NODELAY and holds the second back until the first is
        acknowledged: 10 MB by ssh2-sftp-client took 7.0 s, now 0.3 s. The kernel forgets the option: after each read.
        Small ones too: one client's logins by libssh2 are 398 a second with it, 21 without.
        """
        if self._socket is not None and _QUICKACK is not None:
            try:  # contextlib.suppress takes as long as the call
                self._socket.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
            except OSError:  # closed meanwhile
                return

    def take_version(self) -> bool:
        """Whether the peer's version line has come; nothing may come before it, RFC 4253 section 4.2.

        :raises Malformed: it is too long, or none.
        """
        line = self.incoming.line(self.limits.version_line)
        if line is None:
            return False
        self.got_version(line)
        return self.gotVersion

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
            self._answered = True
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

    def hold(self) -> None:
        """Send nothing but messages of the key exchange, until :meth:`release`."""
        if self._queue is None:
            self._queue = []

    def release(self) -> None:
        """Send what had to wait."""
        queue, self._queue, self._queued = self._queue or [], None, 0
        for number, payload in queue:
            self.sendPacket(number, payload)

    # The end.

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

    def ssh_DISCONNECT(self, packet: bytes) -> None:
        """The peer's last word."""
        reader = Reader(packet)
        code, text = reader.u32(), reader.string()
        side = "server" if self.isClient else "client"
        self.ending = f"the {side} disconnected: {code} {printable(text, 100)}"
        self._part()

    def ignored(self, packet: bytes) -> None:
        """IGNORE, DEBUG, UNIMPLEMENTED."""

    # Deadlines.

    def after(self, name: str, seconds: float, function: Callable[[], object]) -> None:
        """Call a function then, unless :meth:`stop_timer` comes first or the connection is lost."""
        if not self.gone:
            self._deadlines.set(name, seconds, function)
            if not self._turn:
                self._deadlines.wind()

    def start_timer(self, name: str, seconds: float, why: str) -> None:
        """Abort after so many seconds."""
        self.after(name, seconds, partial(self._expired, name, why))

    def stop_timer(self, name: str) -> None:
        """It was in time."""
        self._deadlines.drop(name)

    def _expired(self, name: str, why: str) -> None:
        self.expired(name, why)
        self.abort(why)
