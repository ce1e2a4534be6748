"""OpenSSH's sftp and scp, logged in by sshpass as the partner's guide does it."""

from __future__ import annotations

import subprocess
from pathlib import Path, PurePosixPath

from tests.live.clients.base import Client, Outcome, Target, run, start

OPTIONS = (
    "-oBatchMode=no",
    "-oStrictHostKeyChecking=no",
    "-oPubkeyAuthentication=no",
    "-oNumberOfPasswordPrompts=1",
)


def sftp_command(target: Target, *more: str) -> list[str]:
    """The command up to the user's own options: sshpass, sftp, port, options."""
    return ["sshpass", "-e", "sftp", "-P", str(target.port), *OPTIONS, *more]


def password(target: Target) -> dict[str, str]:
    """sshpass -e reads the password here."""
    return {"SSHPASS": target.password}


class Sftp(Client):
    """``sftp -b FILE``: a batch ends with the first command that fails."""

    name = "sftp -b"
    needs = ("sftp", "sshpass")
    options: tuple[str, ...] = ()

    def batch(self, target: Target, *lines: str) -> Outcome:
        """Run lines as a batch."""
        batch = target.file("batch", "".join(f"{line}\n" for line in lines))
        command = sftp_command(target, *self.options, "-b", str(batch), f"{target.username}@{target.host}")
        return run(target, command, extra=password(target))

    def put(self, target, local, remote):
        return self.batch(target, f'put "{local}" "{remote}"')

    def get(self, target, remote, local):
        return self.batch(target, f'get "{remote}" "{local}"')

    def mkdir(self, target, path):
        return self.batch(target, f'mkdir "{path}"')

    def remove(self, target, path):
        return self.batch(target, f'rm "{path}"')


class SftpByHand(Sftp):
    """What a person types: cd, ls -l, put by the local name, ls -l, bye; nothing stops at a failure."""

    name = "sftp typed"
    always_zero = True

    def batch(self, target, *lines):
        command = sftp_command(target, f"{target.username}@{target.host}")
        return run(target, command, typed="".join(f"{line}\n" for line in (*lines, "bye")), extra=password(target))

    def put(self, target, local, remote):
        path = PurePosixPath(remote)
        return self.batch(
            target, "pwd", "ls -la", f'cd "{path.parent}"', "ls -l", f'put -p "{local}" "{path.name}"', "ls -l"
        )


class Scp(Client):
    """scp as it is since OpenSSH 9.0: over SFTP."""

    name = "scp"
    needs = ("scp", "sshpass")
    can = frozenset({"get"})
    options: tuple[str, ...] = ()

    def copy(self, target: Target, source: str, destination: str) -> Outcome:
        """scp SOURCE DESTINATION, one of them remote."""
        command = ["sshpass", "-e", "scp", "-P", str(target.port), *self.options, *OPTIONS, source, destination]
        return run(target, command, extra=password(target))

    def put(self, target, local, remote):
        return self.copy(target, str(local), f"{target.username}@{target.host}:{remote}")

    def get(self, target, remote, local):
        return self.copy(target, f"{target.username}@{target.host}:{remote}", str(local))


class OldScp(Scp):
    """scp's own protocol, a command on the server, which this service does not have."""

    name = "scp -O"
    options = ("-O",)


def slow_put(target: Target, local: Path, remote: str, kbit_s: int, *more: str) -> subprocess.Popen:
    """Start a put that takes its time (``sftp -l``), for what happens in the middle of one.

    The password comes by SSH_ASKPASS: sshpass would put sftp into a session of its own, out of reach of our signals.

    :returns: the running process; sftp and its ssh are one process group, standard output is its one pipe.
    """
    batch = target.file("slow-batch", f'put "{local}" "{remote}"\n')
    askpass = target.file("askpass", '#!/bin/sh\nprintf "%s\\n" "$ASKED"\n')
    askpass.chmod(0o700)
    command = ["sftp", "-P", str(target.port), *OPTIONS, "-l", str(kbit_s), *more, "-b", str(batch)]
    asked = {"SSH_ASKPASS": str(askpass), "SSH_ASKPASS_REQUIRE": "force", "ASKED": target.password}
    return start(target, [*command, f"{target.username}@{target.host}"], extra=asked)
