"""The requests of SFTP version 3, as an IPutServer wants them: files can be put and nothing can be read.

Parses each request strictly and asks the backend. Order, replies and the end of it all are sftp/session.py's.

:source: draft-ietf-secsh-filexfer-02; OpenSSH sftp-server.c for the replies to extensions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from twisted.conch.ssh.filetransfer import SFTPError
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from conch_pipe.ssh.fields import Reader, u64
from conch_pipe.ssh.interfaces import DropConnection
from conch_pipe.ssh.limits import Limits
from conch_pipe.ssh.sftp import wire
from conch_pipe.ssh.sftp.handles import File, Folder, value
from conch_pipe.ssh.sftp.session import Ask, Pipe, SFTPSession
from conch_pipe.ssh.sftp.wire import Status, Type

_LONGEST_HANDLE = 256
_OFFSETS = 2**63
_MOST_PIECES = 500  # given to the backend in one call; the kernel takes 1,024


class SFTPServer(SFTPSession):
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

    def _path(self, reader: Reader) -> bytes:
        path = reader.string()
        if len(path) > self._limits.path:
            raise SFTPError(Status.FAILURE, f"the path is longer than {self._limits.path} bytes")
        return path

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

    def _reserving(self, ask: Ask) -> Ask:
        """Keep a handle free for what is to be opened, until it is or fails.

        :raises SFTPError: too many are open.
        """
        self._handles.reserve()

        def failed(failure: Failure) -> Failure:
            self._handles.release()
            return failure

        def opening() -> Any:
            try:
                result = ask()
            except BaseException:
                self._handles.release()
                raise
            return result.addErrback(failed) if isinstance(result, Deferred) else result

        return opening

    def _write(self, request: int, reader: Reader) -> bytes | None:
        """A WRITE that came whole: the file is busy or refused, or there is something wrong with the request."""
        handle, offset, data = reader.string(_LONGEST_HANDLE), reader.u64(), reader.view()
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
        handle = reader.string(_LONGEST_HANDLE)
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
        reader.string(_LONGEST_HANDLE), reader.u64(), reader.u32()
        reader.end()
        raise SFTPError(Status.PERMISSION_DENIED, "files can only be put here")

    def _fstat(self, request: int, reader: Reader) -> bytes | None:
        found = self._handles.find(reader.string(_LONGEST_HANDLE))
        reader.end()

        def ask() -> Any:
            if isinstance(found, Folder):
                return self._backend.getAttrs(found.path, True)
            found.check()
            return found.backend.getAttrs()

        return self._in_line(found.line, request, Type.FSTAT, ask, lambda values: wire.attrs(request, values))

    def _fsetstat(self, request: int, reader: Reader) -> bytes | None:
        handle = reader.string(_LONGEST_HANDLE)
        attributes = wire.read_attributes(reader, self._limits.attributes)
        reader.end()
        file = self._handles.file(handle)

        def ask() -> Any:
            file.check()
            return file.backend.setAttrs(attributes)

        return self._in_line(file.line, request, Type.FSETSTAT, ask, lambda _: wire.ok(request))

    def _fsync(self, request: int, reader: Reader) -> bytes | None:
        file = self._handles.file(reader.string(_LONGEST_HANDLE))
        reader.end()

        def ask() -> Any:
            file.check()
            return file.backend.sync()

        return self._in_line(file.line, request, Type.EXTENDED, ask, lambda _: wire.ok(request))

    # Folders.

    def _opendir(self, request: int, reader: Reader) -> bytes | None:
        path = self._path(reader)
        reader.end()
        return self._on_tree(
            request,
            Type.OPENDIR,
            self._reserving(lambda: self._backend.openDirectory(path)),
            lambda rows: wire.handle(request, self._handles.give(Folder(path, rows))),
        )

    def _readdir(self, request: int, reader: Reader) -> bytes:
        folder = self._handles.folder(reader.string(_LONGEST_HANDLE))
        reader.end()
        rows: list[bytes] = []
        size = 0
        for name, longname, attributes in folder.rows:
            rows.append(wire.entry(name, longname, attributes))
            size += len(rows[-1])
            if size >= self._limits.listing:
                break
        if not rows:
            raise SFTPError(Status.EOF, "end of the listing")
        return wire.names(request, rows)

    # Paths.

    def _ask(
        self, request: int, kind: int, reader: Reader, method: Callable[..., Any], *arguments: Any
    ) -> bytes | None:
        """A request whose answer is a mere STATUS."""
        reader.end()
        return self._on_tree(request, kind, lambda: method(*arguments), lambda _: wire.ok(request))

    def _name(self, request: int, kind: int, reader: Reader, method: Callable[..., Any], path: bytes) -> bytes | None:
        """A request whose answer is one name."""
        reader.end()
        return self._on_tree(
            request, kind, lambda: method(path), lambda name: wire.names(request, [wire.entry(name, name, {})])
        )

    def _attributes_of(self, request: int, kind: int, reader: Reader, follow: bool) -> bytes | None:
        path = self._path(reader)
        reader.end()
        return self._on_tree(
            request, kind, lambda: self._backend.getAttrs(path, follow), lambda values: wire.attrs(request, values)
        )

    def _stat(self, request: int, reader: Reader) -> bytes | None:
        return self._attributes_of(request, Type.STAT, reader, True)

    def _lstat(self, request: int, reader: Reader) -> bytes | None:
        return self._attributes_of(request, Type.LSTAT, reader, False)

    def _setstat(self, request: int, reader: Reader) -> bytes | None:
        path = self._path(reader)
        attributes = wire.read_attributes(reader, self._limits.attributes)
        return self._ask(request, Type.SETSTAT, reader, self._backend.setAttrs, path, attributes)

    def _remove(self, request: int, reader: Reader) -> bytes | None:
        return self._ask(request, Type.REMOVE, reader, self._backend.removeFile, self._path(reader))

    def _mkdir(self, request: int, reader: Reader) -> bytes | None:
        path = self._path(reader)
        attributes = wire.read_attributes(reader, self._limits.attributes)
        return self._ask(request, Type.MKDIR, reader, self._backend.makeDirectory, path, attributes)

    def _rmdir(self, request: int, reader: Reader) -> bytes | None:
        return self._ask(request, Type.RMDIR, reader, self._backend.removeDirectory, self._path(reader))

    def _realpath(self, request: int, reader: Reader) -> bytes | None:
        return self._name(request, Type.REALPATH, reader, self._backend.realPath, self._path(reader))

    def _rename(self, request: int, reader: Reader) -> bytes | None:
        old, new = self._path(reader), self._path(reader)
        return self._ask(request, Type.RENAME, reader, self._backend.renameFile, old, new)

    def _readlink(self, request: int, reader: Reader) -> bytes | None:
        return self._name(request, Type.READLINK, reader, self._backend.readLink, self._path(reader))

    def _symlink(self, request: int, reader: Reader) -> bytes | None:
        link, target = self._path(reader), self._path(reader)
        return self._ask(request, Type.SYMLINK, reader, self._backend.makeLink, link, target)

    # Extensions: each replies with the type OpenSSH's server uses.

    def _extended(self, request: int, reader: Reader) -> bytes | None:
        handler = self._extensions.get(reader.string())
        if handler is None:
            raise SFTPError(Status.OP_UNSUPPORTED, "unknown extension")
        return handler(self, request, reader)

    def _posix_rename(self, request: int, reader: Reader) -> bytes | None:
        old, new = self._path(reader), self._path(reader)
        return self._ask(request, Type.RENAME, reader, self._backend.posixRename, old, new)

    def _tell_limits(self, request: int, reader: Reader) -> bytes:
        reader.end()
        packet = self._limits.sftp_packet
        numbers = (packet, packet - 1024, packet - 1024, self._limits.handles)
        return wire.extended_reply(request, b"".join(map(u64, numbers)))

    def _space_at(self, request: int, path: bytes) -> bytes | None:
        return self._on_tree(
            request,
            Type.EXTENDED,
            lambda: self._backend.fileSystemStatus(path),
            lambda status: wire.extended_reply(request, wire.statvfs(status)),
        )

    def _statvfs(self, request: int, reader: Reader) -> bytes | None:
        path = self._path(reader)
        reader.end()
        return self._space_at(request, path)

    def _fstatvfs(self, request: int, reader: Reader) -> bytes | None:
        found = self._handles.find(reader.string(_LONGEST_HANDLE))
        reader.end()
        return self._space_at(request, found.path)

    def _expand_path(self, request: int, reader: Reader) -> bytes | None:
        path = self._path(reader)
        if path.startswith(b"~"):
            user, _, rest = path[1:].partition(b"/")
            if user:
                raise SFTPError(Status.FAILURE, "there are no users' homes here")
            path = rest or b"."
        return self._name(request, Type.REALPATH, reader, self._backend.realPath, path)

    _requests: ClassVar[dict[int, Callable[[SFTPServer, int, Reader], bytes | None]]] = {
        Type.OPEN: _open,
        Type.CLOSE: _close,
        Type.READ: _read,
        Type.WRITE: _write,
        Type.LSTAT: _lstat,
        Type.FSTAT: _fstat,
        Type.SETSTAT: _setstat,
        Type.FSETSTAT: _fsetstat,
        Type.OPENDIR: _opendir,
        Type.READDIR: _readdir,
        Type.REMOVE: _remove,
        Type.MKDIR: _mkdir,
        Type.RMDIR: _rmdir,
        Type.REALPATH: _realpath,
        Type.STAT: _stat,
        Type.RENAME: _rename,
        Type.READLINK: _readlink,
        Type.SYMLINK: _symlink,
        Type.EXTENDED: _extended,
    }
    _extensions: ClassVar[dict[bytes, Callable[[SFTPServer, int, Reader], bytes | None]]] = {
        b"posix-rename@openssh.com": _posix_rename,
        b"statvfs@openssh.com": _statvfs,
        b"fstatvfs@openssh.com": _fstatvfs,
        b"fsync@openssh.com": _fsync,
        b"lsetstat@openssh.com": _setstat,
        b"limits@openssh.com": _tell_limits,
        b"expand-path@openssh.com": _expand_path,
    }
