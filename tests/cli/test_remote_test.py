"""``remote test`` and ``trust`` against real servers: nothing is trusted, and nothing sent, without a word."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from conch_pipe.cli.session import now
from conch_pipe.model import Pin
from conch_pipe.ssh.keys import fingerprint, public_blob
from tests.cli.conftest import NOON, Installation
from tests.live.sftp_servers import PASSWORD, USER, AsyncsshServer, PeerServer, Sshd, make_key

pytestmark = pytest.mark.live

STEPS = ["address", "connection", "host key", "login", "folder", "probe file"]


@pytest.fixture
def acme(installed, monkeypatch) -> Installation:
    """An organisation; loopback may be connected to."""
    monkeypatch.setenv("PIPE_SFTP_PUSH__NETWORKS_ALLOWED", "127.0.0.0/8")
    installed.json("org", "create", "acme")
    yield installed
    assert PASSWORD not in "".join(installed.said)


@pytest.fixture
def server(tmp_path) -> Iterator[PeerServer]:
    """A server that takes a password."""
    running = AsyncsshServer(tmp_path / "server")
    try:
        yield running.start()
    finally:
        running.stop()


@pytest.fixture
def remote(acme, server) -> str:
    """It, with its password and without a host key."""
    words = ("--host", "127.0.0.1", "--port", str(server.port), "--username", USER, "--password-stdin")
    assert acme.run("remote", "add", "acme", "acme-eu", *words, input=PASSWORD).status == 0
    return "acme-eu"


def shown(server: PeerServer) -> str:
    """The fingerprint of its host key."""
    return fingerprint(blob(server))


def blob(server: PeerServer) -> bytes:
    return public_blob(Path(f"{server.host_key}.pub").read_text())


def levels(told: dict) -> dict[str, str]:
    assert [step["step"] for step in told["steps"]] == STEPS
    return {step["step"]: step["level"] for step in told["steps"]}


def pins(acme: Installation) -> list[tuple[str, str]]:
    return [(one["fingerprint"], one["origin"]) for one in acme.json("remote", "show", "acme-eu")["host_keys"]]


def another_key(acme: Installation, server: PeerServer) -> str:
    """The server gets another host key. :returns: the old one's fingerprint."""
    old = shown(server)
    server.stop()
    server.host_key = make_key(server.folder / "another_key")
    server.start()
    now(acme.catalog().remotes.edit("acme-eu", {"port": server.port}))
    return old


def test_without_a_word_the_key_is_shown_and_nothing_is_trusted_or_sent(acme, server, remote):
    told = acme.json("remote", "test", remote, status=1)
    refused = acme.run("remote", "test", remote, input="no\n")

    assert (told["ok"], told["host_key_trusted_now"]) == (False, False)
    assert list(levels(told).values()) == ["ok", "ok", "warn", "skip", "skip", "skip"]
    assert told["steps"][2]["host_key"] == shown(server)
    assert refused.status == 1
    assert shown(server) in refused.out and shown(server) in refused.err
    assert pins(acme) == []


@pytest.mark.parametrize("answer", ["yes", "y", "FINGERPRINT"])
def test_a_confirmed_key_is_trusted_and_every_step_tried(acme, server, remote, answer):
    ran = acme.run("remote", "test", remote, input=answer.replace("FINGERPRINT", shown(server)) + "\n")

    assert ran.status == 0, ran.out + ran.err
    assert pins(acme) == [(shown(server), "learnt")]
    for step in STEPS:
        assert f" {step} " in ran.out
    assert list(server.files.iterdir()) == []
    again = acme.json("remote", "test", remote)
    assert set(levels(again).values()) == {"ok"}
    assert (again["ok"], again["host_key_trusted_now"]) == (True, False)


def test_another_fingerprint_than_the_shown_one_is_no_yes(acme, server, remote):
    assert acme.run("remote", "test", remote, input=f"SHA256:{'A' * 43}\n").status == 1
    assert pins(acme) == []


