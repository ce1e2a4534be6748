"""The server's side of SFTP version 3 for files that are put.

Every request gets exactly one reply, or the channel or connection ends. Order is kept as clients built against
OpenSSH's server expect it: what concerns one open file runs in the order it came, and what concerns paths runs in
order, after the CLOSEs that came before it. A lost connection is never a CLOSE. Knows no SSH (see channel.py) and no
files: those are an IPutServer's.

:source: draft-ietf-secsh-filexfer-02; OpenSSH sftp-server.c for the replies to extensions.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from twisted.conch.ssh.filetransfer import SFTPError
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from conch_pipe.ssh import sftp_wire as wire
from conch_pipe.ssh.fields import Malformed, Reader, u64
from conch_pipe.ssh.handles import File, Folder, Handles, Line, value
from conch_pipe.ssh.interfaces import DropConnection
from conch_pipe.ssh.limits import Limits
from conch_pipe.ssh.sftp_wire import Status, Type

Work = Callable[[], Awaitable[bytes]]

EXTENSIONS = {
    b"posix-rename@openssh.com": b"1",
    b"statvfs@openssh.com": b"2",
    b"fstatvfs@openssh.com": b"2",
    b"fsync@openssh.com": b"1",
    b"lsetstat@openssh.com": b"1",
    b"limits@openssh.com": b"1",
    b"expand-path@openssh.com": b"1",
}
_LONGEST_HANDLE = 256
_BATCH = 65_536  # replies are written together, but not more than about this
_OFFSETS = 2**63


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

    def release(self) -> None:
        """``holding`` may have become False."""


class SFTPServer:
    """One SFTP conversation.

    :param backend: an IPutServer.
    """

    _log = Logger()

    def __init__(self, backend: Any, pipe: Pipe, clock: IReactorTime, limits: Limits) -> None:
        self._backend = backend
        self._pipe = pipe
        self._clock = clock
        self._limits = limits
        self._stream = wire.PacketStream(limits.sftp_packet)
        self._handles = Handles(limits.handles)
        self._tree = Line()
        self._closing: set[File] = set()
        self._replies: list[bytes] = []
        self._replies_size = 0
        self._greeted = False
        self._parsing = False
        self._eof = False
        self._over: str | None = None  # why it ended
        self._outstanding = 0
        self._unfinished = 0  # bytes
        self._held = False
        self._lagging = 0  # files
        self.requested_at = clock.seconds()
        self._requests: dict[int, Callable[[int, Reader], bytes | None]] = {
            Type.OPEN: self._open,
            Type.CLOSE: self._close,
            Type.READ: self._read,
            Type.WRITE: self._write,
            Type.LSTAT: self._lstat,
            Type.FSTAT: self._fstat,
            Type.SETSTAT: self._setstat,
            Type.FSETSTAT: self._fsetstat,
            Type.OPENDIR: self._opendir,
            Type.READDIR: self._readdir,
            Type.REMOVE: self._remove,
            Type.MKDIR: self._mkdir,
            Type.RMDIR: self._rmdir,
            Type.REALPATH: self._realpath,
            Type.STAT: self._stat,
            Type.RENAME: self._rename,
            Type.READLINK: self._readlink,
            Type.SYMLINK: self._symlink,
            Type.EXTENDED: self._extended,
        }
        self._extensions: dict[bytes, Callable[[int, Reader], bytes | None]] = {
            b"posix-rename@openssh.com": self._posix_rename,
            b"statvfs@openssh.com": self._statvfs,
            b"fstatvfs@openssh.com": self._fstatvfs,
            b"fsync@openssh.com": self._fsync,
            b"lsetstat@openssh.com": self._setstat,
            b"limits@openssh.com": self._tell_limits,
            b"expand-path@openssh.com": self._expand_path,
        }

    # What the channel calls.

    def dataReceived(self, data: bytes | memoryview) -> None:
        """Bytes of the conversation."""
        if self._over is None:
            self._stream.feed(data)
            self._parse()

    def eofReceived(self) -> None:
        """The client sends nothing more; what it asked for is finished first, then the channel ends."""
        self._eof = True
        self._parse()

    def connectionLost(self, reason: str) -> None:
        """The channel or the connection is gone: whatever is not completed never will be. May come again."""
        if self._over is not None:
            return
        self._over = reason
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
        return self._held or self._lagging > 0 or self._outstanding >= self._limits.outstanding

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

    def _parse(self) -> None:
        if self._parsing:
            return
        self._parsing = True
        try:
            while self._over is None and self._outstanding < self._limits.outstanding:
                packet = self._stream.next()
                if packet is None:
                    break
                self._packet(packet)
        except Malformed as error:
            self._break_off(str(error))
        finally:
            self._parsing = False
        self._flush()
        if self._eof and self._over is None and not self._outstanding and not self._stream.ready():
            self.connectionLost("the client ended the channel")
            self._pipe.finished(0)

    def _packet(self, packet: memoryview) -> None:
        self.requested_at = self._clock.seconds()
        kind = packet[0]
        reader = Reader(packet[1:])
        if kind == Type.INIT or not self._greeted:
            self._greet(kind, reader)
            return
        request = reader.u32()
        try:
            handler = self._requests.get(kind)
            if handler is None:
                raise SFTPError(Status.OP_UNSUPPORTED, f"unknown request {kind}")
            reply = handler(request, reader)
        except DropConnection:
            self._drop()
        except Exception as error:  # noqa: BLE001 - the door's edge: whatever it was, the client gets one answer
            self._send(self._refusal(request, kind, error))
        else:
            if reply is not None:
                self._send(reply)

    def _greet(self, kind: int, reader: Reader) -> None:
        if kind != Type.INIT or self._greeted:
            raise Malformed("INIT must come first, and once")
        version = reader.u32()
        extensions: dict[bytes, bytes] = {}
        while reader.left:
            if len(extensions) >= self._limits.attributes:
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
        if not self._parsing or self._replies_size > _BATCH:
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

    async def _answer(self, request: int, kind: int, work: Work) -> None:
        """Do the work of one request and send its one reply."""
        reply = b""
        try:
            if self._over is None:
                reply = await work()
        except DropConnection:
            self._drop()
        except Exception as error:  # noqa: BLE001 - the door's edge: whatever it was, the client gets one answer
            reply = self._refusal(request, kind, error)
        self._outstanding -= 1
        self._send(reply)
        self._go_on()

    def _go_on(self) -> None:
        if not self._parsing and self._over is None:
            self._parse()
            self._pipe.release()

    def _in_line(self, line: Line, request: int, kind: int, work: Work) -> None:
        self._outstanding += 1
        line.add(lambda: self._answer(request, kind, work))

    def _on_tree(self, request: int, kind: int, work: Work) -> None:
        """Requests about paths: in order, and after the CLOSEs that came before.

        WinSCP sends SETSTAT, and RENAME, without waiting for the reply to CLOSE.
        """
        before = list(self._closing)

        async def after_closes() -> None:
            for file in before:
                await file.settled()
            await self._answer(request, kind, work)

        self._outstanding += 1
        self._tree.add(after_closes)

    # Open files.

    def _path(self, reader: Reader) -> bytes:
        path = reader.string()
        if len(path) > self._limits.path:
            raise SFTPError(Status.FAILURE, f"the path is longer than {self._limits.path} bytes")
        return path

    def _open(self, request: int, reader: Reader) -> None:
        path, flags = self._path(reader), reader.u32()
        attributes = wire.read_attributes(reader, self._limits.attributes)
        reader.end()
        self._handles.reserve()

        async def work() -> bytes:
            try:
                backend = await value(self._backend.openFile(path, flags, attributes))
            except BaseException:
                self._handles.release()
                raise
            file = File(path, backend, self._clock.seconds())
            handle = self._handles.give(file)
            if self._over is not None:
                self._handles.take(handle)
                file.abort(self._over)
            return wire.handle(request, handle)

        self._on_tree(request, Type.OPEN, work)

    def _write(self, request: int, reader: Reader) -> bytes | None:
        handle, offset, data = reader.string(_LONGEST_HANDLE), reader.u64(), reader.view()
        # No reader.end(): the last WRITE of rclone 1.60's pkg/sftp carries the rest of its buffer after the data
        # (tests/wire), and OpenSSH's server skips what is left of any packet.
        file = self._handles.file(handle)
        file.wrote_at = self.requested_at
        if file.line.busy:
            copy = bytes(data)
            self._write_later(request, file, len(copy), lambda: self._store(file, offset, copy))
            return None
        later = self._store(file, offset, data)
        if later is None:
            if file.backend.lagging and not file.waiting:
                self._wait_for(file)
            return wire.ok(request)
        self._write_later(request, file, len(data), lambda: later)
        return None

    def _store(self, file: File, offset: int, data: bytes | memoryview) -> Deferred[None] | None:
        """Give bytes to the backend; a failure poisons the file."""
        file.check()
        size = len(data)
        if not size:
            return None
        try:
            if offset + size > _OFFSETS:
                raise SFTPError(Status.FAILURE, "the offset is too large")
            return file.backend.writeChunk(offset, memoryview(data))
        except Exception as error:
            self._poison(file, error)
            raise

    def _poison(self, file: File, error: BaseException) -> None:
        if isinstance(error, SFTPError):
            file.poison(error)
        elif not isinstance(error, DropConnection):  # then the connection's end aborts the file
            file.poison(SFTPError(Status.FAILURE, "internal error"))

    def _write_later(self, request: int, file: File, size: int, store: Callable[[], Deferred[None] | None]) -> None:
        self._unfinished += size

        async def work() -> bytes:
            try:
                await value(store())
            except Exception as error:
                self._poison(file, error)
                raise
            finally:
                self._unfinished -= size
            if file.backend.lagging and not file.waiting:
                self._wait_for(file)
            return wire.ok(request)

        self._in_line(file.line, request, Type.WRITE, work)

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
            await found.close()
            return wire.ok(request)

        async def close() -> None:
            await self._answer(request, Type.CLOSE, work)
            self._closing.discard(found)
            found.settle()

        self._outstanding += 1
        found.line.add(close)
        return None

    def _read(self, request: int, reader: Reader) -> bytes:
        reader.string(_LONGEST_HANDLE), reader.u64(), reader.u32()
        reader.end()
        raise SFTPError(Status.PERMISSION_DENIED, "files can only be put here")

    def _fstat(self, request: int, reader: Reader) -> None:
        found = self._handles.find(reader.string(_LONGEST_HANDLE))
        reader.end()

        async def work() -> bytes:
            if isinstance(found, Folder):
                return wire.attrs(request, await value(self._backend.getAttrs(found.path, True)))
            found.check()
            return wire.attrs(request, await value(found.backend.getAttrs()))

        self._in_line(found.line, request, Type.FSTAT, work)

    def _fsetstat(self, request: int, reader: Reader) -> None:
        handle = reader.string(_LONGEST_HANDLE)
        attributes = wire.read_attributes(reader, self._limits.attributes)
        reader.end()
        file = self._handles.file(handle)

        async def work() -> bytes:
            file.check()
            await value(file.backend.setAttrs(attributes))
            return wire.ok(request)

        self._in_line(file.line, request, Type.FSETSTAT, work)

    def _fsync(self, request: int, reader: Reader) -> None:
        file = self._handles.file(reader.string(_LONGEST_HANDLE))
        reader.end()

        async def work() -> bytes:
            file.check()
            await value(file.backend.sync())
            return wire.ok(request)

        self._in_line(file.line, request, Type.EXTENDED, work)

    # Folders.

    def _opendir(self, request: int, reader: Reader) -> None:
        path = self._path(reader)
        reader.end()
        self._handles.reserve()

        async def work() -> bytes:
            try:
                folder = Folder(path, await value(self._backend.openDirectory(path)))
            except BaseException:
                self._handles.release()
                raise
            return wire.handle(request, self._handles.give(folder))

        self._on_tree(request, Type.OPENDIR, work)

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

    def _ask(self, request: int, kind: int, reader: Reader, method: Callable[..., Any], *arguments: Any) -> None:
        """A request whose answer is a mere STATUS."""
        reader.end()

        async def work() -> bytes:
            await value(method(*arguments))
            return wire.ok(request)

        self._on_tree(request, kind, work)

    def _name(self, request: int, kind: int, reader: Reader, method: Callable[..., Any], path: bytes) -> None:
        """A request whose answer is one name."""
        reader.end()

        async def work() -> bytes:
            name = await value(method(path))
            return wire.names(request, [wire.entry(name, name, {})])

        self._on_tree(request, kind, work)

    def _attributes_of(self, request: int, kind: int, reader: Reader, follow: bool) -> None:
        path = self._path(reader)
        reader.end()

        async def work() -> bytes:
            return wire.attrs(request, await value(self._backend.getAttrs(path, follow)))

        self._on_tree(request, kind, work)

    def _stat(self, request: int, reader: Reader) -> None:
        self._attributes_of(request, Type.STAT, reader, True)

    def _lstat(self, request: int, reader: Reader) -> None:
        self._attributes_of(request, Type.LSTAT, reader, False)

    def _setstat(self, request: int, reader: Reader) -> None:
        path = self._path(reader)
        attributes = wire.read_attributes(reader, self._limits.attributes)
        self._ask(request, Type.SETSTAT, reader, self._backend.setAttrs, path, attributes)

    def _remove(self, request: int, reader: Reader) -> None:
        self._ask(request, Type.REMOVE, reader, self._backend.removeFile, self._path(reader))

    def _mkdir(self, request: int, reader: Reader) -> None:
        path = self._path(reader)
        attributes = wire.read_attributes(reader, self._limits.attributes)
        self._ask(request, Type.MKDIR, reader, self._backend.makeDirectory, path, attributes)

    def _rmdir(self, request: int, reader: Reader) -> None:
        self._ask(request, Type.RMDIR, reader, self._backend.removeDirectory, self._path(reader))

    def _realpath(self, request: int, reader: Reader) -> None:
        self._name(request, Type.REALPATH, reader, self._backend.realPath, self._path(reader))

    def _rename(self, request: int, reader: Reader) -> None:
        old, new = self._path(reader), self._path(reader)
        self._ask(request, Type.RENAME, reader, self._backend.renameFile, old, new)

    def _readlink(self, request: int, reader: Reader) -> None:
        self._name(request, Type.READLINK, reader, self._backend.readLink, self._path(reader))

    def _symlink(self, request: int, reader: Reader) -> None:
        link, target = self._path(reader), self._path(reader)
        self._ask(request, Type.SYMLINK, reader, self._backend.makeLink, link, target)

    # Extensions: each replies with the type OpenSSH's server uses.

    def _extended(self, request: int, reader: Reader) -> bytes | None:
        handler = self._extensions.get(reader.string())
        if handler is None:
            raise SFTPError(Status.OP_UNSUPPORTED, "unknown extension")
        return handler(request, reader)

    def _posix_rename(self, request: int, reader: Reader) -> None:
        old, new = self._path(reader), self._path(reader)
        self._ask(request, Type.RENAME, reader, self._backend.posixRename, old, new)

    def _tell_limits(self, request: int, reader: Reader) -> bytes:
        reader.end()
        packet = self._limits.sftp_packet
        numbers = (packet, packet - 1024, packet - 1024, self._limits.handles)
        return wire.extended_reply(request, b"".join(map(u64, numbers)))

    def _space_at(self, request: int, path: bytes) -> None:
        async def work() -> bytes:
            return wire.extended_reply(request, wire.statvfs(await value(self._backend.fileSystemStatus(path))))

        self._on_tree(request, Type.EXTENDED, work)

    def _statvfs(self, request: int, reader: Reader) -> None:
        path = self._path(reader)
        reader.end()
        self._space_at(request, path)

    def _fstatvfs(self, request: int, reader: Reader) -> None:
        found = self._handles.find(reader.string(_LONGEST_HANDLE))
        reader.end()
        self._space_at(request, found.path)

    def _expand_path(self, request: int, reader: Reader) -> None:
        path = self._path(reader)
        if path.startswith(b"~"):
            user, _, rest = path[1:].partition(b"/")
            if user:
                raise SFTPError(Status.FAILURE, "there are no users' homes here")
            path = rest or b"."
        self._name(request, Type.REALPATH, reader, self._backend.realPath, path)
