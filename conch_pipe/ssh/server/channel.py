"""A session channel that carries SFTP and nothing else.

Requests for anything but the subsystem ``sftp`` are answered so that the client ends cleanly. Owns the channel's flow
control: the receive window is opened again when storage keeps up, replies wait for the peer's window up to a bound.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.conch.ssh.channel import SSHChannel
from twisted.conch.ssh.connection import EXTENDED_DATA_STDERR
from twisted.python.failure import Failure

from conch_pipe.ssh.fields import Malformed, Reader, printable, string
from conch_pipe.ssh.interfaces import IPutServer
from conch_pipe.ssh.sftp.server import SFTPServer

if TYPE_CHECKING:
    from conch_pipe.ssh.server.connection import PutConnection

_FILES_ONLY = "This server takes files over SFTP only; there is no shell. Try: sftp"
_NO_OLD_SCP = "This server takes files over SFTP only; old scp does not work here. Try: scp without -O, or sftp"

# Clients that show a bare "Failure" or "Permission denied" in place of our text, but print what comes on stderr.
SHOWS_STDERR = (
    "SSH-2.0-OpenSSH_",  # sftp and scp 9.2p1 (run): fx2txt(status) only; their ssh copies extended data to stderr
    "SSH-2.0-PuTTY_",  # psftp and pscp 0.78 (run): "error while writing: failure"; stderr is printed
)
_SENTENCE = 200


class PutChannel(SSHChannel):
    """One session channel, made by :class:`~conch_pipe.ssh.server.connection.PutConnection`."""

    name = b"session"
    conn: PutConnection
    server: SFTPServer | None = None
    pty = False
    eof = False  # the client said so
    _refused: bytes | None = None  # what was asked for in place of SFTP
    _status: int | None = None  # exit status, once nothing more will come from us

    # What the connection calls.

    def channelOpen(self, specificData: bytes) -> None:
        """The channel is confirmed."""
        limits = self.conn.transport.limits
        self._backlog = bytearray()
        self._told: set[str] = set()
        self._deadline = f"subsystem of {self.id}"
        self.conn.transport.after(self._deadline, limits.subsystem_s, partial(self.finished, 1))

    def requestReceived(self, requestType: bytes, data: bytes) -> bool:
        """Whether the request is granted.

        :raises Malformed: the subsystem's name is not a string.
        """
        if requestType == b"subsystem":
            reader = Reader(data)
            wanted = reader.string()
            reader.end()
            return wanted == b"sftp" and self._start()
        if requestType in (b"exec", b"shell"):
            if self.server is not None or self._refused is not None:
                return False
            self._refused = data if requestType == b"exec" else b""
            return True
        if requestType == b"pty-req":
            self.pty = True
        return requestType in (b"env", b"pty-req", b"window-change", b"signal")

    def requestAnswered(self) -> None:
        """The reply to a request is sent; what must come after it can come now."""
        if self._refused is None or self._status is not None:
            return
        self._stop_timer()
        sentence = _NO_OLD_SCP if b"scp -" in self._refused[:64] else _FILES_ONLY
        self.conn.sendExtendedData(self, EXTENDED_DATA_STDERR, sentence.encode() + (b"\r\n" if self.pty else b"\n"))
        self.finished(1)

    def dataReceived(self, data: bytes | memoryview) -> None:
        """Bytes from the client, already counted against the window; :meth:`turnEnded` follows."""
        if self.server is not None:
            self.server.feed(data)
        elif self._status is None and self._refused is None:
            raise Malformed("data on a channel before its subsystem")

    def turnEnded(self) -> None:
        """No more data is there now; :meth:`go_on` follows."""
        if self.server is not None:
            self.server.turnEnded()
        self.release()

    def go_on(self) -> None:
        """What waited for earlier replies to go may be looked at now."""
        if self.server is not None:
            self.server.go_on()

    def extReceived(self, dataType: int, data: bytes) -> None:
        """A client has no stderr; ignored."""

    def eofReceived(self) -> None:
        """The client sends no more: finish what it asked for, then end. OpenSSH's sftp and scp wait for that."""
        if self.server is not None:
            self.server.eofReceived()
        elif self._refused is None:
            self.finished(0)

    def closeReceived(self) -> None:
        """The client is gone from the channel."""
        self._end("the client closed the channel")
        self.conn.sendClose(self)

    def closed(self) -> None:
        """Both sides closed, or the connection is gone."""
        self._end("the connection was lost")

    def openFailed(self, reason: Failure) -> None:
        """Not for a server's channels."""

    def addWindowBytes(self, data: int) -> None:
        """The peer takes so many bytes more.

        :raises Malformed: the window would pass 2**32-1 (RFC 4254 section 5.2).
        """
        self.remoteWindowLeft += data
        if self.remoteWindowLeft > 0xFFFFFFFF:
            raise Malformed("the window is larger than it can be")
        self._flush()

    # What the SFTP server calls (its Pipe).

    def write(self, data: bytes) -> None:
        """Send replies, as the peer's window allows; too many that it does not take end the connection."""
        if self._status is not None or self.localClosed:
            return
        if not self._backlog and len(data) <= min(self.remoteMaxPacket, self.remoteWindowLeft):
            self.remoteWindowLeft -= len(data)
            self.conn.sendData(self, data)
            return
        self._backlog += data
        self._flush()
        if len(self._backlog) > self.conn.transport.limits.backlog:
            self.drop("the client does not take its replies")

    def tell(self, sentence: str) -> None:
        """One sentence on the client's stderr, once, if it is one that shows it and otherwise says nothing."""
        limits = self.conn.transport.limits
        line = printable(sentence, _SENTENCE).encode() + b"\n"
        if (
            not self.conn.transport.banner.startswith(SHOWS_STDERR)
            or sentence in self._told
            or len(self._told) >= limits.told
            or self._backlog
            or self.localClosed
            or len(line) > self.remoteWindowLeft
        ):
            return
        self._told.add(sentence)
        self.remoteWindowLeft -= len(line)
        self.conn.sendExtendedData(self, EXTENDED_DATA_STDERR, line)

    def finished(self, status: int) -> None:
        """Exit status, end of data, close, once the peer has taken all replies."""
        if self._status is None:
            self._status = status
            self._stop_timer()
            self._flush()

    def crowded(self) -> bool:
        """Earlier replies have not gone yet; :meth:`go_on` will come."""
        return self.conn.transport.crowded()

    def drop(self, reason: str) -> None:
        """Cut the connection."""
        self.conn.transport.abort(reason)

    def release(self) -> None:
        """Open the receive window again, unless storage is behind."""
        if self.localClosed or self.localWindowLeft >= self.localWindowSize // 2:
            return
        if self.server is None or not self.server.holding:
            self.conn.adjustWindow(self, self.localWindowSize - self.localWindowLeft)

    # Our own.

    def _start(self) -> bool:
        if self.server is not None or self._refused is not None or self._status is not None:
            return False
        transport = self.conn.transport
        backend: Any = IPutServer(self.avatar)
        self.server = SFTPServer(backend, self, transport.clock, transport.limits)
        self._stop_timer()
        return True

    def _flush(self) -> None:
        while self._backlog and self.remoteWindowLeft and not self.localClosed:
            size = min(len(self._backlog), self.remoteMaxPacket, self.remoteWindowLeft)
            self.remoteWindowLeft -= size
            self.conn.sendData(self, bytes(self._backlog[:size]))
            del self._backlog[:size]
        if self._status is not None and not self._backlog and not self.localClosed:
            self.conn.sendEnd(self, self._status)

    def _stop_timer(self) -> None:
        self.conn.transport.stop_timer(self._deadline)

    def _end(self, reason: str) -> None:
        self._stop_timer()
        if self.server is not None:
            self.server.connectionLost(reason)


def refusal(text: str) -> bytes:
    """A description and its language, as CHANNEL_OPEN_FAILURE wants them."""
    return string(text.encode()) + string(b"en")
