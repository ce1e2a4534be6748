"""SFTP version 3 on the wire: packets out of a stream of bytes, attributes, replies.

Sans-IO: bytes in, values out. Decides nothing about files and sends nothing.

:source: draft-ietf-secsh-filexfer-02; OpenSSH PROTOCOL section 4 for the extensions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Any

from conch_pipe.ssh.fields import Malformed, Reader, printable, string, u32, u64
from conch_pipe.ssh.interfaces import FileSystemStatus

VERSION = 3
SMALLEST_PACKET = 5  # type and request id


class Type(IntEnum):
    """Packet types of version 3."""

    INIT = 1
    VERSION = 2
    OPEN = 3
    CLOSE = 4
    READ = 5
    WRITE = 6
    LSTAT = 7
    FSTAT = 8
    SETSTAT = 9
    FSETSTAT = 10
    OPENDIR = 11
    READDIR = 12
    REMOVE = 13
    MKDIR = 14
    RMDIR = 15
    REALPATH = 16
    STAT = 17
    RENAME = 18
    READLINK = 19
    SYMLINK = 20
    STATUS = 101
    HANDLE = 102
    DATA = 103
    NAME = 104
    ATTRS = 105
    EXTENDED = 200
    EXTENDED_REPLY = 201


class Status(IntEnum):
    """Status codes of version 3; a client of version 3 knows no others."""

    OK = 0
    EOF = 1
    NO_SUCH_FILE = 2
    PERMISSION_DENIED = 3
    FAILURE = 4
    BAD_MESSAGE = 5
    NO_CONNECTION = 6
    CONNECTION_LOST = 7
    OP_UNSUPPORTED = 8


class PacketStream:
    """Cuts the stream into SFTP packets; the buffer grows to what is waiting and is never re-sliced.

    :param longest: bytes a length field may name.
    """

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._buffer = bytearray()
        self._at = 0

    def __len__(self) -> int:
        return len(self._buffer) - self._at

    def feed(self, data: bytes | memoryview) -> None:
        """Append what arrived."""
        if self._at:
            try:
                del self._buffer[: self._at]
            except BufferError:
                # Somebody kept a view of an earlier packet: leave that buffer to them.
                self._buffer = bytearray(memoryview(self._buffer)[self._at :])
            self._at = 0
        self._buffer += data

    def ready(self) -> bool:
        """A whole packet is waiting (or a length that cannot be)."""
        left = len(self._buffer) - self._at
        if left < 4:
            return False
        size = int.from_bytes(self._buffer[self._at : self._at + 4], "big")
        return left >= 4 + size or not SMALLEST_PACKET <= size <= self._longest

    def next(self) -> memoryview | None:
        """The next packet from its type on, or None; release the view before the next :meth:`feed`.

        :raises Malformed: the length field is below 5 or above the bound: the stream cannot be followed any more.
        """
        at = self._at
        left = len(self._buffer) - at
        if left < 4:
            return None
        size = int.from_bytes(self._buffer[at : at + 4], "big")
        if not SMALLEST_PACKET <= size <= self._longest:
            raise Malformed(f"an SFTP packet of {size} bytes")
        if left < 4 + size:
            return None
        self._at = at + 4 + size
        return memoryview(self._buffer)[at + 4 : self._at]


_SIZE, _OWNER, _PERMISSIONS, _TIMES, _EXTENDED = 0x1, 0x2, 0x4, 0x8, 0x80000000


def read_attributes(reader: Reader, most: int = 16) -> dict[str, Any]:
    """ATTRS as Conch's interfaces want them: size, uid, gid, permissions, atime, mtime, ``ext_`` names with bytes.

    :param most: extended attributes.
    :raises Malformed: also when there are more.
    """
    flags = reader.u32()
    attributes: dict[str, Any] = {}
    if flags & _SIZE:
        attributes["size"] = reader.u64()
    if flags & _OWNER:
        attributes["uid"], attributes["gid"] = reader.u32(), reader.u32()
    if flags & _PERMISSIONS:
        attributes["permissions"] = reader.u32()
    if flags & _TIMES:
        attributes["atime"], attributes["mtime"] = reader.u32(), reader.u32()
    if flags & _EXTENDED:
        count = reader.u32()
        if count > most:
            raise Malformed("too many extended attributes")
        for _ in range(count):
            name = printable(reader.string())
            attributes["ext_" + name] = reader.string()
    return attributes


def attributes(values: Mapping[str, Any]) -> bytes:
    """ATTRS on the wire; what is missing is left out, a pair (uid and gid, atime and mtime) as a whole."""
    flags, body = 0, b""
    if "size" in values:
        flags |= _SIZE
        body += u64(values["size"])
    if "uid" in values and "gid" in values:
        flags |= _OWNER
        body += u32(values["uid"]) + u32(values["gid"])
    if "permissions" in values:
        flags |= _PERMISSIONS
        body += u32(values["permissions"])
    if "atime" in values and "mtime" in values:
        flags |= _TIMES
        body += u32(int(values["atime"]) & 0xFFFFFFFF) + u32(int(values["mtime"]) & 0xFFFFFFFF)
    return u32(flags) + body


def packet(kind: Type, body: bytes) -> bytes:
    """A packet on the wire."""
    return u32(len(body) + 1) + bytes((kind,)) + body


_OK = packet(Type.STATUS, bytes(4) + u32(Status.OK) + string(b"") + string(b""))


def ok(request: int) -> bytes:
    """STATUS OK: 26 bytes, the commonest reply."""
    return _OK[:5] + u32(request) + _OK[9:]


def oks(requests: Iterable[int]) -> bytes:
    """STATUS OK for each."""
    return b"".join([_OK[:5] + u32(request) + _OK[9:] for request in requests])


def status(request: int, code: int, text: str) -> bytes:
    """STATUS with a code a client of version 3 knows and text it can print."""
    code = code if 0 <= code <= 8 else Status.FAILURE
    return packet(Type.STATUS, u32(request) + u32(code) + string(printable(text).encode()) + string(b"en"))


def handle(request: int, value: bytes) -> bytes:
    """HANDLE."""
    return packet(Type.HANDLE, u32(request) + string(value))


def attrs(request: int, values: Mapping[str, Any]) -> bytes:
    """ATTRS."""
    return packet(Type.ATTRS, u32(request) + attributes(values))


def entry(name: bytes, longname: bytes, values: Mapping[str, Any]) -> bytes:
    """One name of a NAME reply."""
    return string(name) + string(longname) + attributes(values)


def names(request: int, entries: Iterable[bytes]) -> bytes:
    """NAME with entries made by :func:`entry`."""
    rows = list(entries)
    return packet(Type.NAME, u32(request) + u32(len(rows)) + b"".join(rows))


def version(extensions: Mapping[bytes, bytes]) -> bytes:
    """VERSION: always 3, whatever the client asked for (lftp asks for 6 and takes 3)."""
    return packet(Type.VERSION, u32(VERSION) + b"".join(string(k) + string(v) for k, v in extensions.items()))


def extended_reply(request: int, body: bytes) -> bytes:
    """EXTENDED_REPLY."""
    return packet(Type.EXTENDED_REPLY, u32(request) + body)


def statvfs(status: FileSystemStatus) -> bytes:
    """The eleven numbers of statvfs@openssh.com; flag 1 is read-only, 2 is no-setuid.

    :source: OpenSSH PROTOCOL section 4.4.
    """
    numbers = (
        status.block_size,
        status.block_size,
        status.blocks,
        status.free_blocks,
        status.free_blocks,
        status.files,
        status.free_files,
        status.free_files,
        0,
        3 if status.read_only else 2,
        status.name_max,
    )
    return b"".join(map(u64, numbers))
