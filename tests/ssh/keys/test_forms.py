"""Every form in which people have private keys reads to the key that ssh-keygen sees in it."""

from __future__ import annotations

import pytest

from conch_pipe.ssh.keys import KeyRefused, read
from tests.ssh.keys import forge
from tests.ssh.keys.forge import EVERY, FORMS, PASSPHRASE

ENCRYPTED = [(form, kind) for form, kind in EVERY if FORMS[form].encrypted]


def refused(data: bytes, passphrase: bytes | None = None) -> str:
    """The reason."""
    with pytest.raises(KeyRefused) as caught:
        read(data, passphrase)
    assert str(caught.value)
    return caught.value.reason


@pytest.mark.parametrize(("form", "kind"), EVERY)
def test_every_form_reads_to_the_same_public_key(form, kind):
    passphrase = PASSPHRASE if FORMS[form].encrypted else None

    key = read(forge.file(form, kind), passphrase)

    assert key.blob == forge.public(form, kind)


@pytest.mark.parametrize(("form", "kind"), ENCRYPTED)
def test_a_missing_passphrase_and_a_wrong_one_are_told_apart(form, kind):
    data = forge.file(form, kind)

    assert refused(data) == "passphrase_missing"
    assert refused(data, b"") == "passphrase_missing"
    assert refused(data, PASSPHRASE[:-1]) == "passphrase_wrong"
