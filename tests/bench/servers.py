"""The servers a bench compares, each a child on a free port: ours, OpenSSH's, asyncssh's, rclone's, stock Conch.

All write below one folder. Ours also hashes, checks, fsyncs, records, validates and loads what the others only store.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.bench import measure
from tests.live.clients.base import Target, environment
from tests.live.material import large_csv
from tests.live.service import Service

SCHEMA = "orgTransactions"
_SECRET = "bench-only"
_READY_S = 30
_QUIET_S = 1.0
_WORKER = b"conch_pipe.processing.child"
QUIET = ("-oStrictHostKeyChecking=no", "-oNumberOfPasswordPrompts=1", "-oBatchMode=no")


# The live tests log at debug to find secrets; a service in use does not.
_USUAL: dict[str, object] = {"log.level": "info", "uploads.max_bytes": 4 << 30}
asked_settings: dict[str, object] = {}  # from the command line


class Server:
    """One server under measurement. ``name`` heads its rows."""

    name = ""
    host = "127.0.0.1"
    key: Path | None = None  # what its client logs in with instead of a password

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self.scratch = folder / "client"
        self.scratch.mkdir()
        self.port = 0
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        raise NotImplementedError

    def stop(self) -> None:
        """End it."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(60)

    def kill(self) -> None:
        """End it in the middle of its start."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def pid(self) -> int:
        """The process whose CPU and memory count."""
        assert self.process is not None
        return self.process.pid

    def cpu_s(self) -> float:
        """CPU seconds spent on serving so far, those of child processes too."""
        return measure.family_cpu_s(self.pid())

    def worker_cpu_s(self) -> float:
        """CPU seconds spent on what was put, besides."""
        return 0.0

    def wait_for_sessions(self) -> None:
        """Wait until the processes of sessions that ended are gone, so that their CPU seconds are known."""

    def settle(self, *names: str) -> None:
        """Wait until nothing of the last put is still being worked on, and make room."""

    def remove(self, names: Sequence[str]) -> None:
        """Delete files that were put: those who only store would fill the disk."""
        for name in names:
            (self.folder / "files" / SCHEMA / name).unlink(missing_ok=True)

    def login(self) -> tuple[str, str]:
        """User name and password."""
        return "bench", _SECRET

    def credentials(self) -> tuple[list[str], dict[str, str]]:
        """Words before ``sftp`` and environment that log its client in."""
        return ["sshpass", "-e"], {"SSHPASS": self.login()[1]}

    def options(self) -> list[str]:
        """Options of ``sftp`` besides the port."""
        return ["-oPubkeyAuthentication=no"]

    def sftp(self, *options: str) -> Sftp:
        """An open OpenSSH session."""
        return Sftp(self, options)

    def cipher(self, *options: str) -> str | None:
        """What a session with these options encrypts with, short; None when none comes about."""
        try:
            with self.sftp("-v", *options) as sftp:
                found = re.search(r"kex: client->server cipher: ([^@ ]+)\S* MAC: (\S+)", sftp.said)
        except (AssertionError, BrokenPipeError):
            return None
        assert found is not None, sftp.said
        return found[1] if found[2] == "<implicit>" else " + ".join(found.groups())


class Ours(Server):
    """The whole service, with room for many sessions and large files."""

    name = "pipe-sftp"

    def __init__(self, folder: Path, settings: Mapping[str, object] | None = None, program: Sequence[str] = ()) -> None:
        super().__init__(folder)
        many = {
            f"limits.{limit}": 1000
            for limit in (
                "connections",
                "not_logged_in",
                "per_address",
                "not_logged_in_per_address",
                "per_client",
            )
        }
        (folder / "service").mkdir()
        self.service = Service(folder / "service", {**_USUAL, **many, **asked_settings, **(settings or {})})
        self.program = program

    def start(self) -> None:
        self.service.init().start(self.program or None, _READY_S)
        self.process, self.port = self.service.process, self.service.port

    def stop(self) -> None:
        self.service.stop()

    def kill(self) -> None:
        self.service.kill()

    def cpu_s(self) -> float:
        return measure.family_cpu_s(self.pid(), leaving_out=_WORKER)

    def worker_cpu_s(self) -> float:
        return measure.family_cpu_s(self.pid()) - self.cpu_s()

    def settle(self, *names: str) -> None:
        """Until every upload has its verdict."""
        while any(upload["state"] in ("PENDING", "PROCESSING") for upload in self.service.uploads()):
            time.sleep(0.2)

    def login(self) -> tuple[str, str]:
        return self.service.login.client_id, self.service.login.client_secret

    def target(self) -> Target:
        """For the live tests' clients."""
        return self.service.target(self.scratch)


