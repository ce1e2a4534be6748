"""Private keys in every form, made by the programs that people make them with: ssh-keygen, openssl, puttygen.

A form is made once for each key and kept for the run.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.conftest import CANARY

PASSPHRASE = f"open {CANARY} sésame".encode()
PROGRAMS = ("ssh-keygen", "openssl", "puttygen")
ELLIPTIC = ("nistp256", "nistp384", "nistp521")
ALL = ("rsa", "ed25519", *ELLIPTIC)
OPENSSH_CIPHERS = (
    "3des-cbc",
    "aes128-cbc",
    "aes192-cbc",
    "aes256-cbc",
    "aes128-ctr",
    "aes192-ctr",
    "aes256-ctr",
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
)
_KEYGEN = {"rsa": ("rsa", "2048"), "ed25519": ("ed25519", "256")} | {
    curve: ("ecdsa", curve.removeprefix("nistp")) for curve in ELLIPTIC
}

Maker = Callable[[str, Path], None]  # the kind, the file to write


@dataclass(frozen=True)
class Form:
    """One way to write a key."""

    name: str
    kinds: tuple[str, ...]
    make: Maker
    encrypted: bool = False
    text: bool = True


@cache
def _folder() -> TemporaryDirectory:
    return TemporaryDirectory(prefix="keys-")


def place(name: str) -> Path:
    """A file of the run."""
    return Path(_folder().name, name.replace("/", "_"))


def run(*arguments: object, stdin: bytes = b"") -> bytes:
    """What a program says."""
    program = str(arguments[0])
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    done = subprocess.run([a if isinstance(a, bytes) else str(a) for a in arguments], input=stdin, capture_output=True)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout


@cache
def secret_file(secret: bytes = PASSPHRASE) -> Path:
    """A passphrase in a file, as puttygen and openssl take it."""
    path = place(f"secret-{len(secret)}")
    path.write_bytes(secret)
    return path


@cache
def openssh(kind: str) -> Path:
    """A key of ssh-keygen's, without passphrase; its .pub lies beside it."""
    path = place(f"{kind}.openssh")
    name, bits = _KEYGEN[kind]
    run("ssh-keygen", "-q", "-t", name, "-b", bits, "-N", "", "-C", "a comment", "-f", path)
    return path


@cache
def by_openssl(kind: str) -> Path:
    """The same key for openssl, but for Ed25519, which needs one of its own."""
    if kind == "ed25519":
        path = place("ed25519.openssl")
        run("openssl", "genpkey", "-algorithm", "ed25519", "-out", path)
        return path
    path = place(f"{kind}.pem")
    _changed(kind, path, "-m", "PEM", "-N", "")
    return path


@cache
def public(form: str, kind: str) -> bytes:
    """The blob of the public half, as ssh-keygen has it."""
    from base64 import b64decode

    if kind == "ed25519" and form.startswith(("pkcs8", "der")):
        half = run("openssl", "pkey", "-in", by_openssl(kind), "-pubout", "-outform", "DER")[-32:]
        return b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + half
    return b64decode(run("ssh-keygen", "-y", "-f", openssh(kind)).split()[1])


@cache
def file(form: str, kind: str) -> bytes:
    """A key in a form."""
    path = place(f"{kind}.{form}")
    FORMS[form].make(kind, path)
    return path.read_bytes()


def _changed(kind: str, path: Path, *options: object) -> None:
    path.write_bytes(openssh(kind).read_bytes())
    path.chmod(0o600)
    run("ssh-keygen", "-q", "-p", "-P", "", "-f", path, *options)


def _keygen(*options: object) -> Maker:
    return lambda kind, path: _changed(kind, path, *options)


def _openssl(*options: object, old: bool = False) -> Maker:
    def make(kind: str, path: Path) -> None:
        tool = ["rsa", "-traditional"] if kind == "rsa" else ["ec"]
        run("openssl", *(tool if old else ["pkcs8", "-topk8"]), "-in", by_openssl(kind), "-out", path, *options)

    return make


@cache
def _ppk(kind: str) -> Path:
    """puttygen refuses to write the format it has read."""
    path = place(f"{kind}.ppk")
    run("puttygen", openssh(kind), "-q", "-O", "private", "-o", path)
    return path


