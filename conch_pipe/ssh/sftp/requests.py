"""What a client of SFTP waits for: replies by request id, room for the next WRITE, and the time when it is enough.

Sans-IO: bytes come by ``dataReceived`` and go to a :class:`Pipe`; time is a clock. Every reply is read strictly, and
what cannot be followed ends the session: everything that waits fails then, exactly once. Knows no SSH, and not what
can be asked (see sftp/client.py).

:source: draft-ietf-secsh-filexfer-02.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Protocol

from twisted.conch.ssh.filetransfer import SFTPError
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from conch_pipe.ssh.client.errors import ClientError, ConnectionEnded, FileChanged, NoSFTP, ProtocolBroken, TooLate
from conch_pipe.ssh.client.limits import ClientLimits
from conch_pipe.ssh.fields import Malformed, Reader, string, u32
from conch_pipe.ssh.sftp import replies
from conch_pipe.ssh.sftp.replies import Parse
from conch_pipe.ssh.sftp.upload import Upload
from conch_pipe.ssh.sftp.wire import VERSION, PacketStream, Status, Type, packet

_LEAST_WRITE = 1_024  # bytes, where a window is tiny
_ROUND_A_WRITE = 1_024  # bytes of a packet that are no data; OpenSSH leaves as much room


class Pipe(Protocol):
    """What the client needs of the channel it runs in."""

    @property
    def room(self) -> int:
        """Bytes that the server's window and the socket take now; 0 while anything waits or keys are exchanged."""

    def write(self, data: bytes) -> None:
        """Send a request, or keep it until the window lets it go."""

    def send_file(self, head: bytes, fd: int, offset: int, size: int) -> None:
        """Send ``head`` and a piece of a file, together not more than ``room``.

        :raises OSError: from reading; nothing has been sent then.
        :raises EOFError: the file is too short; nothing has been sent then.
        """

    def drop(self, reason: str) -> None:
        """Cut the whole connection without a word."""


class _Request:
    __slots__ = ("answer", "due", "parse")

    def __init__(self, parse: Parse, due: float) -> None:
        self.parse = parse
        self.due = due
        self.answer: Deferred[Any] = Deferred()


