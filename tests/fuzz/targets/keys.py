"""A private key's file, or a pasted host key.

The first byte says how the rest is wrapped, so that checksums do not hide what lies behind them.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode
from functools import cache

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from conch_pipe.ssh.fields import string, u32
from conch_pipe.ssh.keys import KeyRefused, PrivateKey, public_blob, read
from conch_pipe.ssh.keys.public import mpint
from tests.fuzz.meters import Lines
from tests.ssh.keys.spoken import leaks

_PASSPHRASE = b"open sesame and much more"
_TYPES = (b"ssh-ed25519", b"ssh-rsa", b"ecdsa-sha2-nistp256")
# Known primes, so that every start has the same key without a search.
_P, _Q = 2**1279 - 1, 2**2203 - 1
_RSA = rsa.RSAPrivateNumbers(
    _P,
    _Q,
    pow(65537, -1, (_P - 1) * (_Q - 1)),
    pow(65537, -1, _P - 1),
    pow(65537, -1, _Q - 1),
    pow(_Q, -1, _P),
    rsa.RSAPublicNumbers(65537, _P * _Q),
)


@cache
def _keys() -> tuple[Ed25519PrivateKey | rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, ...]:
    return (
        Ed25519PrivateKey.from_private_bytes(bytes(31) + b"\1"),
        _RSA.private_key(unsafe_skip_rsa_key_validation=True),
        ec.derive_private_key(7, ec.SECP256R1()),
    )


def _pem(label: bytes, data: bytes) -> bytes:
    return b"-----BEGIN %b-----\n%b\n-----END %b-----\n" % (label, b64encode(data), label)


def _ppk(data: bytes) -> bytes:
    """PuTTY's, with the right checksum: the type, the size of the public half, both halves."""
    name, size = _TYPES[data[0] % len(_TYPES)] if data else b"", int.from_bytes(data[1:3], "big")
    half, secret = data[3 : 3 + size], data[3 + size :]
    signed = b"".join(map(string, (name, b"none", b"", half, secret)))
    mac = hmac.new(b"", signed, hashlib.sha256).hexdigest().encode()
    rows = [b"PuTTY-User-Key-File-3: " + name, b"Encryption: none", b"Comment: ", b"Public-Lines: 1", b64encode(half)]
    return b"\n".join([*rows, b"Private-Lines: 1", b64encode(secret), b"Private-MAC: " + mac])


def _openssh(data: bytes) -> bytes:
    """OpenSSH's private section, with its check numbers and padding."""
    section = u32(1) + u32(1) + data
    section += bytes(range(1, 1 + -len(section) % 8))
    head = b"openssh-key-v1\0" + string(b"none") + string(b"none") + string(b"") + u32(1)
    half = string(string(_TYPES[0]) + string(data[19:51]))
    return _pem(b"OPENSSH PRIVATE KEY", head + half + string(section))


def _sshcom(data: bytes) -> bytes:
    body = string(b"if-modn{sign{rsa-pkcs1-sha1}}") + string(b"none") + string(string(data))
    whole = (0x3F6FF9EB).to_bytes(4, "big") + u32(8 + len(body)) + body
    label = b"SSH2 ENCRYPTED PRIVATE KEY ----\n"
    return b"---- BEGIN " + label + b64encode(whole) + b"\n---- END " + label


_WRAPPED = (
    bytes,
    _ppk,
    _openssh,
    _sshcom,
    lambda data: _pem(b"RSA PRIVATE KEY", data),
    lambda data: _pem(b"EC PRIVATE KEY", data),
    lambda data: _pem(b"PRIVATE KEY", data),
    lambda data: _pem(b"ENCRYPTED PRIVATE KEY", data),
    lambda data: _pem(b"OPENSSH PRIVATE KEY", b"openssh-key-v1\0" + data),
)
_HOST_KEY = len(_WRAPPED)


def seeds() -> list[bytes]:
    """Each way with each key."""
    found = []
    plain = NoEncryption()
    for key in _keys():
        text = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, plain)
        blob = read(text).blob
        found += [b"\0" + text, b"\0" + key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, plain)]
        sealed = BestAvailableEncryption(_PASSPHRASE)
        found.append(b"\0" + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, sealed))
        found.append(b"\6" + key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, plain))
        found += [
            bytes((_HOST_KEY,)) + b"host " + blob[4 : blob.index(0, 4)] + b" " + b64encode(blob),
            bytes((_HOST_KEY,)) + b64encode(blob),
        ]
    _, large, curve = _keys()
    seed, half = bytes(31) + b"\1", read(found[0][1:]).blob
    numbers = _RSA
    found += [
        b"\1\0" + len(half).to_bytes(2, "big") + half + string(seed),
        b"\2" + string(_TYPES[0]) + half[15:] + string(seed + half[-32:]) + string(b"comment"),
        b"\3" + b"".join(_bits(n) for n in (65537, numbers.d, _P * _Q, numbers.iqmp, _Q, _P)),
        b"\4" + large.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, plain),
        b"\5" + curve.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, plain),
        b"\10" + string(b"aes256-ctr") + string(b"bcrypt") + string(string(b"salt") + u32(1)) + u32(1) + string(half),
        b"\1\1\0\0" + mpint(5),
    ]
    return found


def _bits(number: int) -> bytes:
    return u32(number.bit_length()) + number.to_bytes((number.bit_length() + 7) // 8, "big")


def one(data: bytes) -> None:
    """A key that signs, or a refusal that says nothing of it."""
    if not data:
        return
    which, rest = data[0] % (_HOST_KEY + 1), data[1:]
    with Lines() as lines:
        try:
            if which == _HOST_KEY:
                blob = public_blob(rest)
                assert public_blob(b64encode(blob)) == blob
            else:
                key = read(_WRAPPED[which](rest), _PASSPHRASE)
                assert isinstance(key, PrivateKey)
                assert key.conch.public().verify(key.conch.sign(b"data"), b"data")
        except KeyRefused as error:
            assert leaks(error, rest[:1_000], _PASSPHRASE) == []
        assert lines.take() == []
