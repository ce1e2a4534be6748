"""The mathematics of a key exchange: an ephemeral key of ours, the public part that is sent, the secret both sides get.

Sans-IO, and knows no message; see kex.py. A share is the content of one wire string; an mpint is one too, so that all
methods look alike. What comes from the peer is checked before it meets a secret.

:source: RFC 8731 (curve25519), RFC 5656 (NIST curves), RFC 4253 section 8 and RFC 8268 (groups of RFC 3526), RFC 4419
    (group exchange), draft-ietf-sshm-mlkem-hybrid-kex (ML-KEM).
"""

from __future__ import annotations

import hashlib
import secrets
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dh, ec
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.utils import CryptographyDeprecationWarning

from conch_pipe.ssh.fields import Malformed, string

# An exchange with group 14 takes 0.6 ms with OpenSSL's arithmetic, with group 16 3.3 ms; pow() with exponents of 256
# bits takes 6 and 20. The warning is for people who choose algorithms; these are for old peers alone.
warnings.filterwarnings(
    "ignore", "Diffie-Hellman", CryptographyDeprecationWarning, module=__name__.replace(".", r"\.") + "$"
)

GROUP_EXCHANGE = b"diffie-hellman-group-exchange-sha256"
SMALLEST_GROUP, LARGEST_GROUP = 2048, 8192  # bits
LONGEST_SHARE = 1_216  # bytes: ML-KEM-768's public key and X25519's; above an mpint of LARGEST_GROUP bits

_EXPONENT = 512  # bits: twice the longest cipher key, RFC 4419 section 6.2
_X25519 = 32
_MLKEM_PUBLIC, _MLKEM_CIPHERTEXT = 1_184, 1_088


class Share(Protocol):
    """One ephemeral key."""

    @property
    def public(self) -> bytes:
        """What the peer is sent."""

    def secret(self, theirs: bytes) -> bytes:
        """K, encoded as it is hashed.

        :raises Malformed: the peer's share is not one.
        """


@dataclass(frozen=True, slots=True)
class Method:
    """One key exchange method.

    :param digest: of :mod:`hashlib`.
    :param start: makes the client's share.
    :param answer: takes the client's share and gives the server's and K; raises Malformed.
    """

    digest: Callable[[bytes], Any]
    start: Callable[[], Share]
    answer: Callable[[bytes], tuple[bytes, bytes]]


def mpint(number: bytes) -> bytes:
    """An unsigned big-endian number as RFC 4251's mpint, with its length."""
    return string(_body(number))


def _body(number: bytes) -> bytes:
    number = number.lstrip(b"\0")
    return b"\0" + number if number and number[0] & 0x80 else number


