"""The tour of the README through a recording's way, done as a reader does it."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator

import pytest

from tests.docs.documents import ROOT, block
from tests.live import pushing
from tests.live.push_servers import WatchedServer
from tests.live.service import BIN, Service, running

pytestmark = pytest.mark.live

README = ROOT / "README.md"
HEADING = "A recording on its way"
CUSTOMER = re.compile(r"--addr 127\.0\.0\.1:(\d+) --user (\S+) --pass (\S+)")
# What is another one each time.
VARYING = (
    r"SHA256:[\w+/]{43}",
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    r"SSH-2\.0-\S+",
    r"logged in as pipe; .*",
)


class Customer(WatchedServer):
    """What rclone is in the README."""

    user, password = "pipe", "secret"


@pytest.fixture
def customer(tmp_path) -> Iterator[Customer]:
    made = Customer(tmp_path / "customer")
    (made.files / "in").mkdir()
    with made:
        yield made


@pytest.fixture
def service(tmp_path) -> Iterator[Service]:
    """With a state folder where the reader's is."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    with running(folder, {"push.networks_allowed": "127.0.0.0/8"}) as service:
        yield service


def steps(text: str) -> list[tuple[str, list[str]]]:
    """Each command of a block, and the lines it is said to print."""
    found: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found


def alike(line: str) -> str:
    """A line without what varies."""
    for pattern in VARYING:
        line = re.sub(pattern, "*", line)
    return line.rstrip()


def test_the_tour_prints_what_it_says(service, customer):
    """The server is another one, the commands are those of the text."""
    first, tour = block(README, HEADING, ""), block(README, HEADING, "", 1)
    port, *login = CUSTOMER.search(first).groups()
    assert login == [Customer.user, Customer.password]
    assert "PUSH__NETWORKS_ALLOWED=127.0.0.0/8" in first
    environment = service._environment() | {"PATH": f"{BIN}:{os.environ['PATH']}"}
    environment |= {"PIPE_SFTP_CONFIG": str(service.config)}

    for command, told in steps(tour):
        done = subprocess.run(
            ["bash", "-c", command.replace(port, str(customer.port))],
            env=environment, cwd=service.folder, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

        assert done.returncode == 0, f"{command}: {done.stderr}"
        if "--json" in command:
            (said,) = json.loads(done.stdout)
            shown = json.loads(told[0].replace(", …", ""))[0]
            assert {name: said[name] for name in shown} == shown
            continue
        said = [alike(line) for line in done.stdout.splitlines()]
        wanted = [alike(line) for line in told]
        if wanted[:1] == ["…"]:
            wanted, said = wanted[1:], said[-len(wanted) + 1 :]
        assert said == wanted, command
    arrived = customer.files / "in" / f"standup{pushing.ENDS['main']}"
    assert arrived.read_bytes() == (service.folder / "state" / "recordings" / "4711.mp4").read_bytes()
