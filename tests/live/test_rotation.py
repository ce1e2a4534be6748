"""A host key is changed under OpenSSH's client that learns keys by itself, as the operator's guide tells it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.crash.installation import wait_for
from tests.live.clients.base import Outcome, Target, run
from tests.live.clients.openssh import Sftp, password
from tests.live.conftest import had
from tests.live.service import Service

pytestmark = pytest.mark.live


class Partner:
    """OpenSSH's client with a known_hosts file of its own, which never asks and never trusts a new key."""

    def __init__(self, service: Service, scratch: Path) -> None:
        had(Sftp())
        self.service = service
        self.scratch = scratch
        self.known = scratch / "known_hosts"

    @property
    def target(self) -> Target:
        return self.service.target(self.scratch)

    def knows(self, key: Path) -> Partner:
        """The public key of a private one, and no other."""
        shown = subprocess.run(["ssh-keygen", "-y", "-f", key], check=True, capture_output=True, text=True).stdout
        self.known.write_text(f"[127.0.0.1]:{self.service.port} {shown}")
        return self

    def known_keys(self) -> set[str]:
        """Fingerprints."""
        shown = subprocess.run(["ssh-keygen", "-lf", self.known], check=True, capture_output=True, text=True).stdout
        return {line.split()[1] for line in shown.splitlines()}

    def put(self, local: Path, name: str) -> Outcome:
        target = self.target
        batch = target.file("batch", f'put "{local}" "/orgTransactions/{name}"\n')
        options = {"UserKnownHostsFile": self.known, "GlobalKnownHostsFile": "/dev/null", "UpdateHostKeys": "yes",
                   "StrictHostKeyChecking": "yes", "BatchMode": "no", "PubkeyAuthentication": "no",
                   "NumberOfPasswordPrompts": 1}  # fmt: skip
        words = [f"-o{option}={value}" for option, value in options.items()]
        program = shutil.which("sftp") or "sftp"  # that of the tests' own PATH keeps no host keys
        command = ["sshpass", "-e", program, "-F", "/dev/null", "-P", str(target.port), *words, "-b", str(batch)]
        return run(target, [*command, f"{target.username}@{target.host}"], extra=password(target))


def restarted(service: Service, **ssh: str) -> Service:
    """Stopped and started on the same port with these settings."""
    service.stop()
    service.settings["ssh.port"] = service.port
    service.settings.update({f"ssh.{name}": value for name, value in ssh.items()})
    service.log.write_text("")
    return service.start()


def told(service: Service, event: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in service.log_text().splitlines() if line.startswith("{")]
    return [line for line in lines if line.get("event") == event]


def fingerprints(service: Service) -> dict[str, str]:
    """By file name, as ``conch-pipe host-key list`` tells them."""
    listed = json.loads(service.command("host-key", "list", "--json"))
    return {Path(one["file"]).name: one["fingerprint"] for one in listed}


def test_a_key_is_changed_for_another_of_its_kind_and_nobody_is_asked(fresh_service, files, tmp_path):
    """Announced, switched, taken away; a partner who was not there in between notices."""
    service = fresh_service({"ssh.host_keys": "keys/ed25519_old,keys/ed25519_new", "log.format": "json"})
    shown = fingerprints(service)
    old, new = shown["ed25519_old"], shown["ed25519_new"]
    keys = service.folder / "state" / "keys"
    restarted(service, retiring_host_keys="keys/ed25519_old")
    partner = Partner(service, tmp_path / "partner")
    absent = Partner(service, tmp_path / "absent")
    for one in (partner, absent):
        one.scratch.mkdir()
        one.knows(keys / "ed25519_old")

    outcome = partner.put(files.csv, "one.csv")
    assert outcome.status == 0, outcome
    assert partner.known_keys() == {old, new}
    (learnt,) = told(service, "hostkey.learnt")
    assert (learnt["client_id"], learnt["address"], learnt["host_key"]) == (partner.target.username, "127.0.0.1", new)
    assert [one["host_key"] for one in told(service, "hostkey.old")] == [old]

    restarted(service, host_keys="keys/ed25519_new,keys/ed25519_old")
    outcome = partner.put(files.csv, "two.csv")
    assert outcome.status == 0, outcome
    assert told(service, "hostkey.old") == told(service, "hostkey.learnt") == []
    assert told(service, "login.succeeded")[0]["host_key"] == new

    outcome = absent.put(files.csv, "three.csv")
    assert outcome.status != 0 and "HOST IDENTIFICATION HAS CHANGED" in outcome.said
    wait_for(lambda: "when it saw host key" in service.log_text(), "the end of the absent one's connection")
    assert told(service, "session.closed")[-1]["reason"].endswith(f"when it saw host key {new}")

    restarted(service, host_keys="keys/ed25519_new", retiring_host_keys="")
    outcome = partner.put(files.csv, "four.csv")
    assert outcome.status == 0, outcome
    assert partner.known_keys() == {new}


def test_rsa_makes_way_for_ed25519_with_nobody_asked(fresh_service, files, tmp_path):
    """With several processes, which get their settings from the one that looks after them."""
    service = fresh_service(
        {
            "ssh.host_keys": "keys/rsa,keys/ed25519",
            "ssh.retiring_host_keys": "keys/rsa",
            "ssh.algorithms_from": "192.0.2.0/24=strict-2026,127.0.0.0/8=legacy-2026",
            "log.format": "json",
            "service.processes": 2,
        }
    )
    shown = fingerprints(service)
    partner = Partner(service, tmp_path).knows(service.folder / "state" / "keys" / "rsa")

    for name in ("one.csv", "two.csv"):
        outcome = partner.put(files.csv, name)
        assert outcome.status == 0, outcome

    assert partner.known_keys() == set(shown.values())
    logins = told(service, "login.succeeded")
    assert [one["host_key"] for one in logins] == [shown["rsa"], shown["ed25519"]]
    assert [one["host_key_algorithm"] for one in logins] == ["rsa-sha2-512", "ssh-ed25519"]
    assert {one["preset"] for one in logins} == {"legacy-2026"}
    assert [one["host_key"] for one in told(service, "hostkey.old")] == [shown["rsa"]]
    assert [one["host_key"] for one in told(service, "hostkey.learnt")] == [shown["ed25519"]]

    restarted(service, host_keys="keys/ed25519", retiring_host_keys="")
    outcome = partner.put(files.csv, "three.csv")
    assert outcome.status == 0, outcome
    assert partner.known_keys() == {shown["ed25519"]}
