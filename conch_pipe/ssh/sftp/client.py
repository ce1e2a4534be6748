"""An SFTP client of version 3: all that can be asked of a server, and files sent with many WRITEs in flight.

Sans-IO; see sftp/requests.py for how requests wait and end.

:source: draft-ietf-secsh-filexfer-02; OpenSSH PROTOCOL section 4 for the extensions.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from twisted.conch.ssh.filetransfer import FXF_CREAT, FXF_TRUNC, FXF_WRITE
from twisted.internet.defer import Deferred

from conch_pipe.ssh.fields import string, u32, u64
from conch_pipe.ssh.interfaces import FileSystemStatus
from conch_pipe.ssh.sftp import replies
from conch_pipe.ssh.sftp.replies import Entry
from conch_pipe.ssh.sftp.requests import Pipe, SFTPRequests
from conch_pipe.ssh.sftp.upload import Upload
from conch_pipe.ssh.sftp.wire import Type, attributes

__all__ = ["FRESH", "Pipe", "SFTPClient"]

FRESH = FXF_WRITE | FXF_CREAT | FXF_TRUNC  # the flags of an ordinary put


class SFTPClient(SFTPRequests):
    """One SFTP session. Every method that asks the server returns a Deferred.

    A refusal fails it with SFTPError, the end of the session with a ClientError, each exactly once. Paths are bytes;
    attributes are dicts as in Conch's interfaces.
    """

    # Files.

    def open(self, path: bytes, flags: int, attrs: Mapping[str, Any] | None = None) -> Deferred[bytes]:
        """Open a file.

        :param flags: ``FXF_`` constants of ``twisted.conch.ssh.filetransfer``.
        :returns: its handle.
        """
        return self._ask(Type.OPEN, self._path(path) + u32(flags) + attributes(attrs or {}), replies.handle)

    def close(self, handle: bytes) -> Deferred[None]:
        """Close a file or folder."""
        return self._ask(Type.CLOSE, string(handle), replies.done)

    def read(self, handle: bytes, offset: int, size: int) -> Deferred[bytes]:
        """Bytes of an open file: at most ``size``, none at its end. Servers give 32 KiB or more at a time."""
        return self._ask(Type.READ, string(handle) + u64(offset) + u32(size), replies.data(size))

    def write(self, handle: bytes, fd: int, size: int, start: int = 0) -> Deferred[int]:
        """Send ``size`` bytes of a local file from ``start`` on to the same place of an open remote file.

        :param fd: see :class:`~conch_pipe.ssh.sftp.upload.Upload`.
        :returns: ``size``, when every byte has been acknowledged.
        :raises: OSError or FileChanged, when the local file cannot be read; the session goes on.
        """
        return self._upload(handle, fd, size, start).finished

    def put(
        self,
        fd: int,
        path: bytes,
        size: int | None = None,
        flags: int = FRESH,
        attrs: Mapping[str, Any] | None = None,
        *,
        durable: bool = False,
        opened: Callable[[Upload], object] | None = None,
    ) -> Deferred[int]:
        """Open a remote file, send a local one into it, close it.

        :param size: bytes; the local file's size, unless given.
        :param durable: fsync before the close, where the server has that (``fsync@openssh.com``).
        :param opened: called when the remote file is open and its bytes are on their way, to look at how they do.
        :returns: the bytes sent; the server has said OK to each WRITE and to the CLOSE.
        """
        if size is None:
            size = os.fstat(fd).st_size
        return Deferred.fromCoroutine(self._put(fd, path, size, flags, attrs, durable, opened))

    def fsync(self, handle: bytes) -> Deferred[None]:
        """Have what was written made durable.

        :raises: SFTPError OP_UNSUPPORTED without fsync@openssh.com.
        """
        return self._extended(b"fsync@openssh.com", string(handle), replies.done)

    def stat(self, path: bytes) -> Deferred[dict[str, Any]]:
        """Attributes of a file or folder, links followed."""
        return self._ask(Type.STAT, self._path(path), replies.attributes)

    def lstat(self, path: bytes) -> Deferred[dict[str, Any]]:
        """Attributes, of a link itself."""
        return self._ask(Type.LSTAT, self._path(path), replies.attributes)

    def fstat(self, handle: bytes) -> Deferred[dict[str, Any]]:
        """Attributes of an open file."""
        return self._ask(Type.FSTAT, string(handle), replies.attributes)

    def setstat(self, path: bytes, attrs: Mapping[str, Any]) -> Deferred[None]:
        """Change attributes."""
        return self._ask(Type.SETSTAT, self._path(path) + attributes(attrs), replies.done)

    def fsetstat(self, handle: bytes, attrs: Mapping[str, Any]) -> Deferred[None]:
        """Change attributes of an open file (Conch's own client sends FSTAT here)."""
        return self._ask(Type.FSETSTAT, string(handle) + attributes(attrs), replies.done)

    def remove(self, path: bytes) -> Deferred[None]:
        """Remove a file."""
        return self._ask(Type.REMOVE, self._path(path), replies.done)

    def rename(self, old: bytes, new: bytes) -> Deferred[None]:
        """Rename; most servers refuse when the new name is taken."""
        return self._ask(Type.RENAME, self._path(old) + self._path(new), replies.done)

    def posix_rename(self, old: bytes, new: bytes) -> Deferred[None]:
        """Rename over whatever has the new name.

        :raises: SFTPError OP_UNSUPPORTED without posix-rename@openssh.com.
        """
        return self._extended(b"posix-rename@openssh.com", self._path(old) + self._path(new), replies.done)

    # Folders and paths.

    def opendir(self, path: bytes) -> Deferred[bytes]:
        """Open a folder. :returns: its handle."""
        return self._ask(Type.OPENDIR, self._path(path), replies.handle)

    def readdir(self, handle: bytes) -> Deferred[list[Entry]]:
        """Some entries of an open folder; none at its end."""
        return self._ask(Type.READDIR, string(handle), replies.entries)

    def listing(self, path: bytes) -> Deferred[list[Entry]]:
        """All entries of a folder.

        :raises: ProtocolBroken when there are more than the limit.
        """
        return Deferred.fromCoroutine(self._listing(path))

    def mkdir(self, path: bytes, attrs: Mapping[str, Any] | None = None) -> Deferred[None]:
        """Make a folder."""
        return self._ask(Type.MKDIR, self._path(path) + attributes(attrs or {}), replies.done)

    def rmdir(self, path: bytes) -> Deferred[None]:
        """Remove an empty folder."""
        return self._ask(Type.RMDIR, self._path(path), replies.done)

    def realpath(self, path: bytes) -> Deferred[bytes]:
        """The server's absolute path."""
        return self._ask(Type.REALPATH, self._path(path), replies.path)

    def statvfs(self, path: bytes) -> Deferred[FileSystemStatus]:
        """Free space, to tell a full disk from another FAILURE.

        :raises: SFTPError OP_UNSUPPORTED without statvfs@openssh.com.
        """
        return self._extended(b"statvfs@openssh.com", self._path(path), replies.file_system_status)

    def check_file(self, path: bytes, algorithm: bytes = b"sha256") -> Deferred[tuple[bytes, bytes]]:
        """The server's hash of a whole file: algorithm and digest.

        :raises: SFTPError OP_UNSUPPORTED without check-file.
        :source: draft-ietf-secsh-filexfer-extensions-00 section 3.
        """
        body = self._path(path) + string(algorithm) + u64(0) + u64(0) + u32(0)
        return self._extended(b"check-file-name", body, replies.hashes, b"check-file")

    # Our own.

    def _path(self, path: bytes) -> bytes:
        if len(path) > self._limits.path or b"\0" in path:
            raise ValueError("a remote path is too long or has a NUL in it")
        return string(path)

    async def _put(
        self,
        fd: int,
        path: bytes,
        size: int,
        flags: int,
        attrs: Mapping[str, Any] | None,
        durable: bool,
        opened: Callable[[Upload], object] | None,
    ) -> int:
        handle = await self.open(path, flags, attrs)
        upload = self._upload(handle, fd, size, 0)
        durable = durable and b"fsync@openssh.com" in self.extensions
        # A small file is on its way already: the CLOSE goes with it, and saves waiting for the server once.
        closing = None if upload.left or durable or upload.over else self.close(handle)
        if opened is not None:
            opened(upload)
        try:
            await upload.finished
            if durable:
                await self.fsync(handle)
        except BaseException:
            (closing or self.close(handle)).addErrback(lambda _: None)
            raise
        await (closing or self.close(handle))
        return size

    async def _listing(self, path: bytes) -> list[Entry]:
        found: list[Entry] = []
        handle = await self.opendir(path)
        try:
            while some := await self.readdir(handle):
                found += some
                if len(found) > self._limits.listing:
                    raise self._broken("too many names in one folder")
        except BaseException:
            self.close(handle).addErrback(lambda _: None)
            raise
        await self.close(handle)
        return found