class Door(Ours):
    """The whole service but for processing: its worker processes stand still, so that no round disturbs the next.

    What was put is dropped after each round, never loaded.
    """

    name = "pipe-sftp, door alone"

    def __init__(self, folder: Path, settings: Mapping[str, object] | None = None) -> None:
        super().__init__(folder, {"workers.wall_s": 86_400, "service.drain_s": 0, **(settings or {})})

    def start(self) -> None:
        super().start()
        first = self.scratch / "first.csv"
        large_csv(first, 1000)
        with self.sftp() as sftp:  # workers are killed that never say that they are ready
            sftp.do(f"put {first} {SCHEMA}/first.csv")
        super().settle()
        time.sleep(_QUIET_S)
        for pid in set(measure.family(self.pid())) - set(measure.family(self.pid(), _WORKER)):
            os.kill(pid, signal.SIGSTOP)

    def settle(self, *names: str) -> None:
        """Drop the stored files."""
        for path in (self.service.folder / "state" / "objects").rglob("*"):
            if path.is_file():
                path.unlink()


class Sshd(Server):
    """OpenSSH's own server with internal-sftp, logged into by key: it takes no password without a system account."""

    name = "OpenSSH sshd"

    def start(self) -> None:
        self.port = free_port()
        self.key = self.folder / "login_key"
        make_key(self.folder / "host_key")
        make_key(self.key)
        (self.folder / "files" / SCHEMA).mkdir(parents=True)
        config = self.folder / "sshd_config"
        config.write_text(
            f"Port {self.port}\nListenAddress {self.host}\nHostKey {self.folder}/host_key\nPidFile none\n"
            f"AuthorizedKeysFile {self.folder}/login_key.pub\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
            f"PermitRootLogin prohibit-password\nLogLevel ERROR\nMaxStartups 1000\n"
            f"Subsystem sftp internal-sftp -d {self.folder}/files\n"
        )
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        sshd = shutil.which("sshd", path=os.environ["PATH"] + ":/usr/sbin") or "sshd"
        self.process = subprocess.Popen([sshd, "-D", "-e", "-f", str(config)], stderr=subprocess.DEVNULL)
        wait_for_port(self.port)

    def wait_for_sessions(self) -> None:
        while measure.children(self.pid()):
            time.sleep(0.02)

    def settle(self, *names: str) -> None:
        self.wait_for_sessions()
        self.remove(names)

    def login(self) -> tuple[str, str]:
        return getpass.getuser(), ""

    def credentials(self) -> tuple[list[str], dict[str, str]]:
        return [], {}

    def options(self) -> list[str]:
        return ["-i", str(self.key), "-oIdentitiesOnly=yes"]


