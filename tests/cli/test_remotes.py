"""Remotes on the command line: made, shown, changed, removed; their secrets go in and never come out."""

from __future__ import annotations

import os
import pty
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from conch_pipe.cli.session import now
from conch_pipe.model import RemoteSecrets
from conch_pipe.ssh.keys import fingerprint, generate, public_blob
from tests.cli.conftest import Installation

PASSWORD = "Corr3ct-horse|battery"
PASSPHRASE = "staple-of-the-key"
ADD = ("remote", "add", "acme", "acme-eu", "--host", "sftp.acme.example", "--username", "pipe")


@pytest.fixture
def acme(installed) -> Installation:
    """An installation with an organisation; no run may ever tell a secret."""
    installed.json("org", "create", "acme")
    yield installed
    told = "".join(installed.said)
    for secret in (PASSWORD, PASSPHRASE, "PRIVATE KEY"):
        assert secret not in told


@pytest.fixture
def host_keys(tmp_path) -> list[Path]:
    """Public host keys of a server in files."""
    files = []
    for number in (1, 2):
        file = tmp_path / f"host{number}.pub"
        file.write_text(generate("ed25519").public_line("root@sftp") + "\n")
        files.append(file)
    return files


def blob(file: Path) -> bytes:
    return public_blob(file.read_text())


def key_file(folder: Path, passphrase: str = "") -> Path:
    file = folder / "id_key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-a", "4", "-N", passphrase, "-f", file], check=True)
    return file


def stored(acme: Installation, name: str = "acme-eu"):
    """The secrets as the service would have them."""
    return now(acme.catalog().remotes.secrets(name))


def raw(acme: Installation, query: str) -> list[bytes]:
    """One column of the catalog, read without the program."""
    connection = sqlite3.connect(acme.state / "catalog.sqlite")
    try:
        return [row[0] for row in connection.execute(query)]
    finally:
        connection.close()


def added(acme: Installation, *more: str) -> dict:
    """A remote with a password."""
    return acme_json(acme, *ADD, "--password-stdin", *more, input=PASSWORD + "\n")


def acme_json(acme: Installation, *words: str, input: str | None = None, status: int = 0):
    ran = acme.run(*words, "--json", input=input)
    assert ran.status == status, ran.out + ran.err
    return ran.json


def test_a_remote_is_made_with_the_defaults_of_the_source_and_shown(acme, host_keys):
    made = added(acme, "--host-key", str(host_keys[0]))

    assert (made["port"], made["max_connections"], made["folder"]) == (22, 25, "")
    assert (made["password"], made["public_key"], made["enabled"]) == (True, "", True)
    assert [one["fingerprint"] for one in made["host_keys"]] == [fingerprint(blob(host_keys[0]))]
    assert made["host_keys"][0]["origin"] == "given"
    assert made["warnings"] == []
    assert acme.json("remote", "show", "acme-eu") == made
    assert acme.json("remote", "list") == [made] == acme.json("remote", "list", "acme")
    assert stored(acme).password == PASSWORD
    shown = acme.run("remote", "show", "acme-eu").out
    assert "sftp.acme.example port 22" in shown and fingerprint(blob(host_keys[0])) in shown
    assert "sftp.acme.example" in acme.run("remote", "list").out


def test_every_field_is_kept_as_it_was_given(acme):
    made = added(
        acme,
        *("--port", "2022", "--folder", "/In/2026/", "--max-connections", "3", "--source-address", "127.0.0.1"),
        *("--algorithms", "strict-2026", "--temporary-names", "--marker", "{NAME}.done", "--chunk-size", "32768"),
    )

    assert made["port"] == 2022
    assert made["folder"] == "/In/2026"
    assert made["max_connections"] == 3
    assert made["source_address"] == "127.0.0.1"
    assert made["algorithms"] == "strict-2026"
    assert made["temporary_names"] is True
    assert made["marker"] == "{NAME}.done"
    assert made["chunk_size"] == 32_768


