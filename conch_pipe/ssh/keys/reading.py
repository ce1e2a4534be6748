"""A private key in whatever form it comes, or one clear reason why not.

Finds the form; the formats read. Neither the key nor its passphrase gets into an error, its causes or its traceback.
"""

from __future__ import annotations

from cryptography.exceptions import UnsupportedAlgorithm

from conch_pipe.ssh.fields import Malformed
from conch_pipe.ssh.keys import armor, openssh, pkcs, putty, sshcom, unlocking
from conch_pipe.ssh.keys.armor import Block
from conch_pipe.ssh.keys.errors import KeyRefused, Reason
from conch_pipe.ssh.keys.private import PrivateKey

_Refusal = tuple[Reason, str]

# Not exceptions: those would keep the frames of their last use, and the key in them.
_PUBLIC: _Refusal = ("public", "this is a public key; the private half is needed")
_CERTIFICATE: _Refusal = ("public", "this is a certificate, which is public; the private key is needed")
_NO_KEY: _Refusal = ("not_a_key", "this is no private key in a form that is known here")
_DSA: _Refusal = ("unsupported", "DSA keys are not supported; use Ed25519, ECDSA on a NIST curve or RSA")
_OTHER_DER: dict[str, _Refusal] = {
    "public": _PUBLIC,
    "dsa": _DSA,
    "pkcs12": ("unsupported", "a PKCS#12 file; take the key out of it with openssl pkcs12 -nocerts"),
}
# PEM blocks that are no private key; those that only go with one are not among them.
_OTHERS: dict[bytes, _Refusal] = {
    b"PUBLIC KEY": _PUBLIC,
    b"RSA PUBLIC KEY": _PUBLIC,
    b"SSH2 PUBLIC KEY": _PUBLIC,
    b"PGP PUBLIC KEY BLOCK": _PUBLIC,
    b"CERTIFICATE": _CERTIFICATE,
    b"X509 CERTIFICATE": _CERTIFICATE,
    b"TRUSTED CERTIFICATE": _CERTIFICATE,
    b"PKCS7": _CERTIFICATE,
    b"CERTIFICATE REQUEST": ("public", "this is a request for a certificate; the private key is needed"),
    b"NEW CERTIFICATE REQUEST": ("public", "this is a request for a certificate; the private key is needed"),
    b"DSA PRIVATE KEY": _DSA,
    b"PGP PRIVATE KEY BLOCK": ("unsupported", "OpenPGP keys are not supported"),
}
_PUBLIC_TYPES = (b"ssh-", b"ecdsa-sha2-", b"sk-ssh-", b"sk-ecdsa-", b"rsa-sha2-")
_WEB = (b"<!doctype", b"<html", b"<?xml", b"<head", b"<body")


def read(data: bytes, passphrase: bytes | None = None) -> PrivateKey:
    """A private key from a file or a form. Blocks, for up to 3 s when a passphrase is dear.

    OpenSSH, PEM, PKCS#8, PuTTY (.ppk 2 and 3), ssh.com; RSA, Ed25519, ECDSA. A passphrase that is not needed is not
    looked at.

    :param data: as it came; up to 65,536 bytes.
    :param passphrase: None or empty: there is none.
    :raises KeyRefused: it cannot be used.
    """
    result = _tried(data, passphrase)
    if isinstance(result, PrivateKey):
        return result
    # A new exception, outside of any other, and its frames hold no secret: detailed tracebacks print local names.
    del data, passphrase
    raise KeyRefused(*result)


def _tried(data: bytes, passphrase: bytes | None) -> PrivateKey | _Refusal:
    try:
        return _read(bytes(data), passphrase)
    except KeyRefused as error:
        return error.reason, error.words
    except (Malformed, ValueError):
        return "damaged", "the key is damaged or cut: paste or copy the whole file"
    except UnsupportedAlgorithm:
        return "unsupported", "this system's cryptography cannot read this key"


def _read(data: bytes, passphrase: bytes | None) -> PrivateKey:
    armor.check_size(data)
    if data[:1] == b"\x30" and (kind := pkcs.kind(data)):
        return _der(kind, data, passphrase)
    data = armor.plain(data)
    if data.lstrip().startswith(putty.MAGIC):
        return putty.read(data, passphrase)
    rows = armor.lines(data)
    if any(map(armor.label, rows)):
        return _block(_chosen(armor.blocks(data)), passphrase)
    raise KeyRefused(*_explained(rows))


def _der(kind: str, data: bytes, passphrase: bytes | None) -> PrivateKey:
    if kind in _OTHER_DER:
        raise KeyRefused(*_OTHER_DER[kind])
    if kind == "encrypted":
        return pkcs.encrypted_pkcs8(data, passphrase)
    return {"pkcs1": pkcs.pkcs1, "sec1": pkcs.sec1, "pkcs8": pkcs.pkcs8}[kind](data)


_FORMS = {
    b"OPENSSH PRIVATE KEY": openssh.read,
    b"SSH2 ENCRYPTED PRIVATE KEY": sshcom.read,
    b"ENCRYPTED PRIVATE KEY": pkcs.encrypted_pkcs8,
}
# These three may carry PEM's own encryption.
_OLD = {b"RSA PRIVATE KEY": pkcs.pkcs1, b"EC PRIVATE KEY": pkcs.sec1, b"PRIVATE KEY": pkcs.pkcs8}


def _chosen(blocks: list[Block]) -> Block:
    """The private key, among certificates and parameters."""
    for block in blocks:
        if block.label in _FORMS or block.label in _OLD:
            return block
    for block in blocks:
        if block.label in _OTHERS:
            raise KeyRefused(*_OTHERS[block.label])
    raise KeyRefused(*_NO_KEY)


def _block(block: Block, passphrase: bytes | None) -> PrivateKey:
    content = armor.base64(block.body)
    if block.label in _FORMS:
        return _FORMS[block.label](content, passphrase)
    parse = _OLD[block.label]
    if b"proc-type" not in block.headers and b"dek-info" not in block.headers:
        return parse(content)
    opened = pkcs.dek_info(block.headers.get(b"dek-info", b""), content, passphrase)
    try:
        return parse(opened)
    except Malformed:  # there is no checksum
        raise unlocking.wrong() from None


def _explained(rows: list[bytes]) -> _Refusal:
    """Why a text without BEGIN is no private key."""
    first = next((row.strip() for row in rows if row.strip() and not row.startswith(b"#")), b"")
    words = first.split(None, 4)
    if any(
        name.startswith(_PUBLIC_TYPES) and key.startswith(b"AAAA") for name, key in zip(words, words[1:], strict=False)
    ):
        return _CERTIFICATE if b"-cert-v0" in first[:255] else _PUBLIC
    if first[:10].lower().startswith(_WEB):
        return "not_a_key", "this is a web page, not a key"
    if first.startswith((b"b3BlbnNzaC1rZXktdj", b"MII")) or any(row.lstrip().startswith(b"-----END") for row in rows):
        return "damaged", 'the first line of the key is missing, with "BEGIN" in it'
    return _NO_KEY
