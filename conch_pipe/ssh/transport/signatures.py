"""Whether a host key signed an exchange, by the algorithm that was agreed on and no other.

Decides nothing about trust: whose key it is stands in the pins. Ed25519, ECDSA on the NIST curves, RSA with SHA-2.

:source: RFC 8709, RFC 5656 section 3.1, RFC 8332.
"""

from __future__ import annotations

from collections.abc import Callable

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from conch_pipe.ssh.fields import Malformed, Reader, printable
from conch_pipe.ssh.transport.shares import unsigned

SMALLEST_RSA, LARGEST_RSA = 2048, 16_384  # bits
LONGEST_KEY = 8_192  # bytes of a host key or a signature

_LONGEST_NAME = 64
_P = 2**255 - 19
# Heights of the points whose order is 1, 2, 4 or 8: OpenSSL takes a signature of zeros by them for every second hash.
_EIGHTH = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
_SMALL_ORDER = frozenset((0, 1, _P - 1, _EIGHTH, _P - _EIGHTH))


class BadSignature(Exception):
    """The host key did not sign this; the text says why."""


def _ed25519(key: Reader, signature: bytes, data: bytes) -> None:
    public = key.string(32)
    key.end()
    if (int.from_bytes(public, "little") & (1 << 255) - 1) % _P in _SMALL_ORDER:
        raise BadSignature("the host key is one that anybody can sign for")
    Ed25519PublicKey.from_public_bytes(public).verify(signature, data)


def rsa_bits(blob: bytes) -> int:
    """The size of an RSA host key.

    :raises Malformed: it is not one.
    """
    key = Reader(blob)
    if key.string(_LONGEST_NAME) != b"ssh-rsa":
        raise Malformed("not an RSA key")
    key.view(LONGEST_KEY)
    return unsigned(key.string(LONGEST_KEY)).bit_length()


def _rsa(digest: hashes.HashAlgorithm) -> Callable[[Reader, bytes, bytes], None]:
    def check(key: Reader, signature: bytes, data: bytes) -> None:
        exponent, modulus = unsigned(key.string(8)), unsigned(key.string(LONGEST_KEY))
        key.end()
        bits = modulus.bit_length()
        if not SMALLEST_RSA <= bits <= LARGEST_RSA:
            raise BadSignature(f"an RSA host key of {bits} bits")
        size = (bits + 7) // 8
        if len(signature) > size:
            raise Malformed("a signature longer than the key")
        # OpenSSH takes one whose zeros in front were dropped, which happens to one of 256.
        rsa.RSAPublicNumbers(exponent, modulus).public_key().verify(
            signature.rjust(size, b"\0"), data, padding.PKCS1v15(), digest
        )

    return check


def _ecdsa(
    curve: ec.EllipticCurve, name: bytes, digest: hashes.HashAlgorithm
) -> Callable[[Reader, bytes, bytes], None]:
    size = 1 + 2 * ((curve.key_size + 7) // 8)
    algorithm = ec.ECDSA(digest)

    def check(key: Reader, signature: bytes, data: bytes) -> None:
        if key.string(_LONGEST_NAME) != name:
            raise Malformed("the curve is not the one of the key's type")
        point = key.string(size)
        key.end()
        if len(point) != size or point[0] != 4:
            raise Malformed("a point of the wrong length or form")
        halves = Reader(signature)
        r, s = unsigned(halves.string(size)), unsigned(halves.string(size))
        halves.end()
        ec.EllipticCurvePublicKey.from_encoded_point(curve, point).verify(encode_dss_signature(r, s), data, algorithm)

    return check


# algorithm: the type of its keys, and how a signature is checked
_ALGORITHMS: dict[bytes, tuple[bytes, Callable[[Reader, bytes, bytes], None]]] = {
    b"ssh-ed25519": (b"ssh-ed25519", _ed25519),
    b"rsa-sha2-256": (b"ssh-rsa", _rsa(hashes.SHA256())),
    b"rsa-sha2-512": (b"ssh-rsa", _rsa(hashes.SHA512())),
    b"ecdsa-sha2-nistp256": (b"ecdsa-sha2-nistp256", _ecdsa(ec.SECP256R1(), b"nistp256", hashes.SHA256())),
    b"ecdsa-sha2-nistp384": (b"ecdsa-sha2-nistp384", _ecdsa(ec.SECP384R1(), b"nistp384", hashes.SHA384())),
    b"ecdsa-sha2-nistp521": (b"ecdsa-sha2-nistp521", _ecdsa(ec.SECP521R1(), b"nistp521", hashes.SHA512())),
}
KEY_TYPES = {algorithm: kind for algorithm, (kind, _) in _ALGORITHMS.items()}


def verify(host_key: bytes, signature: bytes, hash: bytes, algorithm: bytes) -> None:
    """Check the host key's signature of an exchange.

    :param host_key: the public key's blob.
    :param signature: with the algorithm's name in front.
    :param hash: H, what was signed.
    :param algorithm: the host key algorithm that was agreed on.
    :raises BadSignature: the signature is of another algorithm, the key of another type, too weak or no key, or the
        signature does not fit.
    """
    if algorithm not in _ALGORITHMS:
        raise BadSignature(f"no such host key algorithm: {printable(algorithm, _LONGEST_NAME)}")
    kind, check = _ALGORITHMS[algorithm]
    try:
        key, signed = Reader(host_key), Reader(signature)
        if key.string(_LONGEST_NAME) != kind:
            raise BadSignature("the host key is not of the type agreed on")
        if signed.string(_LONGEST_NAME) != algorithm:
            raise BadSignature("the signature is not of the algorithm agreed on")
        bare = signed.string(LONGEST_KEY)
        signed.end()
        check(key, bare, hash)
    except InvalidSignature:
        raise BadSignature("the host key did not sign this exchange") from None
    except Malformed as error:
        raise BadSignature(f"host key or signature: {error}") from None
    except (ValueError, UnsupportedAlgorithm):
        raise BadSignature("the host key is not a key") from None
