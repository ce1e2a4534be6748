"""From a passphrase to the bytes it protects: key derivation, bounded before it begins, and the ciphers of key files.

The file chooses what its passphrase costs: 4,000 rounds of bcrypt took 49 s, and the number goes to 2**32-1. What is
above the bounds is refused whether or not a passphrase was given. Checks of contents are the formats' own.
"""

from __future__ import annotations

import hashlib
import hmac

import bcrypt
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, CipherAlgorithm, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES, ChaCha20
from cryptography.hazmat.primitives.kdf.argon2 import Argon2d, Argon2i, Argon2id
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.poly1305 import Poly1305

from conch_pipe.ssh.fields import Malformed
from conch_pipe.ssh.keys.errors import KeyRefused

# Each of these is 2 to 3 s of one core at the most.
BCRYPT_ROUNDS = 256  # ssh-keygen: 16 in OpenSSH 9.2, 24 later
ARGON2_KIB = 65_536  # PuTTYgen: 8,192
ARGON2_PASSES = 64  # PuTTYgen: what takes 0.1 s, some 20
ARGON2_LANES = 16
PBKDF2_ITERATIONS = 2_000_000  # OpenSSL: 2,048; OWASP: 600,000
SCRYPT_BYTES = 64 * 2**20  # 128 N r; OpenSSL: 16 MiB
SCRYPT_LANES = 16
OLD_ITERATIONS = 100_000  # of PKCS#12 and PBKDF1, in a Python loop; OpenSSL: 2,048
_LONGEST_SALT = 1_024

_ARGON2: dict[bytes, type[Argon2d] | type[Argon2i] | type[Argon2id]] = {
    b"Argon2id": Argon2id,
    b"Argon2i": Argon2i,
    b"Argon2d": Argon2d,
}
PRFS: dict[str, hashes.HashAlgorithm] = {
    "sha1": hashes.SHA1(),  # noqa: S303
    "sha224": hashes.SHA224(),
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}


def wrong() -> KeyRefused:
    """The passphrase does not open it."""
    return KeyRefused("passphrase_wrong", "the passphrase is wrong, or the file is damaged")


def given(passphrase: bytes | None) -> bytes:
    """The passphrase.

    :raises KeyRefused: there is none, or an empty one.
    """
    if not passphrase:
        raise KeyRefused("passphrase_missing", "the key is protected by a passphrase, which is needed")
    return passphrase


def _bounded(what: str, *values: tuple[int, int, int]) -> None:
    """Each value with its least and its most."""
    for value, least, most in values:
        if value > most:
            raise KeyRefused(
                "too_costly",
                f"the file asks for more work to check its passphrase than is done here ({what}); "
                "save the key again with the usual settings",
            )
        if value < least:
            raise Malformed(f"{what}: a number that is too small")


# Keys from passphrases.


def bcrypt_key(passphrase: bytes | None, salt: bytes, rounds: int, size: int) -> bytes:
    """OpenSSH's own.

    :raises KeyRefused: too costly, or there is no passphrase; so do the others.
    :raises Malformed: parameters that cannot be; so do the others.
    """
    _bounded(f"bcrypt, at most {BCRYPT_ROUNDS} rounds", (rounds, 1, BCRYPT_ROUNDS), (len(salt), 1, _LONGEST_SALT))
    return bcrypt.kdf(given(passphrase), salt, size, rounds, ignore_few_rounds=True)


def argon2_key(
    passphrase: bytes | None, flavour: bytes, salt: bytes, kib: int, passes: int, lanes: int, size: int
) -> bytes:
    """PuTTY's since 0.75."""
    if flavour not in _ARGON2:
        raise KeyRefused("unsupported", "the key derivation of this file is not known here")
    most = f"Argon2, at most {ARGON2_KIB // 1024} MiB, {ARGON2_PASSES} passes and {ARGON2_LANES} lanes"
    _bounded(
        most,
        (lanes, 1, ARGON2_LANES),
        (kib, 8 * lanes, ARGON2_KIB),
        (passes, 1, ARGON2_PASSES),
        (len(salt), 8, _LONGEST_SALT),
    )
    derive = _ARGON2[flavour](salt=salt, length=size, iterations=passes, lanes=lanes, memory_cost=kib)
    return derive.derive(given(passphrase))


def pbkdf2_key(passphrase: bytes | None, prf: str, salt: bytes, iterations: int, size: int) -> bytes:
    """PKCS#5's second."""
    most = f"PBKDF2, at most {PBKDF2_ITERATIONS} iterations"
    _bounded(most, (iterations, 1, PBKDF2_ITERATIONS), (len(salt), 0, _LONGEST_SALT))
    return PBKDF2HMAC(PRFS[prf], size, salt, iterations).derive(given(passphrase))


def scrypt_key(passphrase: bytes | None, salt: bytes, n: int, r: int, p: int, size: int) -> bytes:
    """RFC 7914."""
    most = f"scrypt, at most {SCRYPT_BYTES // 2**20} MiB and {SCRYPT_LANES} lanes"
    _bounded(
        most,
        (n, 2, SCRYPT_BYTES),
        (r, 1, SCRYPT_BYTES),
        (128 * n * r, 1, SCRYPT_BYTES),
        (p, 1, SCRYPT_LANES),
        (len(salt), 0, _LONGEST_SALT),
    )
    if n & (n - 1):
        raise Malformed("scrypt: N is no power of 2")
    return Scrypt(salt, size, n, r, p).derive(given(passphrase))