def test_all_mistakes_of_a_form_are_told_at_once_and_nothing_is_made(acme, tmp_path):
    public = tmp_path / "id.pub"
    public.write_text(generate("ed25519").public_line())
    words = (
        *("remote", "add", "acme", "Acme EU", "--host", "sftp://acme.example", "--port", "0", "--username", "u" * 101),
        *("--folder", "../in", "--max-connections", "1000", "--source-address", "192.0.2.77", "--algorithms", "new"),
        *(
            "--marker",
            "a/b",
            "--chunk-size",
            "1",
            "--password-file",
            str(tmp_path / "nothing"),
            "--key-file",
            str(public),
        ),
        *("--host-key", "SHA256:n4bQgYhMfWWaL", "--any-host-key", "yes"),
    )

    told = acme_json(acme, *words, status=1)["error"]

    assert told["code"] == "invalid"
    fields = [one.partition(":")[0] for one in told["mistakes"]]
    assert fields == [
        *("name", "host", "port", "username", "folder", "max_connections", "algorithms", "marker", "chunk_size"),
        *("source_address", "password", "key", "host-key", "any-host-key"),
    ]
    assert "public key" in next(one for one in told["mistakes"] if one.startswith("key:"))
    assert acme.json("remote", "list") == []
    people = acme.run(*words)
    assert people.status == 1 and people.out == ""
    assert people.err.count("\n  - ") == len(told["mistakes"])


def test_a_remote_needs_something_to_log_in_with(acme):
    assert "password" in acme_json(acme, *ADD, status=1)["error"]["message"]


@pytest.mark.parametrize(
    "words",
    [
        ("--password-stdin", "--password-file", "x"),
        ("--password-stdin", "--passphrase-stdin", "--key-file", "x"),
        ("--passphrase-stdin", "--passphrase-file", "x"),
        ("--key-file", "x", "--generate-key", "ed25519"),
        ("--generate-key", "dsa"),
        ("--password", PASSWORD[:4]),
    ],
)
def test_options_that_exclude_each_other_and_secrets_on_the_command_line_are_refused(acme, words):
    assert acme_json(acme, *ADD, *words, status=2)["error"]["code"] == "usage"


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_a_password_comes_from_a_file_or_standard_input_without_its_line_end(acme, tmp_path, ending):
    file = tmp_path / "password"
    file.write_bytes((PASSWORD + ending).encode())

    acme_json(acme, *ADD, "--password-file", str(file))
    assert stored(acme).password == PASSWORD

    acme_json(acme, "remote", "edit", "acme-eu", "--password-stdin", input=f" {PASSWORD} {ending}")
    assert stored(acme).password == f" {PASSWORD} "


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe", b"x" * 101, b"x" * 5000, b"two\nlines", b"tab\there"])
def test_a_password_that_cannot_be_one_is_refused_without_being_told(acme, tmp_path, content):
    file = tmp_path / "password"
    file.write_bytes(content)

    (mistake,) = acme_json(acme, *ADD, "--password-file", str(file), status=1)["error"]["mistakes"]

    assert mistake.startswith("password: ")
    assert not content or content.decode("latin-1").strip("\n") not in mistake or content == b"\n"


def test_a_key_with_a_passphrase_is_read_and_kept_without_it(acme, tmp_path):
    file = key_file(tmp_path, PASSPHRASE)
    phrase = tmp_path / "phrase"
    phrase.write_text(PASSPHRASE + "\n")

    missing = acme_json(acme, *ADD, "--key-file", str(file), status=1)["error"]["mistakes"]
    wrong = acme_json(acme, *ADD, "--key-file", str(file), "--passphrase-stdin", input="no", status=1)["error"][
        "mistakes"
    ]
    made = acme_json(acme, *ADD, "--key-file", str(file), "--passphrase-file", str(phrase))

    assert "--passphrase-stdin" in missing[0] and len(missing) == len(wrong) == 1
    public = Path(f"{file}.pub").read_text().split()[:2]
    assert made["public_key"].split()[:2] == public
    again = tmp_path / "again"
    again.write_bytes(stored(acme).private_key)
    again.chmod(0o600)
    told = subprocess.run(["ssh-keygen", "-y", "-f", again], capture_output=True, text=True, check=True).stdout
    assert told.split()[:2] == public


