"""The requests of SFTP version 3, as an IPutServer wants them: files can be put and nothing can be read.

Parses each request strictly and asks the backend; those that name a path are sftp/paths.py's. Order, replies and the
end of it all are sftp/session.py's.

:source: draft-ietf-secsh-filexfer-02; OpenSSH sftp-server.c for the replies to extensions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from twisted.conch.ssh.filetransfer import SFTPError
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from conch_pipe.ssh.fields import Reader, u64
from conch_pipe.ssh.interfaces import DropConnection
from conch_pipe.ssh.limits import Limits
from conch_pipe.ssh.sftp import wire
from conch_pipe.ssh.sftp.handles import File, Folder, value
from conch_pipe.ssh.sftp.paths import LONGEST_HANDLE, Extensions, PathSession, Requests
from conch_pipe.ssh.sftp.session import Pipe
from conch_pipe.ssh.sftp.wire import Status, Type

_OFFSETS = 2**63
_MOST_PIECES = 500  # given to the backend in one call; the kernel takes 1,024


class SFTPServer(PathSession):
    """One SFTP conversation with a backend.

    :param backend: an IPutServer.
    """

    def __init__(self, backend: Any, pipe: Pipe, clock: IReactorTime, limits: Limits) -> None:
        super().__init__(backend, pipe, clock, limits)
        self._file: File | None = None  # the one whose data came last
        self._pieces: list[memoryview] = []  # of its data, not given to the backend yet, one behind the other
        self._written: list[int] = []  # requests whose data is complete and not answered
        self._at = self._next = 0  # offsets of the first piece and behind the last
        self._request = 0  # the one whose data comes now

    def handle(self, kind: int, request: int, reader: Reader) -> bytes | None:
        """See :class:`SFTPSession`."""
        handler = self._requests.get(kind)
        if handler is None:
            raise SFTPError(Status.OP_UNSUPPORTED, f"unknown request {kind}")
        return handler(self, request, reader)

    # Open files.

    def _open(self, request: int, reader: Reader) -> bytes | None:
        path, flags = self._path(reader), reader.u32()
        attributes = wire.read_attributes(reader, self._limits.attributes)
        reader.end()

        def opened(backend: Any) -> bytes:
            file = File(path, backend, self._clock.seconds())
            handle = self._handles.give(file)
            if self._over is not None:
                self._handles.take(handle)
                file.abort(self._over)
            return wire.handle(request, handle)

        return self._on_tree(
            request, Type.OPEN, self._reserving(lambda: self._backend.openFile(path, flags, attributes)), opened
        )

    def _write(self, request: int, reader: Reader) -> bytes | None:
        """A WRITE that came whole: the file is busy or refused, or there is something wrong with the request."""
        handle, offset, data = reader.string(LONGEST_HANDLE), reader.u64(), reader.view()
        # No reader.end(): see RequestStream.
        file = self._handles.file(handle)
        file.check()
        file.wrote_at = self.requested_at
        if not len(data):
            return wire.ok(request)
        if offset + len(data) > _OFFSETS:
            refusal = SFTPError(Status.FAILURE, "the offset is too large")
            file.poison(refusal)
            raise refusal
        copy = memoryview(bytes(data))
        self._write_in_line((request,), file, len(copy), lambda: file.backend.writeChunk(offset, copy))
        return None

    def write_begins(self, request: int, handle: bytes, offset: int, size: int) -> bool:
        """See stream.Requests."""
        file = self._handles.get(handle)
        if not isinstance(file, File) or not self._greeted or offset + size > _OFFSETS:
            return False
        follows = file is self._file and offset == self._next and len(self._pieces) <= _MOST_PIECES
        if not follows and (self._pieces or self._written):
            self.store()
        if file.refusal is not None or file.line.busy or self._over is not None:
            return False
        if not self._pieces:
            self._at = self._next = offset
            self._file = file
        self._request = request
        return True

    def write_data(self, data: memoryview) -> None:
        """See stream.Requests."""
        if len(self._pieces) > _MOST_PIECES:
            self.store()
        self._pieces.append(data)
        self._next += len(data)

    def write_ends(self) -> None:
        """See stream.Requests."""
        self._written.append(self._request)

    def forget(self) -> None:
        """See SFTPSession."""
        self._pieces = []
        self._written = []

    def store(self) -> None:
        """See SFTPSession. The hot path: many WRITEs, or a part of one, in one call and without a Deferred."""
        file, at, pieces, written = self._file, self._at, self._pieces, self._written
        if file is None or not (pieces or written):
            return
        self._pieces, self._written, self._at = [], [], self._next
        file.wrote_at = self.requested_at = self._clock.seconds()
        try:
            file.check()
            if file.line.busy:  # the backend was slow with an earlier part of this WRITE
                copy = memoryview(b"".join(pieces))
                self._write_in_line(written, file, len(copy), lambda: file.backend.writeChunk(at, copy))
                return
            later = file.backend.writeChunks(at, pieces) if pieces else None
        except DropConnection:
            self._drop()
            return
        except Exception as error:  # noqa: BLE001 - the door's edge: each WRITE gets one answer
            self._poison(file, error)
            for request in written:
                self._send(self._refusal(request, Type.WRITE, error))
            return
        if later is not None:
            self._write_in_line(written, file, self._next - at, lambda: later)
            return
        if file.backend.lagging and not file.waiting:
            self._wait_for(file)
        if written:
            self._send(wire.oks(written))

    def _poison(self, file: File, error: BaseException) -> None:
        if isinstance(error, SFTPError):
            file.poison(error)
        elif not isinstance(error, DropConnection):  # then the connection's end aborts the file
            file.poison(SFTPError(Status.FAILURE, "internal error"))

    def _write_in_line(
        self, requests: Sequence[int], file: File, size: int, store: Callable[[], Deferred[None] | None]
    ) -> None:
        """Do it after what the file is busy with."""
        self._unfinished += size

        async def work() -> bytes:
            try:
                file.check()
                await value(store())
            except Exception as error:
                self._poison(file, error)
                raise
            finally:
                self._unfinished -= size
            if file.backend.lagging and not file.waiting:
                self._wait_for(file)
            return wire.oks(requests)

        self._outstanding += 1
        file.line.add(lambda: self._answer(requests, Type.WRITE, work))

    def _wait_for(self, file: File) -> None:
        file.waiting = True
        self._lagging += 1

        async def caught_up() -> None:
            try:
                await value(file.backend.caughtUp())
            except Exception as error:  # noqa: BLE001 - storage failed while behind: the next write or CLOSE says so
                self._poison(file, error)
            file.waiting = False
            file.wrote_at = self._clock.seconds()
            self._lagging -= 1
            self._go_on()

        Deferred.fromCoroutine(caught_up())

    def _close(self, request: int, reader: Reader) -> bytes | None:
        handle = reader.string(LONGEST_HANDLE)
        reader.end()
        found = self._handles.take(handle)
        if isinstance(found, Folder):
            return wire.ok(request)
        self._closing.add(found)

        async def work() -> bytes:
            await value(found.close())
            return wire.ok(request)

        async def close() -> None:
            await self._answer((request,), Type.CLOSE, work)
            self._closing.discard(found)
            found.settle()

        self._outstanding += 1
        found.line.add(close)
        return None

    def _read(self, request: int, reader: Reader) -> bytes:
        reader.string(LONGEST_HANDLE), reader.u64(), reader.u32()
        reader.end()
        raise SFTPError(Status.PERMISSION_DENIED, "files can only be put here")

    def _fstat(self, request: int, reader: Reader) -> bytes | None:
        found = self._handles.find(reader.string(LONGEST_HANDLE))
        reader.end()

        def ask() -> Any:
            if isinstance(found, Folder):
                return self._backend.getAttrs(found.path, True)
            found.check()
            return found.backend.getAttrs()

        return self._in_line(found.line, request, Type.FSTAT, ask, lambda values: wire.attrs(request, values))

    def _fsetstat(self, request: int, reader: Reader) -> bytes | None:
        handle = reader.string(LONGEST_HANDLE)
        attributes = wire.read_attributes(reader, self._limits.attributes)
        reader.end()
        file = self._handles.file(handle)

        def ask() -> Any:
            file.check()
            return file.backend.setAttrs(attributes)

        return self._in_line(file.line, request, Type.FSETSTAT, ask, lambda _: wire.ok(request))

    def _fsync(self, request: int, reader: Reader) -> bytes | None:
        file = self._handles.file(reader.string(LONGEST_HANDLE))
        reader.end()

        def ask() -> Any:
            file.check()
            return file.backend.sync()

        return self._in_line(file.line, request, Type.EXTENDED, ask, lambda _: wire.ok(request))

    # Extensions: each replies with the type OpenSSH's server uses.

    def _extended(self, request: int, reader: Reader) -> bytes | None:
        handler = self._extensions.get(reader.string())
        if handler is None:
            raise SFTPError(Status.OP_UNSUPPORTED, "unknown extension")
        return handler(self, request, reader)

    def _tell_limits(self, request: int, reader: Reader) -> bytes:
        reader.end()
        packet = self._limits.sftp_packet
        numbers = (packet, packet - 1024, packet - 1024, self._limits.handles)
        return wire.extended_reply(request, b"".join(map(u64, numbers)))

    _requests: ClassVar[Requests] = PathSession._requests | {
        Type.OPEN: _open,
        Type.CLOSE: _close,
        Type.READ: _read,
        Type.WRITE: _write,
        Type.FSTAT: _fstat,
        Type.FSETSTAT: _fsetstat,
        Type.EXTENDED: _extended,
    }
    _extensions: ClassVar[Extensions] = PathSession._extensions | {
        b"fsync@openssh.com": _fsync,
        b"limits@openssh.com": _tell_limits,
    }
