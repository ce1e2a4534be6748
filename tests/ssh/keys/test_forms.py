"""Every form in which people have private keys reads to the key that ssh-keygen sees in it."""

from __future__ import annotations

import pytest
from twisted.conch.ssh.keys import Key

from conch_pipe.ssh.client.auth import Credentials
from conch_pipe.ssh.keys import read
from tests.ssh.keys import forge
from tests.ssh.keys.forge import EVERY, FORMS, PASSPHRASE
from tests.ssh.keys.test_reading import refused

ENCRYPTED = [(form, kind) for form, kind in EVERY if FORMS[form].encrypted]
PLAIN = [(form, kind) for form, kind in EVERY if not FORMS[form].encrypted]
# One key of each form is enough for what depends on the form's text alone.
TEXTS = {form: kind for form, kind in EVERY if FORMS[form].text}


def opened(form: str) -> bytes | None:
    return PASSPHRASE if FORMS[form].encrypted else None


@pytest.mark.parametrize(("form", "kind"), EVERY)
def test_every_form_reads_to_the_same_public_key(form, kind):
    key = read(forge.file(form, kind), opened(form))

    assert key.blob == forge.public(form, kind)


@pytest.mark.parametrize(("form", "kind"), ENCRYPTED)
def test_a_missing_passphrase_and_a_wrong_one_are_told_apart(form, kind):
    data = forge.file(form, kind)

    assert refused(data) == "passphrase_missing"
    assert refused(data, b"") == "passphrase_missing"
    assert refused(data, PASSPHRASE[:-1]) == "passphrase_wrong"


@pytest.mark.parametrize(("form", "kind"), PLAIN)
def test_a_passphrase_that_is_not_needed_is_not_looked_at(form, kind):
    assert read(forge.file(form, kind), PASSPHRASE).blob == forge.public(form, kind)


@pytest.mark.parametrize("kind", forge.ALL)
def test_what_is_kept_is_read_again_and_is_a_key_for_ssh_keygen(kind):
    key = read(forge.file("openssh-aes256-ctr", kind), PASSPHRASE)

    kept = key.openssh()

    assert read(kept).blob == key.blob
    path = forge.place(f"{kind}.kept")
    path.write_bytes(kept)
    path.chmod(0o600)
    assert forge.run("ssh-keygen", "-y", "-f", path).split()[:2] == key.public_line().encode().split()


@pytest.mark.parametrize("kind", forge.ALL)
def test_the_fingerprint_and_the_size_are_ssh_keygens(kind):
    key = read(forge.file("openssh", kind))

    bits, fingerprint, *_ = forge.run("ssh-keygen", "-l", "-f", forge.openssh(kind)).decode().split()

    assert (key.bits, key.fingerprint) == (int(bits), fingerprint)


@pytest.mark.parametrize("kind", forge.ALL)
def test_every_key_logs_in(kind):
    """What it signs its public half takes; the login keeps Conch's form of it."""
    key = read(forge.file("openssh", kind))

    kept = Credentials(b"ann", key=key).key

    assert isinstance(kept, Key)
    assert kept.public().verify(kept.sign(b"data"), b"data")
    assert kept.public().blob() == key.blob


# What editors, mail programs and forms do to a text.

CHANGES = {
    "CRLF": lambda text: text.replace(b"\n", b"\r\n"),
    "CR": lambda text: text.replace(b"\n", b"\r"),
    "a byte order mark": lambda text: b"\xef\xbb\xbf" + text,
    "a byte order mark and CRLF": lambda text: b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n"),
    "blank lines before it": lambda text: b"\n \r\n\n" + text,
    "blank lines after it": lambda text: text + b"\n\n \n",
    "no last line end": lambda text: text.rstrip(b"\n"),
    "space at the ends": lambda text: text.replace(b"\n", b"  \n"),
    "tabs at the ends": lambda text: text.replace(b"\n", b"\t\n"),
    "UTF-16": lambda text: text.decode().encode("utf-16"),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("form", TEXTS)
def test_what_happens_to_texts_on_their_way_does_no_harm(form, change):
    kind = TEXTS[form]

    changed = CHANGES[change](forge.file(form, kind))

    assert read(changed, opened(form)).blob == forge.public(form, kind)


@pytest.mark.parametrize("form", [form for form in TEXTS if not form.startswith("ppk")])
def test_an_indented_key_is_read(form):
    kind = TEXTS[form]

    changed = b"  " + forge.file(form, kind).replace(b"\n", b"\n  ")

    assert read(changed, opened(form)).blob == forge.public(form, kind)


@pytest.mark.parametrize("form", ["pem", "pkcs8", "pem-aes256", "pkcs8-scrypt"])
def test_what_stands_round_a_pem_block_is_read_past(form):
    """openssl pkcs12 writes attributes and certificates round the key, openssl ecparam the curve before it."""
    certificate = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    curve = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    before = b"Bag Attributes\n    localKeyID: 01\nKey Attributes: <No Attributes>\n" + curve

    key = read(certificate + before + forge.file(form, "nistp256") + certificate, opened(form))

    assert key.blob == forge.public(form, "nistp256")
