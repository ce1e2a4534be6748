"""OpenSSH's own private keys, "openssh-key-v1": with every cipher that ssh-keygen writes, and without.

:source: OpenSSH PROTOCOL.key, sshkey.c (sshkey_private_to_blob2).
"""

from __future__ import annotations

from conch_pipe.ssh.fields import Malformed, Reader
from conch_pipe.ssh.keys import private, unlocking
from conch_pipe.ssh.keys.errors import KeyRefused
from conch_pipe.ssh.keys.private import PrivateKey
from conch_pipe.ssh.keys.public import ECDSA, refuse_kind
from conch_pipe.ssh.transport.shares import unsigned

MAGIC = b"openssh-key-v1\0"
_LONGEST_NAME = 64
_TAG = 16

# name: how, bytes of the key, of the IV, of a block
_CIPHERS = {
    b"none": ("none", 0, 0, 8),
    b"3des-cbc": ("3des", 24, 8, 8),
    b"rijndael-cbc@lysator.liu.se": ("cbc", 32, 16, 16),
    b"chacha20-poly1305@openssh.com": ("chacha", 64, 0, 8),
    **{f"aes{bits}-cbc".encode(): ("cbc", bits // 8, 16, 16) for bits in (128, 192, 256)},
    **{f"aes{bits}-ctr".encode(): ("ctr", bits // 8, 16, 16) for bits in (128, 192, 256)},
    **{f"aes{bits}-gcm@openssh.com".encode(): ("gcm", bits // 8, 12, 16) for bits in (128, 256)},
}


def read(data: bytes, passphrase: bytes | None) -> PrivateKey:
    """A key.

    :param data: what the base64 says.
    :raises KeyRefused: see there.
    :raises Malformed: damaged.
    """
    if not data.startswith(MAGIC):
        raise Malformed("not OpenSSH's")
    outer = Reader(data[len(MAGIC) :])
    cipher, kdf, options = outer.string(_LONGEST_NAME), outer.string(_LONGEST_NAME), outer.string()
    if outer.u32() != 1:
        raise KeyRefused("unsupported", "the file has more than one key, or none")
    half, sealed = outer.string(), outer.string()
    tag = outer.rest()
    refuse_kind(Reader(half).string(_LONGEST_NAME))
    if cipher not in _CIPHERS or (kdf != b"bcrypt" and (cipher, kdf) != (b"none", b"none")):
        raise KeyRefused("unsupported", "the cipher of this file is not known here")
    encrypted = cipher != b"none"
    opened = _open(cipher, options, sealed, tag, passphrase) if encrypted else sealed
    if not encrypted and (tag or options):
        raise Malformed("more than there should be")
    if len(opened) % _CIPHERS[cipher][3]:
        raise Malformed("not whole blocks")
    inner = Reader(opened)
    if inner.u32() != inner.u32():
        raise unlocking.wrong() if encrypted else Malformed("the check numbers differ")
    key = _key(inner)
    inner.view()  # the comment
    padding = inner.rest()
    if padding != bytes(number & 0xFF for number in range(1, len(padding) + 1)):
        raise Malformed("no padding")
    if key.blob != half:
        raise Malformed("the private half is of another key than the public one")
    return key


def _open(cipher: bytes, options: bytes, sealed: bytes, tag: bytes, passphrase: bytes | None) -> bytes:
    how, key_size, iv_size, block = _CIPHERS[cipher]
    parameters = Reader(options)
    salt, rounds = parameters.string(), parameters.u32()
    parameters.end()
    if not sealed or len(sealed) % block or len(tag) != (_TAG if how in ("gcm", "chacha") else 0):
        raise Malformed("not whole blocks, or no tag")
    derived = unlocking.bcrypt_key(passphrase, salt, rounds, key_size + iv_size)
    key, iv = derived[:key_size], derived[key_size:]
    if how == "gcm":
        return unlocking.gcm(key, iv, sealed, tag)
    if how == "chacha":
        return unlocking.chacha(key, sealed, tag)
    if how == "ctr":
        return unlocking.ctr(key, iv, sealed)
    return unlocking.cbc(key, iv, sealed, triple_des=how == "3des")


def _key(inner: Reader) -> PrivateKey:
    name = inner.string(_LONGEST_NAME)
    refuse_kind(name)
    if name == b"ssh-rsa":
        n, e, d, _, p, q = (unsigned(inner.string()) for _ in range(6))
        return private.rsa(n, e, d, p, q)
    if name == b"ssh-ed25519":
        half, both = inner.string(), inner.string()
        if both[32:] != half:
            raise Malformed("two public halves that differ")
        return private.ed25519(both[:32], half)
    if inner.string(_LONGEST_NAME) != ECDSA[name]:
        raise Malformed("the curve is not the one of the key's type")
    point, secret = inner.string(), unsigned(inner.string())
    return private.ecdsa(ECDSA[name], secret, point)
