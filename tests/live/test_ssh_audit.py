"""What ssh-audit, which partners' security teams run, says of the server under each preset.

It offers AES-GCM, so a server that answers it shows nothing else of its ciphers: these servers do not wait for it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from conch_pipe.ssh.transport.algorithms import SERVER

pytestmark = pytest.mark.live

PROGRAM = Path(sys.executable).parent / "ssh-audit"
LIMIT = 2**20
KINDS = ("kex", "key", "enc", "mac")
HOST_KEYS = {"ssh-ed25519", "rsa-sha2-512", "rsa-sha2-256"}
# What OpenSSH's own defaults are warned of, too: here for clients that have nothing better.
NOT_POST_QUANTUM = "does not provide protection against post-quantum attacks"
FALL_BACKS = {
    ("curve25519-sha256", NOT_POST_QUANTUM),
    ("curve25519-sha256@libssh.org", NOT_POST_QUANTUM),
    ("hmac-sha2-256", "using encrypt-and-MAC mode"),
    ("hmac-sha2-512", "using encrypt-and-MAC mode"),
}


@pytest.fixture
def server() -> Iterator[Callable[[str], int]]:
    """A function that starts a server with a preset, over a tree in memory, and gives its port."""
    with ExitStack() as running:

        def start(preset: str) -> int:
            command = [sys.executable, "-m", "tests.ssh.memory", "0", str(LIMIT), preset]
            process = running.enter_context(
                subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            )
            running.callback(process.terminate)
            assert process.stdout is not None
            word, number = process.stdout.readline().split()
            assert word == "PORT"
            return int(number)

        yield start


def audit(port: int, *options: str) -> tuple[int, dict[str, Any]]:
    """Exit status (3: failures, 2: warnings) and report."""
    command = [PROGRAM, "-j", *(options or ("--skip-rate-test",)), "-p", str(port), "127.0.0.1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return done.returncode, json.loads(done.stdout)


def notes(report: dict[str, Any], level: str) -> set[tuple[str, str]]:
    """Which algorithm is told of what."""
    return {
        (algorithm["algorithm"], note)
        for kind in KINDS
        for algorithm in report[kind]
        for note in algorithm["notes"].get(level, [])
    }


def test_default_has_no_failures_and_no_warnings_but_of_fall_backs(server):
    """Stock Conch fails for SHA-1, MD5, CBC, nist curves and ssh-rsa."""
    status, report = audit(server("default-2026"))

    assert notes(report, "fail") == set()
    assert notes(report, "warn") == FALL_BACKS
    assert status == 2
    assert {algorithm["algorithm"] for algorithm in report["key"]} == HOST_KEYS
    assert {algorithm["algorithm"].encode() for algorithm in report["enc"]} == set(SERVER["default-2026"].ciphers)
    assert report["banner"]["software"] == "pipe-sftp"
    assert report["cves"] == []


def test_strict_has_neither_failures_nor_warnings(server):
    status, report = audit(server("strict-2026"))

    assert notes(report, "fail") == notes(report, "warn") == set()
    assert status == 0
    assert {algorithm["algorithm"] for algorithm in report["key"]} == HOST_KEYS


def test_legacy_fails_for_the_curves_of_nist_alone(server):
    """It suspects them of a back door; they, and Diffie-Hellman, are there for partners who have nothing else."""
    _, report = audit(server("legacy-2026"))

    suspected = "using elliptic curves that are suspected as being backdoored by the U.S. National Security Agency"
    assert notes(report, "fail") == {(f"ecdh-sha2-nistp{bits}", suspected) for bits in (256, 384, 521)}
    warned = {name for name, _ in notes(report, "warn") - FALL_BACKS}
    assert {name for name in warned if not name.startswith(("ecdh-sha2-nistp", "diffie-hellman-"))} == set()


def test_a_flood_of_connections_is_throttled(server):
    """Its own test of throttling, from which its note on DHEat comes; with penalties there is none."""
    port = server("default-2026")
    command = [PROGRAM, "-n", "-p", str(port), "127.0.0.1"]

    done = subprocess.run(command, capture_output=True, text=True, timeout=120)

    assert "(nfo) Potentially insufficient connection throttling" not in done.stdout
