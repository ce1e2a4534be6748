"""A remote that is filled in a field after another: what comes out, and that no mistake repeats what went in."""

from __future__ import annotations

import subprocess

import pytest

from conch_pipe.errors import Mistakes
from conch_pipe.operations.remote_form import Form
from conch_pipe.ssh.keys import fingerprint, generate, public_blob
from tests.conftest import CANARY

FIELDS = {"name": "acme-eu", "organisation": "acme", "host": "sftp.acme.example", "username": "pipe"}
PASSPHRASE = f"staple {CANARY}"


@pytest.fixture(scope="module")
def locked(tmp_path_factory) -> str:
    """A private key with a passphrase."""
    file = tmp_path_factory.mktemp("key") / "id_key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-a", "4", "-N", PASSPHRASE, "-f", file], check=True)
    return file.read_text()


def filled(form: Form):
    form.needs_login()
    return form.filled("remote acme-eu")


def mistakes(form: Form) -> list[str]:
    with pytest.raises(Mistakes) as refused:
        filled(form)
    assert CANARY not in str(refused.value)
    return refused.value.mistakes


def new(**fields) -> Form:
    form = Form(new=True)
    form.fill(FIELDS | fields)
    return form


def test_what_is_right_comes_out_and_shows_no_secret():
    form = new(password=CANARY, port="2222")

    done = filled(form)

    assert (done.password, done.fields["port"], "password" in done.fields) == (CANARY, 2222, False)
    assert done.secrets == {"password": CANARY}
    assert CANARY not in repr(done)


def test_a_new_remote_needs_a_login_and_a_change_does_not():
    assert mistakes(new()) == ["a password, a private key or both are needed to log in"]

    change = Form(new=False)
    change.fill({})
    assert filled(change).empty


def test_a_key_needs_its_passphrase(locked):
    for passphrase in (None, f"wrong {CANARY}"):
        form = new()
        form.key(locked, passphrase)
        (mistake,) = mistakes(form)
        assert mistake.startswith("private_key:") and "passphrase" in mistake
    form = new()
    form.key(locked, PASSPHRASE)

    assert filled(form).secrets["private_key"].startswith(b"-----BEGIN OPENSSH PRIVATE KEY-----")


def test_a_key_in_the_place_of_a_host_key_is_not_repeated(locked):
    form = new(password=CANARY)
    form.host_key(locked)

    (mistake,) = mistakes(form)

    assert mistake.startswith("host_key:") and not any(line in mistake for line in locked.splitlines())


def test_several_host_keys_in_one_text_are_several_and_the_same_one_is_one():
    lines = [generate("ed25519").public_line() for _ in range(2)]
    form = new(password=CANARY)
    form.host_key("\n".join(["# as ssh-keyscan prints them", *lines]))
    form.host_key(lines[0])

    assert [fingerprint(one) for one in filled(form).host_keys] == [fingerprint(public_blob(one)) for one in lines]


def test_no_host_keys_at_all_are_something_else_than_none_given():
    form = Form(new=False)
    form.host_keys(())

    assert filled(form).host_keys == ()
    assert not filled(form).empty


def test_no_key_is_made_for_a_form_that_is_wrong(monkeypatch):
    monkeypatch.setattr("conch_pipe.ssh.keys.generate", lambda kind: pytest.fail("a key was made"))
    form = new(port=0)
    form.generate("rsa-4096")

    assert [one.partition(":")[0] for one in mistakes(form)] == ["port"]


def test_any_host_key_and_a_host_key_exclude_each_other():
    form = new(password=CANARY)
    form.host_key(generate("ed25519").public_line())
    form.any_host_key(True)

    assert mistakes(form) == ["any_host_key: and a host key exclude each other"]


def test_secrets_that_are_taken_away_are_none():
    form = Form(new=False)
    form.fill({})
    form.without("password")
    form.without("key")

    assert filled(form).secrets == {"password": None, "private_key": None}
