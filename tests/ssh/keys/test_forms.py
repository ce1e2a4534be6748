"""Every form in which people have private keys reads to the key that ssh-keygen sees in it."""

from __future__ import annotations

import pytest
from twisted.conch.ssh.keys import Key

from conch_pipe.ssh.client.auth import Credentials
from conch_pipe.ssh.keys import read
from tests.ssh.keys import forge
from tests.ssh.keys.forge import FORMS, PASSPHRASE
from tests.ssh.keys.test_reading import refused

# One key of each form is enough for what depends on the form's text alone.
TEXTS = {name: form.kinds[-1] for name, form in FORMS.items() if form.text}


def opened(form: str) -> bytes | None:
    return PASSPHRASE if FORMS[form].encrypted else None


def public_halves(form: str) -> dict[str, bytes]:
    return {kind: forge.public(form, kind) for kind in FORMS[form].kinds}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_reads_to_the_same_public_key(form):
    read_ones = {kind: read(forge.file(form, kind), opened(form)).blob for kind in FORMS[form].kinds}

    assert read_ones == public_halves(form)


@pytest.mark.parametrize("form", [name for name, form in FORMS.items() if form.encrypted])
@pytest.mark.parametrize(
    ("passphrase", "reason"),
    [(None, "passphrase_missing"), (b"", "passphrase_missing"), (PASSPHRASE[:-1], "passphrase_wrong")],
)
def test_a_missing_passphrase_and_a_wrong_one_are_told_apart(form, passphrase, reason):
    reasons = {kind: refused(forge.file(form, kind), passphrase) for kind in FORMS[form].kinds}

    assert set(reasons.values()) == {reason}, reasons


@pytest.mark.parametrize("form", [name for name, form in FORMS.items() if not form.encrypted])
def test_a_passphrase_that_is_not_needed_is_not_looked_at(form):
    read_ones = {kind: read(forge.file(form, kind), PASSPHRASE).blob for kind in FORMS[form].kinds}

    assert read_ones == public_halves(form)


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
    "indented": lambda text: b"  " + text.replace(b"\n", b"\n  "),
    "UTF-16": lambda text: text.decode().encode("utf-16"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_happens_to_texts_on_their_way_does_no_harm(change):
    changed = {form: CHANGES[change](forge.file(form, kind)) for form, kind in TEXTS.items()}

    read_ones = {form: read(data, opened(form)).blob for form, data in changed.items()}

    assert read_ones == {form: forge.public(form, kind) for form, kind in TEXTS.items()}


@pytest.mark.parametrize("form", [form for form in TEXTS if form.startswith(("openssh", "pem", "pkcs8"))])
def test_a_pem_block_in_one_line_is_read(form):
    """A form's field makes spaces of line ends, JSON writes them as two characters."""
    kind = TEXTS[form]
    data = forge.file(form, kind)

    escaped = data.replace(b"\n", b"\\n")
    assert read(escaped, opened(form)).blob == forge.public(form, kind)
    assert read(b'"' + escaped.replace(b"\\n", b"\\r\\n") + b'"', opened(form)).blob == forge.public(form, kind)
    if b"DEK-Info" not in data:
        assert read(data.replace(b"\n", b" "), opened(form)).blob == forge.public(form, kind)


@pytest.mark.parametrize("form", ["pem", "pkcs8", "pem-aes256", "pkcs8-scrypt"])
def test_what_stands_round_a_pem_block_is_read_past(form):
    """openssl pkcs12 writes attributes and certificates round the key, openssl ecparam the curve before it."""
    certificate = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    curve = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    before = b"Bag Attributes\n    localKeyID: 01\nKey Attributes: <No Attributes>\n" + curve

    key = read(certificate + before + forge.file(form, "nistp256") + certificate, opened(form))

    assert key.blob == forge.public(form, "nistp256")
