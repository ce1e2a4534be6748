"""The command beside the real service: status, the visit of ``check --live``, the demo."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from conch_pipe.ssh.server import hostkeys

BIN = Path(sys.executable).parent
pytestmark = pytest.mark.live


class Service:
    """An installation with its service, and the command as a program of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "state" / "pipe-sftp.toml"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PIPE_SFTP_")}
        self.environment = kept | {
            "PIPE_SFTP_SSH__PORT": "0",
            "PIPE_SFTP_HTTP__PORT": "0",
            "PIPE_SFTP_SSH__INTERFACE": "127.0.0.1",
        }
        self.made = json.loads(self.run("init", str(folder / "state"), "--demo", "--json"))
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [str(BIN / "twistd"), "-n", "--pidfile=", "pipe-sftp", "--config", str(self.config)],
                env=self.environment,
                stdout=log,
                stderr=log,
                cwd=folder,
            )

    def run(self, *words: str, status: int = 0) -> str:
        """Standard output of the command."""
        configured = ("--config", str(self.config)) if self.config.exists() else ()
        done = subprocess.run(
            [str(BIN / "conch-pipe"), *configured, *words],
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=90,
        )
        assert done.returncode == status, done.stdout + done.stderr + self.log()
        return done.stdout

    def log(self) -> str:
        return (self.folder / "log").read_text() if (self.folder / "log").exists() else ""


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    one = Service(tmp_path_factory.mktemp("service"))
    try:
        one.run("status", "--wait", "30")
        yield one
    finally:
        one.process.terminate()
        one.process.wait(60)
    assert one.made["client_secret"] not in one.log()


def findings(document: dict, level: str) -> str:
    return "\n".join(one["text"] for one in document["findings"] if one["level"] == level)


def test_status_tells_the_port_that_was_picked(service):
    status = json.loads(service.run("status", "--json"))

    assert status["running"] is True
    assert status["pid"] == service.process.pid
    assert status["ssh_port"] > 0


def test_a_visit_shows_what_a_partner_would_see_and_leaves_no_way_in(service):
    for _ in range(2):
        told = json.loads(service.run("check", "--live", "--json"))

    good = findings(told, "ok")
    assert "logged in" in good
    assert "the root folder shows orgShifts, orgTransactionDetail, orgTransactions" in good
    assert "3 rows loaded" in good
    credentials = json.loads(service.run("credential", "list", "demo", "--json"))
    assert [one["label"] for one in credentials] == ["demo"]
    every = json.loads(service.run("credential", "list", "demo", "--all", "--json"))
    assert [one["label"] for one in every] == ["demo", "passing: check --live"]  # one, however many visits
    assert every[1]["secrets"] == []
    uploads = json.loads(service.run("upload", "list", "--json"))
    assert {one["client_id"] for one in uploads} == {every[1]["client_id"]}


def test_a_visit_does_not_log_in_to_a_server_with_another_host_key(service, tmp_path):
    state = service.config.parent
    shutil.move(state / "keys", tmp_path / "keys")
    (state / "keys").mkdir()
    for kind in ("ed25519", "rsa"):
        hostkeys.generate(state / "keys" / f"ssh_host_{kind}_key", kind)
    logins = service.log().count("logged in")
    try:
        told = json.loads(service.run("check", "--live", "--json", status=1))
    finally:
        shutil.rmtree(state / "keys")
        shutil.move(tmp_path / "keys", state / "keys")

    assert "another host key" in findings(told, "fail")
    assert service.log().count("logged in") == logins


@pytest.mark.parametrize("schema", ["orgShifts", "orgTransactions"])
def test_the_demo_shows_the_rows_a_file_became(service, schema):
    told = json.loads(service.run("demo", "--schema", schema, "--rows", "4", "--json"), parse_float=Decimal)

    assert told["organisation"] == "demo"
    assert told["upload"]["state"] == "COMPLETED"
    assert [row["_row"] for row in told["rows"]] == [1, 2, 3, 4]
    listed = json.loads(service.run("upload", "list", "--schema", schema, "--json"))
    assert told["upload"]["id"] in [one["id"] for one in listed]


def test_a_second_service_on_the_same_state_is_refused(service):
    second = subprocess.run(
        [str(BIN / "twistd"), "-n", "--pidfile=", "pipe-sftp", "--config", str(service.config)],
        env=service.environment,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=service.folder,
    )

    assert second.returncode == 5
    assert "another service runs" in second.stdout + second.stderr
    assert json.loads(service.run("status", "--json"))["pid"] == service.process.pid


def test_following_shows_an_upload_and_ends_with_ctrl_c(service):
    following = subprocess.Popen(
        [str(BIN / "conch-pipe"), "--config", str(service.config), "upload", "list", "--follow"],
        env=service.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    service.run("demo", "--rows", "1")

    assert "orgShifts/sample-" in following.stdout.readline()
    following.send_signal(signal.SIGINT)
    assert following.wait(10) == 0
