"""Servers made of libraries, which do only what their program says: paramiko and ssh2. The others: sftp_servers.py."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

from tests.live.clients.libraries import NODE, Node
from tests.live.sftp_servers import PASSWORD, USER, PeerServer

_HERE = Path(__file__).parent


class LibraryServer(PeerServer):
    """One that is told after how many bytes to ask for new keys, and tells its port."""

    rekey_bytes = 0  # never

    def start(self) -> PeerServer:
        told = [str(self.files), USER, PASSWORD, str(self.host_key), str(self.rekey_bytes)]
        environment = {**os.environ, "NODE_PATH": str(NODE / "node_modules")}
        self.process = subprocess.Popen(
            [*self.command(), *told],
            stdout=subprocess.PIPE,
            stderr=(self.folder / "log").open("w"),
            env=environment,
            text=True,
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())
        return self


class ParamikoServer(LibraryServer):
    """paramiko's."""

    name = "paramiko"

    @classmethod
    def missing(cls) -> str | None:
        return None if importlib.util.find_spec("paramiko") else "paramiko is not installed"

    def command(self) -> list[str]:
        return [sys.executable, str(_HERE / "servers" / "with_paramiko.py")]


class NodeServer(LibraryServer):
    """ssh2's, of Node."""

    name = "ssh2"

    @classmethod
    def missing(cls) -> str | None:
        return Node().missing()

    def command(self) -> list[str]:
        return ["node", str(NODE / "serve.js")]
