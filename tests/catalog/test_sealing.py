"""The key file and what it seals."""

from __future__ import annotations

import os
import stat

import pytest
from cryptography.fernet import Fernet

from conch_pipe.catalog.sealing import PASSWORD, PRIVATE_KEY, KeyFile
from conch_pipe.errors import Code, PipeError
from tests.conftest import CANARY

SECRET = f"correct horse {CANARY} \N{SNOWMAN}"
KEY_TEXT = f"-----BEGIN OPENSSH PRIVATE KEY-----\n{CANARY}\n-----END\n".encode()


@pytest.fixture
def keys(tmp_path) -> KeyFile:
    made = KeyFile(tmp_path / "keys" / "secrets.key")
    made.make()
    return made


def refused(action, *args) -> PipeError:
    """The error; nothing that led to it may show anything either."""
    with pytest.raises(PipeError) as caught:
        action(*args)
    error = caught.value
    assert error.code is Code.FAILED
    assert error.__cause__ is None and error.__context__ is None
    assert CANARY not in str(error) and error.detail
    return error


def test_what_was_sealed_is_unsealed_and_shows_nothing_meanwhile(keys):
    password, private = keys.seal("north", PASSWORD, SECRET), keys.seal("north", PRIVATE_KEY, KEY_TEXT)

    assert keys.unseal("north", PASSWORD, password) == SECRET
    assert keys.unseal("north", PRIVATE_KEY, private).encode("latin-1") == KEY_TEXT
    assert CANARY.encode() not in password + private
    assert keys.seal("north", PASSWORD, SECRET) != password


def test_a_file_is_made_once_for_its_owner_only(keys):
    text = keys.path.read_bytes()

    assert not keys.make()
    assert keys.path.read_bytes() == text
    assert stat.S_IMODE(keys.path.stat().st_mode) == 0o600
    assert keys.check() == 1
    assert os.listdir(keys.path.parent) == ["secrets.key"]


@pytest.mark.parametrize(("remote", "field"), [("south", PASSWORD), ("north", PRIVATE_KEY)])
def test_a_value_cannot_be_moved_to_another_row(keys, remote, field):
    sealed = keys.seal("north", PASSWORD, SECRET)

    error = refused(keys.unseal, remote, field, sealed)

    assert f"remote {remote}" in error.message


def test_damage_and_foreign_keys_are_told_apart_from_nothing(keys, tmp_path):
    other = KeyFile(tmp_path / "other.key")
    other.make()
    sealed = keys.seal("north", PASSWORD, SECRET)
    changed = b"A" if sealed[20:21] != b"A" else b"B"

    for bad in (sealed[:-1], sealed[:20] + changed + sealed[21:], b"", other.seal("north", PASSWORD, SECRET)):
        refused(keys.unseal, "north", PASSWORD, bad)


def test_a_sealed_value_that_is_not_ours_is_refused(keys):
    fernet = Fernet(keys.path.read_bytes().strip())

    for text in (CANARY.encode(), b"[]", b'{"remote": "north", "field": "password"}'):
        refused(keys.unseal, "north", PASSWORD, fernet.encrypt(text))


def test_a_rotated_file_unseals_the_old_and_seals_with_the_new(keys):
    before = keys.path.read_bytes()
    old = keys.seal("north", PASSWORD, SECRET)

    keys.rotate()

    assert keys.check() == 2
    assert keys.path.read_bytes().endswith(before)
    assert keys.unseal("north", PASSWORD, old) == SECRET
    new = keys.seal("north", PASSWORD, SECRET)
    assert keys.retire() == 1
    assert keys.unseal("north", PASSWORD, new) == SECRET
    refused(keys.unseal, "north", PASSWORD, old)
    assert keys.retire() == 0
    assert stat.S_IMODE(keys.path.stat().st_mode) == 0o600


def test_another_process_may_change_the_file_at_any_time(keys):
    seen_before = KeyFile(keys.path)
    seen_before.seal("north", PASSWORD, SECRET)
    keys.rotate()
    keys.retire()

    assert seen_before.unseal("north", PASSWORD, keys.seal("north", PASSWORD, SECRET)) == SECRET


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o660, 0o666])
def test_a_file_that_others_can_read_or_write_is_refused(keys, mode):
    keys.path.chmod(mode)

    assert "chmod 600" in refused(keys.check).detail
    refused(keys.seal, "north", PASSWORD, SECRET)


def test_a_credential_of_systemd_has_the_bit_of_its_acl(keys, monkeypatch):
    """Handed over as root's file; the group's bit is the mask of an ACL, not the group."""
    if os.getuid() != 0:
        pytest.skip("only root's files look like that")
    keys.path.chmod(0o440)
    refused(keys.check)

    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(keys.path.parent))

    assert keys.check() == 1


@pytest.mark.parametrize("text", ["", "# no key yet\n\n", f"{CANARY}\n", "x" * 100_000, f"{'A' * 44}{CANARY}\n"])
def test_a_file_without_good_keys_is_refused_without_its_text(keys, text):
    keys.path.write_text(text)

    refused(keys.check)


def test_a_file_that_is_missing_or_none_is_told_with_its_name(keys, tmp_path):
    assert "conch-pipe init" in refused(KeyFile(tmp_path / "none").check).detail
    assert str(tmp_path) in refused(KeyFile(tmp_path).check).detail
    (tmp_path / "file").write_text("")
    refused(KeyFile(tmp_path / "file" / "secrets.key").make)


def test_remarks_and_empty_lines_are_no_keys(keys):
    sealed = keys.seal("north", PASSWORD, SECRET)
    keys.path.write_bytes(b"# made on Monday\n\n" + keys.path.read_bytes() + b"\n")

    assert keys.unseal("north", PASSWORD, sealed) == SECRET
    assert keys.check() == 1


def test_a_process_that_died_while_writing_is_in_nobodys_way(keys):
    (keys.path.parent / "secrets.key.new").write_bytes(b"half a ke")

    keys.rotate()

    assert keys.check() == 2
