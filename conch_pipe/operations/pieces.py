"""The content of a file on its way out, a piece at a time: never more than that in memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from zope.interface import implementer

from conch_pipe.errors import Code, PipeError
from conch_pipe.interfaces import IPieces

if TYPE_CHECKING:
    from conch_pipe.interfaces import InThread

PIECE = 1 << 18  # bytes


@implementer(IPieces)
class FilePieces:
    """A local file, read in threads.

    :param path: in the folder of raw copies: it is never written to again, and may be deleted while it is read.
    """

    def __init__(self, path: Path, in_thread: InThread) -> None:
        self._path = path
        self._in_thread = in_thread
        self._file: Any = None
        self.size = 0

    async def open(self) -> FilePieces:
        """Before anything else. :raises PipeError: NOT_FOUND; FAILED."""
        self._file = await self._in_thread(self._opened)
        return self

    def _opened(self) -> Any:
        try:
            file = self._path.open("rb", buffering=0)
            self.size = self._path.stat().st_size
        except FileNotFoundError:
            raise PipeError(Code.NOT_FOUND, "the stored copy is gone", str(self._path)) from None
        except OSError as error:
            raise PipeError(Code.FAILED, "the stored copy cannot be read", str(error)) from error
        return file

    async def read(self) -> bytes:
        """See IPieces."""
        try:
            return bytes(await self._in_thread(self._file.read, PIECE))
        except OSError as error:
            raise PipeError(Code.FAILED, "the stored copy cannot be read", str(error)) from error

    def close(self) -> None:
        """See IPieces."""
        if self._file is not None:
            self._file.close()


@implementer(IPieces)
class MemoryPieces:
    """Bytes that are in memory already."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.size = len(content)

    async def read(self) -> bytes:
        """See IPieces."""
        content, self._content = self._content, b""
        return content

    def close(self) -> None:
        """See IPieces."""
