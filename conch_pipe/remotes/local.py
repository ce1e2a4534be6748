"""The files of a recording on our disk: opened before anybody is called, and held to what was accepted.

Everything here waits for the disk and is called in a thread.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from conch_pipe.model import RecordedFile, Role

_BLOCK = 2**20  # bytes
# A link in the last place is somebody's trick; a pipe must not make us wait.
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class LocalFile:
    """An open file whose content is what was accepted.

    :ivar fd: to be closed by :func:`close`.
    :ivar mtime_ns: when it was opened.
    """

    file: RecordedFile
    fd: int
    mtime_ns: int

    def unchanged(self) -> bool:
        """Whether it still is as it was when it was opened, as far as size and time tell."""
        now = os.fstat(self.fd)
        return (now.st_size, now.st_mtime_ns) == (self.file.bytes, self.mtime_ns)


@dataclass(frozen=True, slots=True)
class NotThere:
    """A file that cannot be sent.

    :param reason: ``missing``, ``changed`` or ``local_file``.
    """

    file: RecordedFile
    reason: str
    detail: str


def open_all(files: Iterable[RecordedFile], stopped: Callable[[], bool]) -> dict[Role, LocalFile | NotThere]:
    """Open each, or say why not.

    :param stopped: asked between blocks of a file that is hashed; then nothing stays open and nothing is returned.
    """
    found: dict[Role, LocalFile | NotThere] = {}
    try:
        for file in files:
            found[file.role] = _open(file, stopped)
    except BaseException:
        close(found)
        raise
    if stopped():
        close(found)
        return {}
    return found


def close(files: dict[Role, LocalFile | NotThere]) -> None:
    """Close all that are open."""
    for one in files.values():
        if isinstance(one, LocalFile):
            os.close(one.fd)


def _open(file: RecordedFile, stopped: Callable[[], bool]) -> LocalFile | NotThere:
    try:
        fd = os.open(file.path, _FLAGS)
    except (FileNotFoundError, NotADirectoryError):
        return NotThere(file, "missing", "the local file is gone")
    except OSError as error:
        return NotThere(file, "local_file", f"the local file cannot be opened: {error.strerror}")
    try:
        answer = _judged(file, fd, stopped)
    except OSError as error:
        answer = NotThere(file, "local_file", f"the local file cannot be read: {error.strerror}")
    except BaseException:
        os.close(fd)
        raise
    if isinstance(answer, NotThere):
        os.close(fd)
    return answer


def _judged(file: RecordedFile, fd: int, stopped: Callable[[], bool]) -> LocalFile | NotThere:
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        return NotThere(file, "changed", "the local file is no regular file any more")
    if found.st_size != file.bytes:
        return NotThere(file, "changed", f"the local file has {found.st_size} bytes; {file.bytes} were accepted")
    if found.st_mtime_ns != file.mtime_ns and _sha256(fd, stopped) != file.sha256:
        return NotThere(file, "changed", "the local file has other content than was accepted")
    return LocalFile(file, fd, found.st_mtime_ns)


def _sha256(fd: int, stopped: Callable[[], bool]) -> str:
    digest, at = hashlib.sha256(), 0
    while not stopped() and (block := os.pread(fd, _BLOCK, at)):
        digest.update(block)
        at += len(block)
    return digest.hexdigest()