def _putty(output: str, *options: object, encrypted: bool = False) -> Maker:
    def make(kind: str, path: Path) -> None:
        phrase = ["--new-passphrase", secret_file()] if encrypted else []
        source = _ppk(kind) if output.startswith("private-openssh") else openssh(kind)
        run("puttygen", source, "-q", "-O", output, "-o", path, *phrase, *options)

    return make


_OUT = ("-passout", f"file:{secret_file()}")
_CHEAP = "memory=64,passes=2,parallelism=2"
_PEM = ("rsa", *ELLIPTIC)

_LIST = [
    Form("openssh", ALL, lambda kind, path: path.write_bytes(openssh(kind).read_bytes()) and None),
    *[
        Form(f"openssh-{cipher}", ALL, _keygen("-Z", cipher, "-a", 1, "-N", PASSPHRASE), encrypted=True)
        for cipher in OPENSSH_CIPHERS
    ],
    Form("pem", _PEM, _keygen("-m", "PEM", "-N", "")),
    Form("pem-keygen", _PEM, _keygen("-m", "PEM", "-N", PASSPHRASE), encrypted=True),
    *[
        Form(f"pem-{cipher}", _PEM, _openssl(f"-{cipher}", *_OUT, old=True), encrypted=True)
        for cipher in ("aes128", "aes192", "aes256", "des3")
    ],
    Form("pkcs8", ALL, _openssl("-nocrypt")),
    Form("pkcs8-keygen", _PEM, _keygen("-m", "PKCS8", "-N", "")),
    Form("pkcs8-keygen-passphrase", _PEM, _keygen("-m", "PKCS8", "-N", PASSPHRASE), encrypted=True),
    *[
        Form(f"pkcs8-{cipher}-{prf}", ALL, _openssl("-v2", cipher, "-v2prf", prf, *_OUT), encrypted=True)
        for cipher, prf in (
            ("aes-128-cbc", "hmacWithSHA1"),
            ("aes-192-cbc", "hmacWithSHA224"),
            ("aes-256-cbc", "hmacWithSHA256"),
            ("aes-256-cbc", "hmacWithSHA384"),
            ("des3", "hmacWithSHA512"),
        )
    ],
    *[
        Form(
            f"pkcs8-{old}",
            ALL,
            _openssl("-v1", old, "-provider", "legacy", "-provider", "default", *_OUT),
            encrypted=True,
        )
        for old in ("PBE-SHA1-3DES", "PBE-MD5-DES", "PBE-SHA1-DES")
    ],
    Form("pkcs8-scrypt", ALL, _openssl("-scrypt", *_OUT), encrypted=True),
    Form("der-pkcs8", ALL, _openssl("-nocrypt", "-outform", "DER"), text=False),
    Form("der-pkcs8-passphrase", ALL, _openssl("-outform", "DER", *_OUT), encrypted=True, text=False),
    Form("der-old", _PEM, _openssl("-outform", "DER", old=True), text=False),
    Form("ppk2", ALL, _putty("private", "--ppk-param", "version=2")),
    Form("ppk2-passphrase", ALL, _putty("private", "--ppk-param", "version=2", encrypted=True), encrypted=True),
    Form("ppk3", ALL, _putty("private")),
    *[
        Form(
            f"ppk3-{kdf}",
            ALL,
            _putty("private", "--ppk-param", f"kdf={kdf},{_CHEAP}", encrypted=True),
            encrypted=True,
        )
        for kdf in ("argon2id", "argon2i", "argon2d")
    ],
    Form("putty-openssh", ALL, _putty("private-openssh")),
    Form("putty-openssh-passphrase", ALL, _putty("private-openssh", encrypted=True), encrypted=True),
    Form("putty-openssh-new", ALL, _putty("private-openssh-new")),
    Form("sshcom", ("rsa",), _putty("private-sshcom")),
    Form("sshcom-passphrase", ("rsa",), _putty("private-sshcom", encrypted=True), encrypted=True),
]
FORMS = {form.name: form for form in _LIST}
EVERY = [(form.name, kind) for form in _LIST for kind in form.kinds]
