"""One real service for the examples, and the reader's machine: a home where the server's key is known."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.documents import PARTNERS, code, without_blocks
from tests.live.clients.base import Target
from tests.live.service import Service, running


@pytest.fixture(scope="session")
def service(tmp_path_factory) -> Iterator[Service]:
    """With init's settings, on a free port; at the end it must stop well and have told no secret."""
    with running(tmp_path_factory.mktemp("documents")) as service:
        yield service


@pytest.fixture
def target(service, tmp_path) -> Target:
    """The demo credential, as the reader of the guide has one."""
    return service.target(tmp_path / "reader")


@pytest.fixture
def known(target) -> dict[str, str]:
    """Variables of a reader who put the server's key into known_hosts as the guide says; others are refused."""
    if shutil.which("ssh-keyscan") is None:
        pytest.skip("ssh-keyscan is not installed")
    said = next(one for one in code(without_blocks(PARTNERS.read_text())) if one.startswith("ssh-keyscan"))
    command = said.replace("2222", str(target.port)).replace("sftp.example.com", target.host).split()
    keys = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
    folder = target.scratch / "home" / ".ssh"
    folder.mkdir(parents=True)
    hosts = folder / "known_hosts"
    hosts.write_text(keys)
    return {"PATH": f"{_shims(target.scratch / 'known', hosts)}:{os.environ['PATH']}"}


def _shims(folder: Path, hosts: Path) -> Path:
    """OpenSSH takes the home from the password database; these make it take ours, and refuse every other key."""
    folder.mkdir()
    for program in ("ssh", "sftp", "scp"):
        if (real := shutil.which(program)) is not None:
            shim = folder / program
            shim.write_text(
                f"#!/bin/sh\nexec {real} -F /dev/null -oUserKnownHostsFile={hosts} -oGlobalKnownHostsFile=/dev/null "
                '-oStrictHostKeyChecking=yes "$@"\n'
            )
            shim.chmod(0o755)
    return folder
