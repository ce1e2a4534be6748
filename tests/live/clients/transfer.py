"""lftp, curl and rclone, with the options a user gets who sets none."""

from __future__ import annotations

import subprocess
from functools import cache

from tests.live.clients.base import Client, Outcome, Target, run


class Lftp(Client):
    """lftp, which runs ssh; asks for SFTP version 6, and tries again for ever unless told not to."""

    name = "lftp"
    looks_first = True
    needs = ("lftp", "ssh")

    def commands(self, target: Target, *lines: str) -> Outcome:
        """Run lines after the login; the first failure ends it."""
        script = target.file(
            "lftp-script",
            "set sftp:auto-confirm yes\nset cmd:fail-exit yes\nset net:max-retries 1\nset net:timeout 10\n"
            f"open -p {target.port} -u {target.username},{target.password} sftp://{target.host}\n"
            + "".join(f"{line}\n" for line in lines),
        )
        return run(target, ["lftp", "-f", str(script)])

    def put(self, target, local, remote):
        folder, _, name = remote.rpartition("/")
        return self.commands(target, f'cd "{folder or "/"}"', f'put "{local}" -o "{name}"')

    def get(self, target, remote, local):
        return self.commands(target, f'get "{remote}" -o "{local}"')

    def mkdir(self, target, path):
        return self.commands(target, f'mkdir "{path}"')

    def remove(self, target, path):
        return self.commands(target, f'rm "{path}"')


@cache
def _curl_protocols() -> str:
    said = subprocess.run(["curl", "-V"], capture_output=True, text=True, check=False).stdout
    return next((line for line in said.splitlines() if line.startswith("Protocols:")), "")


class Curl(Client):
    """curl over libssh2, which only logs a refused CLOSE (libssh2.c, ssh_state_sftp_close)."""

    name = "curl"
    needs = ("curl",)
    shows_text = False
    blind_at_close = True

    def missing(self):
        return super().missing() or (None if " sftp" in _curl_protocols() else "curl was built without sftp")

    def curl(self, target: Target, *arguments: str) -> Outcome:
        """Run curl with the login from a netrc file."""
        netrc = f"machine {target.host} login {target.username} password {target.password}\n"
        return run(target, ["curl", "-sS", "-k", "--netrc-file", str(target.file("netrc", netrc)), *arguments])

    def url(self, target: Target, path: str) -> str:
        """The sftp URL of an absolute path."""
        return f"sftp://{target.host}:{target.port}{path}"

    def put(self, target, local, remote):
        return self.curl(target, "-T", str(local), self.url(target, remote))

    def get(self, target, remote, local):
        return self.curl(target, "-o", str(local), self.url(target, remote))

    def mkdir(self, target, path):
        return self.curl(target, "-Q", f"mkdir {path}", self.url(target, "/"))

    def remove(self, target, path):
        return self.curl(target, "-Q", f"rm {path}", self.url(target, "/"))


class Rclone(Client):
    """rclone with its defaults; the remote is made of environment variables. It tries to make a missing folder."""

    name = "rclone"
    shows_text_of_denied = False
    looks_first = True
    needs = ("rclone",)

    def rclone(self, target: Target, *arguments: str) -> Outcome:
        """Run rclone on the remote ``:sftp:``."""
        obscured = run(target, ["rclone", "obscure", "-"], typed=target.password).said.strip()
        login = {
            "RCLONE_CONFIG": "/dev/null",
            "RCLONE_SFTP_HOST": target.host,
            "RCLONE_SFTP_PORT": str(target.port),
            "RCLONE_SFTP_USER": target.username,
            "RCLONE_SFTP_PASS": obscured,
        }
        return run(target, ["rclone", *arguments], extra=login)

    def put(self, target, local, remote):
        return self.rclone(target, "copyto", str(local), f":sftp:{remote}")

    def get(self, target, remote, local):
        return self.rclone(target, "copyto", f":sftp:{remote}", str(local))

    def mkdir(self, target, path):
        return self.rclone(target, "mkdir", f":sftp:{path}")

    def remove(self, target, path):
        return self.rclone(target, "deletefile", f":sftp:{path}")
