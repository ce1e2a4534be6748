"""The header of a trusted proxy, which is not trusted to be right."""

from __future__ import annotations

import struct
from ipaddress import ip_address

from conch_pipe.ssh.fields import Malformed
from conch_pipe.ssh.server.proxy_protocol import LONGEST, SIGNATURE, Header, crc32c, parse

_IPV4 = bytes((192, 0, 2, 1, 192, 0, 2, 2)) + struct.pack(">HH", 50000, 22)
_IPV6 = bytes(15) + b"\1" + bytes(15) + b"\2" + struct.pack(">HH", 50000, 22)


def _binary(command: int, family: int, body: bytes) -> bytes:
    return SIGNATURE + struct.pack(">BBH", command, family, len(body)) + body


def _summed(command: int, family: int, body: bytes) -> bytes:
    whole = _binary(command, family, body + b"\3\0\4" + bytes(4))
    return whole[:-4] + crc32c(whole).to_bytes(4, "big")


def seeds() -> list[bytes]:
    """Both versions, all families, with fields behind the addresses and without."""
    return [
        b"PROXY TCP4 192.0.2.1 192.0.2.2 50000 22\r\n",
        b"PROXY TCP6 2001:db8::1 2001:db8::2 50000 22\r\n",
        b"PROXY UNKNOWN\r\n",
        b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\nSSH-2.0-x\r\n",
        _binary(0x20, 0, b""),
        _binary(0x20, 0x11, _IPV4),
        _binary(0x21, 0x11, _IPV4),
        _binary(0x21, 0x21, _IPV6 + b"\4\0\3abc"),
        _binary(0x21, 0x31, bytes(216)),
        _summed(0x21, 0x11, _IPV4),
        _summed(0x21, 0x21, _IPV6 + b"\x20\0\5\1\0\0\0\0"),
        _summed(0x21, 0, b"\5\0\4uniq"),
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ]


def _parse(data: bytes) -> Header | None | str:
    try:
        return parse(data)
    except Malformed:
        return "malformed"


def one(data: bytes) -> None:
    """The same answer however the bytes are cut, and an address is one."""
    said = _parse(data)
    if isinstance(said, Header):
        assert 0 < said.consumed <= min(len(data), LONGEST)
        assert _parse(data[: said.consumed]) == said
        assert {_parse(data[:at]) for at in range(said.consumed)} == {None}
        assert said.address is None or ip_address(said.address)
        assert 0 <= said.port < 65_536
    elif said is None:
        assert len(data) < LONGEST
