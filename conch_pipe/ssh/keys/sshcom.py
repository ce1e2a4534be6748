"""Private keys of ssh.com's (Tectia's) SSH 2: RSA, plain or with 3DES.

:source: PuTTY, import.c (sshcom_read).
"""

from __future__ import annotations

from conch_pipe.ssh.fields import Malformed, Reader
from conch_pipe.ssh.keys import private, unlocking
from conch_pipe.ssh.keys.errors import KeyRefused
from conch_pipe.ssh.keys.private import PrivateKey
from conch_pipe.ssh.keys.public import refuse_kind

_MAGIC = 0x3F6FF9EB
_LONGEST_NAME = 256


def read(data: bytes, passphrase: bytes | None) -> PrivateKey:
    """A key.

    :param data: what the base64 says.
    :raises KeyRefused: see there.
    :raises Malformed: damaged.
    """
    outer = Reader(data)
    if outer.u32() != _MAGIC or outer.u32() != len(data):
        raise Malformed("not ssh.com's, or cut")
    kind, cipher, sealed = outer.string(_LONGEST_NAME), outer.string(_LONGEST_NAME), outer.string()
    outer.end()
    if kind.startswith(b"dl-modp"):
        refuse_kind(b"ssh-dss")
    if not kind.startswith(b"if-modn"):
        refuse_kind(b"")
    if cipher == b"none":
        return _key(sealed, padded=False)
    if cipher != b"3des-cbc":
        raise KeyRefused("unsupported", "the cipher of this file is not known here")
    key = unlocking.sshcom_key(passphrase)
    opened = unlocking.cbc(key, bytes(8), sealed, triple_des=True)
    try:
        return _key(opened, padded=True)
    except Malformed:  # there is no checksum
        raise unlocking.wrong() from None


def _key(opened: bytes, *, padded: bool) -> PrivateKey:
    outside = Reader(opened)
    inside = Reader(outside.view())
    if not padded:
        outside.end()
    e, d, n, _, q, p = (_number(inside) for _ in range(6))
    inside.end()
    return private.rsa(n, e, d, p, q)


def _number(reader: Reader) -> int:
    """Its size in bits comes first."""
    size = (reader.u32() + 7) // 8
    if size > reader.left:
        raise Malformed("a number that ends too early")
    return int.from_bytes(bytes(reader.byte() for _ in range(size)), "big")
