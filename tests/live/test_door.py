"""Who gets in at the real door: behind a proxy, and after wrong passwords."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from dataclasses import replace

import paramiko
import pytest

from tests.live.clients.openssh import Sftp
from tests.live.conftest import had
from tests.live.forwarder import forwarder
from tests.live.sessions import connected, put, session

pytestmark = pytest.mark.live

CLIENT = "198.51.100.77"
DEAR = {"limits.penalty_password_s": 8, "limits.penalty_from_s": 8}


def closed_without_a_word(port: int) -> bool:
    """Whether a connection is closed before the server's version comes."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        try:
            return sock.recv(1) == b""
        except ConnectionResetError:
            return True


def guess(target) -> None:
    """One wrong password: in these tests that is enough."""
    with pytest.raises(paramiko.AuthenticationException), connected(replace(target, password="wrong")):
        pass


def test_a_partner_behind_a_proxy_puts_a_file_and_the_log_has_his_address(fresh_service, files, tmp_path):
    service = fresh_service({"ssh.proxy_from": "127.0.0.1"})
    with forwarder(service.port, CLIENT) as port:
        target = replace(service.target(tmp_path / "scratch"), port=port)
        outcome = had(Sftp()).put(target, files.csv, "/orgTransactions/through.csv")

        assert outcome.status == 0, outcome
        service.verdicts("through.csv")
    assert f"{CLIENT} connected as" in service.log_text()
    assert f"logged in from {CLIENT}" in service.log_text()
    assert "127.0.0.1 connected" not in service.log_text()


def test_a_proxy_that_sends_no_header_gets_nothing(fresh_service):
    service = fresh_service({"ssh.proxy_from": "127.0.0.1"})

    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as sock:
        sock.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
        with suppress(ConnectionResetError):
            assert sock.recv(1) == b""

    assert "no PROXY header" in service.log_text()


@pytest.mark.parametrize("processes", [1, 2])
def test_wrong_passwords_shut_an_address_out_for_a_while_and_not_the_others(fresh_service, files, tmp_path, processes):
    """Whichever process saw them."""
    service = fresh_service({"ssh.proxy_from": "127.0.0.1", "service.processes": processes, **DEAR})
    with forwarder(service.port, CLIENT) as port, forwarder(service.port, "198.51.100.78") as other_port:
        target = replace(service.target(tmp_path / "scratch"), port=port)

        guess(target)
        assert all(closed_without_a_word(port) for _ in range(6))
        with session(replace(target, port=other_port)) as sftp:
            put(sftp, "/orgTransactions/other.csv", files.csv.read_bytes())

        deadline = time.monotonic() + 60
        while closed_without_a_word(port):
            assert time.monotonic() < deadline, "still refused"
            time.sleep(1)
        with session(target) as sftp:
            put(sftp, "/orgTransactions/again.csv", files.csv.read_bytes())
    assert 1 <= service.log_text().count(f"{CLIENT} refused: punished for") <= processes


def test_this_machine_is_exempt_unless_told_otherwise(fresh_service, tmp_path):
    service = fresh_service(DEAR)
    guess(service.target(tmp_path / "one"))
    assert not closed_without_a_word(service.port)

    strict = fresh_service({**DEAR, "ssh.penalty_exempt": "[]"})
    guess(strict.target(tmp_path / "two"))
    assert closed_without_a_word(strict.port)
