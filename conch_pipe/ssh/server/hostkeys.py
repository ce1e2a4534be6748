"""Host keys: made, loaded, named by their fingerprint, used to sign. Never shows a key's text, not even in an error."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_ssh_private_key,
)
from twisted.conch.ssh.keys import FingerprintFormats, Key

from conch_pipe.ssh.fields import string

_RSA_BITS = 3072
_LONGEST_FILE = 65_536


class HostKeyError(Exception):
    """A host key's file cannot be used; the text names the file and the reason."""


def generate(path: Path, kind: str) -> None:
    """Write a new private key in OpenSSH's format, mode 0600, durable; RSA takes up to 0.4 s of CPU.

    :param path: must not exist.
    :param kind: "ed25519" or "rsa" (3072 bits).
    :raises HostKeyError: the file exists or cannot be written.
    """
    key: Ed25519PrivateKey | RSAPrivateKey
    if kind == "ed25519":
        key = Ed25519PrivateKey.generate()
    elif kind == "rsa":
        key = generate_private_key(65537, _RSA_BITS)
    else:
        raise HostKeyError(f"{path}: no such kind of host key: {kind}")
    text = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    try:
        file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise HostKeyError(f"{path}: {error.strerror}") from None
    try:
        with os.fdopen(file, "wb") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        with contextlib.suppress(OSError):
            path.unlink()
        raise HostKeyError(f"{path}: {error.strerror}") from None


def load(path: Path) -> Key:
    """Read a private key, Ed25519 or RSA of 2048 bits or more, without passphrase, that only its owner can read.

    :raises HostKeyError: it is missing, open to others, encrypted, too weak or not a key.
    """
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):
            raise HostKeyError(f"{path}: not a file")
        # systemd hands a credential over as root's file with an ACL, whose mask shows as the group's read bit.
        handed_over = about.st_uid == 0 and about.st_mode & 0o077 == 0o040
        if about.st_mode & 0o077 and not handed_over:
            raise HostKeyError(f"{path}: others can read it: chmod 600")
        if about.st_size > _LONGEST_FILE:
            raise HostKeyError(f"{path}: too long for a key")
        text = path.read_bytes()
    except OSError as error:
        raise HostKeyError(f"{path}: {error.strerror}") from None
    try:
        key = load_ssh_private_key(text, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise HostKeyError(f"{path}: not an OpenSSH private key without passphrase") from None
    if isinstance(key, RSAPrivateKey) and key.key_size < 2048:
        raise HostKeyError(f"{path}: an RSA key of less than 2048 bits")
    if not isinstance(key, Ed25519PrivateKey | RSAPrivateKey):
        raise HostKeyError(f"{path}: neither Ed25519 nor RSA")
    return Key(key)


def load_all(paths: Sequence[Path], retiring: Sequence[Path] = ()) -> tuple[dict[Path, Key], list[str]]:
    """Several keys, in their order; of a kind there may be more than one.

    :param retiring: those of the paths whose keys are to go some day.
    :returns: those that can be used, and one sentence for each mistake.
    """
    keys: dict[Path, Key] = {}
    mistakes: list[str] = []
    seen: dict[bytes, Path] = {}
    for path in paths:
        try:
            key = load(path)
        except HostKeyError as error:
            mistakes.append(str(error))
            continue
        other = seen.setdefault(key.public().blob(), path)
        if other is path:
            keys[path] = key
        else:
            mistakes.append(f"{path}: the same key as {other}")
    mistakes += [f"{path}: retiring, but not one of the host keys" for path in retiring if path not in paths]
    if paths and set(paths) <= set(retiring):
        mistakes.append("all host keys are retiring: there must be one that stays")
    return keys, mistakes


def fingerprint(key: Key) -> str:
    """``SHA256:…`` as ssh and ssh-keygen show it."""
    return "SHA256:" + key.fingerprint(FingerprintFormats.SHA256_BASE64).rstrip("=")


@dataclass(frozen=True, slots=True)
class Signer:
    """One host key and one of its signature algorithms.

    :param blob: of the public key.
    :param sign: gives the signature of some bytes, with the algorithm's name in front.
    """

    algorithm: bytes
    blob: bytes
    fingerprint: str
    sign: Callable[[bytes], bytes]


def signers(key: Key) -> list[Signer]:
    """One for each algorithm of a key, the preferred one first.

    :param key: private, Ed25519 or RSA.
    :raises ValueError: it is of another type.
    """
    names = {"Ed25519": (b"ssh-ed25519",), "RSA": (b"rsa-sha2-512", b"rsa-sha2-256")}.get(key.type())
    if names is None:
        raise ValueError("a host key must be Ed25519 or RSA")
    blob, shown = key.public().blob(), fingerprint(key)
    return [Signer(name, blob, shown, _sign(key, name)) for name in names]


def _sign(key: Key, algorithm: bytes) -> Callable[[bytes], bytes]:
    if key.type() != "Ed25519":
        return partial(key.sign, signatureType=algorithm)
    # Key.sign finds out what kind of key it has, in half the time that the signature itself takes.
    bare, name = Ed25519PrivateKey.from_private_bytes(key.data()["k"]).sign, string(algorithm)
    return lambda data: name + string(bare(data))
