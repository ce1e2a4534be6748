"""What a user of this package supplies: files to put into, and an ear for what happens to connections.

Refusals are ``twisted.conch.ssh.filetransfer.SFTPError(code, text)`` with a code from 0 to 8 and printable ASCII text.
"""

from __future__ import annotations

from dataclasses import dataclass

from twisted.conch.interfaces import ISFTPFile, ISFTPServer
from twisted.cred.credentials import IUsernamePassword
from zope.interface import Attribute, Interface

# zope interfaces describe methods without self.
# mypy: disable-error-code="empty-body,misc"
# ruff: noqa: N805


class DropConnection(Exception):
    """Raised (or failed with) by a backend whose honest answer is none: the connection is cut without a reply.

    A commit whose outcome stays unknown ends so; the client tries again.
    """


@dataclass(frozen=True, slots=True)
class FileSystemStatus:
    """The numbers of statvfs@openssh.com.

    :source: OpenSSH PROTOCOL section 4.4.
    """

    block_size: int  # bytes; also the fundamental block size
    blocks: int
    free_blocks: int
    files: int
    free_files: int
    name_max: int = 255
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Security:
    """What protects a connection since its first key exchange, in names of RFC 4250 and OpenSSH.

    :param preset: of ours, by which the client was answered.
    :param host_key: fingerprint of the key we signed with.
    :param cipher: of what the client sends; with a slash and the other one when the directions differ.
    :param mac: the same; empty where the cipher authenticates by itself.
    :param strict: key exchange.
    :param retiring: the operator wants to get rid of this host key.
    """

    preset: str
    exchange: str
    host_key_algorithm: str
    host_key: str
    cipher: str
    mac: str
    strict: bool
    retiring: bool


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a connection. The portal's ``login`` gets it as ``mind``."""

    address: str
    port: int
    banner: str  # the client's version string, printable ASCII, at most 255 characters
    session: str  # our id of the connection, 16 hexadecimal digits
    security: Security | None = None  # None: there are no keys yet


class IPasswordAttempt(IUsernamePassword):
    """What a checker gets: user name (1 to 128 bytes) and password (0 to 256 bytes), and where they came from.

    Asked for one at a time on a connection. The checker decides how long a refusal takes. Anything it fails with but
    UnauthorizedLogin is logged, without the credentials, and refused as well.
    """

    username: bytes = Attribute("as the client sent it, unchecked but for its length")
    password: bytes = Attribute("as the client sent it; never to be logged")
    address: str = Attribute("the peer's")
    port: int = Attribute("the peer's")
    banner: str = Attribute("as in Peer")
    session: str = Attribute("as in Peer")


class IPutServer(ISFTPServer):
    """A tree into which files are put. Found by adapting the avatar, as Conch does; one per SFTP channel.

    Methods of ISFTPServer keep their meaning and may return a Deferred; ``openFile`` gives an IPutFile and
    ``openDirectory`` an iterable of ``(name, longname, attrs)``, bytes, bytes and a dict with keys ``size``, ``uid``,
    ``gid``, ``permissions``, ``atime``, ``mtime``. Paths come as bytes, unchecked but for their length (1,024).

    Requests about paths come one at a time, in the client's order, and after the CLOSEs before them have ended.
    ``gotVersion`` is told and its result not used; ``extendedRequest`` is not called.
    """

    def posixRename(old: bytes, new: bytes) -> object:
        """posix-rename@openssh.com: as ``renameFile``, replacing the target where that is allowed."""

    def fileSystemStatus(path: bytes) -> object:
        """statvfs@openssh.com: a FileSystemStatus, or a Deferred of one."""

    def channelLost(reason: str) -> None:
        """The SFTP channel is gone; every open file has been aborted already. Called exactly once.

        An ``openFile`` still running then is not cancelled: its file is aborted when it comes.
        """


class IPutFile(ISFTPFile):
    """One file that is being put. After the first failure the protocol calls nothing but ``abort``."""

    lagging: bool = Attribute("storage is behind: the protocol holds the channel's window until ``caughtUp`` fires")

    def writeChunk(offset: int, data: memoryview) -> object:
        """Store bytes; ``data`` must not be kept after the call. None when done at once, else a Deferred."""

    def writeChunks(offset: int, pieces: list[memoryview]) -> object:
        """The same for bytes that lie in pieces, one behind the other in the file; 1 to 1,000 pieces, none empty."""

    def caughtUp() -> object:
        """A Deferred that fires when ``lagging`` is False."""

    def sync() -> object:
        """fsync@openssh.com: a Deferred that fires when the bytes written so far are durable."""

    def close() -> object:
        """The client closed the file: FXP_CLOSE came, and every write before it is done and was good.

        Called at most once, and never for a lost connection; ``abort`` does not come after it, whatever it says.
        """

    def abort(reason: str) -> None:
        """The file will not be completed: connection lost, channel closed, a write failed. Never fails.

        Called at most once; also while a ``writeChunk`` or ``sync`` is running.
        """


class IConnectionListener(Interface):
    """Told of connections as they come and go; every method returns at once and never fails."""

    def opened(session: str, address: str, port: int) -> None:
        """A connection was accepted; ``session`` is its id, 16 hexadecimal digits."""

    def refused(address: str, reason: str) -> None:
        """A connection was not accepted, or thrown out before login by a limit; ``reason`` is a short sentence."""

    def closed(session: str, address: str, seconds: float, reason: str) -> None:
        """An accepted connection ended, for whatever reason."""

    def disagreed(address: str, banner: str, what: str, client: str, server: str) -> None:
        """The negotiation failed: which kind of algorithm, and both offers of that kind, with commas between."""

    def learnt(session: str, address: str, host_keys: list[str]) -> None:
        """A client that is logged in had us prove host keys it did not know, by their fingerprints."""
