"""Public keys as blobs, RFC 4253 section 6.6: written, checked, named and shown by their fingerprint.

Knows no text format; whether a key is trusted is not decided here.

:source: RFC 4253 section 6.6, RFC 5656 section 3.1, RFC 8709 section 4.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode

from cryptography.hazmat.primitives.asymmetric import ec

from conch_pipe.ssh.fields import Malformed, Reader, printable, string
from conch_pipe.ssh.keys.errors import KeyRefused
from conch_pipe.ssh.transport.shares import unsigned
from conch_pipe.ssh.transport.signatures import LARGEST_RSA, LONGEST_KEY, SMALLEST_RSA

CURVES: dict[bytes, ec.EllipticCurve] = {
    b"nistp256": ec.SECP256R1(),
    b"nistp384": ec.SECP384R1(),
    b"nistp521": ec.SECP521R1(),
}
ECDSA = {b"ecdsa-sha2-" + curve: curve for curve in CURVES}
_LONGEST_NAME = 64


def mpint(number: int) -> bytes:
    """A number that is not negative, on the wire."""
    return string(number.to_bytes(number.bit_length() // 8 + 1, "big") if number else b"")


def rsa_blob(e: int, n: int) -> bytes:
    """The blob of an RSA key."""
    return string(b"ssh-rsa") + mpint(e) + mpint(n)


def ed25519_blob(public: bytes) -> bytes:
    """The blob of an Ed25519 key."""
    return string(b"ssh-ed25519") + string(public)


def ecdsa_blob(curve: bytes, point: bytes) -> bytes:
    """The blob of an ECDSA key; the point is not compressed."""
    return string(b"ecdsa-sha2-" + curve) + string(curve) + string(point)


def algorithm(blob: bytes) -> str:
    """The key's type as it stands in the blob, e.g. ``ssh-ed25519``; printable, and empty when there is none."""
    try:
        return printable(Reader(blob).string(_LONGEST_NAME), _LONGEST_NAME)
    except Malformed:
        return ""


def fingerprint(blob: bytes) -> str:
    """``SHA256:…`` as ssh and ssh-keygen show it."""
    return "SHA256:" + b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def refuse_kind(name: bytes) -> None:
    """Name the kinds of keys that are not used here.

    :param name: of the key's type.
    :raises KeyRefused: unsupported.
    """
    if name in (b"ssh-rsa", b"ssh-ed25519") or name in ECDSA:
        return
    if b"-cert-v0" in name:
        kind = "SSH certificates are"
    elif name == b"ssh-dss":
        kind = "DSA keys are"
    elif name.startswith((b"sk-", b"webauthn-")):
        kind = "security keys (sk-…, FIDO) are"
    elif name == b"ssh-ed448":
        kind = "Ed448 keys are"
    else:
        kind = "keys of this type are"
    raise KeyRefused("unsupported", f"{kind} not supported; use Ed25519, ECDSA on a NIST curve or RSA")


def check_rsa_bits(bits: int) -> None:
    """Neither too weak nor too large.

    :raises KeyRefused: it is.
    """
    if bits < SMALLEST_RSA:
        raise KeyRefused("too_weak", f"an RSA key of {bits} bits is too weak; {SMALLEST_RSA} are the least")
    if bits > LARGEST_RSA:
        raise KeyRefused("too_large", f"an RSA key of {bits} bits is too large; {LARGEST_RSA} are the most")


def check(blob: bytes) -> None:
    """It is a key of a kind that is used here, written in the only way there is.

    :raises KeyRefused: unsupported, too weak or too large.
    :raises Malformed: it is no key.
    """
    key = Reader(blob)
    name = key.string(_LONGEST_NAME)
    refuse_kind(name)
    if name == b"ssh-rsa":
        e, n = unsigned(key.string(8)), unsigned(key.string(LONGEST_KEY))
        check_rsa_bits(n.bit_length())
        if e < 3 or not e & 1 or not n & 1:
            raise Malformed("no RSA key")
    elif name == b"ssh-ed25519":
        if len(key.view()) != 32:
            raise Malformed("an Ed25519 key of the wrong length")
    else:
        curve = ECDSA[name]
        if key.string(_LONGEST_NAME) != curve:
            raise Malformed("the curve is not the one of the key's type")
        check_point(curve, key.string(LONGEST_KEY))
    key.end()


def check_point(curve: bytes, point: bytes) -> None:
    """It lies on the curve and is not compressed.

    :raises Malformed: it does not.
    """
    size = 1 + 2 * ((CURVES[curve].key_size + 7) // 8)
    if len(point) != size or point[0] != 4:
        raise Malformed("a point of the wrong length or form")
    try:
        ec.EllipticCurvePublicKey.from_encoded_point(CURVES[curve], point)
    except ValueError:
        raise Malformed("a point that is not on the curve") from None
