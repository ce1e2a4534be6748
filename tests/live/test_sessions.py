"""What a session sees and what ends it, over real sockets."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import paramiko
import pytest

from tests.live.clients import base
from tests.live.clients.libraries import SCRIPTS, Asyncssh
from tests.live.clients.openssh import Sftp
from tests.live.conftest import had
from tests.live.material import TRANSACTION_ROWS, assert_rows_are
from tests.live.operators import Program
from tests.live.service import Login
from tests.live.sessions import channel, connected, put, refused, session

pytestmark = pytest.mark.live

REVOKED_WITHIN_S = 10
IDLE_SESSIONS = 200


@pytest.fixture
def other_login(service) -> Login:
    """A credential of another organisation."""
    return service.other_organisation()


def test_a_listing_is_that_of_the_connection(target, files):
    """All channels of one connection see its uploads; another connection lists none, but STAT answers it."""
    content = files.csv.read_bytes()
    with connected(target) as first, session(target) as other:
        mine, also_mine = channel(first), channel(first)

        put(mine, "/orgTransactions/listed.csv", content)

        assert mine.listdir("/orgTransactions") == ["listed.csv"]
        assert also_mine.listdir("/orgTransactions") == ["listed.csv"]
        assert also_mine.stat("/orgTransactions/listed.csv").st_size == len(content)
        assert other.listdir("/orgTransactions") == []
        assert other.stat("/orgTransactions/listed.csv").st_size == len(content)
        assert sorted(other.listdir("/")) == ["orgShifts", "orgTransactionDetail", "orgTransactions"]


def test_two_organisations_do_not_see_each_other(service, target, other_login, tmp_path, files):
    """Neither by listing nor by STAT, and the rows belong to their own organisation."""
    theirs = service.target(tmp_path / "other", other_login)
    with session(target) as ours, session(theirs) as other:
        put(ours, "/orgTransactions/private.csv", files.csv.read_bytes())

        assert other.listdir("/orgTransactions") == []
        refused(other.stat, "/orgTransactions/private.csv")

        put(other, "/orgTransactions/private-too.csv", files.csv.read_bytes())

    verdicts = service.verdicts("private.csv", "private-too.csv")
    owners = {name: upload["organisation"] for name, upload in verdicts.items()}
    assert owners == {"private.csv": service.login.organisation, "private-too.csv": other_login.organisation}
    rows = service.rows("orgTransactions", [upload["id"] for upload in verdicts.values()])
    for upload in verdicts.values():
        assert_rows_are(rows[upload["id"]], TRANSACTION_ROWS, upload)


@pytest.mark.parametrize("over", ["the command line", "http"])
def test_a_revoked_credential_ends_its_open_session(service, other_login, tmp_path, files, over):
    """Within seconds, in the middle of a put, which leaves nothing; and nobody gets in with it again."""
    target = service.target(tmp_path / "revoked", other_login)
    with connected(target) as transport:
        file = channel(transport).open("/orgTransactions/revoked.csv", "wb")
        file.write(files.csv.read_bytes())
        file.flush()

        if over == "http":
            path = f"/api/credentials/{other_login.client_id}/revoke"
            assert Program(service).ask("POST", path)[0] == 200
        else:
            service.command("credential", "revoke", other_login.client_id)

        deadline = time.monotonic() + REVOKED_WITHIN_S
        while transport.is_active() and time.monotonic() < deadline:
            transport.join(0.1)
        assert not transport.is_active()
        file._closed = True
    with pytest.raises(paramiko.AuthenticationException), connected(target):
        pass
    assert service.named("revoked.csv") == []


def test_winscp_puts_under_a_temporary_name_and_renames(service, target, files):
    """LSTAT twice, OPEN NAME.filepart, WRITEs, CLOSE, RENAME, SETSTAT of times and permissions: one upload, by NAME."""
    final, temporary = "/orgTransactions/winscp.csv", "/orgTransactions/winscp.csv.filepart"
    with session(target) as sftp:
        refused(sftp.lstat, final)
        refused(sftp.lstat, temporary)
        put(sftp, temporary, files.csv.read_bytes())
        assert service.named("winscp.csv", "winscp.csv.filepart") == []

        sftp.rename(temporary, final)
        sftp.utime(final, (1_700_000_000, 1_700_000_000))
        sftp.chmod(final, 0o644)

        assert sftp.listdir("/orgTransactions") == ["winscp.csv"]
        refused(sftp.rename, final, "/orgTransactions/elsewhere.csv")
    upload = service.verdicts("winscp.csv")["winscp.csv"]
    assert_rows_are(service.rows("orgTransactions", [upload["id"]])[upload["id"]], TRANSACTION_ROWS, upload)
    assert service.named("winscp.csv.filepart", "elsewhere.csv") == []


def test_rclone_puts_under_a_partial_name_and_looks_from_another_connection(service, target, files):
    """rclone since 1.63: OPEN NAME.<8 hex>.partial, CLOSE, SETSTAT, STAT, posix-rename, STAT from any connection."""
    final, temporary = "/orgTransactions/rclone-new.csv", "/orgTransactions/rclone-new.csv.1a2b3c4d.partial"
    content = files.csv.read_bytes()
    with session(target) as sftp, session(target) as other:
        put(sftp, temporary, content)
        sftp.utime(temporary, (1_700_000_000, 1_700_000_000))
        assert sftp.stat(temporary).st_size == len(content)

        sftp.posix_rename(temporary, final)

        assert other.stat(final).st_size == len(content)
    assert service.verdicts("rclone-new.csv")["rclone-new.csv"]["rows"] == len(TRANSACTION_ROWS)


def test_a_temporary_name_that_is_removed_leaves_nothing(service, target, files):
    """What WinSCP does when its user gives up."""
    with session(target) as sftp:
        put(sftp, "/orgTransactions/given-up.csv.filepart", files.csv.read_bytes())

        sftp.remove("/orgTransactions/given-up.csv.filepart")

        assert sftp.listdir("/orgTransactions") == []
    assert service.named("given-up.csv", "given-up.csv.filepart") == []


def test_the_same_bytes_again_are_one_upload(service, target, files):
    """A script that lost its connection after the answer puts again: OK, and rows once."""
    for _ in range(2):
        with session(target) as sftp:
            put(sftp, "/orgTransactions/again.csv", files.csv.read_bytes())

    upload = service.verdicts("again.csv")["again.csv"]

    assert_rows_are(service.rows("orgTransactions", [upload["id"]])[upload["id"]], TRANSACTION_ROWS, upload)


def test_keys_are_exchanged_again_and_again_in_mid_upload(service, target, files):
    """OpenSSH's RekeyLimit=1M on 30 MB: the bytes arrive as sent."""
    sftp = had(Sftp())
    sftp.options = ("-oRekeyLimit=1M",)

    outcome = sftp.put(target, files.named(files.large, "rekeyed.csv"), "/orgTransactions/rekeyed.csv")

    assert outcome.status == 0, outcome
    [upload] = service.named("rekeyed.csv")
    assert (upload["bytes"], upload["sha256"]) == (files.large.stat().st_size, files.large_sha256)


def test_two_hundred_idle_sessions_are_in_nobodys_way(fresh_service, tmp_path, files):
    """They stay, and a put beside them goes through."""
    had(Asyncssh())
    allowed = IDLE_SESSIONS + 20
    service = fresh_service({"limits.per_address": allowed, "limits.per_client": allowed, "limits.login_s": 60})
    target = service.target(tmp_path / "idle")
    idle = base.start(
        target,
        [sys.executable, SCRIPTS / "idle_sessions.py", str(IDLE_SESSIONS)],
        extra=base.login(target),
        stdin=subprocess.PIPE,
    )
    try:
        assert idle.stdout.readline() == "ready\n"
        assert json.loads(service.command("status", "--json"))["ssh_port"] == service.port
        with session(target) as sftp:
            put(sftp, "/orgTransactions/beside.csv", files.csv.read_bytes())
        assert service.verdicts("beside.csv")["beside.csv"]["state"] == "COMPLETED"

        said, _ = idle.communicate("", timeout=60)

        assert said == "alive\n"
        assert idle.returncode == 0
    finally:
        idle.kill()
        idle.wait()
