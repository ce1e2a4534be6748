"""The advice of docs/operators.md and docs/security.md, followed on a real service."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.documents import OPERATORS, SECURITY, block, commands, documents
from tests.live.service import BIN, Service

pytestmark = pytest.mark.live

SSH_AUDIT = BIN / "ssh-audit"


@pytest.fixture
def loaded(service) -> Service:
    """A service with rows."""
    service.command("check", "--live")
    return service


def test_every_query_of_a_document_can_be_asked(loaded):
    queries = [line for path in documents() for line in commands(path) if line.startswith("warehouse query")]

    answers = [loaded.query(line.partition(" query ")[2].strip("'\"")) for line in queries if "…" not in line]

    assert answers and all(answers)


def test_a_backup_of_the_running_service_is_restored_with_records_rows_and_logins(loaded, tmp_path):
    script = tmp_path / "backup.sh"
    script.write_text(block(OPERATORS, "Backup", "sh"))
    backup = tmp_path / "second" / "state"
    backup.parent.mkdir()
    state = loaded.folder / "state"
    subprocess.run(
        ["sh", script, state, backup],
        env={**os.environ, "PYTHON": sys.executable},
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip

    second = Service(backup.parent)
    second.config = backup / loaded.config.name
    try:
        second.start()

        assert second.uploads() == loaded.uploads()
        for sql in ('SELECT * FROM "_uploads" ORDER BY ALL', "SELECT * FROM orgShifts ORDER BY _upload_id, _row"):
            assert second.query(sql) == loaded.query(sql)
        found = json.loads(second.command("check", "--live", "--json"))  # puts one more file into the copied tables
        assert found["ok"]
        assert "0 orphans" in second.log_text()
        second.stop()
    finally:
        second.kill()


def test_the_backup_says_so_when_it_cannot_be_made(loaded, tmp_path):
    """A target that is there already may be the last good one."""
    script = tmp_path / "backup.sh"
    script.write_text(block(OPERATORS, "Backup", "sh"))
    target = tmp_path / "target"
    target.mkdir()

    done = subprocess.run(["sh", script, loaded.folder / "state", target], capture_output=True, timeout=60, check=False)

    assert done.returncode != 0
    assert list(target.iterdir()) == []


def test_a_host_key_made_as_the_guide_says_is_taken(tmp_path):
    if shutil.which("ssh-keygen") is None:
        pytest.skip("ssh-keygen is not installed")
    from conch_pipe.ssh.server.hostkeys import fingerprint, load

    said = next(one for one in OPERATORS.read_text().split("`") if one.startswith("ssh-keygen -q"))
    key = tmp_path / "new"
    subprocess.run(
        ["sh", "-c", said.replace("/var/lib/pipe-sftp/keys/new", str(key))], check=True, capture_output=True, timeout=30
    )

    shown = subprocess.run(["ssh-keygen", "-lf", key], check=True, capture_output=True, text=True, timeout=30).stdout

    assert fingerprint(load(Path(key))) in shown


def test_ssh_audit_says_of_our_algorithms_what_the_document_shows(service):
    if not SSH_AUDIT.exists():
        pytest.skip("ssh-audit is not installed")
    command = [SSH_AUDIT, "-j", "--skip-rate-test", "-p", str(service.port), "127.0.0.1"]

    report = json.loads(subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout)

    told = []
    for kind in ("kex", "key", "enc", "mac"):
        for one in report[kind]:
            if one["algorithm"].startswith(("ext-info", "kex-strict")):
                continue  # no algorithms, they say that the server knows RFC 8308 and strict key exchange
            name = one["algorithm"] + (f" ({one['keysize']}-bit)" if one.get("keysize") and "rsa" in str(one) else "")
            told += [(f"({kind}) {name}", warning) for warning in one["notes"].get("warn", [""])]
            assert not one["notes"].get("fail")
    shown = [
        (name.strip(), warning.strip())
        for line in block(SECURITY, "Algorithms", "").splitlines()
        if line.startswith(("(kex", "(key", "(enc", "(mac"))
        for name, _, warning in [line.partition("-- [warn] ")]
    ]
    assert told == shown
