"""Clients that are told which cipher and MAC to use, and after how many bytes to ask for new keys themselves.

Only those that can be: curl and this rclone have no such options. Dropbear is here alone: its client carries OpenSSH's
sftp, and puts otherwise like it.
"""

from __future__ import annotations

import shlex
import shutil
import sys
from dataclasses import dataclass
from typing import ClassVar

from tests.live.clients.base import login, run
from tests.live.clients.libraries import NODE, SCRIPTS, Asyncssh, Node, Paramiko
from tests.live.clients.openssh import Scp, Sftp
from tests.live.clients.putty import Psftp
from tests.live.clients.transfer import Lftp

# In part of a name of ours → PuTTY's. It offers all in any case; those behind WARN it would ask its user about.
_PUTTY_CIPHERS = {"gcm": "aesgcm", "chacha": "chacha20", "ctr": "aes"}
_OPENSSH_PACKET = 32_768
_PUTTY_OTHERS = ("3des", "des", "blowfish", "arcfour")


@dataclass(frozen=True)
class Terms:
    """What a client is told; an empty cipher or MAC is the client's own choice.

    :param rekey_bytes: 0: it does not re-key by itself, or not within a file of some megabytes.
    """

    cipher: str = ""
    mac: str = ""
    rekey_bytes: int = 0

    def __str__(self) -> str:
        return "+".join(name.partition("@")[0] for name in (self.cipher, self.mac) if name) or "as it is"

    def openssh(self) -> tuple[str, ...]:
        """As options of ssh, sftp and scp.

        OpenSSH 9.2 adds the bytes of the packet to come to the *blocks* sent (packet.c, ssh_packet_need_rekeying): with
        packets of 32 KiB it begins so many blocks too early.
        """
        early = _OPENSSH_PACKET * (16 if self.cipher.startswith("aes") else 8)
        limit = str(self.rekey_bytes + early) if self.rekey_bytes else ""
        told = {"Ciphers": self.cipher, "MACs": self.mac, "RekeyLimit": limit}
        return tuple(f"-o{name}={value}" for name, value in told.items() if value)

    def environment(self) -> dict[str, str]:
        """For our client scripts."""
        return {"SFTP_CIPHER": self.cipher, "SFTP_MAC": self.mac, "SFTP_REKEY_BYTES": str(self.rekey_bytes)}


class Told:
    """In front of a Client: its terms. ``macs`` and ``rekeys`` say what can be told besides the cipher."""

    ciphers: ClassVar[tuple[str, ...]] = (
        "aes128-gcm@openssh.com",
        "aes256-gcm@openssh.com",
        "chacha20-poly1305@openssh.com",
        "aes128-ctr",
        "aes192-ctr",
        "aes256-ctr",
    )
    macs: ClassVar[tuple[str, ...]] = (
        "hmac-sha2-256-etm@openssh.com",
        "hmac-sha2-512-etm@openssh.com",
        "hmac-sha2-256",
        "hmac-sha2-512",
    )
    rekeys = True  # by itself

    def __init__(self, terms: Terms = Terms()) -> None:  # noqa: B008 - frozen
        self.terms = terms


class ToldSftp(Told, Sftp):
    """``sftp -o…``."""

    def __init__(self, terms: Terms = Terms()) -> None:  # noqa: B008
        super().__init__(terms)
        self.options = terms.openssh()


class ToldScp(Told, Scp):
    """``scp -o…``."""

    def __init__(self, terms: Terms = Terms()) -> None:  # noqa: B008
        super().__init__(terms)
        self.options = terms.openssh()


class ToldLftp(Told, Lftp):
    """lftp, with options for the ssh that it runs."""

    def commands(self, target, *lines):
        connect = shlex.join(["ssh", "-a", "-x", *self.terms.openssh()])
        return super().commands(target, f'set sftp:connect-program "{connect}"', *lines)


class ToldPsftp(Told, Psftp):
    """psftp, whose options are those of a saved session; its MACs and the size of its AES keys cannot be chosen."""

    ciphers = ("aes128-gcm@openssh.com", "chacha20-poly1305@openssh.com", "aes256-ctr")
    macs = ()

    def batch(self, target, *lines):
        kinds = [putty for part, putty in _PUTTY_CIPHERS.items() if part in self.terms.cipher]
        others = [putty for putty in (*_PUTTY_CIPHERS.values(), "WARN", *_PUTTY_OTHERS) if putty not in kinds]
        told = {"Cipher": ",".join(kinds + others) if kinds else "", "RekeyBytes": str(self.terms.rekey_bytes or "")}
        folder = target.scratch / "home" / ".putty" / "sessions"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "Default%20Settings").write_text("".join(f"{name}={it}\n" for name, it in told.items() if it))
        return super().batch(target, *lines)


class ToldParamiko(Told, Paramiko):
    """paramiko; it has no ChaCha20."""

    ciphers = tuple(cipher for cipher in Told.ciphers if not cipher.startswith("chacha"))

    def do(self, target, *words):
        command = [sys.executable, SCRIPTS / self.script, *words]
        return run(target, [*map(str, command)], extra={**login(target), **self.terms.environment()})


class ToldAsyncssh(ToldParamiko, Asyncssh):
    """asyncssh."""

    name, module, script = Asyncssh.name, Asyncssh.module, Asyncssh.script
    ciphers = Told.ciphers


class ToldNode(Told, Node):
    """ssh2-sftp-client; asks for new keys when its user tells it to."""

    def do(self, target, *words):
        extra = {**login(target), **self.terms.environment(), "NODE_PATH": str(NODE / "node_modules")}
        return run(target, ["node", str(NODE / "transfer.js"), *map(str, words)], extra=extra)


class Dropbear(Told, Sftp):
    """OpenSSH's sftp over dropbear's client: re-keys after a gigabyte only; of our MACs it has hmac-sha2-256."""

    name = "sftp over dbclient"
    needs = ("sftp", "dbclient")
    ciphers = ("chacha20-poly1305@openssh.com", "aes128-ctr", "aes256-ctr")
    macs = ("hmac-sha2-256",)
    rekeys = False

    def batch(self, target, *lines):
        batch = target.file("batch", "".join(f"{line}\n" for line in lines))
        chosen = {"-c": self.terms.cipher, "-m": self.terms.mac}
        told = [word for option, name in chosen.items() if name for word in (option, name)]
        # sftp puts "--" before the host; dbclient 2022.83 takes every "--..." for --version and ends.
        script = 'for word; do shift; [ "$word" = -- ] || set -- "$@" "$word"; done\n'
        ssh = target.file("dbclient", f'#!/bin/sh\n{script}exec dbclient -y -y {shlex.join(told)} "$@"\n')
        ssh.chmod(0o700)
        sftp = shutil.which("sftp")  # not the shim of ours, whose options are for ssh
        command = [str(sftp), "-S", str(ssh), "-P", str(target.port), "-b", str(batch)]
        return run(target, [*command, f"{target.username}@{target.host}"], extra={"DROPBEAR_PASSWORD": target.password})
