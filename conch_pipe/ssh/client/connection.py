"""The connection protocol from our side: one session channel with SFTP in it, windows both ways, nothing forwarded.

Every message is read strictly; what a server asks of us is refused. A file's bytes are read only when the server's
window and the socket take them.

:source: RFC 4254.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import ClassVar, Protocol

from twisted.conch.ssh import connection as conch
from twisted.conch.ssh.service import SSHService
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from conch_pipe.ssh.client.errors import ClientError, ConnectionEnded, NoSFTP
from conch_pipe.ssh.client.limits import ClientLimits
from conch_pipe.ssh.fields import Malformed, Reader, printable, string, u32
from conch_pipe.ssh.sftp.client import SFTPClient

_OURS = 0  # our number of the one channel
_LARGEST_PACKET = 32_768  # of a server's "maximum packet" we use no more: larger ones gained nothing when measured
_DATA = Struct(">BLL")  # number, channel, size
_ADJUST = Struct(">LL")  # channel, bytes


class ConnectionTransport(Protocol):
    """What the connection needs of the transport below it."""

    @property
    def room(self) -> int:
        """Bytes that the socket takes now; 0 while it is behind or keys are exchanged."""

    def sendPacket(self, messageType: int, payload: bytes) -> None:
        """Send."""

    def send_file(self, number: int, head: bytes, fd: int, offset: int, size: int, packet: int) -> None:
        """Send ``head`` and a piece of a file as data of a channel; see :class:`Pipe`.

        :param number: the server's of the channel.
        :param packet: bytes of data in one message.
        """

    def fail(self, error: ClientError) -> None:
        """End the connection."""


class ClientConnection(SSHService):
    """The service after login, with its one channel; the pipe of its SFTP client.

    :ivar ready: fires with the SFTP client when the server has started SFTP and said its version.
    """

    name = b"ssh-connection"
    transport: ConnectionTransport  # type: ignore[assignment]

    def __init__(self, clock: IReactorTime, limits: ClientLimits) -> None:
        self._limits = limits
        self._stage = "channel"
        self._theirs = 0  # their number of the channel
        self._window = 0  # bytes they take
        self._packet = 0  # bytes of data in one message
        self._grown = False  # the window, in this turn
        self._left = limits.window  # bytes we take
        self._backlog = bytearray()
        self._said = b""  # on stderr
        self.sftp = SFTPClient(self, clock, limits)
        self.ready: Deferred[SFTPClient] = Deferred()

    # What the transport calls.

    def serviceStarted(self) -> None:
        """Logged in."""
        self.transport.sendPacket(
            conch.MSG_CHANNEL_OPEN,
            string(b"session") + u32(_OURS) + u32(self._limits.window) + u32(self._limits.channel_packet),
        )

    def serviceStopped(self) -> None:
        """The connection is gone."""
        self.ended(ConnectionEnded("the connection was lost"))

    def ended(self, error: ClientError) -> None:
        """Nothing more comes or goes: what waits fails. Later calls change nothing."""
        self._stage = "over"
        self._backlog.clear()
        self.sftp.connectionLost(error)
        if not self.ready.called:
            self.ready.errback(error)

    def resume(self) -> None:
        """The socket takes more: the server has acknowledged what it had."""
        self._flush()
        self.sftp.moved()
        self.sftp.resume()

    def packetReceived(self, messageNum: int, packet: bytes) -> None:
        """A message of numbers 80 to 127.

        :raises Malformed: the transport ends the connection then.
        """
        if messageNum == conch.MSG_CHANNEL_WINDOW_ADJUST:
            self._window_adjust(packet)
            return
        read = self._messages.get(messageNum)
        if read is None:
            raise Malformed(f"message {messageNum} came after the login")
        read(self, Reader(packet))

    def channelData(self, packet: memoryview) -> None:
        """CHANNEL_DATA as a view, its number first.

        :raises Malformed: the transport ends the connection then.
        """
        if len(packet) < _DATA.size:
            raise Malformed("the message ends too early")
        _, number, size = _DATA.unpack_from(packet)
        if number != _OURS or size != len(packet) - _DATA.size:
            raise Malformed("data for a channel that never was, or of another size")
        if self._take(size):
            self.sftp.dataReceived(packet[_DATA.size :])

    def turnEnded(self) -> None:
        """The transport has no more packets now: send once for all replies and window adjustments that came."""
        if self._grown:
            self._grown = False
            self.sftp.moved()
        self.sftp.resume()

    # Messages.

    def _nothing(self, reader: Reader) -> None:
        """Answers to no request of ours."""

    def _global_request(self, reader: Reader) -> None:
        # keepalive@openssh.com wants any answer; hostkeys-00@openssh.com wants none.
        reader.view()
        if reader.flag():
            self.transport.sendPacket(conch.MSG_REQUEST_FAILURE, b"")

    def _channel_open(self, reader: Reader) -> None:
        _kind, number = reader.view(), reader.u32()
        refusal = u32(number) + u32(conch.OPEN_ADMINISTRATIVELY_PROHIBITED) + string(b"nothing is served here")
        self.transport.sendPacket(conch.MSG_CHANNEL_OPEN_FAILURE, refusal + string(b"en"))

    def _opened(self, reader: Reader) -> None:
        self._ours(reader)
        if self._stage != "channel":
            raise Malformed("a channel was confirmed that was not asked for")
        self._theirs, self._window, packet = reader.u32(), reader.u32(), reader.u32()
        if packet < self._limits.peer_packet:
            raise Malformed("the server's maximum packet is too small")
        self._packet = min(packet, _LARGEST_PACKET)
        self._stage = "subsystem"
        request = u32(self._theirs) + string(b"subsystem") + b"\1" + string(b"sftp")
        self.transport.sendPacket(conch.MSG_CHANNEL_REQUEST, request)
        # INIT goes with it: a server that refuses the subsystem does not look at it.
        self.sftp.start().addCallbacks(self._greeted, self._not_greeted)

    def _greeted(self, _: None) -> None:
        self._stage = "sftp"
        self.ready.callback(self.sftp)

    def _not_greeted(self, failure: object) -> None:
        """``ended`` has told it."""

    def _not_opened(self, reader: Reader) -> None:
        self._ours(reader)
        if self._stage != "channel":
            raise Malformed("a channel was refused that was not asked for")
        code, text = reader.u32(), reader.string()
        self.transport.fail(NoSFTP(f"the server opens no channel: {code} {printable(text, 100)}"))

    def _granted(self, reader: Reader) -> None:
        self._ours(reader)

    def _refused(self, reader: Reader) -> None:
        self._ours(reader)
        if self._stage == "subsystem":
            self.transport.fail(NoSFTP(self._with_said("the server has no SFTP")))

    def _window_adjust(self, packet: bytes) -> None:
        # OpenSSH sends five of them for one WRITE of 255 KiB: no Reader.
        if len(packet) != _ADJUST.size:
            raise Malformed("a window adjustment of the wrong size")
        number, more = _ADJUST.unpack(packet)
        self._window += more
        if number != _OURS or self._window > 0xFFFFFFFF:
            raise Malformed("a window of a channel that never was, or larger than it can be")
        self._grown = True
        if self._backlog:
            self._flush()

    def _extended_data(self, reader: Reader) -> None:
        self._ours(reader)
        reader.u32()
        data = reader.view()
        reader.end()
        if self._take(len(data)):
            self._said = (self._said + bytes(data[: self._limits.sentence]))[: self._limits.sentence]

    def _take(self, size: int) -> bool:
        """Count data against our window, and open it again in large steps."""
        if self._stage == "channel":
            raise Malformed("data on a channel that is not open")
        if size > self._left or size > self._limits.channel_packet:
            raise Malformed("more data than the window allows")
        if self._stage == "over":
            return False
        self._left -= size
        if self._left < self._limits.window // 2:
            more, self._left = self._limits.window - self._left, self._limits.window
            self.transport.sendPacket(conch.MSG_CHANNEL_WINDOW_ADJUST, u32(self._theirs) + u32(more))
        return True

    def _end(self, reader: Reader) -> None:
        # EOF or CLOSE: no reply can come any more.
        self._ours(reader)
        if self._stage == "channel":
            raise Malformed("the end of a channel that is not open")
        if self._stage == "subsystem":
            self.transport.fail(NoSFTP(self._with_said("the server ended SFTP before it began")))
        elif self._stage != "over":
            self.transport.fail(ConnectionEnded(self._with_said("the server ended the channel")))

    def _channel_request(self, reader: Reader) -> None:
        self._ours(reader)
        reader.view()
        if reader.flag():  # exit-status and exit-signal want no reply, keepalive@openssh.com does
            self.transport.sendPacket(conch.MSG_CHANNEL_FAILURE, u32(self._theirs))

    def _ours(self, reader: Reader) -> None:
        if reader.u32() != _OURS:
            raise Malformed("a message for a channel that never was")

    def _with_said(self, why: str) -> str:
        said = printable(self._said.strip(), self._limits.sentence)
        return f"{why}: {said}" if said else why

    _messages: ClassVar[dict[int, Callable[[ClientConnection, Reader], None]]] = {
        conch.MSG_GLOBAL_REQUEST: _global_request,
        conch.MSG_REQUEST_SUCCESS: _nothing,
        conch.MSG_REQUEST_FAILURE: _nothing,
        conch.MSG_CHANNEL_OPEN: _channel_open,
        conch.MSG_CHANNEL_OPEN_CONFIRMATION: _opened,
        conch.MSG_CHANNEL_OPEN_FAILURE: _not_opened,
        conch.MSG_CHANNEL_EXTENDED_DATA: _extended_data,
        conch.MSG_CHANNEL_EOF: _end,
        conch.MSG_CHANNEL_CLOSE: _end,
        conch.MSG_CHANNEL_REQUEST: _channel_request,
        conch.MSG_CHANNEL_SUCCESS: _granted,
        conch.MSG_CHANNEL_FAILURE: _refused,
    }

    # What the SFTP client calls (its Pipe).

    @property
    def room(self) -> int:
        """Bytes that may go now."""
        if self._backlog or self._stage != "sftp":
            return 0
        return min(self._window, self.transport.room)

    def write(self, data: bytes) -> None:
        """Send a request as far as the window goes, and keep the rest."""
        if self._stage == "over":
            return
        self._backlog += data
        self._flush()
        if len(self._backlog) > self._limits.backlog:
            self.transport.fail(ConnectionEnded("the server takes no requests"))

    def send_file(self, head: bytes, fd: int, offset: int, size: int) -> None:
        """Send ``head`` and a piece of a file, together not more than ``room``."""
        self.transport.send_file(self._theirs, head, fd, offset, size, self._packet)
        self._window -= len(head) + size

    def drop(self, reason: str) -> None:
        """The SFTP session has ended by itself."""
        self.transport.fail(self.sftp.over or ConnectionEnded(reason))

    # Our own.

    def _flush(self) -> None:
        size = min(len(self._backlog), self._window)
        if size:
            data = bytes(self._backlog[:size])
            del self._backlog[:size]
            self._window -= size
            head = u32(self._theirs)
            for at in range(0, size, self._packet):
                self.transport.sendPacket(conch.MSG_CHANNEL_DATA, head + string(data[at : at + self._packet]))
