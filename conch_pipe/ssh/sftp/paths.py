"""The requests of SFTP version 3 that name a path, and those of an open folder.

Open files are sftp/server.py's.

:source: draft-ietf-secsh-filexfer-02; OpenSSH sftp-server.c for the replies to extensions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from twisted.conch.ssh.filetransfer import SFTPError
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from conch_pipe.ssh.fields import Reader
from conch_pipe.ssh.sftp import wire
from conch_pipe.ssh.sftp.handles import Folder
from conch_pipe.ssh.sftp.session import Ask, SFTPSession
from conch_pipe.ssh.sftp.wire import Status, Type

LONGEST_HANDLE = 256  # bytes

# By what they are on the wire; each replies with the type OpenSSH's server uses.
Requests = dict[int, Callable[[Any, int, Reader], bytes | None]]
Extensions = dict[bytes, Callable[[Any, int, Reader], bytes | None]]


class PathSession(SFTPSession):
    """The part of a conversation that is about paths: in order, and after the CLOSEs that came before."""

    def _path(self, reader: Reader) -> bytes:
        path = reader.string()
        if len(path) > self._limits.path:
            raise SFTPError(Status.FAILURE, f"the path is longer than {self._limits.path} bytes")
        return path

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
        folder = self._handles.folder(reader.string(LONGEST_HANDLE))
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

    def _posix_rename(self, request: int, reader: Reader) -> bytes | None:
        old, new = self._path(reader), self._path(reader)
        return self._ask(request, Type.RENAME, reader, self._backend.posixRename, old, new)

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
        found = self._handles.find(reader.string(LONGEST_HANDLE))
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

    _requests: ClassVar[Requests] = {
        Type.LSTAT: _lstat,
        Type.SETSTAT: _setstat,
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
    }
    _extensions: ClassVar[Extensions] = {
        b"posix-rename@openssh.com": _posix_rename,
        b"statvfs@openssh.com": _statvfs,
        b"fstatvfs@openssh.com": _fstatvfs,
        b"lsetstat@openssh.com": _setstat,
        b"expand-path@openssh.com": _expand_path,
    }