class SFTPRequests:
    """The requests of one SFTP session that wait for replies, and the files on their way; a subclass says which."""

    def __init__(self, pipe: Pipe, clock: IReactorTime, limits: ClientLimits | None = None) -> None:
        self._pipe = pipe
        self._clock = clock
        self._limits = limits or ClientLimits()
        self._stream = PacketStream(self._limits.sftp_packet)
        self._requests: dict[int, _Request] = {}  # in the order they were sent
        self._writes: dict[int, Upload] = {}
        self._sending: deque[Upload] = deque()  # with bytes left to send
        self._last = 0
        self._widest = 0  # room there was at a time
        self._ok = b""  # what stood behind the request id of a good STATUS
        self._greeting: Deferred[None] | None = None
        self._greeting_due = 0.0
        self._timer: IDelayedCall | None = None
        self._moved_at = 0.0  # when the server last took or answered something
        self._parsing = self._pumping = False
        self.over: ClientError | None = None  # why the session ended
        self.extensions: dict[bytes, bytes] = {}
        self.write_size = self._limits.write

    # What the channel calls.

    def start(self) -> Deferred[None]:
        """Say INIT; fires when the server's VERSION has come."""
        self._greeting = Deferred()
        self._pipe.write(packet(Type.INIT, u32(VERSION)))
        self._greeting_due = self._clock.seconds() + self._limits.request_s
        self._watch(self._greeting_due)
        return self._greeting

    def dataReceived(self, data: bytes | memoryview) -> None:
        """Bytes of the session."""
        if self.over is not None:
            return
        self._stream.feed(data)
        if self._parsing:
            return
        self._parsing = True
        try:
            while self.over is None and (found := self._stream.next()) is not None:
                self._packet(found)
        except Malformed as error:
            self._broken(str(error))
        finally:
            self._parsing = False

    def moved(self) -> None:
        """The server takes more."""
        self._moved_at = self._clock.seconds()

    def resume(self) -> None:
        """Send what there is room for: after replies, after :meth:`moved`, when the socket has taken what it had."""
        self._pump()

    def connectionLost(self, reason: ClientError) -> None:
        """The session is over: whatever waits fails. Later calls change nothing."""
        if self.over is not None:
            return
        self.over = reason
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting = list(self._requests.values())
        uploads = dict.fromkeys((*self._writes.values(), *self._sending))
        self._requests.clear()
        self._writes.clear()
        self._sending.clear()
        greeting, self._greeting = self._greeting, None
        if greeting is not None:
            greeting.errback(reason)
        for request in waiting:
            request.answer.errback(reason)
        for upload in uploads:
            upload.fail(reason)

    def end(self) -> None:
        """We need it no more: whatever still waits fails."""
        self.connectionLost(ConnectionEnded("we closed the session"))

    # Requests and replies.

    def _number(self) -> int:
        self._last = (self._last + 1) & 0xFFFFFFFF
        while self._last in self._requests or self._last in self._writes:
            self._last = (self._last + 1) & 0xFFFFFFFF
        return self._last

    def _ask(self, kind: Type, body: bytes, parse: Parse) -> Deferred[Any]:
        if self.over is not None:
            return fail(self.over)
        if len(self._requests) >= self._limits.requests:
            return fail(SFTPError(Status.FAILURE, "too many requests are waiting for the server"))
        number = self._number()
        request = _Request(parse, self._clock.seconds() + self._limits.request_s)
        self._requests[number] = request
        self._watch(request.due)
        self._pipe.write(packet(kind, u32(number) + body))
        return request.answer

    def _extended(self, name: bytes, body: bytes, parse: Parse, offered: bytes | None = None) -> Deferred[Any]:
        if self.over is None and (offered or name) not in self.extensions:
            return fail(SFTPError(Status.OP_UNSUPPORTED, f"the server does not offer {(offered or name).decode()}"))
        return self._ask(Type.EXTENDED, string(name) + body, parse)

    def _packet(self, data: memoryview) -> None:
        if self._greeting is not None:
            self._greeted(data)
            return
        kind, reader = data[0], Reader(data[1:])
        number = reader.u32()
        upload = self._writes.pop(number, None)
        if upload is not None:
            try:
                # A server's OKs are all alike: what has been read strictly once need not be again.
                if kind != Type.STATUS or data[5:] != self._ok:
                    replies.done(kind, reader, self._limits)
                    self._ok = bytes(data[5:])
            except SFTPError as error:
                upload.fail(error)
            except Malformed:
                self._writes[number] = upload  # it fails with all the others
                raise
            self._moved_at = self._clock.seconds()
            upload.flying -= 1
            upload.end_if_done()
            return
        request = self._requests.pop(number, None)
        if request is None:
            raise Malformed("a reply to no request")
        try:
            value = request.parse(kind, reader, self._limits)
        except SFTPError as error:
            request.answer.errback(error)
        except Malformed:
            self._requests[number] = request  # it fails with all the others
            raise
        else:
            request.answer.callback(value)

    def _greeted(self, data: memoryview) -> None:
        assert self._greeting is not None
        try:
            self.extensions = replies.version(data, self._limits)
        except SFTPError as error:
            why = NoSFTP(error.message)
            self.connectionLost(why)
            self._pipe.drop(str(why))
            return
        greeting, self._greeting = self._greeting, None
        if b"limits@openssh.com" in self.extensions:
            # Not waited for: its answer is there before the one to the first OPEN.
            self._extended(b"limits@openssh.com", b"", replies.write_limits).addCallbacks(self._learn, lambda _: None)
        greeting.callback(None)

    def _learn(self, told: replies.WriteLimits) -> None:
        largest = min(told.write or self.write_size, self._limits.largest_write)
        if told.packet:
            largest = min(largest, told.packet - _ROUND_A_WRITE)
        self.write_size = max(1, largest)

    def _broken(self, why: str) -> ClientError:
        error = ProtocolBroken(why)
        self.connectionLost(error)
        self._pipe.drop(why)
        return error

    # Sending files.

    def _upload(self, handle: bytes, fd: int, size: int, start: int) -> Upload:
        upload = Upload(handle, fd, start, size, self._forget)
        if self.over is not None:
            upload.fail(self.over)
        elif size > 0:
            if not self._writes and not self._sending:
                self._moved_at = self._clock.seconds()
            self._sending.append(upload)
            self._watch(self._moved_at + self._limits.progress_s)
            self._pump()
        else:
            upload.end_if_done()
        return upload

    def _forget(self, upload: Upload) -> None:
        if upload in self._sending:
            self._sending.remove(upload)

    def _pump(self) -> None:
        """Send WRITEs while there is room for them, but no small piece while a larger one will fit soon.

        Four to the widest window there was: OpenSSH's opens by 96 KiB, and WRITEs of that size cost twice the time.
        """
        if self._pumping:
            return
        self._pumping = True
        try:
            while self._sending and self.over is None and len(self._writes) < self._limits.writes:
                upload = self._sending[0]
                room = self._pipe.room
                self._widest = max(self._widest, room)
                whole = min(self.write_size, upload.left, max(self._widest // 4, _LEAST_WRITE))
                size = min(whole, room - upload.head_size)
                if size <= 0 or (size < whole and self._writes):
                    return
                self._send(upload, size)
        finally:
            self._pumping = False

    def _send(self, upload: Upload, size: int) -> None:
        number = self._number()
        head, offset = upload.head(number, size)
        self._writes[number] = upload
        upload.sent(size)
        if upload.left:
            self._sending.rotate(-1)
        else:
            self._sending.remove(upload)
        try:
            self._pipe.send_file(head, upload.fd, offset, size)
        except (OSError, EOFError) as error:
            del self._writes[number]
            upload.flying -= 1
            upload.fail(FileChanged("the local file got shorter") if isinstance(error, EOFError) else error)

    # Time.

    def _watch(self, due: float) -> None:
        """Look at the clock then, at the latest."""
        wait = max(0.0, due - self._clock.seconds())
        if self._timer is None:
            self._timer = self._clock.callLater(wait, self._look)
        elif due < self._timer.getTime():
            self._timer.reset(wait)

    def _look(self) -> None:
        self._timer = None
        now, limits = self._clock.seconds(), self._limits
        oldest = next(iter(self._requests.values()), None)
        dues = [(oldest.due, "request", limits.request_s)] if oldest is not None else []
        if self._writes or self._sending:
            dues.append((self._moved_at + limits.progress_s, "progress", limits.progress_s))
        if self._greeting is not None:
            dues.append((self._greeting_due, "subsystem", limits.request_s))
        if not dues:
            return
        due, stage, seconds = min(dues)
        if due > now:
            self._watch(due)
            return
        error = TooLate(stage, seconds)
        self.connectionLost(error)
        self._pipe.drop(str(error))
