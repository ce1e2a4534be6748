"""A private key: made of its numbers only when they fit together, or new.

Knows no file format. Shows of itself what is public: type, size, fingerprint.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import (
    RSAPrivateKey,
    RSAPrivateNumbers,
    RSAPublicNumbers,
    generate_private_key,
)
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from twisted.conch.ssh.keys import Key

from conch_pipe.ssh.fields import Malformed, printable
from conch_pipe.ssh.keys import public

KINDS = ("ed25519", "rsa-4096")  # that can be made
_LONGEST_COMMENT = 255
_LONGEST_EXPONENT = 64  # bits of e; OpenSSL's bound for large keys


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class PrivateKey:
    """An RSA, Ed25519 or ECDSA key. Its secret leaves by :meth:`openssh` and ``conch`` only.

    :param blob: of its public half.
    :param bits: as ssh-keygen counts: 256 for Ed25519.
    """

    blob: bytes
    bits: int
    _key: RSAPrivateKey | Ed25519PrivateKey | ec.EllipticCurvePrivateKey = field(repr=False)

    def __repr__(self) -> str:
        return f"<PrivateKey {self.algorithm} {self.bits} {self.fingerprint}>"

    @property
    def algorithm(self) -> str:
        """Its type, e.g. ``ssh-ed25519``."""
        return public.algorithm(self.blob)

    @property
    def fingerprint(self) -> str:
        """``SHA256:…`` of the public half."""
        return public.fingerprint(self.blob)

    @property
    def conch(self) -> Key:
        """For Conch; its ``repr`` prints the private numbers, so it must be kept out of every text."""
        return Key(self._key)

    def openssh(self) -> bytes:
        """The key as an OpenSSH file without passphrase, to be sealed."""
        return self._key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())

    def public_line(self, comment: str = "") -> str:
        """The public half as a line of ``authorized_keys``, without a line end.

        :param comment: characters that are not printable ASCII become ``?``.
        """
        line = f"{self.algorithm} {b64encode(self.blob).decode()}"
        said = printable(comment.strip(), _LONGEST_COMMENT)
        return f"{line} {said}" if said else line


def generate(kind: str) -> PrivateKey:
    """A new key. Blocks; RSA takes up to a second of CPU.

    :param kind: one of ``KINDS``.
    :raises ValueError: it is none of them.
    """
    if kind == "ed25519":
        return _ed25519(Ed25519PrivateKey.generate())
    if kind == "rsa-4096":
        key = generate_private_key(65537, 4096)
        numbers = key.public_key().public_numbers()
        return PrivateKey(public.rsa_blob(numbers.e, numbers.n), key.key_size, key)
    raise ValueError("there is no such kind of key")


def ed25519(seed: bytes, expected: bytes | None) -> PrivateKey:
    """An Ed25519 key.

    :param seed: 32 bytes, RFC 8032's private key.
    :param expected: the public key that the file says, if it does.
    :raises Malformed: they do not fit together.
    """
    if len(seed) != 32:
        raise Malformed("an Ed25519 key of the wrong length")
    key = _ed25519(Ed25519PrivateKey.from_private_bytes(seed))
    if expected is not None and public.ed25519_blob(expected) != key.blob:
        raise Malformed("the private half is of another key than the public one")
    return key


def _ed25519(key: Ed25519PrivateKey) -> PrivateKey:
    half = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return PrivateKey(public.ed25519_blob(half), 256, key)


def ecdsa(curve: bytes, secret: int, expected: bytes | None) -> PrivateKey:
    """An ECDSA key.

    :param curve: one of ``CURVES``.
    :param expected: the point that the file says, if it does.
    :raises Malformed: they do not fit together, or the secret is not one of the curve's.
    """
    try:
        key = ec.derive_private_key(secret, public.CURVES[curve])
    except (ValueError, OverflowError):
        raise Malformed("a secret that is none of the curve's") from None
    form = PublicFormat.UncompressedPoint
    if expected is not None and expected[:1] in (b"\2", b"\3"):
        form = PublicFormat.CompressedPoint
    point = key.public_key().public_bytes(Encoding.X962, form)
    if expected is not None and expected != point:
        raise Malformed("the private half is of another key than the public one")
    whole = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return PrivateKey(public.ecdsa_blob(curve, whole), key.key_size, key)


def rsa(n: int, e: int, d: int, p: int, q: int) -> PrivateKey:
    """An RSA key; whatever else files say of it is computed.

    Whether p and q are primes is not asked: for hostile 16,384 bits it takes half a minute. A signature shows it.

    :raises Malformed: the numbers do not fit together.
    :raises KeyRefused: too weak or too large.
    """
    if min(p, q) < 3 or not p & q & 1 or p * q != n:
        raise Malformed("the primes are not the modulus")
    public.check_rsa_bits(n.bit_length())
    if e < 3 or not e & 1 or e.bit_length() > _LONGEST_EXPONENT or not 0 < d < n:
        raise Malformed("an exponent that cannot be")
    if e * d % (p - 1) != 1 or e * d % (q - 1) != 1:
        raise Malformed("the exponents do not fit together")
    try:
        numbers = RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), RSAPublicNumbers(e, n))
        key = numbers.private_key(unsafe_skip_rsa_key_validation=True)
        signature = key.sign(b"", padding.PKCS1v15(), hashes.SHA256())
        key.public_key().verify(signature, b"", padding.PKCS1v15(), hashes.SHA256())
    except (ValueError, InvalidSignature):
        raise Malformed("the key does not sign") from None
    return PrivateKey(public.rsa_blob(e, n), n.bit_length(), key)
