"""Private keys in DER: PKCS#1, SEC 1, PKCS#8 plain and encrypted, and PEM's own encryption (DEK-Info).

Nothing is decrypted or computed before its parameters are read and bounded.

:source: RFC 8017 appendix A.1.2, RFC 5915, RFC 5208, RFC 5958, RFC 8410, RFC 8018, RFC 7292, RFC 7914, RFC 1423.
"""

from __future__ import annotations

from conch_pipe.ssh.fields import Malformed
from conch_pipe.ssh.keys import der, private, unlocking
from conch_pipe.ssh.keys.der import Fields
from conch_pipe.ssh.keys.errors import KeyRefused
from conch_pipe.ssh.keys.private import PrivateKey
from conch_pipe.ssh.keys.public import refuse_kind

_RSA = bytes.fromhex("2a864886f70d010101")
_EC = bytes.fromhex("2a8648ce3d0201")
_KINDS = {
    _RSA: b"ssh-rsa",
    _EC: b"ecdsa-sha2-nistp256",  # or another curve, which stands beside it
    bytes.fromhex("2b6570"): b"ssh-ed25519",
    bytes.fromhex("2b6571"): b"ssh-ed448",
    bytes.fromhex("2a8648ce380401"): b"ssh-dss",
}
_CURVES = {
    bytes.fromhex("2a8648ce3d030107"): b"nistp256",
    bytes.fromhex("2b81040022"): b"nistp384",
    bytes.fromhex("2b81040023"): b"nistp521",
}
_PBES2 = bytes.fromhex("2a864886f70d01050d")
_PBKDF2 = bytes.fromhex("2a864886f70d01050c")
_SCRYPT = bytes.fromhex("2b06010401da47040b")
_PKCS12_3DES = bytes.fromhex("2a864886f70d010c0103")
_PBES1 = {bytes.fromhex("2a864886f70d010503"): "md5", bytes.fromhex("2a864886f70d01050a"): "sha1"}
_PRFS = {
    bytes.fromhex("2a864886f70d0207"): "sha1",
    bytes.fromhex("2a864886f70d0208"): "sha224",
    bytes.fromhex("2a864886f70d0209"): "sha256",
    bytes.fromhex("2a864886f70d020a"): "sha384",
    bytes.fromhex("2a864886f70d020b"): "sha512",
}
# of PBES2: bytes of the key, of a block
_CIPHERS = {
    bytes.fromhex("60864801650304012a"): (32, 16),
    bytes.fromhex("608648016503040116"): (24, 16),
    bytes.fromhex("608648016503040102"): (16, 16),
    bytes.fromhex("2a864886f70d0307"): (24, 8),
}
_DEK = {b"AES-256-CBC": (32, 16), b"AES-192-CBC": (24, 16), b"AES-128-CBC": (16, 16), b"DES-EDE3-CBC": (24, 8)}
_NO_CURVE = "only the NIST curves P-256, P-384 and P-521 are supported"
_NO_CIPHER = "the way this file is encrypted is not known here; convert it with ssh-keygen -p or openssl pkcs8 -topk8"


def pkcs1(data: bytes) -> PrivateKey:
    """RSAPrivateKey.

    :raises Malformed: damaged; so do the others.
    :raises KeyRefused: see there; so do the others.
    """
    fields = der.whole(data)
    if fields.number() != 0:
        raise KeyRefused("unsupported", "RSA keys with more than two primes are not supported")
    n, e, d, p, q = (fields.number() for _ in range(5))
    for _ in range(3):
        fields.number()  # computed again
    fields.end()
    return private.rsa(n, e, d, p, q)


def sec1(data: bytes, curve: bytes | None = None) -> PrivateKey:
    """ECPrivateKey.

    :param curve: where PKCS#8 has said it.
    """
    fields = der.whole(data)
    if fields.number() != 1:
        raise Malformed("no key of SEC 1")
    secret = int.from_bytes(fields.take(der.OCTETS), "big")
    named = _curve(fields.inside(der.CONTEXT_0)) if fields.next == der.CONTEXT_0 else curve
    point = fields.inside(der.CONTEXT_1).bits() if fields.next == der.CONTEXT_1 else None
    fields.end()
    if named is None or curve not in (None, named):
        raise Malformed("no curve, or two")
    return private.ecdsa(named, secret, point)


def _curve(fields: Fields) -> bytes:
    """A curve by its name; one that the file describes itself is a way to break its users (CVE-2020-0601)."""
    if fields.next != der.OID:
        raise KeyRefused("unsupported", _NO_CURVE)
    oid = fields.take(der.OID)
    fields.end()
    if oid not in _CURVES:
        raise KeyRefused("unsupported", _NO_CURVE)
    return _CURVES[oid]


def pkcs8(data: bytes) -> PrivateKey:
    """PrivateKeyInfo, and OneAsymmetricKey with the public half."""
    fields = der.whole(data)
    version = fields.number()
    if version > 1:
        raise Malformed("no key of PKCS#8")
    kind = fields.inside()
    oid, secret = kind.take(der.OID), fields.take(der.OCTETS)
    refuse_kind(_KINDS.get(oid, b""))
    if oid == _RSA:
        return pkcs1(secret)
    if oid == _EC:
        return sec1(secret, _curve(kind))
    inner = Fields(secret)
    seed = inner.take(der.OCTETS)
    inner.end()
    return private.ed25519(seed, _public_half(fields))