class Script(Server):
    """A server of this folder, with password login: ``SCRIPT FOLDER USER PASSWORD``, which prints its port."""

    script = ""

    def start(self) -> None:
        (self.folder / "files" / SCHEMA).mkdir(parents=True)
        command = [sys.executable, str(Path(__file__).with_name(self.script)), str(self.folder / "files")]
        root = str(Path(__file__).parents[2])
        self.process = subprocess.Popen(
            [*command, *self.login()], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": root}
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def settle(self, *names: str) -> None:
        self.remove(names)


class AsyncsshServer(Script):
    """asyncssh's SFTP server over a folder."""

    name, script = "asyncssh", "asyncssh_server.py"


class StockConch(Script):
    """Conch's own SFTP server over a folder. It has no AES-GCM."""

    name, script = "stock Conch", "stock_conch_server.py"


class PlainDoor(Script):
    """Our SSH room over a folder: nothing hashed, checked, fsynced, recorded."""

    name, script = "our SSH room, commit left out", "plain_door_server.py"


class Rclone(Server):
    """``rclone serve sftp`` over a folder: Go's SSH."""

    name = "rclone"

    def start(self) -> None:
        self.port = free_port()
        (self.folder / "files" / SCHEMA).mkdir(parents=True)
        user, password = self.login()
        make_key(self.folder / "host_key")
        self.process = subprocess.Popen(
            ["rclone", "serve", "sftp", str(self.folder / "files"), "--config", str(self.folder / "rclone.conf")]
            + ["--cache-dir", str(self.folder / "cache"), "--key", str(self.folder / "host_key")]
            + ["--addr", f"{self.host}:{self.port}", "--user", user, "--pass", password],
            stderr=subprocess.DEVNULL,
        )
        wait_for_port(self.port)

    def settle(self, *names: str) -> None:
        self.remove(names)


class Sftp:
    """One OpenSSH session whose commands are given one after the other and timed: ``do`` returns when they are done."""

    def __init__(self, server: Server, options: Sequence[str] = ()) -> None:
        before, extra = server.credentials()
        user = server.login()[0]
        target = Target(server.port, user, "", "", server.scratch)
        self.process = subprocess.Popen(
            [*before, "sftp", *QUIET, *server.options(), *options]
            + ["-P", str(server.port), "-b", "-", f"{user}@{server.host}"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, env=environment(target, extra),
        )  # fmt: skip
        self.said = ""  # before the last answer
        self.do()

    def do(self, *lines: str) -> float:
        """Run commands. :returns: seconds until the last was done."""
        assert self.process.stdout is not None
        begun = time.perf_counter()
        # It reads a line when it has done the one before: many of them do not fit into the pipe.
        feeder = threading.Thread(target=self._feed, args=("".join(f"{line}\n" for line in (*lines, "pwd")),))
        feeder.start()
        said = []
        while not (line := self.process.stdout.readline()).startswith("Remote working directory"):
            said.append(line)
            assert line, "sftp ended:\n" + "".join(said)
        took = time.perf_counter() - begun
        self.said = "".join(said)
        feeder.join()
        return took

    def _feed(self, text: str) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # what it said tells why
            self.process.stdin.write(text)
            self.process.stdin.flush()

    def cpu_s(self) -> float:
        """CPU seconds of the client so far."""
        return measure.family_cpu_s(self.process.pid)

    def __enter__(self) -> Sftp:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()


def together(sessions: Sequence[Sftp], commands: Sequence[Sequence[str]]) -> float:
    """Run each session's commands, all sessions at once. :returns: seconds until the last was done."""
    begun = time.perf_counter()
    with ThreadPoolExecutor(len(sessions)) as pool:
        for done in [pool.submit(one.do, *lines) for one, lines in zip(sessions, commands, strict=True)]:
            done.result()
    return time.perf_counter() - begun


def make_key(path: Path) -> None:
    """A new Ed25519 key."""
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def wait_for_port(port: int) -> None:
    """Until somebody listens."""
    deadline = time.monotonic() + _READY_S
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        assert time.monotonic() < deadline, f"nobody listens on {port}"
        time.sleep(0.05)


@contextlib.contextmanager
def running(*servers: Server) -> Iterator[None]:
    """All of them, started; ended in any case."""
    with contextlib.ExitStack() as stack:
        for server in servers:
            try:
                server.start()
            except BaseException:
                server.kill()
                raise
            stack.callback(server.stop)
        yield


def warehouse_of(ours: Ours) -> str:
    """Numbers that show the rows did arrive: ``n uploads, n rows``."""
    uploads = ours.service.uploads()
    return f"{len(uploads)} uploads, {sum(upload['rows'] or 0 for upload in uploads):,} rows"
