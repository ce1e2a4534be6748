"""PuTTY's private keys, .ppk of versions 2 and 3, as PuTTYgen, WinSCP and FileZilla write them.

:source: PuTTY's documentation, appendix C; sshpubk.c.
"""

from __future__ import annotations

import hashlib
import hmac

from conch_pipe.ssh.fields import Malformed, Reader, string
from conch_pipe.ssh.keys import armor, private, unlocking
from conch_pipe.ssh.keys.errors import KeyRefused
from conch_pipe.ssh.keys.private import PrivateKey
from conch_pipe.ssh.keys.public import ECDSA, ed25519_blob, refuse_kind
from conch_pipe.ssh.transport.shares import unsigned

MAGIC = b"PuTTY-User-Key-File-"
_LONGEST_NAME = 64
_BODIES = (b"Public-Lines", b"Private-Lines")


class _File:
    """The fields, and the two bodies among them."""

    def __init__(self, data: bytes) -> None:
        self._fields: dict[bytes, bytes] = {}
        self._bodies: dict[bytes, bytes] = {}
        # Only the line ends go: space at the end of the comment is authenticated.
        rows = data.lstrip().splitlines()
        at = 0
        while at < len(rows):
            name, colon, value = rows[at].partition(b":")
            at += 1
            if not colon:
                if name.strip():
                    raise Malformed("a line that is no field")
                continue
            name, value = name.strip(), value.removeprefix(b" ")
            if name in self._fields:
                raise Malformed("a field that comes twice")
            self._fields[name] = value
            if name in _BODIES:
                count = self.number(name)
                if count > len(rows) - at:
                    raise Malformed("lines are missing")
                self._bodies[name] = armor.base64(b"".join(row.strip() for row in rows[at : at + count]))
                at += count

    def raw(self, name: bytes) -> bytes:
        """A field with the space at its end."""
        if name not in self._fields:
            raise Malformed("a field is missing")
        return self._fields[name]

    def word(self, name: bytes) -> bytes:
        """A field."""
        return self.raw(name).strip()

    def number(self, name: bytes) -> int:
        """A field that is a number."""
        digits = self.word(name)
        if not digits.isdigit() or len(digits) > 10:
            raise Malformed("no number")
        return int(digits)

    def octets(self, name: bytes) -> bytes:
        """A field in hexadecimal digits."""
        digits = self.word(name)
        try:
            return bytes.fromhex(digits.decode("ascii"))
        except ValueError:
            raise Malformed("no hexadecimal digits") from None

    def body(self, name: bytes) -> bytes:
        """Public-Lines or Private-Lines."""
        return self._bodies.get(name, b"")

    def __contains__(self, name: bytes) -> bool:
        return name in self._fields


def read(data: bytes, passphrase: bytes | None) -> PrivateKey:
    """A key.

    :param data: the file.
    :raises KeyRefused: see there.
    :raises Malformed: damaged.
    """
    version = data.lstrip()[len(MAGIC) :][:2]
    if version == b"1:":
        raise KeyRefused("unsupported", "a PuTTY file of version 1; open it in PuTTYgen and save it again")
    if version not in (b"2:", b"3:"):
        raise KeyRefused("unsupported", "a PuTTY file of a version that is not known here")
    file = _File(data)
    name = file.word(MAGIC + version[:1])
    refuse_kind(name)
    half, sealed = file.body(b"Public-Lines"), file.body(b"Private-Lines")
    if not sealed:
        raise KeyRefused("public", "this is a public key; the private half is needed")
    encryption = file.word(b"Encryption")
    if encryption not in (b"none", b"aes256-cbc"):
        raise KeyRefused("unsupported", "the cipher of this file is not known here")
    encrypted = encryption != b"none"
    keys = _keys_3(file, encrypted, passphrase) if version == b"3:" else _keys_2(encrypted, passphrase)
    cipher_key, iv, mac_key = keys
    opened = unlocking.cbc(cipher_key, iv, sealed) if encrypted else sealed
    digest, mac = (hashlib.sha256 if version == b"3:" else hashlib.sha1), file.octets(b"Private-MAC")
    comment = file.raw(b"Comment")
    for said in (comment, comment.rstrip()):
        signed = string(name) + string(encryption) + string(said) + string(half) + string(opened)
        if unlocking.same(hmac.new(mac_key, signed, digest).digest(), mac):
            return _key(name, half, opened, padded=encrypted)
    raise unlocking.wrong() if encrypted else Malformed("the checksum is wrong")


def _keys_3(file: _File, encrypted: bool, passphrase: bytes | None) -> tuple[bytes, bytes, bytes]:
    """Of the cipher, its IV, of the MAC."""
    if not encrypted:
        return b"", b"", b""
    derived = unlocking.argon2_key(
        passphrase,
        file.word(b"Key-Derivation"),
        file.octets(b"Argon2-Salt"),
        file.number(b"Argon2-Memory"),
        file.number(b"Argon2-Passes"),
        file.number(b"Argon2-Parallelism"),
        80,
    )
    return derived[:32], derived[32:48], derived[48:]


def _keys_2(encrypted: bool, passphrase: bytes | None) -> tuple[bytes, bytes, bytes]:
    key = unlocking.sha1_key(passphrase) if encrypted else b""
    secret = unlocking.given(passphrase) if encrypted else b""
    mac = hashlib.sha1(b"putty-private-key-file-mac-key" + secret, usedforsecurity=False).digest()
    return key, bytes(16), mac


def _ed25519(seed: bytes, public: bytes) -> PrivateKey:
    """Old PuTTYs wrote the seed as a number, without its zeros at one end; the public half tells at which."""
    if len(seed) < 32 and private.ed25519(seed.ljust(32, b"\0"), None).blob == ed25519_blob(public):
        return private.ed25519(seed.ljust(32, b"\0"), public)
    return private.ed25519(seed.rjust(32, b"\0"), public)


def _key(name: bytes, half: bytes, opened: bytes, *, padded: bool) -> PrivateKey:
    outside, inside = Reader(half), Reader(opened)
    if outside.string(_LONGEST_NAME) != name:
        raise Malformed("two types that differ")
    if name == b"ssh-rsa":
        e, n = unsigned(outside.string()), unsigned(outside.string())
        d, p, q = (unsigned(inside.string()) for _ in range(3))
        inside.view()
        key = private.rsa(n, e, d, p, q)
    elif name == b"ssh-ed25519":
        key = _ed25519(inside.string(), outside.string())
    else:
        if outside.string(_LONGEST_NAME) != ECDSA[name]:
            raise Malformed("the curve is not the one of the key's type")
        key = private.ecdsa(ECDSA[name], unsigned(inside.string()), outside.string())
    if key.blob != half:
        raise Malformed("the private half is of another key than the public one")
    if not padded:
        inside.end()
    return key
