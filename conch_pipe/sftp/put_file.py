"""One file that is being put, as the wire calls it: IPutFile over an IUpload."""

from __future__ import annotations

from typing import Any

from twisted.conch.ssh.filetransfer import FX_FAILURE, FX_PERMISSION_DENIED, SFTPError
from twisted.internet.defer import Deferred
from zope.interface import implementer

from conch_pipe.crashpoints import crashpoint
from conch_pipe.errors import Code, PipeError
from conch_pipe.interfaces import IUpload
from conch_pipe.sftp.listing import Attributes, file_attributes
from conch_pipe.sftp.refusals import answered, refusal
from conch_pipe.sftp.shelf import Put, State
from conch_pipe.sftp.visits import Visit
from conch_pipe.ssh.interfaces import IPutFile


@implementer(IPutFile)
class PutFile:
    """An open handle.

    :param visit: the connection it was opened on.
    :param put: what STAT and listings show of it.
    """

    def __init__(self, visit: Visit, put: Put, upload: IUpload) -> None:
        self._visit = visit
        self._put = put
        self._upload: Any = upload

    @property
    def lagging(self) -> bool:
        """See IPutFile."""
        return bool(self._upload.lagging)

    def caughtUp(self) -> object:
        """See IPutFile."""
        return self._upload.caught_up()

    def writeChunk(self, offset: int, data: memoryview) -> object:
        """See IPutFile."""
        return self.writeChunks(offset, [data])

    def writeChunks(self, offset: int, pieces: list[memoryview]) -> object:
        """See IPutFile. The hot path: no Deferred while the upload needs none."""
        if self._put.state is not State.WRITING:
            raise _dropped()
        try:
            written = self._upload.write(offset, *pieces)
        except PipeError as error:
            raise refusal(error) from error
        return written if written is None else self._written(written)

    @answered
    async def _written(self, written: Deferred[None]) -> None:
        await written

    @answered
    async def sync(self) -> None:
        """See IPutFile."""
        if self._put.state is not State.WRITING:
            raise _dropped()
        await self._upload.sync()

    @answered
    def close(self) -> Deferred[None]:
        """See IPutFile. OK only when the upload is durable and recorded, or waits for its final name."""
        crashpoint("C1")
        if self._put.state is not State.WRITING:
            raise _dropped()
        return self._put.close().addCallback(self._closed)

    def _closed(self, _: None) -> None:
        if self._put.state is State.WAITING and self._visit.find(self._put.key) is not self._put:
            # Nobody could ever rename it: the name means the file that was opened later.
            self._put.drop("put again under the same temporary name")
            raise PipeError(Code.CONFLICT, "another file was put under this temporary name")
        self._visit.uploads += self._put.state is State.DONE

    def abort(self, reason: str) -> None:
        """See IPutFile. Comes at once after a WRITE that failed, too; after CLOSE the file is complete, and stays."""
        if self._put.state is State.WRITING:
            self._put.drop(reason)

    def readChunk(self, offset: int, length: int) -> bytes:
        """Nothing is ever read; also not through a handle opened for both (ruling 2)."""
        raise SFTPError(FX_PERMISSION_DENIED, "upload only: nothing can be read")

    def getAttrs(self) -> Attributes:
        """FSTAT: the size so far. SSH.NET asks for it right after OPEN."""
        return file_attributes(self._put.size, self._put.at)

    @answered
    def setAttrs(self, attrs: dict[str, int]) -> None:
        """FSETSTAT: OK and ignored, but for a size, which must be the one received (scp, lftp)."""
        crashpoint("W4")  # clients send it when every WRITE has its answer
        if "size" in attrs:
            self._put.expect(attrs["size"])


def _dropped() -> SFTPError:
    """Its temporary name was removed while the handle is still open."""
    return SFTPError(FX_FAILURE, "the file was dropped")
