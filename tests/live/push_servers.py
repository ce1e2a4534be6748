"""Servers as customers have them, for pushes: hardened, full, read-only, keyboard-interactive, ProFTPD.

The plain ones: sftp_servers.py and library_servers.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.live.sftp_servers import PASSWORD, USER, AsyncsshServer, PeerServer, Sshd, make_key, program

_KEYBOARD = """
import asyncio, sys, asyncssh
folder, user, password, key = sys.argv[1:]
class Login(asyncssh.SSHServer):
    def begin_auth(self, username): return True
    def password_auth_supported(self): return False
    def public_key_auth_supported(self): return False
    def kbdint_auth_supported(self): return True
    def get_kbdint_challenge(self, username, lang, submethods): return "", "", "en-US", [("Password:", False)]
    def validate_kbdint_response(self, username, responses): return (username, *responses) == (user, password)
async def main():
    acceptor = await asyncssh.create_server(
        Login, "127.0.0.1", 0, server_host_keys=[key],
        sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=folder))
    print(acceptor.get_port(), flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


_WATCHED = """
import asyncio, json, os, sys, asyncssh
folder, user, password, key, port, told, gates = sys.argv[1:]
def tell(**what):
    with open(told, "a") as log:
        log.write(json.dumps(what) + "\\n")
class Login(asyncssh.SSHServer):
    def connection_made(self, connection): tell(what="connection")
    def begin_auth(self, username): tell(what="user", name=username); return True
    def password_auth_supported(self): return True
    def kbdint_auth_supported(self): return False
    def validate_password(self, *given):
        right = given == (user, password)
        tell(what="password", right=right)
        return right
class Files(asyncssh.SFTPServer):
    def __init__(self, channel): super().__init__(channel, chroot=folder)
    def open(self, path, pflags, attrs):
        if pflags & asyncssh.FXF_WRITE: tell(what="open", path=path.decode())
        return super().open(path, pflags, attrs)
    async def write(self, file, offset, data):
        gate = os.path.join(gates, os.path.basename(os.fsdecode(file.name)))
        while os.path.exists(gate) and offset >= int(open(gate).read() or 0): await asyncio.sleep(0.05)
        return super().write(file, offset, data)
async def main():
    acceptor = await asyncssh.create_server(
        Login, "127.0.0.1", int(port), server_host_keys=[key], sftp_factory=Files)
    print(acceptor.get_port(), flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


class WatchedServer(AsyncsshServer):
    """asyncssh's, which writes down what is asked of it, and can be told to stop in the middle of a file."""

    name = "watched"
    password = "of-the-customer-4f1c9b"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.gates = folder / "gates"
        self.gates.mkdir()
        self.log = folder / "log"
        self.log.touch()

    def start(self) -> PeerServer:
        """On the same port as before, if it was started before."""
        told = [str(self.files), self.user, str(self.password), str(self.host_key), str(self.port), str(self.log)]
        command = [sys.executable, "-c", _WATCHED, *told, str(self.gates)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())
        return self

    def stop_at(self, name: str, size: int) -> Path:
        """A file of this name gets no further than about there until what is returned is deleted."""
        (self.gates / name).write_text(str(size))
        return self.gates / name

    def asked(self, what: str) -> list[dict[str, Any]]:
        """What was written down: ``connection``, ``user``, ``password``, ``open`` (of a file to write)."""
        return [one for one in map(json.loads, self.log.read_text().splitlines()) if one["what"] == what]

    def opened(self, path: str) -> int:
        """How often a file was opened to be written."""
        return sum(one["path"].lstrip("/") == path for one in self.asked("open"))


class KeyboardServer(AsyncsshServer):
    """asyncssh's, which asks for the password by keyboard-interactive alone."""

    name = "keyboard-interactive"

    def start(self) -> PeerServer:
        command = [sys.executable, "-c", _KEYBOARD, str(self.files), USER, PASSWORD, str(self.host_key)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())
        return self


class Hardened(Sshd):
    """sshd as Pipe's security page has it: internal-sftp alone in a chroot, where requests of ``denied`` are denied.

    Its chroot is /mnt in mounts of its own: all folders above it must be root's alone, and those of tests are not.
    """

    name = "hardened sshd"
    denied = "remove,rmdir"
    options = ""  # of internal-sftp
    mount = ""  # one more command before it starts; $1 is the folder of files

    @classmethod
    def missing(cls) -> str | None:
        if os.geteuid() != 0:
            return "a chroot is made by root only"
        if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
            return "no mounts of its own"
        return super().missing()

    def remote(self, name: str) -> bytes:
        return f"/files/{name}".encode()

    def command(self) -> list[str]:
        denied = f" -P {self.denied}" if self.denied else ""
        self.more = f"ChrootDirectory /mnt\nForceCommand internal-sftp{denied}{self.options}\nAllowTcpForwarding no\n"
        root = self.folder / "root"
        (root / "files").mkdir(parents=True, exist_ok=True)
        script = (
            f'mount --bind "$2" /mnt && mount --bind "$1" /mnt/files && {self.mount or "true"} && shift 2 && exec "$@"'
        )
        head = ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh", str(self.files), str(root)]
        return [*head, *super().command()]


class RenameDenied(Hardened):
    """The same, and it renames nothing."""

    name = "hardened sshd without rename"
    denied = "remove,rmdir,rename,posix-rename"


class ReadOnly(Hardened):
    """internal-sftp -R: it opens nothing for writing."""

    name = "read-only sshd"
    options = " -R"


class ReadOnlyDisk(Hardened):
    """A file system that is mounted read-only: OpenSSH says "Failure"."""

    name = "read-only disk"
    mount = "mount -o remount,bind,ro /mnt/files"


class FullDisk(Hardened):
    """A disk of 2 MiB."""

    name = "full disk"
    mount = "mount -t tmpfs -o size=2m tmpfs /mnt/files && mkdir /mnt/files/in"


class FewInodes(Hardened):
    """A disk on which three files have room, one of which is the folder."""

    name = "no inodes"
    mount = "mount -t tmpfs -o nr_inodes=3 tmpfs /mnt/files && mkdir /mnt/files/in && touch /mnt/files/in/one"


class ProFTPD(PeerServer):
    """mod_sftp, with a password file."""

    name = "proftpd"
    program = "proftpd"

    @classmethod
    def missing(cls) -> str | None:
        if os.geteuid() != 0:
            return "proftpd is run as root only"
        return super().missing() or (None if _module() else "mod_sftp is not installed")

    def remote(self, name: str) -> bytes:
        return str(self.files / name).encode()

    def command(self) -> list[str]:
        hashed = subprocess.run(
            ["openssl", "passwd", "-6", PASSWORD], check=True, capture_output=True, text=True
        ).stdout.strip()
        users = self.folder / "passwd"
        users.write_text(f"{USER}:{hashed}:0:0::{self.files}:/bin/sh\n")
        users.chmod(0o600)
        key = make_key(self.folder / "rsa_key", "rsa")
        subprocess.run(
            ["ssh-keygen", "-p", "-q", "-m", "PEM", "-N", "", "-P", "", "-f", str(key)], check=True, capture_output=True
        )
        self.host_key = key
        config = self.folder / "proftpd.conf"
        config.write_text(
            f"ModulePath {_module()}\nLoadModule mod_sftp.c\nServerType standalone\nDefaultAddress 127.0.0.1\n"
            f"Port {self.port}\nUseIPv6 off\nUser root\nGroup root\nRootLogin on\n"
            f"RequireValidShell off\nUseFtpUsers off\n"
            f"WtmpLog off\nUseReverseDNS off\nPidFile {self.folder}/pid\nScoreboardFile {self.folder}/board\n"
            f"DelayEngine off\nTransferLog none\nSystemLog {self.folder}/system.log\nAllowOverwrite on\n"
            f"AuthOrder mod_auth_file.c\nAuthUserFile {users}\nSFTPEngine on\nSFTPLog {self.folder}/sftp.log\n"
            f"SFTPHostKey {key}\nSFTPAuthMethods password\nMaxLoginAttempts 3\n"
        )
        return [str(program("proftpd")), "-n", "-c", str(config)]


def _module() -> Path | None:
    """The folder of its modules."""
    found = Path("/usr/lib/proftpd")
    return found if (found / "mod_sftp.so").exists() else None
