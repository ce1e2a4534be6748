"""The presets of algorithms with real clients."""

from __future__ import annotations

import pytest

from tests.crash.installation import wait_for
from tests.live.clients.openssh import Sftp
from tests.live.conftest import had
from tests.live.sessions import put, session
from tests.live.test_rotation import told

pytestmark = pytest.mark.live


class Older(Sftp):
    """As before OpenSSH 9.9."""

    options = ("-oKexAlgorithms=curve25519-sha256",)


class Oldest(Sftp):
    """As before OpenSSH 6.5."""

    options = ("-oKexAlgorithms=ecdh-sha2-nistp256,diffie-hellman-group14-sha1", "-oCiphers=aes128-ctr")


def test_strict_takes_paramiko_and_tells_what_an_older_client_lacks(fresh_service, files, tmp_path):
    older = had(Older())
    service = fresh_service({"ssh.algorithms": "strict-2026", "log.format": "json"})
    target = service.target(tmp_path / "scratch")

    with session(target) as sftp:
        put(sftp, "/orgTransactions/one.csv", files.csv.read_bytes())
    outcome = older.put(target, files.csv, "/orgTransactions/two.csv")

    assert outcome.status != 0
    (login,) = told(service, "login.succeeded")
    assert (login["exchange"], login["strict"]) == ("mlkem768x25519-sha256", True)
    assert login["cipher"].startswith("aes")
    (disagreed,) = wait_for(lambda: told(service, "session.disagreed"), "the event")
    assert (disagreed["what"], disagreed["server"]) == ("key exchange", "mlkem768x25519-sha256")
    assert disagreed["client"].startswith("curve25519-sha256")
    assert disagreed["banner"].startswith("SSH-2.0-OpenSSH_")


def test_an_old_partner_gets_in_by_an_exception_for_his_address(fresh_service, files, tmp_path):
    oldest = had(Oldest())
    service = fresh_service({"ssh.algorithms_from": "127.0.0.0/8=legacy-2026", "log.format": "json"})

    outcome = oldest.put(service.target(tmp_path / "scratch"), files.csv, "/orgTransactions/one.csv")

    assert outcome.status == 0, outcome
    (login,) = told(service, "login.succeeded")
    assert (login["preset"], login["exchange"], login["cipher"]) == ("legacy-2026", "ecdh-sha2-nistp256", "aes128-ctr")
    assert login["mac"] == "hmac-sha2-256-etm@openssh.com"
