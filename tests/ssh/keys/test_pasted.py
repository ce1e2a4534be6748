"""Host keys as people paste them, and what else lands in that field."""

from __future__ import annotations

from base64 import b64encode

import pytest

from conch_pipe.ssh.fields import string
from conch_pipe.ssh.keys import KeyRefused, algorithm, fingerprint, public_blob
from conch_pipe.ssh.keys.public import mpint, rsa_blob
from tests.ssh.keys import forge

GOOD = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"  # github.com
BLOB = public_blob(GOOD)


def refused(text: str | bytes) -> str:
    """The reason."""
    with pytest.raises(KeyRefused) as caught:
        public_blob(text)
    assert str(caught.value)
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    return caught.value.reason


def line(blob: bytes, name: str = "") -> str:
    return f"{name or algorithm(blob)} {b64encode(blob).decode()}"


def test_github_s_key_has_the_fingerprint_that_github_publishes():
    assert fingerprint(BLOB) == "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU"
    assert algorithm(BLOB) == "ssh-ed25519"


@pytest.mark.parametrize(
    "text",
    [
        f"{GOOD}\n",
        f"  {GOOD} root@host with a comment  \r\n",
        f"host.example {GOOD}",
        f"host.example,192.0.2.1 {GOOD} comment",
        f"[host.example]:2222 {GOOD}",
        f"ssh-prod.example {GOOD}",
        f"|1|JfKTdBh7rNbXkVAQCRp4OQoPfmI=|USECr3SWf1JUPsms5AqfD5QfxkM= {GOOD}",
        f"# host.example:22 SSH-2.0-OpenSSH_9.2\nhost.example {GOOD}\n",
        f"a {GOOD}\nb {GOOD}\n{GOOD}\n",
        GOOD.split()[1],
        f" {GOOD.split()[1]} \n",
        f"{GOOD.split()[1][:40]}\n{GOOD.split()[1][40:]}",
        f"\ufeff{GOOD}",
        f'---- BEGIN SSH2 PUBLIC KEY ----\nComment: "a \\\nb"\n{GOOD.split()[1]}\n---- END SSH2 PUBLIC KEY ----\n',
    ],
)
def test_every_usual_form_reads_to_the_same_key(text):
    assert public_blob(text) == BLOB
    assert public_blob(text.encode()) == BLOB


@pytest.mark.parametrize("kind", forge.ALL)
def test_keys_of_every_type_are_read_from_ssh_keygens_files(kind):
    path = forge.openssh(kind).with_suffix(".openssh.pub")

    blob = public_blob(path.read_text())

    assert blob == public_blob(forge.run("ssh-keygen", "-e", "-f", path)) == forge.public("openssh", kind)
    assert fingerprint(blob) == forge.run("ssh-keygen", "-l", "-f", path).decode().split()[1]
    assert algorithm(blob) == path.read_text().split()[0]


def test_an_rsa_key_may_stand_under_the_name_of_its_signatures():
    blob = forge.public("openssh", "rsa")

    assert public_blob(line(blob, "rsa-sha2-512")) == public_blob(line(blob, "rsa-sha2-256")) == blob


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        (" \r\n", "empty"),
        ("# a comment\n", "empty"),
        ("SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU", "fingerprint"),
        ("256 SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU host (ED25519)", "fingerprint"),
        ("MD5:16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48", "fingerprint"),
        ("16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48", "fingerprint"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----", "private"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----", "private"),
        ("---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\nAAAA\n", "private"),
        ("PuTTY-User-Key-File-3: ssh-ed25519\n", "private"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "unsupported"),
        (f"@revoked * {GOOD}", "unsupported"),
        (f"@cert-authority * {GOOD}", "unsupported"),
        ("ssh-ed25519", "damaged"),
        ("host ssh-ed25519", "damaged"),
        (GOOD[:-4], "damaged"),
        (GOOD[:-1], "damaged"),
        (GOOD.replace("ssh-ed25519", "ssh-rsa"), "damaged"),
        (f"{GOOD}\nhello\n", "not_a_key"),
        ("hello", "not_a_key"),
        ("host.example", "not_a_key"),
        ("<html>", "not_a_key"),
        ("AAAA", "damaged"),
        ("ssh-ed25519 \udcff", "damaged"),
        ("x" * 65_537, "too_large"),
        ("x\n" * 65, "several"),
    ],
)
def test_everything_else_is_named(text, reason):
    assert refused(text) == reason


def test_two_keys_are_one_too_many():
    other = line(forge.public("openssh", "rsa"))

    assert refused(f"host {GOOD}\nhost {other}\n") == "several"


@pytest.mark.parametrize(
    "name",
    ["ssh-dss", "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com", "ssh-ed25519-cert-v01@openssh.com"],
)
def test_types_that_are_not_used_are_named(name):
    assert refused(line(string(name.encode()) + string(b"x" * 32))) == "unsupported"
    assert refused(b64encode(string(name.encode()) + string(b"x" * 32))) == "unsupported"


N = 2**2047 + 1
P256 = string(b"ecdsa-sha2-nistp256")


@pytest.mark.parametrize(
    ("blob", "reason"),
    [
        (rsa_blob(65537, 2**1023 + 1), "too_weak"),
        (rsa_blob(65537, 2**16384 + 1), "too_large"),
        (rsa_blob(65537, N - 1), "damaged"),
        (rsa_blob(1, N), "damaged"),
        (rsa_blob(65536, N), "damaged"),
        (rsa_blob(2**64 + 1, N), "damaged"),
        (rsa_blob(65537, N) + b"\0", "damaged"),
        (string(b"ssh-rsa") + string(b"\0\1\0\1") + mpint(N), "damaged"),
        (string(b"ssh-rsa") + string(b"\xff") + mpint(N), "damaged"),
        (string(b"ssh-ed25519") + string(b"x" * 31), "damaged"),
        (string(b"ssh-ed25519") + string(b"x" * 32) + b"x", "damaged"),
        (P256 + string(b"nistp384") + string(b"\4" + bytes(96)), "damaged"),
        (P256 + string(b"nistp256") + string(b"\4" + bytes(64)), "damaged"),
        (P256 + string(b"nistp256") + string(b"\2" + bytes(32)), "damaged"),
        (P256 + string(b"nistp256") + string(b""), "damaged"),
    ],
)
def test_a_blob_that_no_server_would_show_is_refused(blob, reason):
    """A pin is compared byte for byte: one that is written in another way would never fit."""
    assert refused(line(blob)) == reason