def test_a_script_accepts_what_is_shown_or_exactly_one_key(acme, server, remote):
    other = f"SHA256:{'A' * 43}"

    refused = acme.json("remote", "test", remote, "--accept-host-key", other, status=1)
    assert refused["error"]["code"] == "conflict" and shown(server) in refused["error"]["message"]
    assert acme.json("remote", "test", remote, "--accept-host-key", "MD5:aa:bb", status=2)["error"]["code"] == "usage"
    assert pins(acme) == []

    told = acme.json("remote", "test", remote, "--accept-host-key", shown(server))
    assert (told["ok"], told["host_key_trusted_now"]) == (True, True)
    assert pins(acme) == [(shown(server), "learnt")]


def test_a_script_may_accept_without_a_fingerprint(acme, server, remote):
    assert acme.json("remote", "test", remote, "--accept-host-key")["host_key_trusted_now"] is True


def test_accepting_never_replaces_a_trusted_key(acme, server, remote):
    acme.json("remote", "test", remote, "--accept-host-key")
    old = another_key(acme, server)

    told = acme.json("remote", "test", remote, "--accept-host-key", status=1)
    people = acme.run("remote", "test", remote, "--accept-host-key", shown(server), input="yes\n")

    assert levels(told)["host key"] == "fail" and levels(told)["login"] == "skip"
    assert told["steps"][2]["status"] == "HOST_KEY_MISMATCH"
    assert people.status == 1 and "remote trust acme-eu" in people.out
    assert old in people.out and shown(server) in people.out
    assert [one for one, _ in pins(acme)] == [old]


def test_a_wrong_password_is_told_in_the_words_of_the_push_log(acme, server, remote):
    acme.json("remote", "test", remote, "--accept-host-key")
    assert acme.run("remote", "edit", remote, "--password-stdin", input="wrong").status == 0

    ran = acme.run("remote", "test", remote)

    assert ran.status == 1 and "fail" in ran.out and "SFTP_LOGIN_FAILED" in ran.out


def test_a_missing_folder_is_told(acme, server, remote):
    acme.json("remote", "test", remote, "--accept-host-key")
    acme.json("remote", "edit", remote, "--folder", "not/there")

    told = acme.json("remote", "test", remote, status=1)

    assert told["steps"][4]["status"] == "INCORRECT_SFTP_FOLDER"


def test_a_private_address_that_the_settings_do_not_allow_is_not_connected_to(acme, server, remote, monkeypatch):
    monkeypatch.delenv("PIPE_SFTP_PUSH__NETWORKS_ALLOWED")

    told = acme.json("remote", "test", remote, status=1)

    assert levels(told)["address"] == "fail" and "networks_allowed" in told["steps"][0]["words"]
    assert "networks_allowed" in told["warnings"][-1]


def test_nobody_listening_is_told(acme, server, remote):
    server.stop()

    told = acme.json("remote", "test", remote, status=1)

    assert (told["steps"][1]["status"], told["steps"][1]["reason"]) == ("SFTP_CONNECTION_TIMEOUT", "refused")


def test_any_host_key_is_warned_of(acme, server, remote):
    acme.json("remote", "edit", remote, "--any-host-key", "yes-i-know")

    ran = acme.run("remote", "test", remote)

    assert ran.status == 0 and "WARNING: any host key is taken" in ran.out
    assert pins(acme) == []


def test_a_changed_key_is_trusted_after_a_yes_in_place_of_the_old_one(acme, server, remote):
    acme.json("remote", "test", remote, "--accept-host-key")
    old = another_key(acme, server)

    assert acme.run("remote", "trust", remote, input="\n").status == 1
    assert [one for one, _ in pins(acme)] == [old]
    ran = acme.run("remote", "trust", remote, input="yes\n")

    assert ran.status == 0 and old in ran.out and shown(server) in ran.out
    assert pins(acme) == [(shown(server), "trusted")]
    assert acme.json("remote", "test", remote)["ok"] is True


def test_a_changed_key_is_trusted_by_its_exact_fingerprint_and_the_old_one_kept_if_wanted(acme, server, remote):
    acme.json("remote", "test", remote, "--accept-host-key")
    old = another_key(acme, server)

    wrong = acme.json("remote", "trust", remote, "--fingerprint", old.swapcase().replace("sha256", "SHA256"), status=1)
    assert wrong["error"]["code"] == "conflict"
    assert acme.json("remote", "trust", remote, "--fingerprint", old[:20], status=2)["error"]["code"] == "usage"
    acme.json("remote", "trust", remote, "--fingerprint", shown(server), "--keep-old")

    assert [one for one, _ in pins(acme)] == [old, shown(server)]