def test_a_key_can_be_made_with_the_remote(acme):
    made = acme_json(acme, *ADD, "--generate-key", "ed25519")

    assert made["public_key"].startswith("ssh-ed25519 ") and made["public_key"].endswith(" acme-eu")
    assert made["password"] is False
    assert stored(acme).private_key.startswith(b"-----BEGIN OPENSSH")
    assert made["public_key"] in acme.run("remote", "show", "acme-eu").out


def test_host_keys_come_as_text_in_files_and_as_ssh_keyscan_prints_them(acme, host_keys, tmp_path):
    scanned = tmp_path / "scanned"
    lines = [f"sftp.acme.example {one.read_text()}" for one in host_keys]
    scanned.write_text("# sftp.acme.example:22 SSH-2.0-OpenSSH_9.2\n" + "".join(lines))

    made = added(acme, "--host-key", host_keys[0].read_text(), "--host-key", str(scanned))

    assert [one["fingerprint"] for one in made["host_keys"]] == [fingerprint(blob(one)) for one in host_keys]


def test_any_host_key_needs_its_word_and_is_warned_of_wherever_it_shows(acme, host_keys):
    assert "whoever answers" in acme_json(acme, *ADD, "--any-host-key", "yes", status=1)["error"]["mistakes"][-1]
    both = ("--any-host-key", "yes-i-know", "--host-key", str(host_keys[0]))
    assert "exclude" in acme_json(acme, *ADD, *both, status=1)["error"]["mistakes"][-1]

    added(acme, "--any-host-key", "yes-i-know")

    for words in (("remote", "list"), ("remote", "show", "acme-eu"), ("remote", "edit", "acme-eu", "--port", "23")):
        ran = acme.run(*words)
        assert ran.status == 0 and "WARNING" in ran.out and "any host key is taken" in ran.out
    assert "INSECURE" in acme.run("remote", "list").out
    assert "acme-eu: any host key is taken" in acme.run("check").out
    assert len(acme.json("remote", "show", "acme-eu")["warnings"]) == 1
    pinned = acme.json("remote", "edit", "acme-eu", "--host-key", str(host_keys[0]))
    assert (pinned["any_host_key"], pinned["warnings"]) == (False, [])


def test_a_remote_without_a_host_key_is_warned_of(acme):
    assert "no host key is trusted" in added(acme)["warnings"][0]


def test_only_what_is_given_is_changed(acme, host_keys):
    before = added(acme, "--host-key", str(host_keys[0]), "--marker", "x.done", "--temporary-names")

    after = acme.json("remote", "edit", "acme-eu", "--marker", "", "--final-names", "--port", "2022")

    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"marker", "temporary_names", "port", "changed_at"}
    assert stored(acme).password == PASSWORD
    assert acme.json("remote", "edit", "acme-eu", status=2)["error"]["code"] == "usage"
    assert len(acme.json("remote", "edit", "acme-eu", "--port", "0", "--host", "", status=1)["error"]["mistakes"]) == 2


def test_host_keys_that_are_given_take_the_place_of_the_old_ones(acme, host_keys):
    added(acme, "--host-key", str(host_keys[0]))

    after = acme.json("remote", "edit", "acme-eu", "--host-key", str(host_keys[1]))

    assert [one["fingerprint"] for one in after["host_keys"]] == [fingerprint(blob(host_keys[1]))]


def test_a_new_host_with_the_old_host_keys_is_pointed_out(acme, host_keys):
    added(acme, "--host-key", str(host_keys[0]))

    assert "those of sftp.acme.example" in acme.run("remote", "edit", "acme-eu", "--host", "203.0.113.9").out


