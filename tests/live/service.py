"""The real service as a child process, and the questions the tests ask of it through its own command.

Everything the service and the command print is kept; ``stop()`` looks through it, and through the state folder,
for the client secrets that were given out, and for what opens remotes.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from tests.live.clients.base import Target

BIN = Path(sys.executable).parent
READY_S = 30
VERDICT_S = 60
STOP_S = 60
TERMINAL = {"COMPLETED", "FAILED"}
WAIT_S = 60  # for anything that must happen; the machine may be loaded


def wait_for(condition: Callable[[], Any], what: str, within_s: float = WAIT_S) -> Any:
    """The first true value. :raises AssertionError: not in time."""
    deadline = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {within_s} s"
        time.sleep(0.05)
    return found


@dataclass(frozen=True)
class Login:
    """A credential as ``conch-pipe`` gave it out."""

    client_id: str
    client_secret: str = field(repr=False)
    organisation: str


class Service:
    """One installation in a folder of its own; started, asked, stopped, started again.

    :param folder: an empty folder; becomes the state.
    :param settings: e.g. ``{"uploads.max_bytes": 65536}``.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any] | None = None) -> None:
        self.folder = folder
        self.settings = {"ssh.interface": "127.0.0.1", "ssh.port": 0, "http.port": 0, **(settings or {})}
        self.said: list[str] = []
        self.secrets: set[str] = set()
        self.private: set[bytes] = set()  # numbers of private keys
        self.process: subprocess.Popen | None = None
        self.told_to_stop = False
        self.port = 0
        self.log = folder / "service.log"
        self.config = Path()
        self.fingerprint = ""
        self.login = Login("", "", "")
        self.schemas = ("orgShifts", "orgTransactionDetail", "orgTransactions")

    def init(self) -> Service:
        """``conch-pipe init``: configuration, host keys, schemas, a demo organisation with a credential."""
        made = json.loads(self.command("init", str(self.folder / "state"), "--demo", "--json", gives_secret=True))
        self.config = Path(made["config"])
        self.fingerprint = next(key["fingerprint"] for key in made["host_keys"] if "ed25519" in key["name"])
        self.login = self._given_out(made)
        return self

    def start(self, program: Sequence[str] | None = None, ready_s: float = READY_S) -> Service:
        """Start it and wait until ``status`` tells its port.

        :param program: what runs instead of ``twistd -n --pidfile=``.
        """
        command = [*(program or (str(BIN / "twistd"), "-n", "--pidfile=")), "pipe-sftp", "--config", str(self.config)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, env=self._environment(), cwd=self.folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        self.told_to_stop = False
        deadline = time.monotonic() + ready_s
        while True:
            assert self.process.poll() is None, f"the service ended with {self.process.returncode}:\n{self.log_text()}"
            with contextlib.suppress(subprocess.CalledProcessError):
                self.port = json.loads(self.command("status", "--wait", "5", "--json"))["ssh_port"]
                return self
            assert time.monotonic() < deadline, f"not ready after {ready_s} s:\n{self.log_text()}"

    def tell_to_stop(self) -> None:
        """SIGTERM, once."""
        assert self.process is not None
        if not self.told_to_stop:
            self.told_to_stop = True
            self.process.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """SIGTERM unless it was told already, then: did it end as it should, and is no secret anywhere?

        :raises AssertionError: another exit status, a traceback in the log, or a secret in any text or file.
        """
        assert self.process is not None
        self.tell_to_stop()
        try:
            status = self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"still running {STOP_S} s after SIGTERM:\n{self.log_text()}") from None
        self.process = None
        # twistd ends a clean stop by giving itself the signal that asked for it (app._exitWithSignal).
        assert status == -signal.SIGTERM, f"exit status {status}:\n{self.log_text()}"
        assert "Traceback" not in self.log_text(), self.log_text()
        assert not (leaks := self.leaks()), f"secrets were found in {leaks}"

    def kill(self) -> None:
        """End it at once, whatever it does."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def leaks(self) -> list[str]:
        """Where a secret can be read: the log, what the command said, any file of the state."""
        secrets = [secret.encode() for secret in self.secrets] + list(self.private)
        files = [path for path in (self.folder / "state").rglob("*") if path.is_file()]
        found = [str(path) for path in (self.log, *files) if any(secret in path.read_bytes() for secret in secrets)]
        return found + [said for said in self.said if any(secret in said for secret in self.secrets)]

    def hides(self, password: str | None = None, key: Path | None = None) -> None:
        """From now on these are looked for too.

        :param password: of a remote.
        :param key: a private key in OpenSSH's form, Ed25519, without a passphrase.
        """
        if password is not None:
            self.secrets.add(password)
        if key is not None:
            # The first line is the same in every key, the second has the public half; the last may be a few characters.
            self.secrets.update(key.read_text().splitlines()[3:-2])
            self.private.add(load_ssh_private_key(key.read_bytes(), None).private_bytes_raw())  # type: ignore[union-attr]

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of the catalog, while the service lives or after it was stopped."""
        place = f"file:{self.folder}/state/catalog.sqlite?mode=ro"
        with contextlib.closing(sqlite3.connect(place, uri=True, timeout=WAIT_S)) as connection:
            return connection.execute(sql).fetchall()

    def log_text(self) -> str:
        """The service's log so far."""
        return self.log.read_text(errors="replace")

    def pid(self) -> int:
        """The process id of the running service."""
        assert self.process is not None
        return self.process.pid

    def command(self, *words: str, gives_secret: bool = False) -> str:
        """Run ``conch-pipe`` and return what it printed on standard output.

        :param gives_secret: this command shows a client secret, once, as it must.
        :raises subprocess.CalledProcessError: it ended badly.
        """
        configured = ("--config", str(self.config)) if self.config != Path() else ()
        done = subprocess.run(
            [str(BIN / "conch-pipe"), *configured, *words],
            env=self._environment(), cwd=self.folder, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        self.said.append(done.stderr if gives_secret else done.stdout + done.stderr)
        if done.returncode:
            error = subprocess.CalledProcessError(done.returncode, words, done.stdout, done.stderr)
            error.add_note(done.stdout + done.stderr)
            raise error
        return done.stdout

    def target(self, scratch: Path, login: Login | None = None, password: str | None = None) -> Target:
        """Where a client connects, and as whom; the demo credential unless told otherwise."""
        login = login or self.login
        scratch.mkdir(exist_ok=True)
        return Target(self.port, login.client_id, password or login.client_secret, self.fingerprint, scratch)

    def other_organisation(self) -> Login:
        """Make another organisation with the same schemas, and a credential of it."""
        name = f"other-{len(self.secrets)}"
        schemas = [word for schema in self.schemas for word in ("--schema", schema)]
        self.command("org", "create", name, *schemas, "--json")
        return self._given_out(json.loads(self.command("credential", "create", name, "--json", gives_secret=True)))

    def uploads(self) -> list[dict[str, Any]]:
        """All records."""
        return json.loads(self.command("upload", "list", "--limit", "100000", "--json"))

    def named(self, *names: str) -> list[dict[str, Any]]:
        """The records of these file names."""
        return [upload for upload in self.uploads() if upload["name"] in names]

    def verdicts(self, *names: str, within_s: float = VERDICT_S) -> dict[str, dict[str, Any]]:
        """Wait until the one upload of each name is COMPLETED or FAILED.

        :returns: name → record.
        :raises AssertionError: not in time, or a name has no upload or several.
        """
        deadline = time.monotonic() + within_s
        while True:
            found = self.named(*names)
            if len(found) >= len(names) and all(upload["state"] in TERMINAL for upload in found):
                assert sorted(upload["name"] for upload in found) == sorted(names), found
                return {upload["name"]: upload for upload in found}
            assert time.monotonic() < deadline, f"no verdict on {names} after {within_s} s: {found}\n{self.log_text()}"
            time.sleep(0.2)

    def query(self, sql: str) -> list[dict[str, Any]]:
        """Rows of the warehouse, each an object."""
        return json.loads(self.command("warehouse", "query", sql, "--json"), parse_float=Decimal)

    def rows(self, schema: str, upload_ids: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
        """Warehouse rows by upload id, in the file's order."""
        wanted = list(upload_ids)
        quoted = ", ".join(f"'{upload_id}'" for upload_id in wanted)
        found = self.query(f'SELECT * FROM "{schema}" WHERE _upload_id IN ({quoted}) ORDER BY _upload_id, _row')
        return {one: [row for row in found if str(row["_upload_id"]) == one] for one in wanted}

    def _given_out(self, made: Mapping[str, Any]) -> Login:
        self.secrets.add(made["client_secret"])
        return Login(made["client_id"], made["client_secret"], made["organisation"])

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PIPE_SFTP_")}
        ours = {f"PIPE_SFTP_{name.upper().replace('.', '__')}": str(value) for name, value in self.settings.items()}
        # The scan for secrets looks at everything that can be logged.
        return {**kept, "PIPE_SFTP_LOG__LEVEL": "debug", **ours, "PYTHONUNBUFFERED": "1"}


@contextlib.contextmanager
def running(folder: Path, settings: Mapping[str, Any] | None = None) -> Iterator[Service]:
    """A service for some tests; after them it must stop well and have told no secret.

    :param folder: see :class:`Service`; ``settings`` as well.
    """
    service = Service(folder, settings).init()
    try:
        yield service.start()
        service.stop()
    finally:
        service.kill()
