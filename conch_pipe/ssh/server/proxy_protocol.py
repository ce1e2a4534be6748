"""The header with which a trusted proxy says whom it speaks for: PROXY protocol, versions 1 and 2. Sans-IO.

Who is trusted, and what happens to the address, is the factory's matter.

:source: https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt, sections 2.1 (text), 2.2 (binary), 2.2.3 (CRC).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from conch_pipe.ssh.fields import Malformed

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LONGEST = 1_024  # bytes; 536 are needed at most by what proxies send to a server that speaks no TLS
_TEXT_LONGEST = 107  # section 2.1, with its line end
_LOCAL, _PROXY = 0x20, 0x21
_UNSPECIFIED, _TCP4, _TCP6 = 0x00, 0x11, 0x21
_ADDRESSES = {_TCP4: struct.Struct(">4s4sHH"), _TCP6: struct.Struct(">16s16sHH")}
_CRC32C = 0x03


@dataclass(frozen=True, slots=True)
class Header:
    """:param consumed: bytes of the header; what follows is the client's.
    :param address: the client's; None: the proxy itself (a health check), or a client it cannot name.
    :param port: the client's; 0 without an address.
    """

    consumed: int
    address: str | None = None
    port: int = 0


def parse(data: bytes) -> Header | None:
    """Read the header from the front of a connection.

    :param data: all that has come so far.
    :returns: None when more must come first.
    :raises Malformed: this cannot become a header, is longer than LONGEST, or its checksum is wrong.
    """
    if data[:1] == b"P":
        return _text(data)
    if not data.startswith(SIGNATURE[: len(data)]):
        raise Malformed("no PROXY header")
    if len(data) < 16:
        return None
    command, family, length = struct.unpack_from(">BBH", data, 12)
    if command not in (_LOCAL, _PROXY):
        raise Malformed("a PROXY header of an unknown version or command")
    end = 16 + length
    if end > LONGEST:
        raise Malformed("the PROXY header is too long")
    if len(data) < end:
        return None
    head = data[:end]
    if command == _LOCAL:
        return Header(end)  # section 2.2: whatever else it says is not looked at
    if family == _UNSPECIFIED:
        _check(head, 16)
        return Header(end)
    if family not in _ADDRESSES:
        raise Malformed("a PROXY header for something other than TCP")
    fields = _ADDRESSES[family]
    if length < fields.size:
        raise Malformed("the PROXY header ends too early")
    _check(head, 16 + fields.size)
    client, _, port, _ = fields.unpack_from(head, 16)
    return Header(end, str(ip_address(client)), port)


def _check(head: bytes, at: int) -> None:
    """Walk the fields behind the addresses; of these only the checksum has a meaning here."""
    while at < len(head):
        if len(head) - at < 3:
            raise Malformed("the PROXY header ends too early")
        kind, size = struct.unpack_from(">BH", head, at)
        at += 3
        if len(head) - at < size:
            raise Malformed("the PROXY header ends too early")
        if kind == _CRC32C:
            told = head[at : at + size]
            if size != 4 or crc32c(head[:at] + bytes(4) + head[at + 4 :]).to_bytes(4, "big") != told:
                raise Malformed("the checksum of the PROXY header is wrong")
        at += size


def _text(data: bytes) -> Header | None:
    """Version 1: nginx sends no other."""
    line, end, _ = data[:_TEXT_LONGEST].partition(b"\r\n")
    if not line.startswith(b"PROXY "[: len(line)]):
        raise Malformed("no PROXY header")
    if not end:
        if len(data) >= _TEXT_LONGEST:
            raise Malformed("the PROXY header is too long")
        return None
    consumed = len(line) + 2
    try:
        words = line.decode("ascii").split(" ")
        if words[1] == "UNKNOWN":
            return Header(consumed)
        kind = {"TCP4": IPv4Address, "TCP6": IPv6Address}[words[1]]
        client, _, port, _ = kind(words[2]), kind(words[3]), _port(words[4]), _port(words[5])
        if len(words) != 6:
            raise ValueError
    except (ValueError, KeyError, IndexError):
        raise Malformed("a PROXY header that cannot be read") from None
    return Header(consumed, str(client), port)


def _port(text: str) -> int:
    if not text.isdigit() or int(text) > 65_535:
        raise ValueError
    return int(text)


def crc32c(data: bytes) -> int:
    """CRC-32 with Castagnoli's polynomial (RFC 3720 appendix B.4), which zlib does not have; of 1 KiB at most."""
    table, value = _table(), 0xFFFFFFFF
    for byte in data:
        value = table[(value ^ byte) & 0xFF] ^ (value >> 8)
    return value ^ 0xFFFFFFFF


@cache
def _table() -> tuple[int, ...]:
    rows = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        rows.append(value)
    return tuple(rows)
