"""One group of files over one session: the folder, each file and what became of it, the marker at the end.

Does not connect and does not read secrets. Creates files and nothing else; a server that denies REMOVE, RMDIR and
RENAME is good enough (Pipe's security page tells customers to deny them).

:source: draft-ietf-secsh-filexfer-02; OpenSSH's sftp for asking for absolute paths alone.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from twisted.conch.ssh.filetransfer import SFTPError
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from conch_pipe.crashpoints import crashpoint
from conch_pipe.model import FileResult, Recording, Remote, Role, Status
from conch_pipe.remotes.faults import Fault, Found, Stage, fault
from conch_pipe.remotes.local import LocalFile, NotThere
from conch_pipe.ssh.client.errors import ClientError
from conch_pipe.ssh.sftp.client import SFTPClient
from conch_pipe.ssh.sftp.upload import Upload
from conch_pipe.ssh.sftp.wire import Status as Code

PROGRESS_S = 0.25
NOT_TRIED = "not_tried"
_HASHED = 256 * 2**20  # bytes: a slow server must have its hash in the time of one request
_POSIX_RENAME = b"posix-rename@openssh.com"


class Delivery:
    """Sends files one after another, the main one first.

    :param sftp: of a session that is logged in.
    :param direct: remotes that let nothing be renamed, and when each was last changed; added to when this one does not.
    :param progress: told of each file's bytes as the server acknowledges them.
    :ivar results: what became of each file so far.
    """

    def __init__(
        self,
        sftp: SFTPClient,
        remote: Remote,
        recording: Recording,
        clock: IReactorTime,
        direct: set[tuple[str, datetime | None]],
        progress: Callable[[Role, int], None],
    ) -> None:
        self._sftp = sftp
        self._remote = remote
        self._recording = recording
        self._clock = clock
        self._direct = direct
        self._self = (remote.name, remote.changed_at)
        self._progress = progress
        self._stage = Stage.FOLDER
        self._folder = b""  # with a slash at its end, unless empty
        self._sent = 0  # bytes of the file on its way
        self.results: list[FileResult] = []

    async def folder(self) -> bytes:
        """Find the folder, and see that it is one.

        :raises: what :func:`fault` knows.
        """
        self._folder = b""
        wanted = self._remote.folder.encode("utf-8", "surrogateescape")
        if not wanted.startswith(b"/"):
            home = await self._tried(self._sftp.realpath(b"."))
            if home:
                wanted = home.rstrip(b"/") + b"/" + wanted
        path = wanted.rstrip(b"/") or (b"/" if wanted else b".")
        # What cannot be looked at may still take files; opening one will tell.
        found = await self._tried(self._sftp.stat(path), Code.NO_SUCH_FILE)
        mode = (found or {}).get("permissions", 0)
        if stat.S_IFMT(mode) and not stat.S_ISDIR(mode):
            raise Found(Status.INCORRECT_SFTP_FOLDER, "not_a_folder", "the folder is a file")
        self._folder = b"" if path == b"." else path.rstrip(b"/") + b"/"
        return path

    async def files(self, files: Sequence[LocalFile | NotThere]) -> Fault | None:
        """Send them, and the marker when the whole group is there.

        :param files: those that are wanted, in order.
        :returns: why not all was tried, or the main file has not arrived; None: what ``results`` say is all.
        """
        for index, local in enumerate(files):
            problem = await self._one(local)
            if problem is not None and (problem.fatal or local.file.role is self._recording.main.role):
                reason = problem.reason if problem.fatal else NOT_TRIED
                self.results += [FileResult(one.file.role, one.file.name, 0, reason) for one in files[index + 1 :]]
                return problem
        return await self._mark()

    async def remove(self, name: str) -> bool:
        """Remove a file from the folder. :returns: whether the server did it."""
        return await self._removed(self._folder + self._name(name))

    async def _one(self, local: LocalFile | NotThere) -> Fault | None:
        file = local.file
        if isinstance(local, NotThere):
            self.results.append(FileResult(file.role, file.name, 0, local.reason, local.detail))
            return None
        self._stage, self._sent = Stage.OPEN, 0
        try:
            detail = await self._put(local)
        except (ClientError, SFTPError, Found, OSError, ValueError) as error:
            problem = fault(error, self._stage)
            if problem.reason == "failure" and isinstance(error, SFTPError):
                problem = await self._explained(problem, file.bytes - self._sent)
            self.results.append(FileResult(file.role, file.name, self._sent, problem.reason, problem.detail))
            return problem
        self.results.append(FileResult(file.role, file.name, file.bytes, "", detail))
        return None

    async def _put(self, local: LocalFile) -> str:
        """Send one file and look at what has arrived. :returns: what is worth saying of it."""
        name = self._name(local.file.name)
        path = self._folder + name
        if not self._remote.temporary_names or self._self in self._direct:
            await self._send(local, path)
        else:
            temporary = self._folder + b"." + name + b".part"
            await self._send(local, temporary)
            why = await self._renamed(temporary, path)
            if why is not None:
                await self._send(local, path)
                return f"{why}; {await self._check(local, path)}"
        return await self._check(local, path)

    async def _send(self, local: LocalFile, path: bytes) -> None:
        self._stage = Stage.OPEN
        watch: _Watch | None = None
        main = local.file.role is self._recording.main.role

        def opened(upload: Upload) -> None:
            nonlocal watch
            self._stage = Stage.WRITE
            watch = _Watch(self._clock, upload, moved)

        def moved(size: int) -> None:
            self._progress(local.file.role, size)
            if main and size * 2 >= local.file.bytes:
                crashpoint("R4")

        try:
            await self._sftp.put(local.fd, path, local.file.bytes, opened=opened)
        finally:
            if watch is not None:
                self._sent = watch.stop()
        self._sent = local.file.bytes
        if main:
            crashpoint("R5")
        if not local.unchanged():
            raise Found(Status.UPLOAD_FAILED, "local_file", "the local file changed while it was being sent")

    async def _renamed(self, old: bytes, new: bytes) -> str | None:
        """Give a file its final name. :returns: why that was not possible."""
        over = _POSIX_RENAME in self._sftp.extensions
        try:
            await (self._sftp.posix_rename if over else self._sftp.rename)(old, new)
        except SFTPError as error:
            if error.code in (Code.PERMISSION_DENIED, Code.OP_UNSUPPORTED):
                self._direct.add(self._self)
            why = "sent under its final name: the server did not rename"
            return why if await self._removed(old) else f"{why}, nor remove {old.rpartition(b'/')[2].decode()}"
        return None

    async def _removed(self, path: bytes) -> bool:
        try:
            await self._sftp.remove(path)
        except SFTPError:
            return False
        return True

    async def _check(self, local: LocalFile, path: bytes) -> str:
        """Compare what the server has with what was sent. :returns: what could not be compared."""
        self._stage = Stage.CHECK
        found = await self._tried(self._sftp.stat(path))
        size = (found or {}).get("size")
        if size is None:
            return "the server does not tell its size"
        if size != local.file.bytes:
            detail = f"the server said OK to {local.file.bytes} bytes and has {size}"
            raise Found(Status.UPLOAD_FAILED, "short", detail)
        if b"check-file" in self._sftp.extensions and 0 < size <= _HASHED:
            algorithm, digest = await self._tried(self._sftp.check_file(path)) or (b"", b"")
            if algorithm == b"sha256" and digest.hex() != local.file.sha256:
                raise Found(Status.UPLOAD_FAILED, "hash", "the server has other content than was sent")
        return ""

    async def _explained(self, problem: Fault, left: int) -> Fault:
        """Servers say FAILURE of a full disk as of many things; how much is free tells it apart."""
        try:
            space = await self._tried(self._sftp.statvfs(self._folder or b"."))
        except ClientError:
            return problem
        if space is None:
            return problem
        if space.read_only:
            return Fault(problem.status, "permission", f"{problem.detail}; the file system is read-only")
        free = space.free_blocks * space.block_size
        if free < max(left, 1) or (space.files and not space.free_files):
            return Fault(problem.status, "no_space", f"{problem.detail}; {free} bytes are free there")
        return problem

    async def _mark(self) -> Fault | None:
        """Put the marker, when every file of the group is there; without it the last file counts as not arrived."""
        if not self._remote.marker or any(one.reason for one in self.results) or not self.results:
            return None
        self._stage = Stage.OPEN
        name = self._remote.marker.replace("{NAME}", self._recording.name)
        try:
            await self._sftp.put(-1, self._folder + self._name(name), 0)
        except (ClientError, SFTPError, ValueError) as error:
            last, problem = self.results[-1], fault(error, self._stage)
            self.results[-1] = FileResult(last.role, last.name, last.bytes, "marker", f"the marker: {problem.detail}")
            if last.role is self._recording.main.role:
                return Fault(Status.UPLOAD_FAILED, "marker", problem.detail)
        return None

    async def _tried(self, asked: Any, *telling: int) -> Any:
        """The answer, or None when the server refuses: some deny all that is not needed to put a file.

        :param telling: codes of refusals that are answers too.
        """
        try:
            return await asked
        except SFTPError as error:
            if error.code in telling:
                raise
            return None

    def _name(self, name: str) -> bytes:
        """The name of a remote file; it stays in its folder."""
        if not name or name in (".", "..") or "/" in name or "\0" in name:
            raise ValueError("a file's name on the remote is no name")
        return name.encode("utf-8", "surrogateescape")


class _Watch:
    """Tells how many bytes are acknowledged, four times a second, while there are more than before."""

    def __init__(self, clock: IReactorTime, upload: Upload, tell: Callable[[int], None]) -> None:
        self._clock = clock
        self._upload = upload
        self._tell = tell
        self._told = 0
        self._timer: IDelayedCall = clock.callLater(PROGRESS_S, self._look)

    def _look(self) -> None:
        self._timer = self._clock.callLater(PROGRESS_S, self._look)
        size = self._upload.acknowledged
        if size > self._told:
            self._told = size
            self._tell(size)

    def stop(self) -> int:
        """:returns: the bytes that were acknowledged at least."""
        self._timer.cancel()
        return self._upload.acknowledged
