"""Servers of others for our client: each on a free port of 127.0.0.1, over a folder, re-keying every megabyte if able.

Only what a test needs: a port, a login, the folder that is seen from outside.
"""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

_READY_S = 30
USER, PASSWORD = "partner", "live-only"
_ASYNCSSH = """
import asyncio, sys, asyncssh
folder, user, password, key = sys.argv[1:]
class Login(asyncssh.SSHServer):
    def begin_auth(self, username): return True
    def password_auth_supported(self): return True
    def kbdint_auth_supported(self): return False
    def validate_password(self, *given): return given == (user, password)
async def main():
    acceptor = await asyncssh.create_server(
        Login, "127.0.0.1", 0, server_host_keys=[key], rekey_bytes=1_000_000,
        sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=folder))
    print(acceptor.get_port(), flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


class PeerServer:
    """One server. ``key`` logs in where no password does."""

    name = ""
    program = ""
    password: str | None = PASSWORD
    user = USER

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = folder / "files"
        self.files.mkdir(parents=True)
        self.host_key = make_key(folder / "host_key")
        self.key: Path | None = None
        self.port = 0
        self.process: subprocess.Popen | None = None

    @classmethod
    def missing(cls) -> str | None:
        """Why it cannot be run here."""
        return None if program(cls.program) else f"{cls.program} is not installed"

    def remote(self, name: str) -> bytes:
        """The path of a file as the server has it."""
        return name.encode()

    def start(self) -> PeerServer:
        """Start it and wait until it listens."""
        self.port = free_port()
        self.process = subprocess.Popen(self.command(), stderr=(self.folder / "log").open("w"))
        deadline = time.monotonic() + _READY_S
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                    return self
            except OSError:
                assert self.process.poll() is None, (self.folder / "log").read_text()
                assert time.monotonic() < deadline, f"{self.name} does not listen"
                time.sleep(0.05)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def command(self) -> list[str]:
        """Its command line."""
        raise NotImplementedError

    def stop(self) -> None:
        """End it."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(30)
            if self.process.stdout is not None:
                self.process.stdout.close()


class Sshd(PeerServer):
    """OpenSSH's, with internal-sftp; login by key, as it takes no password without a system account."""

    name = program = "sshd"
    password = None
    user = getpass.getuser()
    more = "RekeyLimit 1M\n"

    def remote(self, name: str) -> bytes:
        return str(self.files / name).encode()

    def command(self) -> list[str]:
        self.key = self.key or make_key(self.folder / "login_key")
        config = self.folder / "sshd_config"
        config.write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self.host_key}\nPidFile none\n"
            f"AuthorizedKeysFile {self.key}.pub\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
            f"PermitRootLogin prohibit-password\nSubsystem sftp internal-sftp\n{self.more}"
        )
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        return [str(program("sshd")), "-D", "-e", "-f", str(config)]


class AsyncsshServer(PeerServer):
    """asyncssh's."""

    name = "asyncssh"
    program = sys.executable

    def start(self) -> PeerServer:
        command = [sys.executable, "-c", _ASYNCSSH, str(self.files), USER, PASSWORD, str(self.host_key)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())
        return self


class Rclone(PeerServer):
    """Go's SSH and pkg/sftp."""

    name = program = "rclone"

    def command(self) -> list[str]:
        return [
            *("rclone", "serve", "sftp", str(self.files), "--config", str(self.folder / "rclone.conf")),
            *("--cache-dir", str(self.folder / "cache"), "--key", str(self.host_key)),
            *("--addr", f"127.0.0.1:{self.port}", "--user", USER, "--pass", PASSWORD),
        ]


class Dropbear(PeerServer):
    """dropbear with OpenSSH's sftp-server; login by key, in a home folder that only it sees."""

    name = program = "dropbear"
    password = None
    user = getpass.getuser()

    @classmethod
    def missing(cls) -> str | None:
        if os.geteuid() != 0:
            return "dropbear is run as root only"
        if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
            return "no mounts of its own"
        return super().missing() or (None if Path("/usr/lib/sftp-server").exists() else "sftp-server is not installed")

    def remote(self, name: str) -> bytes:
        return str(self.files / name).encode()

    def command(self) -> list[str]:
        self.key = self.key or make_key(self.folder / "login_key")
        (self.folder / "authorized_keys").write_text(Path(f"{self.key}.pub").read_text())
        own = self.folder / "dropbear_key"
        subprocess.run(["dropbearkey", "-t", "ed25519", "-f", str(own)], check=True, capture_output=True)
        # It reads ~/.ssh/authorized_keys of the account and nothing else.
        script = (
            'cd "$1" && mount -t tmpfs -o mode=700 tmpfs "$HOME" && install -d -m 700 "$HOME/.ssh" && '
            'install -m 600 authorized_keys "$HOME/.ssh/" && exec "$2" -F -E -r dropbear_key -p "127.0.0.1:$3" -P pid'
        )
        return [
            *("unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh"),
            *(str(self.folder), str(program("dropbear")), str(self.port)),
        ]


SERVERS = (Sshd, AsyncsshServer, Rclone, Dropbear)


def program(name: str) -> str | None:
    """Where a program is, also one of the administrator's."""
    return shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin")


def make_key(path: Path, kind: str = "ed25519") -> Path:
    """A new key without a passphrase."""
    command = ["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return path


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]