def test_a_password_can_be_taken_away_and_without_any_way_in_the_remote_is_disabled(acme):
    added(acme)

    bare = acme.json("remote", "edit", "acme-eu", "--no-password")
    assert (bare["password"], bare["enabled"], bare["disabled_reason"]) == (False, False, "credentials")
    assert stored(acme) == RemoteSecrets()
    after = acme.json("remote", "edit", "acme-eu", "--no-password", "--generate-key", "ed25519")

    assert (after["password"], bool(after["public_key"])) == (False, True)
    assert stored(acme).password is None
    assert acme.json("remote", "edit", "acme-eu", "--no-key", "--generate-key", "ed25519", status=2)
    both = acme_json(acme, "remote", "edit", "acme-eu", "--password-stdin", input=PASSWORD)
    assert (both["password"], bool(both["public_key"])) == (True, True)
    assert acme.json("remote", "edit", "acme-eu", "--no-key")["public_key"] == ""
    assert stored(acme).private_key is None


def test_a_generated_key_shows_its_public_half_and_seals_the_other(acme, tmp_path):
    added(acme)
    out = tmp_path / "acme.pub"

    made = acme.json("remote", "keygen", "acme-eu", "--type", "ed25519", "--out", str(out))

    assert out.read_text() == made["public_key"] + "\n"
    assert made["fingerprint"] == fingerprint(public_blob(out.read_text()))
    assert stored(acme).password == PASSWORD
    assert acme.json("remote", "show", "acme-eu")["public_key"] == made["public_key"]
    assert acme.json("remote", "keygen", "acme-eu", "--out", str(out), status=1)["error"]["code"] == "conflict"
    assert acme.json("remote", "show", "acme-eu")["public_key"] == made["public_key"]


def test_a_key_is_replaced_only_after_a_yes(acme):
    first = acme_json(acme, *ADD, "--generate-key", "ed25519")["public_key"]

    assert acme_json(acme, "remote", "keygen", "acme-eu", "--type", "ed25519", input="no\n", status=1)
    assert acme.json("remote", "show", "acme-eu")["public_key"] == first
    ran = acme.run("remote", "keygen", "acme-eu", "--type", "ed25519", input="yes\n")

    assert ran.status == 0 and first not in ran.out and "ssh-ed25519 " in ran.out


def test_the_source_s_kind_of_key_is_the_default(acme):
    added(acme)

    made = acme.json("remote", "keygen", "acme-eu")["public_key"]

    assert made.startswith("ssh-rsa ") and len(public_blob(made)) > 512


@pytest.mark.parametrize("answer", [None, "", "\n", "n\n", "maybe\n"])
@pytest.mark.parametrize("command", ["disable", "enable", "remove"])
def test_nothing_happens_without_a_yes(acme, command, answer):
    before = added(acme)

    error = acme_json(acme, "remote", command, "acme-eu", input=answer, status=1)["error"]

    assert "not confirmed" in error["message"]
    assert acme.json("remote", "show", "acme-eu") == before


def test_a_remote_is_disabled_and_enabled(acme):
    added(acme)

    disabled = acme.json("remote", "disable", "acme-eu", "--yes")
    assert (disabled["enabled"], disabled["disabled_reason"]) == (False, "operator")
    assert "by an operator" in acme.run("remote", "list").out

    enabled = acme_json(acme, "remote", "enable", "acme-eu", input="y\n")
    assert (enabled["enabled"], enabled["disabled_at"]) == (True, None)


def test_a_removed_remote_leaves_nothing_of_its_secrets_in_any_file(acme, host_keys):
    acme_json(acme, *ADD, "--password-stdin", "--host-key", str(host_keys[0]), input=PASSWORD)
    (sealed,) = raw(acme, "SELECT sealed FROM remote_secrets")

    gone = acme.json("remote", "remove", "acme-eu", "--yes")

    assert gone == {"remote": "acme-eu", "removed": True, "given_up": 0}
    assert acme.json("remote", "list") == []
    assert acme.json("remote", "show", "acme-eu", status=3)["error"]["code"] == "not_found"
    files = b"".join(one.read_bytes() for one in acme.state.glob("catalog.sqlite*"))
    assert sealed[:40] not in files and sealed[-40:] not in files
    assert blob(host_keys[0])[-32:] not in files