def pkcs12_key(passphrase: bytes | None, purpose: int, salt: bytes, iterations: int, size: int) -> bytes:
    """PKCS#12's with SHA-1, RFC 7292 appendix B.2.

    :param purpose: 1 for the key, 2 for the IV.
    """
    most = f"PKCS#12, at most {OLD_ITERATIONS} iterations"
    _bounded(most, (iterations, 1, OLD_ITERATIONS), (len(salt), 1, _LONGEST_SALT))
    secret = given(passphrase)
    try:
        text = secret.decode()
    except UnicodeDecodeError:
        text = secret.decode("latin-1")
    wide = text.encode("utf-16-be") + b"\0\0"
    # Each is repeated to whole blocks of SHA-1's 64 bytes.
    block = bytearray(b"".join((part * 64)[: -(-len(part) // 64) * 64] for part in (salt, wide)))
    key = b""
    while len(key) < size:
        digest = bytes((purpose,)) * 64 + bytes(block)
        for _ in range(iterations):
            digest = hashlib.sha1(digest, usedforsecurity=False).digest()
        key += digest
        more = int.from_bytes((digest * 4)[:64], "big") + 1
        for at in range(0, len(block), 64):
            total = int.from_bytes(block[at : at + 64], "big") + more
            block[at : at + 64] = (total & (1 << 512) - 1).to_bytes(64, "big")
    return key[:size]


def pbkdf1_key(passphrase: bytes | None, digest: str, salt: bytes, iterations: int) -> bytes:
    """PKCS#5's first, 16 bytes.

    :param digest: ``md5`` or ``sha1``.
    """
    most = f"PBKDF1, at most {OLD_ITERATIONS} iterations"
    _bounded(most, (iterations, 1, OLD_ITERATIONS), (len(salt), 1, _LONGEST_SALT))
    key = given(passphrase) + salt
    for _ in range(iterations):
        key = hashlib.new(digest, key, usedforsecurity=False).digest()
    return key[:16]


def md5_key(passphrase: bytes | None, salt: bytes, size: int) -> bytes:
    """OpenSSL's EVP_BytesToKey with MD5, of PEM files with DEK-Info."""
    secret = given(passphrase) + salt
    block = key = b""
    while len(key) < size:
        block = hashlib.md5(block + secret, usedforsecurity=False).digest()
        key += block
    return key[:size]


def sshcom_key(passphrase: bytes | None) -> bytes:
    """ssh.com's, 24 bytes."""
    secret = given(passphrase)
    half = hashlib.md5(secret, usedforsecurity=False).digest()
    return (half + hashlib.md5(secret + half, usedforsecurity=False).digest())[:24]


def sha1_key(passphrase: bytes | None) -> bytes:
    """PuTTY's until 0.74, 32 bytes."""
    secret = given(passphrase)
    halves = (hashlib.sha1(bytes((0, 0, 0, half)) + secret, usedforsecurity=False).digest() for half in (0, 1))
    return b"".join(halves)[:32]


def same(a: bytes, b: bytes) -> bool:
    """In constant time."""
    return hmac.compare_digest(a, b)


# Ciphers.


def cbc(key: bytes, iv: bytes, data: bytes, *, triple_des: bool = False) -> bytes:
    """AES or 3DES in CBC mode, without a look at the padding.

    :raises Malformed: not whole blocks.
    """
    algorithm: CipherAlgorithm = TripleDES(key) if triple_des else AES(key)
    if not data or len(data) % len(iv):
        raise Malformed("not whole blocks")
    return _opened(Cipher(algorithm, modes.CBC(iv)), data)


def ctr(key: bytes, iv: bytes, data: bytes) -> bytes:
    """AES in CTR mode."""
    return _opened(Cipher(AES(key), modes.CTR(iv)), data)


def gcm(key: bytes, iv: bytes, data: bytes, tag: bytes) -> bytes:
    """AES-GCM.

    :raises KeyRefused: the passphrase is wrong.
    """
    try:
        return AESGCM(key).decrypt(iv, data + tag, None)
    except InvalidTag:
        raise wrong() from None


def chacha(key: bytes, data: bytes, tag: bytes) -> bytes:
    """chacha20-poly1305@openssh.com as packet 0 without a length (OpenSSH, sshkey.c and cipher-chachapoly.c).

    :raises KeyRefused: the passphrase is wrong.
    """
    stream = _opened(Cipher(ChaCha20(key[:32], bytes(16)), None), bytes(64) + data)
    # The first block of the stream is the authenticator's key.
    if not same(Poly1305.generate_tag(stream[:32], data), tag):
        raise wrong()
    return stream[64:]


def _opened(cipher: Cipher, data: bytes) -> bytes:
    context = cipher.decryptor()
    return context.update(data) + context.finalize()


def unpadded(data: bytes, block: int) -> bytes:
    """Without the padding of PKCS#7.

    :raises Malformed: it is not there.
    """
    size = data[-1] if data else 0
    if not 1 <= size <= block or data[-size:] != bytes((size,)) * size:
        raise Malformed("no padding")
    return data[:-size]
