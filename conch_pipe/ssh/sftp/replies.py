"""Replies of an SFTP server of version 3, read strictly: a value, a refusal, or a server that cannot be followed.

Sans-IO: each function takes the type and a reader placed behind the request id. An SFTPError is the server's answer;
Malformed means that the reply is none to what was asked.

:source: draft-ietf-secsh-filexfer-02 section 7; OpenSSH PROTOCOL section 4 for the extensions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from twisted.conch.ssh.filetransfer import SFTPError

from conch_pipe.ssh.client.limits import ClientLimits
from conch_pipe.ssh.fields import Malformed, Reader, printable
from conch_pipe.ssh.interfaces import FileSystemStatus
from conch_pipe.ssh.sftp.wire import VERSION, Status, Type, read_attributes

Parse = Callable[[int, Reader, ClientLimits], Any]


class Entry(NamedTuple):
    """One name in a folder; the long name that a server makes of it is left out."""

    name: bytes
    attributes: dict[str, Any]


class WriteLimits(NamedTuple):
    """What limits@openssh.com tells; 0 is "no answer"."""

    packet: int  # bytes
    read: int
    write: int
    handles: int


def read_status(reader: Reader) -> tuple[int, str]:
    """Code and printable text. Old servers leave out the language, or both strings."""
    code = reader.u32()
    text = reader.view() if reader.left else b""
    if reader.left:
        reader.view()
    reader.end()
    return code, printable(bytes(text))


def _want(kind: int, wanted: Type, reader: Reader) -> None:
    if kind == Type.STATUS:
        code, text = read_status(reader)
        if code != Status.OK:
            raise SFTPError(code, text)
    if kind != wanted:
        raise Malformed(f"a reply of type {kind} to a request that asks for type {int(wanted)}")


def done(kind: int, reader: Reader, limits: ClientLimits) -> None:
    """STATUS OK."""
    _want(kind, Type.STATUS, reader)


def handle(kind: int, reader: Reader, limits: ClientLimits) -> bytes:
    """HANDLE."""
    _want(kind, Type.HANDLE, reader)
    value = reader.string(limits.handle)
    reader.end()
    return value


def data(size: int) -> Parse:
    """DATA of at most ``size`` bytes, as was asked for; the empty bytes at the end of the file."""

    def parse(kind: int, reader: Reader, limits: ClientLimits) -> bytes:
        try:
            _want(kind, Type.DATA, reader)
        except SFTPError as error:
            if error.code == Status.EOF:
                return b""
            raise
        found = reader.string(size)
        reader.end()
        if not found:
            raise Malformed("a DATA reply without data")
        return found

    return parse


def attributes(kind: int, reader: Reader, limits: ClientLimits) -> dict[str, Any]:
    """ATTRS."""
    _want(kind, Type.ATTRS, reader)
    values = read_attributes(reader, limits.attributes)
    reader.end()
    return values


def _names(kind: int, reader: Reader, limits: ClientLimits) -> list[Entry]:
    _want(kind, Type.NAME, reader)
    count = reader.u32()
    if count > limits.names:
        raise Malformed("too many names in one reply")
    entries = []
    for _ in range(count):
        name, _longname = reader.string(limits.path), reader.view()
        entries.append(Entry(name, read_attributes(reader, limits.attributes)))
    reader.end()
    return entries


def entries(kind: int, reader: Reader, limits: ClientLimits) -> list[Entry]:
    """NAME, as READDIR wants it; the empty list at the end of the folder."""
    try:
        found = _names(kind, reader, limits)
    except SFTPError as error:
        if error.code == Status.EOF:
            return []
        raise
    if not found:
        raise Malformed("a NAME reply without names")
    for entry in found:
        # One component: whoever joins it to a path must stay in that folder.
        if not entry.name or b"/" in entry.name or b"\0" in entry.name:
            raise Malformed("a name in a folder that is none")
    return found


def path(kind: int, reader: Reader, limits: ClientLimits) -> bytes:
    """NAME with exactly one name, as REALPATH and READLINK want it."""
    found = _names(kind, reader, limits)
    if len(found) != 1 or b"\0" in found[0].name:
        raise Malformed("a path that is none")
    return found[0].name


def file_system_status(kind: int, reader: Reader, limits: ClientLimits) -> FileSystemStatus:
    """The eleven numbers of statvfs@openssh.com; what only root may use is not counted as free."""
    _want(kind, Type.EXTENDED_REPLY, reader)
    numbers = [reader.u64() for _ in range(11)]
    reader.end()
    _, unit, blocks, _, free_blocks, files, _, free_files, _, flags, name_max = numbers
    return FileSystemStatus(unit, blocks, free_blocks, files, free_files, name_max, read_only=bool(flags & 1))


def write_limits(kind: int, reader: Reader, limits: ClientLimits) -> WriteLimits:
    """The four numbers of limits@openssh.com; later versions may append more."""
    _want(kind, Type.EXTENDED_REPLY, reader)
    return WriteLimits(reader.u64(), reader.u64(), reader.u64(), reader.u64())


def hashes(kind: int, reader: Reader, limits: ClientLimits) -> tuple[bytes, bytes]:
    """Algorithm and hashes of check-file; paramiko and ProFTPD put the extension's name first."""
    _want(kind, Type.EXTENDED_REPLY, reader)
    algorithm = reader.string(64)
    if algorithm == b"check-file":
        algorithm = reader.string(64)
    return algorithm, reader.rest()


def version(packet: memoryview, limits: ClientLimits) -> dict[bytes, bytes]:
    """VERSION, the first packet: the extensions.

    :raises SFTPError: OP_UNSUPPORTED when the server speaks another version.
    """
    if packet[0] != Type.VERSION:
        raise Malformed("the first SFTP packet is not VERSION")
    reader = Reader(packet[1:])
    number = reader.u32()
    if number != VERSION:
        raise SFTPError(Status.OP_UNSUPPORTED, f"the server speaks version {number} of SFTP, not {VERSION}")
    extensions: dict[bytes, bytes] = {}
    told = 0  # not what is in the dict: one name may come again and again
    while reader.left:
        told += 1
        if told > limits.extensions:
            raise Malformed("too many extensions in VERSION")
        name = reader.string()
        extensions[name] = reader.string()
    return extensions
