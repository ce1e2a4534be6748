"""``check`` without a visit: everything is looked at, and everything wrong is told in one run."""

from __future__ import annotations

import shutil
import socket
import subprocess

import pytest

from conch_pipe.cli import findings
from conch_pipe.presence import Presence
from conch_pipe.ssh.server.hostkeys import generate


@pytest.fixture(autouse=True)
def _any_port(monkeypatch):
    """Whether port 2222 of this machine is free is not what these tests are about."""
    monkeypatch.setenv("PIPE_SFTP_SSH__PORT", "0")
    monkeypatch.setenv("PIPE_SFTP_HTTP__PORT", "0")
    monkeypatch.setenv("PIPE_SFTP_DISK__FREE_BYTES", "1")
    monkeypatch.setenv("PIPE_SFTP_DISK__FREE_SHARE", "0")


def found(document, level: str) -> str:
    return "\n".join(f"{one['what']}: {one['text']}" for one in document["findings"] if one["level"] == level)


def test_a_new_installation_is_good(installed):
    told = installed.json("check")

    assert told["ok"] is True
    assert found(told, "fail") == ""
    for what in ("settings", "host key", "schemas", "catalog", "warehouse", "disk"):
        assert f"{what}: " in found(told, "ok"), what
    assert "does not run" in found(told, "warn")
    assert "SHA256:" in installed.run("check").out


def test_everything_wrong_is_told_in_one_run(installed):
    installed.json("org", "create", "acme", "--schema", "orgShifts")
    installed.json("org", "create", "idle")
    (installed.state / "keys" / "ssh_host_rsa_key").chmod(0o644)
    (installed.state / "keys" / "ssh_host_ed25519_key").write_text("no key")
    (installed.state / "schemas" / "orgShifts.toml").unlink()
    shutil.rmtree(installed.state / "spool")
    (installed.state / "spool").write_text("a file")
    (installed.state / "warehouse.duckdb").write_text("no database, long enough to be read as one" * 100)

    told = installed.json("check", status=1)

    assert told["ok"] is False
    failures, warnings = found(told, "fail"), found(told, "warn")
    assert "spool" in failures
    assert "chmod 600" in failures
    assert "ssh_host_ed25519_key: not an OpenSSH private key" in failures
    assert "acme has schemas whose files are gone: orgShifts" in failures
    assert "warehouse: " in failures
    assert "idle has no schema" in warnings and "idle cannot log in" in warnings


def test_a_second_host_key_of_a_kind_is_told_to_be_announced_only(installed, monkeypatch):
    keys = installed.state / "keys"
    generate(keys / "new", "ed25519")
    monkeypatch.setenv("PIPE_SFTP_SSH__HOST_KEYS", f"{keys}/ssh_host_ed25519_key,{keys}/new")

    told = found(installed.json("check"), "ok")

    assert "  new  announced\n" in told + "\n"
    assert "  ssh_host_ed25519_key\n" in told


def test_a_preset_that_leaves_nothing_is_found(installed, monkeypatch):
    weak = installed.state / "keys" / "ssh_host_rsa_key"
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", weak], input=b"y\n", check=True)
    monkeypatch.setenv("PIPE_SFTP_SSH__HOST_KEYS", str(weak))
    monkeypatch.setenv("PIPE_SFTP_SSH__ALGORITHMS_FROM", "192.0.2.0/24=strict-2026")

    told = found(installed.json("check", status=1), "fail")

    assert "ssh.algorithms_from: strict-2026 needs an Ed25519 host key" in told


def test_what_another_user_may_not_see_is_a_finding_and_not_the_end(installed, monkeypatch):
    def denied(state):
        raise PermissionError(13, "Permission denied", str(state / "run" / "lock"))

    monkeypatch.setattr(findings.service, "running", denied)

    told = installed.json("check", status=1)

    assert "service: Permission denied" in found(told, "fail")
    assert "catalog: " in found(told, "ok")


def test_a_schema_whose_sql_is_wrong_is_found_before_a_partner_meets_it(installed):
    draft = installed.state / "schemas" / "draft.toml"
    draft.write_text('[columns.n]\ntype = "integer"\n[derived.m]\ntype = "integer"\nsql = "n + nothing"\n')

    assert "draft: derived.m" in found(installed.json("check", status=1), "fail")


def test_a_damaged_catalog_is_found(installed):
    path = installed.state / "catalog.sqlite"
    path.write_bytes(b"x" * 8192)

    assert "catalog: " in found(installed.json("check", status=1), "fail")


def test_too_little_room_is_a_failure(installed, monkeypatch):
    monkeypatch.setenv("PIPE_SFTP_DISK__FREE_BYTES", str(1 << 60))

    assert "disk: " in found(installed.json("check", status=1), "fail")


def test_the_share_of_the_disk_counts_as_it_does_for_the_service(installed, monkeypatch):
    monkeypatch.setenv("PIPE_SFTP_DISK__FREE_SHARE", "0.9999")

    disk = installed.json("status")["disk"]

    assert disk["least_bytes"] == int(0.9999 * disk["total_bytes"])
    assert f"refused below {disk['least_bytes'] >> 20}" in found(installed.json("check", status=1), "fail")


@pytest.mark.parametrize("door", ["SSH", "HTTP"])
def test_a_port_that_is_taken_is_told_before_the_start(installed, monkeypatch, door):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv(f"PIPE_SFTP_{door}__PORT", str(taken.getsockname()[1]))
        monkeypatch.setenv(f"PIPE_SFTP_{door}__INTERFACE", "127.0.0.1")

        assert "cannot listen on 127.0.0.1" in found(installed.json("check", status=1), "fail")


def test_a_running_service_is_told_and_its_port_is_not_tried(installed, monkeypatch):
    presence = Presence(installed.state)
    presence.hold()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("PIPE_SFTP_SSH__PORT", str(port))
        presence.announce(pid=1, ssh_port=port)

        assert f"runs on port {port}" in found(installed.json("check"), "ok")
    presence.leave()


def test_too_few_open_files_are_told(installed, monkeypatch):
    monkeypatch.setattr(findings.resource, "getrlimit", lambda _: (256, 256))

    assert "256 open files" in found(installed.json("check"), "warn")


def test_the_demo_mends_its_organisation_and_needs_a_running_service(installed):
    (installed.state / "schemas" / "orgShifts.toml").unlink()

    assert installed.json("demo", status=4)["error"]["code"] == "busy"

    assert len(installed.json("org", "show", "demo")["schemas"]) == 3
    assert installed.json("credential", "list", "--all") == []
    assert installed.json("demo", "--schema", "nothing", status=3)["error"]["code"] == "not_found"


def test_a_visit_needs_an_organisation_and_a_service(installed):
    assert "no organisation demo" in found(installed.json("check", "--live", status=1), "fail")
    installed.json("org", "create", "acme", "--schema", "orgShifts")

    told = installed.json("check", "--live", "--organisation", "acme", status=1)

    assert "is not running" in found(told, "fail")
    assert installed.json("credential", "list", "acme", "--all") == []
