"""What ssh-audit, which partners' security teams run, says of the server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.live

PROGRAM = Path(sys.executable).parent / "ssh-audit"


@pytest.fixture
def port() -> Iterator[int]:
    """A server of our own, over a tree in memory."""
    command = [sys.executable, "-m", "tests.ssh.memory", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        word, number = server.stdout.readline().split()
        assert word == "PORT"
        yield int(number)
        server.terminate()


def test_ssh_audit_finds_nothing_to_fail(port):
    """Stock Conch fails for SHA-1, MD5, CBC, nist curves and ssh-rsa."""
    command = [PROGRAM, "-j", "--skip-rate-test", "-p", str(port), "127.0.0.1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)

    report = json.loads(done.stdout)
    failures = [
        (kind, algorithm["algorithm"], algorithm["notes"]["fail"])
        for kind in ("kex", "key", "enc", "mac")
        for algorithm in report[kind]
        if algorithm["notes"].get("fail")
    ]
    assert failures == []
    assert done.returncode in (0, 2), done.stdout  # 2: warnings only
    assert {algorithm["algorithm"] for algorithm in report["key"]} == {"ssh-ed25519", "rsa-sha2-512", "rsa-sha2-256"}
    assert report["banner"]["software"] == "pipe-sftp"