def test_the_key_that_disabled_a_remote_is_trusted_without_a_connection_and_enables_it(acme, server, remote):
    catalog = acme.catalog()
    now(catalog.remotes.set_pins(remote, [Pin(public_blob(make_public(server)), NOON, "given")]))
    disabled(acme, blob(server))
    assert acme.json("remote", "show", remote)["refused_host_key"] == shown(server)
    assert "remote trust acme-eu" in acme.run("remote", "list").out
    server.stop()

    after = acme.json("remote", "trust", remote, "--fingerprint", shown(server))

    assert (after["enabled"], after["refused_host_key"]) == (True, None)
    assert [one["fingerprint"] for one in after["host_keys"]] == [shown(server)]


def test_a_remote_that_took_any_key_takes_one_once_it_is_trusted(acme, server, remote):
    acme.json("remote", "edit", remote, "--any-host-key", "yes-i-know")

    after = acme.json("remote", "trust", remote, "--fingerprint", shown(server))

    assert (after["any_host_key"], after["warnings"]) == (False, [])
    acme.json("remote", "edit", remote, "--any-host-key", "yes-i-know")
    assert acme.json("remote", "trust", remote, "--fingerprint", shown(server))["any_host_key"] is False
    assert pins(acme) == [(shown(server), "trusted")]


def test_a_key_that_is_trusted_already_needs_no_trust(acme, server, remote):
    acme.json("remote", "test", remote, "--accept-host-key")

    assert acme.json("remote", "trust", remote, "--fingerprint", shown(server), status=1)["error"]["code"] == "conflict"


def test_of_several_trusted_keys_the_one_that_is_shown_can_be_left_alone(acme, server, remote):
    other = Path(f"{make_key(server.folder / 'yet_another')}.pub")
    acme.json("remote", "edit", remote, "--host-key", str(other), "--host-key", f"{server.host_key}.pub")

    acme.json("remote", "trust", remote, "--fingerprint", shown(server))

    assert pins(acme) == [(shown(server), "given")]


def test_no_key_is_trusted_when_none_can_be_seen(acme, server, remote):
    server.stop()

    assert acme.json("remote", "trust", remote, status=1)["error"]["code"] == "failed"


@pytest.mark.parametrize("command", ["test", "trust"])
def test_a_remote_that_is_not_there_is_not_found(acme, command):
    assert acme.json("remote", command, "nobody", status=3)["error"]["code"] == "not_found"


def test_a_generated_key_logs_in_when_the_customer_has_installed_it(acme, tmp_path):
    if Sshd.missing():
        pytest.skip(Sshd.missing())
    server = Sshd(tmp_path / "sshd")
    words = ("--host", "127.0.0.1", "--username", server.user, "--folder", str(server.files))
    acme.json("remote", "add", "acme", "acme-us", *words, "--generate-key", "ed25519")
    server.key = tmp_path / "installed"
    acme.json("remote", "keygen", "acme-us", "--yes", "--type", "ed25519", "--out", f"{server.key}.pub")
    try:
        server.start()
        acme.json("remote", "edit", "acme-us", "--port", str(server.port), "--host-key", f"{server.host_key}.pub")

        told = acme.json("remote", "test", "acme-us")
    finally:
        server.stop()

    assert told["ok"] and os.listdir(server.files) == []


def make_public(server: PeerServer) -> str:
    return Path(f"{make_key(server.folder / 'yet_another')}.pub").read_text()


def disabled(acme: Installation, refused: bytes) -> None:
    """As an attempt leaves it that met another host key."""
    import sqlite3

    with sqlite3.connect(acme.state / "catalog.sqlite") as connection:
        connection.execute(
            "UPDATE remotes SET enabled = 0, disabled_reason = 'host_key', refused_key = ?, disabled_at = changed_at",
            (refused,),
        )
    connection.close()
