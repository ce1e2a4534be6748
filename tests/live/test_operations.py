"""Remotes over HTTP in a real service: it connects on its own reactor, by its rules, and only while somebody asks."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conch_pipe.ssh.keys import fingerprint, public_blob
from tests.live import operators
from tests.live.service import Service, running
from tests.live.sftp_servers import PASSWORD, USER, AsyncsshServer, PeerServer

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def service(tmp_path_factory) -> Iterator[Service]:
    """One that may connect to loopback; at the end it must stop well and have told no secret."""
    settings = {"push.networks_allowed": "127.0.0.0/8", "push.connect_s": 120}
    with running(tmp_path_factory.mktemp("operations"), settings) as service:
        service.secrets.add(PASSWORD)
        service.command("org", "create", "acme")
        yield service


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[PeerServer]:
    """A customer's."""
    running = AsyncsshServer(tmp_path_factory.mktemp("server"))
    try:
        yield running.start()
    finally:
        running.stop()


class Program(operators.Program):
    """Adds remotes."""

    def add(self, name: str, port: int, **fields: Any) -> None:
        form = {"organisation": "acme", "name": name, "host": "127.0.0.1", "username": USER, "password": PASSWORD}
        assert self.ask("POST", "/api/remotes", port=port, **form | fields)[0] == 201


@pytest.fixture(scope="module")
def program(service) -> Program:
    return Program(service)


def test_a_remote_is_added_looked_at_trusted_and_tested(program, server):
    program.add("acme-eu", server.port)
    shown = fingerprint(public_blob(Path(f"{server.host_key}.pub").read_text()))

    _, first = program.ask("POST", "/api/remotes/acme-eu/test")
    refused = program.ask("POST", "/api/remotes/acme-eu/trust", fingerprint="SHA256:" + "A" * 43)
    trusted = program.ask("POST", "/api/remotes/acme-eu/trust", fingerprint=shown)
    _, second = program.ask("POST", "/api/remotes/acme-eu/test")

    assert (first["ok"], first["steps"][2]["hostKey"]) == (False, shown)
    assert (refused[0], refused[1]["error"]["shown"]) == (409, shown)
    assert (trusted[0], [one["fingerprint"] for one in trusted[1]["hostKeys"]]) == (200, [shown])
    assert second["ok"] is True, second
    assert list(server.files.iterdir()) == []


def test_a_connection_is_closed_when_nobody_waits_for_the_test_any_more(program):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(30)
        program.add("silent", silent.getsockname()[1])
        asking = program.start("POST", "/api/remotes/silent/test")
        connection, _ = silent.accept()
        with connection:
            connection.settimeout(30)
            assert program.ask("POST", "/api/remotes/silent/test")[0] == 409

            asking.close()

            with contextlib.suppress(ConnectionResetError):
                while connection.recv(65_536):  # its greeting, and then the end, long before any limit
                    pass


def test_keys_of_both_kinds_are_made_while_others_are_answered(program):
    program.add("keys", 22)

    rsa = program.start("POST", "/api/remotes/keys/key", type="rsa-4096")
    assert program.ask("GET", "/api/remotes/keys")[0] == 200
    answer = rsa.getresponse()
    rsa_key = json.load(answer)["publicKey"]
    rsa.close()

    assert answer.status == 200 and rsa_key.startswith("ssh-rsa ")
    assert program.ask("POST", "/api/remotes/keys/key", type="ed25519")[1]["publicKey"].startswith("ssh-ed25519 ")
