"""Raw copies in a folder of this machine, each a hard link of the spool file it came from.

Linking copies no byte and cannot overwrite; only the folders are left to be made durable
(etc/decisions/0002-local-objects-are-linked.md). Everything that touches the disk runs in threads.
"""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from twisted.internet.defer import Deferred
from zope.interface import implementer

from conch_pipe.crashpoints import crashpoint
from conch_pipe.errors import Code, PipeError
from conch_pipe.interfaces import InThread, IObjects
from conch_pipe.objects.keys import valid

CHUNK = 1 << 20
# Another filesystem, one without hard links, or the most links of a file: copy instead.
_CANNOT_LINK = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP)
_COPIES = ".copies"  # no key begins with a dot


@implementer(IObjects)
class FolderObjects:
    """Objects as files below a folder.

    A put takes the caller's file over: it becomes read-only (0440), and must not be written to any more, since it
    *is* the object. Its name stays the caller's to unlink.

    :param root: folder of the objects; made when it does not exist.
    :param in_thread: runs a function in a bounded thread pool, e.g. ``partial(deferToThreadPool, reactor, pool)``.
    :param orphans: folder on the same filesystem for what ``set_aside`` takes away; by default beside the root.
    """

    def __init__(self, root: Path, in_thread: InThread, *, orphans: Path | None = None) -> None:
        self._root = root
        self._in_thread = in_thread
        self._orphans = root.parent / "orphans" if orphans is None else orphans
        self._durable: set[Path] = set()  # folders whose own name is on the disk for certain
        self._making = threading.Lock()

    def put(self, key: str, path: Path, sha256: bytes) -> Deferred[None]:
        """See :class:`IObjects`."""
        return self._in_thread(self._put, key, path, sha256)

    def store(self, key: str, content: bytes, sha256: bytes) -> Deferred[None]:
        """See :class:`IObjects`."""
        return self._in_thread(self._store, key, content, sha256)

    def fetch(self, key: str) -> Deferred[Path]:
        """See :class:`IObjects`: the object's own file."""
        return self._in_thread(self._fetch, key)

    def delete(self, key: str) -> Deferred[None]:
        """See :class:`IObjects`."""
        return self._in_thread(self._delete, key)

    def keys(self) -> Deferred[set[str]]:
        """See :class:`IObjects`."""
        return self._in_thread(self._keys)

    def set_aside(self, key: str) -> Deferred[None]:
        """See :class:`IObjects`; again, or without such an object, it is success."""
        return self._in_thread(self._set_aside, key)

    def _put(self, key: str, path: Path, sha256: bytes) -> None:
        target = self._root / valid(key)
        with _explained():
            self._make_durable(target.parent)
            try:
                self._link(path, target, sha256)
            except FileExistsError:
                if not _is_same(target, path, sha256):
                    raise PipeError(Code.CONFLICT, "the file cannot be stored", f"other bytes under {key}") from None
            target.chmod(0o440)
            crashpoint("C3")
            _sync_folder(target.parent)
            crashpoint("C4")

    def _store(self, key: str, content: bytes, sha256: bytes) -> None:
        valid(key)
        if hashlib.sha256(content).digest() != sha256:
            raise PipeError(Code.CONFLICT, "the file cannot be stored", f"other bytes for {key} than were received")
        with _explained():
            self._make_durable(self._root)
            copy = self._copy([content], sha256)
            try:
                self._put(key, copy, sha256)
            finally:
                copy.unlink()

    def _link(self, path: Path, target: Path, sha256: bytes) -> None:
        try:
            target.hardlink_to(path)
        except OSError as error:
            if error.errno not in _CANNOT_LINK:
                raise
            copy = self._copy(_chunks(path), sha256)
            try:
                target.hardlink_to(copy)
            finally:
                copy.unlink()

    def _copy(self, chunks: Iterable[bytes], sha256: bytes) -> Path:
        """A durable copy under a name of its own on the objects' filesystem."""
        copies = self._root / _COPIES
        with self._making:
            if copies not in self._durable:
                copies.mkdir(exist_ok=True)
                for left_by_a_crash in copies.iterdir():
                    if not _is_being_made(left_by_a_crash):
                        left_by_a_crash.unlink()
                self._durable.add(copies)
        copy = copies / f"{os.getpid()}-{os.urandom(16).hex()}"
        digest = hashlib.sha256()
        try:
            with copy.open("xb") as sink:
                for chunk in chunks:
                    digest.update(chunk)
                    sink.write(chunk)
                sink.flush()
                os.fsync(sink.fileno())
            if digest.digest() != sha256:
                raise PipeError(Code.FAILED, "the file cannot be stored", "it changed before it was copied")
        except BaseException:
            copy.unlink(missing_ok=True)
            raise
        return copy

    def _make_durable(self, folder: Path) -> None:
        """Make a folder and those above it, and their names durable; known ones cost nothing."""
        if folder in self._durable:
            return
        with self._making:
            for part in [*reversed(folder.relative_to(self._root).parents), folder.relative_to(self._root)]:
                made = self._root / part
                if made not in self._durable:
                    # Also when it exists: a crash may have come between its making and the fsync.
                    made.mkdir(parents=made == self._root, exist_ok=True)
                    _sync_folder(made.parent)
                    self._durable.add(made)

    def _fetch(self, key: str) -> Path:
        path = self._root / valid(key)
        if not path.is_file():
            raise PipeError(Code.NOT_FOUND, "the stored copy is gone", f"no object {key}")
        return path

    def _delete(self, key: str) -> None:
        path = self._root / valid(key)
        with _explained():
            try:
                path.unlink()
            except FileNotFoundError:
                return
            _sync_folder(path.parent)

    def _keys(self) -> set[str]:
        with _explained():
            return {
                str(Path(folder, name).relative_to(self._root))
                for folder, _, names in os.walk(self._root)
                for name in names
                if Path(folder).name != _COPIES
            }

    def _set_aside(self, key: str) -> None:
        path = self._root / valid(key)
        with _explained():
            self._orphans.mkdir(parents=True, exist_ok=True)
            try:
                path.rename(self._orphans / key.replace("/", "_"))
            except FileNotFoundError:
                return
            _sync_folder(self._orphans)
            _sync_folder(path.parent)


def _is_being_made(copy: Path) -> bool:
    """Whether the process that began it lives: door processes copy into the same folder."""
    pid = copy.name.partition("-")[0]
    return pid.isdigit() and int(pid) != os.getpid() and Path("/proc", pid).exists()


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as source:
        while chunk := source.read(CHUNK):
            yield chunk


def _is_same(target: Path, path: Path, sha256: bytes) -> bool:
    if target.samefile(path):
        return True
    with target.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest() == sha256


def _sync_folder(folder: Path) -> None:
    """Make the names in a folder durable. A failure is final: nothing is fsynced a second time."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _explained() -> Iterator[None]:
    """Errors of the file system as ours."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise PipeError(Code.NO_SPACE, "no space left", str(error)) from error
        raise PipeError(Code.FAILED, "the file cannot be stored", str(error)) from error