@pytest.mark.parametrize("command", ["show", "edit", "keygen", "enable", "disable", "remove"])
def test_a_remote_that_is_not_there_is_not_found(acme, command):
    words = ["--port", "23"] if command == "edit" else []

    assert acme.json("remote", command, "nobody", *words, status=3)["error"]["code"] == "not_found"


def test_a_remote_is_not_made_twice_nor_for_nobody(acme):
    added(acme)

    assert acme_json(acme, *ADD, "--generate-key", "ed25519", status=1)["error"]["code"] == "conflict"
    nobody = ("remote", "add", "nobody", "x", "--host", "a.example", "--username", "u", "--generate-key", "ed25519")
    assert acme_json(acme, *nobody, status=3)["error"]["code"] == "not_found"
    assert acme.json("remote", "list", "nobody", status=3)["error"]["code"] == "not_found"


def test_the_sealing_key_is_changed_and_the_old_one_forgotten(acme):
    added(acme)
    file = acme.state / "keys" / "secrets.key"
    old = file.read_bytes()

    told = acme.json("secrets", "rotate")

    assert (told["sealed"], told["retired"]) == (1, 1)
    assert file.read_bytes() != old and len(file.read_bytes().splitlines()) == 1
    assert file.stat().st_mode & 0o777 == 0o600
    assert stored(acme).password == PASSWORD


def test_a_change_of_the_sealing_key_that_was_interrupted_is_ended_by_the_next(acme):
    added(acme)
    file = acme.state / "keys" / "secrets.key"
    file.write_bytes(Fernet.generate_key() + b"\n" + file.read_bytes())

    assert "not finished" in acme.run("check").out
    assert acme.json("secrets", "rotate")["retired"] == 2
    assert stored(acme).password == PASSWORD


def test_a_lost_sealing_key_is_told_and_nothing_is_overwritten(acme):
    added(acme)
    file = acme.state / "keys" / "secrets.key"
    old = file.read_bytes()
    file.write_bytes(Fernet.generate_key() + b"\n")

    error = acme.json("secrets", "rotate", status=1)["error"]
    found = acme.json("check", status=1)["findings"]

    assert error["code"] == "failed" and "acme-eu" in error["message"]
    assert ["acme-eu" in one["text"] for one in found if one["what"] == "remote" and one["level"] == "fail"] == [True]
    file.write_bytes(old)
    assert stored(acme).password == PASSWORD


def at_a_terminal(acme: Installation, words: list[str], answers: list[str]) -> tuple[int, str]:
    """Run the command as somebody who types: status, and all that the terminal showed."""
    program = [sys.executable, "-c", "from conch_pipe.cli import main; main()", "--config", str(acme.config), *words]
    child, terminal = pty.fork()
    if child == 0:
        os.execv(program[0], program)
    shown, waiting = b"", list(answers)
    while True:
        try:
            data = os.read(terminal, 65_536)
        except OSError:  # EIO: it has ended
            break
        if not data:
            break
        shown += data
        if waiting and shown.rstrip(b" ").endswith((b":", b"]")):
            os.write(terminal, waiting.pop(0).encode() + b"\n")
    os.close(terminal)
    assert waiting == [], shown
    acme.said.append(shown.decode())
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), shown.decode()


def test_at_a_terminal_a_password_is_asked_for_and_not_seen(acme):
    status, shown = at_a_terminal(acme, list(ADD), [PASSWORD])

    assert status == 0, shown
    assert "Password" in shown
    assert stored(acme).password == PASSWORD


def test_at_a_terminal_a_passphrase_is_asked_for_when_the_key_needs_it(acme, tmp_path):
    file = key_file(tmp_path, PASSPHRASE)

    status, shown = at_a_terminal(acme, [*ADD, "--key-file", str(file)], [PASSPHRASE])

    assert status == 0, shown
    assert stored(acme).private_key
    assert at_a_terminal(acme, ["remote", "remove", "acme-eu"], ["yes"])[0] == 0
