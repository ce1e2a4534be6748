"""One SFTP conversation: packets in, exactly one reply to each, in an order clients can rely on, and one end.

Order is kept as clients built against OpenSSH's server expect it: what concerns one open file runs in the order it
came, and what concerns paths runs in order, after the CLOSEs that came before it. A lost connection is never a CLOSE.
Knows no SSH (see channel.py) and not what the requests mean (see sftp/paths.py and sftp/server.py).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from twisted.conch.ssh.filetransfer import SFTPError
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from conch_pipe.ssh.fields import Malformed, Reader
from conch_pipe.ssh.interfaces import DropConnection
from conch_pipe.ssh.limits import Limits
from conch_pipe.ssh.sftp import wire
from conch_pipe.ssh.sftp.handles import File, Handles, Line, value
from conch_pipe.ssh.sftp.stream import RequestStream
from conch_pipe.ssh.sftp.wire import Status, Type

Work = Callable[[], Awaitable[bytes]]
Ask = Callable[[], Any]  # the backend; it gives a value, or a Deferred of one
Reply = Callable[[Any], bytes]  # to a request, when the backend gave that value

EXTENSIONS = {
    b"posix-rename@openssh.com": b"1",
    b"statvfs@openssh.com": b"2",
    b"fstatvfs@openssh.com": b"2",
    b"fsync@openssh.com": b"1",
    b"lsetstat@openssh.com": b"1",
    b"limits@openssh.com": b"1",
    b"expand-path@openssh.com": b"1",
}
_BATCH = 65_536  # replies are written together, but not more than about this


class Pipe(Protocol):
    """What the server needs of the channel it runs in."""

    def write(self, data: bytes) -> None:
        """Send replies."""

    def tell(self, sentence: str) -> None:
        """Say something to the person, where the client shows it; may be dropped."""

    def finished(self, status: int) -> None:
        """Nothing more will come from us: exit status, end, close."""

    def drop(self, reason: str) -> None:
        """Cut the whole connection without a word."""

    def crowded(self) -> bool:
        """So much has been sent that nothing more should be answered now; ``go_on`` will be called then."""

    def release(self) -> None:
        """``holding`` may have become False."""


class SFTPSession:
    """One SFTP conversation; a subclass handles the requests.

    :param backend: an IPutServer.
    """

    _log = Logger()

    def __init__(self, backend: Any, pipe: Pipe, clock: IReactorTime, limits: Limits) -> None:
        self._backend = backend
        self._pipe = pipe
        self._clock = clock
        self._limits = limits
        self._stream = RequestStream(limits.sftp_packet, self)
        self._handles = Handles(limits.handles)
        self._tree = Line()
        self._closing: set[File] = set()
        self._replies: list[bytes] = []
        self._replies_size = 0
        self._greeted = False
        self._turn = False  # packets are being dealt with: replies wait for its end
        self._eof = False
        self._over: str | None = None  # why it ended
        self._outstanding = 0
        self._unfinished = 0  # bytes
        self._held = False
        self._lagging = 0  # files
        self.requested_at = clock.seconds()

    def handle(self, kind: int, request: int, reader: Reader) -> bytes | None:
        """One request.

        :returns: its reply, or None when that comes later through ``_in_line`` or ``_on_tree``.
        :raises SFTPError: the refusal; Malformed and NotImplementedError have their codes, all else is our fault.
        """
        raise NotImplementedError

    def write_begins(self, request: int, handle: bytes, offset: int, size: int) -> bool:
        """See stream.Requests."""
        raise NotImplementedError

    def write_data(self, data: memoryview) -> None:
        """See stream.Requests."""
        raise NotImplementedError

    def write_ends(self) -> None:
        """See stream.Requests."""
        raise NotImplementedError

    def store(self) -> None:
        """Give the backend what came by ``write_data``; the views will not be good much longer."""

    def forget(self) -> None:
        """The same is not wanted any more."""

    # What the channel calls.

    def dataReceived(self, data: bytes | memoryview) -> None:
        """Bytes of the conversation."""
        self.feed(data)
        self.turnEnded()

    def feed(self, data: bytes | memoryview) -> None:
        """The same when more may be there already: :meth:`turnEnded` must follow while ``data`` is still good."""
        if self._over is not None:
            return
        self._turn = True
        try:
            self._stream.feed(data)
        except Malformed as error:
            self._break_off(str(error))

    def turnEnded(self) -> None:
        """No more data is there now: store what came, send the replies to it."""
        if self._over is None:
            self.store()
        self._turn = False
        self._flush()
        self._end_if_done()

    def go_on(self) -> None:
        """Replies have gone: requests that waited for that are looked at."""
        if self._stream.stopped:
            self._go_on()

    def eofReceived(self) -> None:
        """The client sends nothing more; what it asked for is finished first, then the channel ends."""
        self._eof = True
        self.turnEnded()

    def connectionLost(self, reason: str) -> None:
        """The channel or the connection is gone: whatever is not completed never will be. May come again."""
        if self._over is not None:
            return
        self._over = reason
        self.forget()
        for file in (*self._handles.clear(), *self._closing):
            file.abort(reason)
        try:
            self._backend.channelLost(reason)
        except Exception:  # noqa: BLE001 - one channel's fault must not keep the files of the others from being aborted
            self._log.failure("channelLost of a backend failed")

    @property
    def holding(self) -> bool:
        """The client should send no more for now: storage is behind, or too many requests wait."""
        if self._unfinished > self._limits.unfinished:
            self._held = True
        elif self._unfinished <= self._limits.unfinished // 2:
            self._held = False
        return self._held or self._lagging > 0 or self._full or self._stream.stopped

    @property
    def working(self) -> bool:
        """A request is being worked on."""
        return self._outstanding > 0

    @property
    def open_files(self) -> int:
        """Files that are neither completed nor dropped."""
        return sum(isinstance(found, File) for found in self._handles) + len(self._closing)

    def expire_files(self) -> None:
        """Give up open files that got no WRITE for too long, though nothing of ours kept the client from it."""
        latest = self._clock.seconds() - self._limits.open_file_s
        for file in self._handles:
            if isinstance(file, File) and file.wrote_at <= latest and not file.line.busy and not file.waiting:
                file.poison(SFTPError(Status.FAILURE, "the file was open too long without a write"))

    # Packets in, replies out.

    def request(self, packet: memoryview) -> None:
        """See stream.Requests."""
        self.store()
        if self._over is not None:
            self._stream.stopped = True
            return
        self.requested_at = self._clock.seconds()
        kind = packet[0]
        reader = Reader(packet[1:])
        if kind == Type.INIT or not self._greeted:
            self._greet(kind, reader)
            return
        request = reader.u32()
        try:
            reply = self.handle(kind, request, reader)
        except DropConnection:
            self._drop()
        except Exception as error:  # noqa: BLE001 - the door's edge: whatever it was, the client gets one answer
            self._send(self._refusal(request, kind, error))
        else:
            if reply is not None:
                self._send(reply)
        self._stream.stopped = self._full or self._over is not None or self._pipe.crowded()

    @property
    def _full(self) -> bool:
        return self._outstanding >= self._limits.outstanding

    def _end_if_done(self) -> None:
        if self._eof and self._over is None and not self._outstanding and not self._stream.ready:
            self.connectionLost("the client ended the channel")
            self._pipe.finished(0)

    def _greet(self, kind: int, reader: Reader) -> None:
        if kind != Type.INIT or self._greeted:
            raise Malformed("INIT must come first, and once")
        version = reader.u32()
        extensions: dict[bytes, bytes] = {}
        told = 0  # not what is in the dict: one name may come again and again
        while reader.left:
            told += 1
            if told > self._limits.attributes:
                raise Malformed("too many extensions in INIT")
            name = reader.string()
            extensions[name] = reader.string()
        self._greeted = True
        self._backend.gotVersion(version, extensions)
        self._send(wire.version(EXTENSIONS))

    def _send(self, reply: bytes) -> None:
        if self._over is not None:
            return
        self._replies.append(reply)
        self._replies_size += len(reply)
        if not self._turn or self._replies_size > _BATCH:
            self._flush()

    def _flush(self) -> None:
        if self._replies and self._over is None:
            self._pipe.write(b"".join(self._replies))
        self._replies.clear()
        self._replies_size = 0

    def _refusal(self, request: int, kind: int, error: BaseException) -> bytes:
        """The one place where an exception becomes a STATUS."""
        if isinstance(error, SFTPError):
            refused = error
        elif isinstance(error, Malformed):
            refused = SFTPError(Status.BAD_MESSAGE, str(error))
        elif isinstance(error, NotImplementedError):
            refused = SFTPError(Status.OP_UNSUPPORTED, "not supported")
        else:
            self._log.failure("an SFTP request of type {kind} failed", kind=kind)
            refused = SFTPError(Status.FAILURE, "internal error")
        if refused.code >= Status.PERMISSION_DENIED or (kind == Type.OPEN and refused.code == Status.NO_SUCH_FILE):
            self._pipe.tell(refused.message)
        return wire.status(request, refused.code, refused.message)

    def _drop(self) -> None:
        self._pipe.drop("the outcome of a request is unknown")
        self.connectionLost("the connection was cut: the outcome of a request is unknown")

    def _break_off(self, why: str) -> None:
        """The stream cannot be followed: OpenSSH's server ends with status 11 here."""
        self._flush()
        self.connectionLost(why)
        self._pipe.tell(why)
        self._pipe.finished(11)

    async def _answer(self, requests: Sequence[int], kind: int, work: Work) -> None:
        """Do the work of one request, or of some WRITEs in one, and send what ``work`` gives, or a refusal of each."""
        reply = b""
        try:
            if self._over is None:
                reply = await work()
        except DropConnection:
            self._drop()
        except Exception as error:  # noqa: BLE001 - the door's edge: whatever it was, the client gets one answer
            reply = b"".join([self._refusal(request, kind, error) for request in requests])
        self._outstanding -= 1
        self._send(reply)
        self._go_on()

    def _go_on(self) -> None:
        """Something is done: more may be looked at, and let in."""
        if self._turn or self._over is not None:
            return
        if self._stream.stopped and not self._full and not self._pipe.crowded():
            self._stream.stopped = False
            self._turn = True
            try:
                self._stream.go_on()
            except Malformed as error:
                self._break_off(str(error))
            self.turnEnded()
        else:
            self._end_if_done()
        self._pipe.release()

    def _in_line(self, line: Line, request: int, kind: int, ask: Ask, reply: Reply) -> bytes | None:
        """Requests about one open file: in order.

        :returns: the reply, when it is that one's turn and the backend answers at once, as nearly always: no Deferred
            and no coroutine is made then.
        """
        if line.busy:
            self._later(line, request, kind, ask, reply)
            return None
        result = ask()
        if isinstance(result, Deferred):
            self._later(line, request, kind, lambda: result, reply)
            return None
        return reply(result)

    def _on_tree(self, request: int, kind: int, ask: Ask, reply: Reply) -> bytes | None:
        """Requests about paths: in order, and after the CLOSEs that came before.

        WinSCP sends SETSTAT, and RENAME, without waiting for the reply to CLOSE.

        :returns: see :meth:`_in_line`.
        """
        if not self._closing:
            return self._in_line(self._tree, request, kind, ask, reply)
        self._later(self._tree, request, kind, ask, reply, after=list(self._closing))
        return None

    def _later(self, line: Line, request: int, kind: int, ask: Ask, reply: Reply, after: Sequence[File] = ()) -> None:
        async def work() -> bytes:
            return reply(await value(ask()))

        async def answer() -> None:
            for file in after:
                await file.settled()
            await self._answer((request,), kind, work)

        self._outstanding += 1
        line.add(answer)
