"""Files that others left on local disks for us: reached without following a link, hashed, durable.

Everything here blocks and belongs in a thread. Knows nothing of recordings.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from conch_pipe.errors import Code, PipeError

READ = 1 << 20  # bytes read at a time for the hash
# O_PATH needs no right to read a folder's names, only to pass through it; other systems than Linux do not have it.
_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: what became a pipe since we looked must not hold the thread for ever.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
# Read-only and some network filesystems cannot sync a file that is only read.
_NO_SYNC = (errno.EINVAL, errno.EROFS, errno.ENOTSUP)


class Unfit(Exception):
    """Why a file cannot be taken, as the end of a sentence that begins with its path."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A file as it was while it was hashed."""

    path: Path
    bytes: int
    mtime_ns: int
    sha256: str


def place(path: Path, roots: Iterable[Path]) -> Path:
    """Where a path leads to, if it is below one of the roots; does not look whether anything is there.

    The roots are the operator's and may be reached through links: they are resolved, so that the path returned has
    none as far as the root, and is the one to record. Nothing outside the roots is ever looked at.

    :raises Unfit: not absolute, not below a root, with ``..`` in it, or no text.
    """
    if not path.is_absolute():
        raise Unfit("is not an absolute path")
    if ".." in path.parts:
        raise Unfit("has .. in it")
    if "\0" in str(path):
        raise Unfit("has a NUL in it")
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise Unfit("is not UTF-8") from None
    for root in roots:
        resolved = root.resolve()
        for start in (root, resolved):
            if path != start and path.is_relative_to(start):
                return resolved / path.relative_to(start)
    raise Unfit("is outside the allowed folders, see push.roots")


def look(path: Path) -> os.stat_result:
    """What is there, a regular file that we may read.

    :param path: from :func:`place`.
    :raises Unfit: missing, a link or behind one, not a regular file, unreadable.
    :raises PipeError: FAILED, the system could not tell.
    """
    with _opened(path) as (_, file):
        return os.fstat(file)


def take(path: Path, going: Callable[[], bool], synced: set[Path]) -> Taken:
    """Hash a file and make it durable, with its name.

    :param path: from :func:`place`.
    :param going: asked now and then; when False the work ends.
    :param synced: folders whose names are durable since the files were looked at; this one is added.
    :raises Unfit: as :func:`look`; or it changed meanwhile.
    :raises PipeError: as :func:`look`; BUSY when not going any more.
    """
    with _opened(path) as (folder, file):
        before = os.fstat(file)
        count, sha256 = _hashed(file, going)
        # What is promised to be delivered must survive a power cut, and its writer may not have thought of that.
        _sync(file)
        if path.parent not in synced:
            _sync_folder(folder)
            synced.add(path.parent)
        after = os.fstat(file)
        named = os.stat(path.name, dir_fd=folder, follow_symlinks=False)  # noqa: PTH116
    # Hard links are allowed: transcoders publish by link(2), and the system lets nobody link what he may not write to.
    if (after.st_size, after.st_mtime_ns, count) != (before.st_size, before.st_mtime_ns, before.st_size):
        raise Unfit("was written to while it was read; a recording is told when its files are complete")
    if (named.st_dev, named.st_ino) != (before.st_dev, before.st_ino):
        raise Unfit("was replaced while it was read")
    return Taken(path, before.st_size, before.st_mtime_ns, sha256)


def stamp(path: Path) -> tuple[int, int] | None:
    """Size and modification time in ns; None when there is nothing of that name."""
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _explained(error) from error
    return found.st_size, found.st_mtime_ns


@contextmanager
def _opened(path: Path) -> Iterator[tuple[int, int]]:
    """The folder, and the regular file in it, open; each step of the way is taken from the one before.

    So nobody who can rename folders below a root leads us elsewhere between a check and its use.
    """
    folder = file = -1
    try:
        folder = os.open(path.anchor, _FOLDER)
        for part in path.parts[1:-1]:
            outer, folder = folder, _enter(part, folder)
            os.close(outer)
        # A device can act on being opened: it is looked at first.
        _regular(os.stat(path.name, dir_fd=folder, follow_symlinks=False))  # noqa: PTH116
        file = os.open(path.name, _FILE, dir_fd=folder)
        _regular(os.fstat(file))
        yield folder, file
    except OSError as error:
        raise _explained(error) from error
    finally:
        for one in (file, folder):
            if one >= 0:
                os.close(one)


def _enter(part: str, folder: int) -> int:
    try:
        return os.open(part, _FOLDER, dir_fd=folder)
    except NotADirectoryError:  # also what a link is, to O_PATH
        found = os.stat(part, dir_fd=folder, follow_symlinks=False)  # noqa: PTH116
        if stat.S_ISLNK(found.st_mode):
            raise Unfit("leads through a link") from None
        raise


def _regular(found: os.stat_result) -> None:
    if stat.S_ISLNK(found.st_mode):
        raise Unfit("is a link")
    if not stat.S_ISREG(found.st_mode):
        raise Unfit("is not a regular file")


def _hashed(file: int, going: Callable[[], bool]) -> tuple[int, str]:
    digest, count = hashlib.sha256(), 0
    buffer = memoryview(bytearray(READ))
    while read := os.readv(file, [buffer]):
        digest.update(buffer[:read])
        count += read
        if not going():
            raise PipeError(Code.BUSY, "stopped, try again")
    return count, digest.hexdigest()


def _sync(file: int) -> None:
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise


def _sync_folder(folder: int) -> None:
    try:
        names = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    except PermissionError:
        return  # we may pass through it, not read its names
    try:
        _sync(names)
    finally:
        os.close(names)


def _explained(error: OSError) -> Unfit | PipeError:
    """What is wrong with a file; or that the system has a fault or no room, which is no fault of the file."""
    words = {
        errno.ENOENT: "is missing",
        errno.ENOTDIR: "leads through something that is not a folder",
        errno.ELOOP: "is a link",
        errno.EACCES: "cannot be read by the service's user",
        errno.EPERM: "cannot be read by the service's user",
        errno.ENXIO: "is not a regular file",
        errno.ENAMETOOLONG: "has too long a name",
    }
    if error.errno in words:
        return Unfit(words[error.errno])
    number = errno.errorcode.get(error.errno or 0, str(error.errno))
    return PipeError(Code.FAILED, "a file could not be read", f"{number}: {error.strerror}")
