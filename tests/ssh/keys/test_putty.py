"""PuTTY's files with the right checksum: whoever writes one can compute it."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode

import pytest

from conch_pipe.ssh.fields import string
from conch_pipe.ssh.keys import private, read
from conch_pipe.ssh.keys.public import mpint
from tests.ssh.keys import forge
from tests.ssh.keys.test_reading import refused

ED25519, P256 = b"ssh-ed25519", b"ecdsa-sha2-nistp256"
KEY = private.ed25519(b"\7" * 32, None)


def ppk(name: bytes, half: bytes, secret: bytes, comment: bytes = b"", said: bytes | None = None) -> bytes:
    """A file of version 3 without passphrase.

    :param said: the comment in the file, when it is not the one in the checksum.
    """
    signed = b"".join(map(string, (name, b"none", comment, half, secret)))
    mac = hmac.new(b"", signed, hashlib.sha256).hexdigest().encode()
    shown = comment if said is None else said
    rows = [b"PuTTY-User-Key-File-3: " + name, b"Encryption: none", b"Comment: " + shown]
    for title, text in ((b"Public", b64encode(half)), (b"Private", b64encode(secret))):
        folded = [text[at : at + 64] for at in range(0, len(text), 64)]
        rows += [b"%b-Lines: %d" % (title, len(folded)), *folded]
    return b"\n".join([*rows, b"Private-MAC: " + mac, b""])


def test_a_file_of_ours_is_like_puttygens():
    path = forge.place("ours.ppk")
    path.write_bytes(ppk(ED25519, KEY.blob, string(b"\7" * 32), b"a comment"))

    assert KEY.fingerprint.encode() in forge.run("puttygen", path, "-O", "fingerprint")


@pytest.mark.parametrize("seed", [b"\0" + b"\7" * 31, b"\7" * 31 + b"\0", b"\0\0" + b"\7" * 30])
def test_a_seed_without_its_zeros_is_read(seed):
    key = private.ed25519(seed, None)

    assert read(ppk(ED25519, key.blob, string(seed.strip(b"\0")))).blob == key.blob


@pytest.mark.parametrize("comment", [b"", b" ", b"a ", b" a", b"caf\xe9", b"a: b", b"Encryption: none", b"\t"])
def test_a_comment_is_authenticated_as_it_stands(comment):
    assert read(ppk(ED25519, KEY.blob, string(b"\7" * 32), comment)).blob == KEY.blob


def test_a_comment_may_get_space_at_its_end_and_nothing_else():
    assert read(ppk(ED25519, KEY.blob, string(b"\7" * 32), b"a", said=b"a  ")).blob == KEY.blob
    assert refused(ppk(ED25519, KEY.blob, string(b"\7" * 32), b"a", said=b"b")) == "damaged"


@pytest.mark.parametrize(
    ("name", "half", "secret"),
    [
        (ED25519, KEY.blob, b""),
        (ED25519, KEY.blob, string(b"")),
        (ED25519, KEY.blob, string(b"\7" * 33)),
        (ED25519, KEY.blob, string(b"\7" * 32) + b"x"),
        (ED25519, KEY.blob, string(b"\x08" * 32)),
        (ED25519, KEY.blob + b"x", string(b"\7" * 32)),
        (ED25519, KEY.blob[:-1], string(b"\7" * 32)),
        (ED25519, b"", string(b"\7" * 32)),
        (b"ssh-rsa", KEY.blob, string(b"\7" * 32)),
        (P256, KEY.blob, mpint(7)),
        (P256, string(P256) + string(b"nistp384") + string(b"\4" + bytes(64)), mpint(7)),
        (P256, string(P256) + string(b"nistp256") + string(b"\4" + bytes(64)), mpint(7)),
        (P256, private.ecdsa(b"nistp256", 7, None).blob, string(b"\xf7")),
        (P256, private.ecdsa(b"nistp256", 7, None).blob, string(b"\0\7")),
        (P256, private.ecdsa(b"nistp256", 7, None).blob, mpint(0)),
        (b"ssh-rsa", string(b"ssh-rsa") + mpint(3) + mpint(15), mpint(3) * 3 + mpint(5)),
    ],
)
def test_contents_that_cannot_be_are_damage(name, half, secret):
    reason = refused(ppk(name, half, secret))

    assert reason == ("public" if not secret else "damaged")


@pytest.mark.parametrize(
    "row",
    [b"Encryption: none", b"Private-Lines: 99999", b"Private-Lines: -1", b"Public-Lines: 1e3", b"hello", b"Comment"],
)
def test_rows_that_cannot_be_are_damage(row):
    data = ppk(ED25519, KEY.blob, string(b"\7" * 32))

    assert refused(data + b"\n" + row + b"\n") == "damaged"
