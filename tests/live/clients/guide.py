"""The examples of the partner's guide, word for word: only host, port, login, file and schema are filled in.

The texts stand in ``tests/live/guide``. Their words are the source's; a change there is a change of the promise.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from tests.live.clients.base import Client, Outcome, Target, run
from tests.live.clients.libraries import NODE, Node

GUIDE = Path(__file__).parent.parent / "guide"


def filled_in(target: Target, example: str, local: Path, schema: str) -> str:
    """An example's text with the reader's own values in the places of the guide's.

    :raises AssertionError: the example has none of the places: it is not the guide's any more.
    """
    text = (GUIDE / example).read_text()
    places = {
        "sftp.piing.ai": target.host,
        "2222": str(target.port),
        "your_client_id": target.username,
        "your_client_secret": target.password,
        "./transactions.csv": str(local),
        "/path/to/daily-export.csv": str(local),
        "transactions.csv": local.name,
        "orgTransactions": schema,
    }
    assert sum(place in text for place in places) >= 4, example
    for place, value in places.items():
        text = text.replace(place, value)
    return text


class Guide(Client):
    """An example that only puts. The remote name is the local one, as in the guide."""

    example = ""
    can: frozenset[str] = frozenset()

    def put(self, target, local, remote):
        schema, _, name = remote.lstrip("/").rpartition("/")
        renamed = target.scratch / name
        if renamed != local:
            renamed.unlink(missing_ok=True)
            renamed.symlink_to(local)
        return self.run_example(target, filled_in(target, self.example, renamed, schema))

    def run_example(self, target: Target, text: str) -> Outcome:
        """Run the example's text as its reader would."""
        raise NotImplementedError


class GuideBash(Guide):
    """The here-document: sftp goes on after a failed command, and the script says "Upload complete" in any case."""

    name = "guide: bash"
    needs = ("bash", "sftp", "sshpass")
    example = "bash.sh"
    always_zero = True

    def run_example(self, target, text):
        script = target.file("guide.sh", text)
        return run(target, ["bash", str(script)], extra={"PIING_CLIENT_SECRET": target.password})


class GuideCron(GuideBash):
    """The line for cron, with a folder after the host. The host's key counts as known, as the guide asks."""

    name = "guide: cron"
    looks_first = True
    example = "cron.sh"

    def run_example(self, target, text):
        script = target.file("guide.sh", text.replace("-oBatchMode=no", "-oBatchMode=no -oStrictHostKeyChecking=no"))
        return run(target, ["bash", str(script)], extra={"PIING_CLIENT_SECRET": target.password})


class GuideParamiko(Guide):
    """The paramiko example; anything that goes wrong is a traceback and status 1."""

    name = "guide: paramiko"
    example = "paramiko.txt"
    shows_text_at_close = False

    def missing(self):
        return None if importlib.util.find_spec("paramiko") else "paramiko is not installed"

    def run_example(self, target, text):
        return run(target, [sys.executable, "-P", str(target.file("guide_example.py", text))])


class GuideNode(Guide):
    """The ssh2-sftp-client example, which catches everything and so always ends with 0."""

    name = "guide: node"
    needs = ("node",)
    example = "node.js"
    always_zero = True

    def missing(self):
        return Node().missing()

    def run_example(self, target, text):
        script = target.file("guide_example.js", text)
        return run(target, ["node", str(script)], extra={"NODE_PATH": str(NODE / "node_modules")})
