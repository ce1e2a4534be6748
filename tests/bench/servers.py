"""The servers a bench compares, each started as a child on a free port: ours, OpenSSH's sshd, asyncssh's.

All write below one folder. Ours also hashes, checks, fsyncs, records, validates and loads what the others only store.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.bench import measure
from tests.live.clients.base import Target, environment
from tests.live.service import Service

SCHEMA = "orgTransactions"
_SECRET = "bench-only"
_READY_S = 30
QUIET = ("-oStrictHostKeyChecking=no", "-oNumberOfPasswordPrompts=1", "-oBatchMode=no")


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

    def pid(self) -> int:
        """The process whose CPU and memory count."""
        assert self.process is not None
        return self.process.pid

    def cpu_s(self) -> float:
        """CPU seconds spent on serving so far."""
        return measure.cpu_s(self.pid())

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

    def takes(self, *options: str) -> bool:
        """Whether a session with these options, a cipher say, comes about at all."""
        try:
            with self.sftp(*options):
                return True
        except (AssertionError, BrokenPipeError):
            return False


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
        self.service = Service(folder / "service", {**many, "uploads.max_bytes": 4 << 30, **(settings or {})})
        self.program = program

    def start(self) -> None:
        self.service.init().start(self.program or None, _READY_S)
        self.process, self.port = self.service.process, self.service.port

    def stop(self) -> None:
        self.service.stop()

    def settle(self, *names: str) -> None:
        """Until every upload has its verdict."""
        while any(upload["state"] in ("PENDING", "PROCESSING") for upload in self.service.uploads()):
            time.sleep(0.2)

    @contextlib.contextmanager
    def workers_held(self) -> Iterator[None]:
        """Its worker processes stand still meanwhile: what the door does alone. Loading goes on afterwards."""
        workers = measure.children(self.pid())
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in workers:
                os.kill(pid, signal.SIGCONT)

    def login(self) -> tuple[str, str]:
        return self.service.login.client_id, self.service.login.client_secret

    def target(self) -> Target:
        """For the live tests' clients."""
        return self.service.target(self.scratch)


class Sshd(Server):
    """OpenSSH's own server with internal-sftp, logged into by key: it takes no password without a system account."""

    name = "OpenSSH sshd"

    def start(self) -> None:
        self.port = free_port()
        self.key = self.folder / "login_key"
        for key in ("host_key", "login_key"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / key)],
                check=True, stdin=subprocess.DEVNULL,
            )  # fmt: skip
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

    def cpu_s(self) -> float:
        # A session is a child of the listener, its sftp a child of that; each waits for those that ended.
        processes = [self.pid(), *measure.descendants(self.pid())]
        return sum(measure.cpu_s(pid, with_reaped=True) for pid in processes)

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


class AsyncsshServer(Server):
    """asyncssh's SFTP server over a folder, with password login."""

    name = "asyncssh"

    def start(self) -> None:
        (self.folder / "files" / SCHEMA).mkdir(parents=True)
        script = Path(__file__).with_name("asyncssh_server.py")
        self.process = subprocess.Popen(
            [sys.executable, script, str(self.folder / "files"), *self.login()], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

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
        self.do()

    def do(self, *lines: str) -> float:
        """Run commands. :returns: seconds until the last was done."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        begun = time.perf_counter()
        self.process.stdin.write("".join(f"{line}\n" for line in (*lines, "pwd")))
        self.process.stdin.flush()
        said = []
        while not (line := self.process.stdout.readline()).startswith("Remote working directory"):
            said.append(line)
            assert line, "sftp ended:\n" + "".join(said)
        return time.perf_counter() - begun

    def __enter__(self) -> Sftp:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()


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
            server.start()
            stack.callback(server.stop)
        yield


def warehouse_of(ours: Ours) -> str:
    """Numbers that show the rows did arrive: ``n uploads, n rows``."""
    uploads = ours.service.uploads()
    return f"{len(uploads)} uploads, {sum(upload['rows'] or 0 for upload in uploads):,} rows"
