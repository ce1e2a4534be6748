"""One local file on its way into an open remote file: many WRITEs in flight, no Deferred for each.

Knows request ids and replies only through :class:`~conch_pipe.ssh.sftp.client.SFTPClient`, which asks for the next
WRITE when the server's window and the socket have room.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from twisted.internet.defer import Deferred

from conch_pipe.ssh.fields import string
from conch_pipe.ssh.sftp.wire import Type

_BEFORE_HANDLE = struct.Struct(">LBL")  # length, type, request id
_BEFORE_DATA = struct.Struct(">QL")  # offset, length of the data


class Upload:
    """WRITEs of one file. ``finished`` fires when all are answered, or fails once, with the first that went wrong.

    :param fd: read with ``pread``; must stay open until ``finished`` has fired, and is not closed here.
    :param size: bytes to send, from ``start`` of the local file to the same place of the remote one.
    :param stopped: called when nothing more is to be sent, and nothing was wrong with the connection.
    """

    __slots__ = ("_at", "_end", "_largest", "_stopped", "_string", "fd", "finished", "flying", "over", "size", "start")

    def __init__(self, handle: bytes, fd: int, start: int, size: int, stopped: Callable[[Upload], None]) -> None:
        self._string = string(handle)
        self.fd = fd
        self.start = self._at = start
        self.size = size
        self._end = start + size
        self._stopped = stopped
        self._largest = 0  # bytes of one WRITE
        self.flying = 0  # WRITEs not yet answered
        self.over = False  # ``finished`` has fired
        self.finished: Deferred[int] = Deferred(lambda _: self._stop())

    @property
    def left(self) -> int:
        """Bytes not yet sent."""
        return self._end - self._at

    @property
    def acknowledged(self) -> int:
        """Bytes that the server has said OK to; it may be some WRITEs more."""
        return max(0, self._at - self.start - self.flying * self._largest)

    @property
    def head_size(self) -> int:
        """Bytes of a WRITE before its data."""
        return _BEFORE_HANDLE.size + len(self._string) + _BEFORE_DATA.size

    def head(self, request: int, size: int) -> tuple[bytes, int]:
        """A WRITE of so many bytes, up to its data, and the offset of those."""
        first = _BEFORE_HANDLE.pack(self.head_size - 4 + size, Type.WRITE, request)
        return first + self._string + _BEFORE_DATA.pack(self._at, size), self._at

    def sent(self, size: int) -> None:
        """The WRITE is on its way."""
        self._at += size
        self._largest = max(self._largest, size)
        self.flying += 1

    def end_if_done(self) -> None:
        """Fire ``finished`` when nothing is left to send and nothing unanswered."""
        if not self.flying and self._at >= self._end and not self.over:
            self.over = True
            self.finished.callback(self.size)

    def fail(self, error: BaseException) -> None:
        """The first thing that went wrong; later answers do not matter."""
        if not self.over:
            self._stop()
            self.finished.errback(error)

    def _stop(self) -> None:
        if not self.over:
            self.over = True
            self._stopped(self)
