"""What the tests ask of a real client: put, get, mkdir, rm as its user would type them, and what it said.

Runs clients as child processes only, so that what is seen is what a partner's script sees: a status and some text.
Knows nothing of what the service should answer.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

TIMEOUT_S = 60


@dataclass(frozen=True)
class Outcome:
    """How a client ended.

    ``status`` is its exit status, ``said`` everything it printed.
    """

    status: int
    said: str

    def __str__(self) -> str:
        return f"status {self.status}, said:\n{self.said}"


@dataclass(frozen=True)
class Target:
    """A server and a login, with a folder for what the client needs on disk."""

    port: int
    username: str
    password: str = field(repr=False)
    fingerprint: str  # "SHA256:…" of the ed25519 host key
    scratch: Path
    host: str = "127.0.0.1"

    def file(self, name: str, text: str) -> Path:
        """A file for the client to read: a batch, a password."""
        path = self.scratch / name
        path.write_text(text)
        path.chmod(0o600)
        return path


class Client:
    """One real client. Subclasses say which programs they need and how each thing is asked of them.

    ``shows_text`` is what research of the clients found: whether its user sees the server's own words when a put
    is refused at OPEN. ``blind_at_close`` clients report success although CLOSE was refused. ``can`` names what
    can be asked of it besides putting.
    """

    name = ""
    needs: tuple[str, ...] = ()
    can: frozenset[str] = frozenset({"get", "mkdir", "remove"})
    shows_text = True
    shows_text_at_close = True
    shows_text_of_denied = True  # Go's pkg/sftp makes PERMISSION_DENIED its own error without the text
    looks_first = False  # changes into the folder first, and says in its own words that it is not there
    blind_at_close = False
    always_zero = False  # a script whose status does not tell

    def missing(self) -> str | None:
        """What stands in the way of running it here, or None."""
        for program in self.needs:
            if shutil.which(program) is None:
                return f"{program} is not installed"
        return None

    def put(self, target: Target, local: Path, remote: str) -> Outcome:
        """Put a file under an absolute remote path."""
        raise NotImplementedError

    def get(self, target: Target, remote: str, local: Path) -> Outcome:
        """Try to download."""
        raise NotImplementedError

    def mkdir(self, target: Target, path: str) -> Outcome:
        """Try to make a folder."""
        raise NotImplementedError

    def remove(self, target: Target, path: str) -> Outcome:
        """Try to remove a file."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return self.name


def shims(folder: Path) -> Path:
    """A folder for PATH with ssh, sftp and scp that keep their host keys away from the user's own known_hosts.

    OpenSSH takes the home from the password database, so HOME does not do; and a changed key on a port used
    before would make it refuse passwords.
    """
    folder.mkdir(exist_ok=True)
    for program in ("ssh", "sftp", "scp"):
        real = shutil.which(program)
        if real is not None:
            shim = folder / program
            quiet = "-oUserKnownHostsFile=/dev/null -oGlobalKnownHostsFile=/dev/null -oLogLevel=ERROR"
            # sftp and scp look the transport up at its compiled-in path, so each is given the options itself.
            shim.write_text(f'#!/bin/sh\nexec {real} -F /dev/null {quiet} "$@"\n')
            shim.chmod(0o755)
    return folder


def environment(target: Target, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The child's environment: the shims first, no agent, an own home, plain English."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SSH_", "PIPE_SFTP_", "RCLONE_"))}
    home = target.scratch / "home"
    home.mkdir(exist_ok=True)
    return {
        **kept,
        "PATH": f"{shims(target.scratch / 'shims')}:{os.environ['PATH']}",
        "HOME": str(home),
        "LC_ALL": "C.UTF-8",
        **(extra or {}),
    }


def start(
    target: Target, command: Sequence[str], *, extra: Mapping[str, str] | None = None, **popen: object
) -> subprocess.Popen:
    """Start a client in a process group of its own, with both outputs in one pipe."""
    return subprocess.Popen(
        [str(word) for word in command],
        env=environment(target, extra),
        cwd=target.scratch,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        **{"stdin": subprocess.DEVNULL, "text": True, "errors": "replace", **popen},  # type: ignore[call-overload]
    )


def run(
    target: Target,
    command: Sequence[str],
    *,
    typed: str | None = None,
    extra: Mapping[str, str] | None = None,
    timeout_s: float = TIMEOUT_S,
) -> Outcome:
    """Run a client to its end.

    :param typed: what its standard input holds; None: nothing.
    :raises subprocess.TimeoutExpired: it hung; it is killed first.
    """
    stdin = subprocess.DEVNULL if typed is None else subprocess.PIPE
    process = start(target, command, extra=extra, stdin=stdin)
    try:
        said, _ = process.communicate(typed, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return Outcome(process.returncode, said)


def python(target: Target, script: Path, *arguments: object) -> Outcome:
    """Run a Python client script; the login comes in the environment."""
    return run(target, [sys.executable, script, *map(str, arguments)], extra=login(target))


def login(target: Target) -> dict[str, str]:
    """The login as our client scripts read it."""
    return {
        "SFTP_HOST": target.host,
        "SFTP_PORT": str(target.port),
        "SFTP_USERNAME": target.username,
        "SFTP_PASSWORD": target.password,
    }
