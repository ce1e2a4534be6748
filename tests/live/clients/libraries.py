"""paramiko, asyncssh and ssh2-sftp-client: what programs use. Each runs one of the small scripts beside this file."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from tests.live.clients.base import Client, Outcome, Target, login, python, run

SCRIPTS = Path(__file__).parent / "scripts"
NODE = Path(__file__).parent.parent / "node"


class Library(Client):
    """A Python library; its script takes ``put LOCAL REMOTE``, ``get REMOTE LOCAL``, ``mkdir PATH``, ``rm PATH``."""

    module = ""
    script = ""

    def missing(self):
        return None if importlib.util.find_spec(self.module) else f"{self.module} is not installed"

    def do(self, target: Target, *words: object) -> Outcome:
        """Run the script."""
        return python(target, SCRIPTS / self.script, *words)

    def put(self, target, local, remote):
        return self.do(target, "put", local, remote)

    def get(self, target, remote, local):
        return self.do(target, "get", remote, local)

    def mkdir(self, target, path):
        return self.do(target, "mkdir", path)

    def remove(self, target, path):
        return self.do(target, "rm", path)


class Paramiko(Library):
    """Swallows a refused CLOSE, then compares STAT's size: that is how its user learns of it."""

    name = "paramiko"
    module = "paramiko"
    script = "with_paramiko.py"
    shows_text_at_close = False


class Asyncssh(Library):
    name = "asyncssh"
    module = "asyncssh"
    script = "with_asyncssh.py"


class Node(Library):
    """ssh2-sftp-client's put(): does not notice a failed WRITE by itself, only a failed CLOSE."""

    name = "ssh2-sftp-client"
    needs = ("node",)

    def missing(self):
        if (missing := Client.missing(self)) is not None:
            return missing
        return None if (NODE / "node_modules" / "ssh2-sftp-client").is_dir() else "ssh2-sftp-client is not installed"

    def do(self, target, *words):
        script = ["node", str(NODE / "transfer.js"), *map(str, words)]
        return run(target, script, extra={**login(target), "NODE_PATH": str(NODE / "node_modules")})


class NodeFastPut(Node):
    """ssh2-sftp-client's fastPut(): many writes at once, out of order."""

    name = "ssh2-sftp-client fastPut"

    def do(self, target, *words):
        return super().do(target, *("fastput" if word == "put" else word for word in words))