def _public_half(fields: Fields) -> bytes | None:
    """Of OneAsymmetricKey, behind the attributes."""
    if fields.next == der.CONTEXT_0:
        fields.take(der.CONTEXT_0)
    half = None
    if fields.next == 0x81:
        half = fields.take(0x81)[1:]
    fields.end()
    return half


def encrypted_pkcs8(data: bytes, passphrase: bytes | None) -> PrivateKey:
    """EncryptedPrivateKeyInfo."""
    fields = der.whole(data)
    scheme, sealed = fields.inside(), fields.take(der.OCTETS)
    fields.end()
    if not sealed or len(sealed) % 8:
        raise Malformed("not whole blocks")
    name, parameters = scheme.take(der.OID), scheme.inside()
    scheme.end()
    key, iv = _pbes2(parameters, passphrase) if name == _PBES2 else _old(name, parameters, passphrase)
    if len(sealed) % len(iv):
        raise Malformed("not whole blocks")
    try:
        return pkcs8(unlocking.unpadded(unlocking.cbc(key, iv, sealed, triple_des=len(iv) == 8), len(iv)))
    except Malformed:  # there is no checksum
        raise unlocking.wrong() from None


def _pbes2(parameters: Fields, passphrase: bytes | None) -> tuple[bytes, bytes]:
    """The key and the IV."""
    derivation, cipher = parameters.inside(), parameters.inside()
    parameters.end()
    oid = cipher.take(der.OID)
    if oid not in _CIPHERS:
        raise KeyRefused("unsupported", _NO_CIPHER)
    size, block = _CIPHERS[oid]
    iv = cipher.take(der.OCTETS)
    cipher.end()
    if len(iv) != block:
        raise Malformed("an IV of the wrong length")
    return _derived(derivation, passphrase, size), iv


def _old(name: bytes, parameters: Fields, passphrase: bytes | None) -> tuple[bytes, bytes]:
    """PKCS#12's triple DES and PBES1's DES: what Java and OpenSSL before 1.1 write. The key and the IV."""
    if name != _PKCS12_3DES and name not in _PBES1:
        raise KeyRefused("unsupported", _NO_CIPHER)
    salt, iterations = parameters.take(der.OCTETS), parameters.number()
    parameters.end()
    if name == _PKCS12_3DES:
        key = unlocking.pkcs12_key(passphrase, 1, salt, iterations, 24)
        return key, unlocking.pkcs12_key(passphrase, 2, salt, iterations, 8)
    both = unlocking.pbkdf1_key(passphrase, _PBES1[name], salt, iterations)
    return both[:8] * 3, both[8:]


def _derived(derivation: Fields, passphrase: bytes | None, size: int) -> bytes:
    oid, fields = derivation.take(der.OID), derivation.inside()
    derivation.end()
    if oid not in (_PBKDF2, _SCRYPT) or fields.next != der.OCTETS:
        raise KeyRefused("unsupported", _NO_CIPHER)
    salt = fields.take(der.OCTETS)
    cost = [fields.number() for _ in range(1 if oid == _PBKDF2 else 3)]
    if fields.next == der.INTEGER and fields.number() != size:
        raise Malformed("a key of another size than the cipher's")
    if oid == _SCRYPT:
        fields.end()
        return unlocking.scrypt_key(passphrase, salt, cost[0], cost[1], cost[2], size)
    prf = "sha1"
    if fields.next == der.SEQUENCE:
        named = fields.inside().take(der.OID)
        if named not in _PRFS:
            raise KeyRefused("unsupported", _NO_CIPHER)
        prf = _PRFS[named]
    fields.end()
    return unlocking.pbkdf2_key(passphrase, prf, salt, cost[0], size)


def dek_info(value: bytes, sealed: bytes, passphrase: bytes | None) -> bytes:
    """What PEM's own encryption hides; a wrong passphrase mostly shows itself here, else in the key.

    :param value: of the header, e.g. ``AES-128-CBC,`` and the IV in hexadecimal digits.
    """
    name, _, digits = value.partition(b",")
    if name.strip().upper() not in _DEK:
        raise KeyRefused("unsupported", _NO_CIPHER)
    size, block = _DEK[name.strip().upper()]
    try:
        iv = bytes.fromhex(digits.decode("ascii"))
    except ValueError:
        raise Malformed("no hexadecimal digits") from None
    if len(iv) != block or not sealed or len(sealed) % block:
        raise Malformed("not whole blocks")
    opened = unlocking.cbc(unlocking.md5_key(passphrase, iv[:8], size), iv, sealed, triple_des=block == 8)
    try:
        return unlocking.unpadded(opened, block)
    except Malformed:
        raise unlocking.wrong() from None


def kind(data: bytes) -> str:
    """What a DER file is: ``pkcs1``, ``sec1``, ``pkcs8``, ``dsa``, ``encrypted``, ``public``, ``pkcs12`` or ``""``."""
    try:
        fields = der.whole(data)
        if fields.next == der.SEQUENCE:
            fields.take(der.SEQUENCE)
            return {der.OCTETS: "encrypted", der.BITS: "public", der.SEQUENCE: "public"}.get(fields.next, "")
        version = fields.number()
        if fields.next == der.SEQUENCE:
            return "pkcs12" if version == 3 else "pkcs8"
        if fields.next == der.OCTETS:
            return "sec1"
        if fields.next == der.INTEGER and version > 1:
            return "public"
        numbers = 0
        while fields.next == der.INTEGER:
            fields.take(der.INTEGER)
            numbers += 1
        if numbers:
            return "dsa" if numbers == 5 else "pkcs1"
    except Malformed:
        pass
    return ""