def _to_bytes(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def unsigned(body: bytes) -> int:
    """An mpint's content as a number.

    :raises Malformed: it is negative, or has zeros in front.
    """
    if body and (body[0] & 0x80 or (body[0] == 0 and (len(body) == 1 or not body[1] & 0x80))):
        raise Malformed("a number that is negative or has zeros in front")
    return int.from_bytes(body, "big")


def _both(start: Callable[[], Share], digest: Callable[[bytes], Any]) -> Method:
    """A method whose two sides do the same."""

    def answer(theirs: bytes) -> tuple[bytes, bytes]:
        share = start()
        return share.public, share.secret(theirs)

    return Method(digest, start, answer)


class _Curve25519:
    """RFC 8731: X25519, refusing an all-zero result."""

    __slots__ = ("_private", "public")

    def __init__(self) -> None:
        self._private = X25519PrivateKey.generate()
        self.public = self._private.public_key().public_bytes_raw()

    def exchange(self, theirs: bytes) -> bytes:
        if len(theirs) != _X25519:
            raise Malformed("a public key of the wrong length")
        try:
            return self._private.exchange(X25519PublicKey.from_public_bytes(theirs))
        except ValueError:
            raise Malformed("a public key that gives no secret") from None

    def secret(self, theirs: bytes) -> bytes:
        return mpint(self.exchange(theirs))


def _combined(post_quantum: bytes, classical: bytes) -> bytes:
    return string(hashlib.sha256(post_quantum + classical).digest())


class _Hybrid:
    """The client's half of mlkem768x25519-sha256; the server's is :func:`_hybrid_answer`."""

    __slots__ = ("_curve", "_kem", "public")

    def __init__(self) -> None:
        self._kem = MLKEM768PrivateKey.generate()
        self._curve = _Curve25519()
        self.public = self._kem.public_key().public_bytes_raw() + self._curve.public

    def secret(self, theirs: bytes) -> bytes:
        if len(theirs) != _MLKEM_CIPHERTEXT + _X25519:
            raise Malformed("a hybrid reply of the wrong length")
        classical = self._curve.exchange(theirs[_MLKEM_CIPHERTEXT:])
        return _combined(self._kem.decapsulate(theirs[:_MLKEM_CIPHERTEXT]), classical)


def _hybrid_answer(theirs: bytes) -> tuple[bytes, bytes]:
    if len(theirs) != _MLKEM_PUBLIC + _X25519:
        raise Malformed("a hybrid public key of the wrong length")
    try:
        public = MLKEM768PublicKey.from_public_bytes(theirs[:_MLKEM_PUBLIC])
    except ValueError:
        raise Malformed("not an ML-KEM public key") from None
    curve = _Curve25519()
    classical = curve.exchange(theirs[_MLKEM_PUBLIC:])
    post_quantum, ciphertext = public.encapsulate()
    return ciphertext + curve.public, _combined(post_quantum, classical)


class _Nist:
    """RFC 5656 section 4, uncompressed points alone."""

    __slots__ = ("_curve", "_private", "public")

    def __init__(self, curve: ec.EllipticCurve) -> None:
        self._curve = curve
        self._private = ec.generate_private_key(curve)
        self.public = self._private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    def secret(self, theirs: bytes) -> bytes:
        if len(theirs) != len(self.public) or theirs[0] != 4:
            raise Malformed("a point of the wrong length or form")
        try:
            point = ec.EllipticCurvePublicKey.from_encoded_point(self._curve, theirs)
            return mpint(self._private.exchange(ec.ECDH(), point))
        except ValueError:
            raise Malformed("a point that is not on the curve") from None


def _public_value(theirs: bytes, prime: int) -> int:
    value = unsigned(theirs)
    if not 1 < value < prime - 1:
        raise Malformed("a Diffie-Hellman value out of range")
    return value


class _Classic:
    """Diffie-Hellman in a group of RFC 3526, which OpenSSL knows and so uses short exponents (225 and 325 bits)."""

    __slots__ = ("_group", "_private", "public")

    def __init__(self, group: Group) -> None:
        self._group = group
        self._private = group.parameters.generate_private_key()
        self.public = _body(_to_bytes(self._private.public_key().public_numbers().y))

    def secret(self, theirs: bytes) -> bytes:
        value = _public_value(theirs, self._group.prime)
        try:
            public = dh.DHPublicNumbers(value, self._group.numbers).public_key()
            return mpint(self._private.exchange(public))
        except ValueError:
            raise Malformed("a Diffie-Hellman value that gives no secret") from None


class Group:
    """A group of RFC 3526; the generator is 2."""

    __slots__ = ("bits", "method", "numbers", "parameters", "prime")
    generator = 2

    def __init__(self, prime: int, digest: Callable[[bytes], Any]) -> None:
        self.prime = prime
        self.bits = prime.bit_length()
        self.numbers = dh.DHParameterNumbers(prime, self.generator)
        self.parameters = self.numbers.parameters()
        self.method = _both(lambda: _Classic(self), digest)

    @property
    def fields(self) -> bytes:
        """Prime and generator as they are sent and hashed."""
        return mpint(_to_bytes(self.prime)) + mpint(_to_bytes(self.generator))


class Given:
    """A client's share in a group the server chose.

    pow() alone: OpenSSL would first prove the prime, 3.7 s at 4096 bits. 25 ms at 3072 bits, 130 ms at 8192.

    :raises Malformed: the group is too small, too large or no group.
    """

    __slots__ = ("_exponent", "_prime", "public")

    def __init__(self, prime: int, generator: int) -> None:
        if not SMALLEST_GROUP <= prime.bit_length() <= LARGEST_GROUP:
            raise Malformed("a Diffie-Hellman group that is too small or too large")
        if prime % 2 == 0 or not 1 < generator < prime - 1:
            raise Malformed("not a Diffie-Hellman group")
        self._prime = prime
        self._exponent = secrets.randbits(_EXPONENT) | 1 << (_EXPONENT - 1)
        self.public = _body(_to_bytes(pow(generator, self._exponent, prime)))

    def secret(self, theirs: bytes) -> bytes:
        """K."""
        shared = pow(_public_value(theirs, self._prime), self._exponent, self._prime)
        if not 1 < shared < self._prime - 1:
            raise Malformed("a Diffie-Hellman value that gives no secret")
        return mpint(_to_bytes(shared))


_P_14 = int(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DDEF9519B3CD3A"
    "431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7EDEE386BFB5A899FA5AE9F2411"
    "7C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F83655D23DCA3AD961C62F356208552BB9ED5"
    "29077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3BE39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9"
    "DE2BCBF6955817183995497CEA956AE515D2261898FA051015728E5A8AACAA68FFFFFFFFFFFFFFFF",
    16,
)

_P_16 = int(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DDEF9519B3CD3A"
    "431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7EDEE386BFB5A899FA5AE9F2411"
    "7C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F83655D23DCA3AD961C62F356208552BB9ED5"
    "29077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3BE39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9"
    "DE2BCBF6955817183995497CEA956AE515D2261898FA051015728E5A8AAAC42DAD33170D04507A33A85521ABDF1CBA64ECFB850458DB"
    "EF0A8AEA71575D060C7DB3970F85A6E1E4C7ABF5AE8CDB0933D71E8C94E04A25619DCEE3D2261AD2EE6BF12FFA06D98A0864D8760273"
    "3EC86A64521F2B18177B200CBBE117577A615D6C770988C0BAD946E208E24FA074E5AB3143DB5BFCE0FD108E4B82D120A92108011A72"
    "3C12A787E6D788719A10BDBA5B2699C327186AF4E23C1A946834B6150BDA2583E9CA2AD44CE8DBBBC2DB04DE8EF92E8EFC141FBECAA6"
    "287C59474E6BC05D99B2964FA090C3A2233BA186515BE7ED1F612970CEE2D7AFB81BDD762170481CD0069127D5B05AA993B4EA988D8F"
    "DDC186FFB7DC90A6C08F4DF435C934063199FFFFFFFFFFFFFFFF",
    16,
)

GROUP14 = Group(_P_14, hashlib.sha256)
GROUP16 = Group(_P_16, hashlib.sha512)


def _mlkem_is_there() -> bool:
    """Whether the OpenSSL that cryptography was built with has ML-KEM; Debian's own does not."""
    try:
        MLKEM768PrivateKey.generate()
    except UnsupportedAlgorithm:
        return False
    return True


def _methods() -> dict[bytes, Method]:
    curve25519 = _both(_Curve25519, hashlib.sha256)
    methods = {
        b"curve25519-sha256": curve25519,
        b"curve25519-sha256@libssh.org": curve25519,
        b"ecdh-sha2-nistp256": _both(lambda: _Nist(ec.SECP256R1()), hashlib.sha256),
        b"ecdh-sha2-nistp384": _both(lambda: _Nist(ec.SECP384R1()), hashlib.sha384),
        b"ecdh-sha2-nistp521": _both(lambda: _Nist(ec.SECP521R1()), hashlib.sha512),
        b"diffie-hellman-group14-sha256": GROUP14.method,
        b"diffie-hellman-group16-sha512": GROUP16.method,
    }
    if _mlkem_is_there():
        methods[b"mlkem768x25519-sha256"] = Method(hashlib.sha256, _Hybrid, _hybrid_answer)
    return methods


METHODS = _methods()  # GROUP_EXCHANGE is not among them: its group comes in a message of its own
