"""What a partner may do over SFTP: put files into schema folders, look at what was put, and nothing else.

One PutSession per SFTP channel over the visit that all channels of a connection share. Every PipeError leaves as an
SFTP status by ``answered``. Bytes and rules about them are ``intake``'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from twisted.conch.ssh.filetransfer import (
    FX_FAILURE,
    FX_OP_UNSUPPORTED,
    FXF_APPEND,
    FXF_EXCL,
    FXF_TRUNC,
    FXF_WRITE,
    SFTPError,
)
from zope.interface import implementer

from conch_pipe import events
from conch_pipe.errors import Code, PipeError
from conch_pipe.interfaces import IEvents, IIntake, IUploads
from conch_pipe.model import utc
from conch_pipe.sftp import listing, tree
from conch_pipe.sftp.put_file import PutFile
from conch_pipe.sftp.refusals import answered
from conch_pipe.sftp.shelf import Key, Put, State
from conch_pipe.sftp.tree import FileName, Outside, Root, SchemaFolder
from conch_pipe.sftp.visits import BUSY, Visit, Visits
from conch_pipe.ssh.interfaces import FileSystemStatus, IPutServer

Found = tuple[int, float] | None  # size and time of the client's newest file of a name


class Folder:
    """A listing as READDIR takes it."""

    def __init__(self, rows: list[tuple[bytes, bytes, listing.Attributes]]) -> None:
        self._rows = iter(rows)

    def __iter__(self) -> Folder:
        return self

    def __next__(self) -> tuple[bytes, bytes, listing.Attributes]:
        return next(self._rows)

    def close(self) -> None:
        """Nothing is held."""


@implementer(IPutServer)
class PutSession:
    """One SFTP channel.

    :param visit: the logged-in connection.
    :param visits: all of them, for the clock and for draining.
    :param intake: an IIntake.
    :param uploads: an IUploads, asked by STAT for what other processes and earlier connections took.
    :param disk: gives the spool's numbers for statvfs.
    """

    def __init__(
        self,
        visit: Visit,
        visits: Visits,
        intake: IIntake,
        uploads: IUploads,
        events: IEvents,
        disk: Callable[[], FileSystemStatus],
    ) -> None:
        self.avatar = visit.client  # of ISFTPServer; who logged in
        self._visit = visit
        self._visits = visits
        self._intake: Any = intake
        self._uploads: Any = uploads
        self._events = events
        self._disk = disk

    # Opening ---------------------------------------------------------------------------------------------------------

    def gotVersion(self, otherVersion: int, extData: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
        """No extensions beyond those the protocol answers itself."""
        return {}

    @answered
    def openFile(self, filename: bytes, flags: int, attrs: Mapping[str, int]) -> PutFile:
        """Start an upload. What can be refused is refused here: OPEN is the one answer that every client reads.

        CREAT may be missing (Cyberduck, over an existing file), TRUNC too (scp): either way it is a new version.
        Permissions and times in ``attrs`` are ignored.
        """
        if not flags & FXF_WRITE:
            raise PipeError(Code.NOT_ALLOWED, "upload only: nothing can be read")
        try:
            if self._visits.draining:
                raise PipeError(Code.BUSY, BUSY)
            place = tree.target(filename, self._visit.client.schemas)
        except PipeError as error:
            self._tell_refused(filename, error)
            raise
        key = (place.schema, place.name)
        self._check_flags(flags, self._visit.find(key))
        final = self._intake.unfinished(place.name)
        upload = self._intake.begin(
            self._visit.client,
            place.schema,
            place.name,
            door="sftp",
            # "Initial attributes" of size 0 say that it starts empty, not that it will be.
            size=attrs.get("size") or None,
            provisional=final is not None,
        )
        put = Put(key, upload, final=final, clock=self._visits.clock.seconds)
        self._visit.add(put)
        return PutFile(self._visit, put, upload)

    @staticmethod
    def _check_flags(flags: int, before: Put | None) -> None:
        exists = before is not None and before.state is not State.GONE
        # WinSCP opens small files so and asks its user when this fails (SftpFileSystem.cpp, SFTPOpenRemote).
        if flags & FXF_EXCL and exists:
            raise SFTPError(FX_FAILURE, "a file of this name was put already")
        # Appending to nothing is an ordinary put (paramiko "a", asyncssh "a"). To continue an upload it would have to
        # be kept unfinished, and to extend an accepted one it would have to change.
        if flags & FXF_APPEND and exists and not flags & FXF_TRUNC:
            raise SFTPError(FX_OP_UNSUPPORTED, "files cannot be resumed or appended to: put the whole file again")

    def _tell_refused(self, path: bytes, error: PipeError) -> None:
        folder, _, name = tree.label(path).rpartition("/")
        client = self._visit.client
        self._events.note(
            events.UPLOAD_REFUSED,
            client_id=client.client_id,
            organisation=client.organisation,
            address=client.peer.address,
            session=client.peer.session,
            schema=folder or "/",
            name=name,
            door="sftp",
            problem=error.message,
            code=error.code.value,
        )

    # Temporary names -------------------------------------------------------------------------------------------------

    @answered
    async def renameFile(self, oldpath: bytes, newpath: bytes) -> None:
        """Accept the client's own finished file under its final name; any other rename is denied (ruling 2)."""
        schemas = self._visit.client.schemas
        old = tree.resolve(oldpath, schemas)
        if not isinstance(old, FileName):
            raise PipeError(Code.NOT_ALLOWED, "folders cannot be renamed")
        new = tree.target(newpath, schemas)
        put = await self._settled((old.schema, old.name))
        if put is None and await self._renamed_elsewhere(old, new):
            return
        if put is None or put.final is None:
            if await self._find(old) is None:
                raise PipeError(Code.NOT_FOUND, "no such file")
            raise PipeError(Code.NOT_ALLOWED, "accepted files cannot be renamed")
        if put.state is State.WRITING:
            raise SFTPError(FX_FAILURE, "close the file before renaming it")
        if new.schema != old.schema:
            raise PipeError(Code.NOT_ALLOWED, "a temporary name is renamed within its folder only")
        if self._intake.unfinished(new.name) is not None:
            raise PipeError(Code.NOT_ALLOWED, "that is a temporary name too: rename to the final one")
        await put.rename((new.schema, new.name))
        self._visit.renamed(put, (old.schema, old.name))
        self._visit.uploads += 1

    async def _renamed_elsewhere(self, old: FileName, new: FileName) -> bool:
        """Whether the file was put on a connection in another process, and is accepted now."""
        if new.schema != old.schema or self._intake.unfinished(new.name) is not None:
            return False
        client_id = self._visit.client.client_id
        found = await self._visits.neighbours.rename(client_id, (old.schema, old.name), new.name)
        if found is None:
            return False
        self._visit.add(Put.accepted((new.schema, new.name), found["size"], self._visits.clock.seconds))
        self._visit.uploads += 1
        return True

    def posixRename(self, old: bytes, new: bytes) -> object:
        """The same: a file put under a name that was used before is a new version, not a replacement."""
        return self.renameFile(old, new)

    @answered
    async def removeFile(self, filename: bytes) -> None:
        """Drop the client's own file under its temporary name; nothing that was accepted is ever removed."""
        place = tree.resolve(filename, self._visit.client.schemas)
        if isinstance(place, Outside):
            raise PipeError(Code.NOT_FOUND, "no such file")
        if not isinstance(place, FileName):
            raise PipeError(Code.NOT_ALLOWED, "folders cannot be removed")
        key = (place.schema, place.name)
        put = await self._settled(key)
        if put is not None and put.final is not None:
            put.drop("removed by the client")
            return
        if put is None and await self._visits.neighbours.remove(self._visit.client.client_id, key) is not None:
            return
        # rclone and WinSCP give up when this is "permission denied" for a name that is not there (copyparty#1170).
        if await self._find(place) is None:
            raise PipeError(Code.NOT_FOUND, "no such file")
        if not self._visit.shelf.waits_for(key):
            raise PipeError(Code.NOT_ALLOWED, "accepted files cannot be removed")
        # WinSCP clears the way for its RENAME and gives up when it cannot (SftpFileSystem.cpp, Source). The accepted
        # upload stays; its name is free for the new version that waits.
        self._visit.add(Put(key, None, final=None, clock=self._visits.clock.seconds))

    async def _settled(self, key: Key) -> Put | None:
        """The client's newest file of this name, when no request on it is under way; None when it is gone."""
        put = self._visit.find(key)
        if put is None:
            return None
        await put.settled()
        return None if put.state is State.GONE or put.key != key else put

    # Looking ---------------------------------------------------------------------------------------------------------

    @answered
    def getAttrs(self, path: bytes, followLinks: bool) -> Any:
        """STAT and LSTAT: folders, and the client's own uploads of the last minutes on any connection (ruling 3)."""
        place = tree.resolve(path, self._visit.client.schemas)
        match place:
            case Root():
                return listing.root_attributes(self._visit.at)
            case SchemaFolder():
                return listing.folder_attributes(self._visit.at)
            case Outside():
                raise tree.no_such_schema(self._visit.client.schemas)
        if self._is_known(place):  # as nearly always: OpenSSH asks before each put
            return _shown(self._known(place))
        return self._get_attributes_elsewhere(place)

    async def _get_attributes_elsewhere(self, place: FileName) -> listing.Attributes:
        return _shown(await self._find(place))

    def _is_known(self, place: FileName) -> bool:
        """Whether this process can tell by itself if the client has put such a file."""
        key = (place.schema, place.name)
        return self._visit.find(key) is not None or self._visits.knows_all(self._visit.shelf, key)

    def _known(self, place: FileName) -> Found:
        put = self._visit.find((place.schema, place.name))
        return None if put is None or put.state is State.GONE else (put.size, put.at)

    async def _find(self, place: FileName) -> Found:
        if self._is_known(place):
            return self._known(place)
        there = await self._visits.neighbours.find(self._visit.client.client_id, (place.schema, place.name))
        if there is not None:
            return None if there["gone"] else (there["size"], there["at"])
        if not self._visits.keep_s:
            return None
        since = utc(self._visits.clock) - timedelta(seconds=self._visits.keep_s)
        upload = await self._uploads.latest(self._visit.client.client_id, place.schema, place.name, since)
        return None if upload is None else (upload.bytes, upload.received_at.timestamp())

    @answered
    def openDirectory(self, path: bytes) -> Folder:
        """The schema folders, or the files put on this connection."""
        client, now = self._visit.client, self._visits.clock.seconds()
        place = tree.resolve(path, client.schemas)
        if isinstance(place, Root):
            folder = listing.folder_attributes(self._visit.at)
            return Folder([listing.entry(name.encode(), folder, now) for name in sorted(client.schemas)])
        if isinstance(place, Outside):
            raise tree.no_such_schema(client.schemas)
        if isinstance(place, FileName):
            raise PipeError(Code.NOT_FOUND, "no such folder")
        return Folder(
            [
                listing.entry(put.key[1].encode(), listing.file_attributes(put.size, put.at), now)
                for put in self._visit.files.values()
                if put.key[0] == place.name and put.state not in (State.GONE, State.UNKNOWN)
            ]
        )

    @answered
    def realPath(self, path: bytes) -> bytes:
        """The absolute path, also of what is not there: PSFTP asks before it puts."""
        return tree.real(path)

    def fileSystemStatus(self, path: bytes) -> FileSystemStatus:
        """The spool's disk, for clients that look before a large put."""
        return self._disk()

    # What is OK and does nothing, and what is never granted ----------------------------------------------------------

    @answered
    def setAttrs(self, path: bytes, attrs: Mapping[str, int]) -> None:
        """SETSTAT: OK and ignored (ruling 4), unless the file was refused: sshj learns of it only here."""
        place = tree.resolve(path, self._visit.client.schemas)
        if isinstance(place, Outside):
            raise tree.no_such_schema(self._visit.client.schemas)
        if not isinstance(place, FileName):
            return
        put = self._visit.find((place.schema, place.name))
        if put is None:
            return
        if put.state is State.GONE:
            raise PipeError(Code.NOT_FOUND, "no such file")
        if "size" in attrs:
            put.expect(attrs["size"])

    @answered
    def makeDirectory(self, path: bytes, attrs: Mapping[str, int]) -> None:
        """Denied; ``put -r`` goes on with a folder that exists (OpenSSH sftp-client.c, ``upload_dir_internal``)."""
        if tree.real(path)[1:].decode(errors="replace") in {"", *self._visit.client.schemas}:
            raise PipeError(Code.NOT_ALLOWED, "the folder exists already")
        raise PipeError(Code.NOT_ALLOWED, "folders cannot be created: they are your enabled schemas")

    @answered
    def removeDirectory(self, path: bytes) -> None:
        """Denied."""
        raise PipeError(Code.NOT_ALLOWED, "folders cannot be removed")

    @answered
    def readLink(self, path: bytes) -> bytes:
        """Denied."""
        raise PipeError(Code.NOT_ALLOWED, "there are no links here")

    @answered
    def makeLink(self, linkPath: bytes, targetPath: bytes) -> None:
        """Denied."""
        raise PipeError(Code.NOT_ALLOWED, "links cannot be created")

    def extendedRequest(self, extendedName: bytes, extendedData: bytes) -> bytes:
        """Whatever the protocol does not answer itself is not there."""
        raise NotImplementedError("unsupported extension")

    def channelLost(self, reason: str) -> None:
        """See IPutServer. Files under temporary names stay: another channel may rename them, or the visit's end does
        away with them."""


def _shown(found: Found) -> listing.Attributes:
    if found is None:
        raise PipeError(Code.NOT_FOUND, "no such file")
    return listing.file_attributes(*found)
