"""Recordings for a real service, the remotes they go to, and what its catalog says of them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.live.service import Service
from tests.live.sftp_servers import PeerServer

ORGANISATION = "demo"  # what init makes
ALLOWED = {"push.networks_allowed": "127.0.0.0/8", "push.look_s": 0.2}
# role → what its file is called here, and the end of its name on the remote
FILES = {"main": "mp4", "raw": "webm", "snapshot": "jpg", "filmstrip": "png"}
ENDS = {"main": ".mp4", "raw": "_raw.webm", "snapshot": ".jpg", "filmstrip": "_filmstrip.jpg"}


def add_remote(service: Service, name: str, server: PeerServer, *more: str, folder: str = "in") -> None:
    """``conch-pipe remote add``: the server with its host key, its login, and the folder, which is made there.

    :param more: words of the command.
    """
    (server.files / folder).mkdir(parents=True, exist_ok=True)
    words = ["--host", "127.0.0.1", "--port", str(server.port), "--username", server.user]
    words += ["--folder", server.remote(folder).decode(), "--host-key", f"{server.host_key}.pub"]
    if server.password is not None:
        words += ["--password-file", str(secret_file(service, name, server.password))]
    if server.key is not None:
        service.hides(key=server.key)
        words += ["--key-file", str(server.key)]
    service.command("remote", "add", ORGANISATION, name, *words, *more)


def secret_file(service: Service, name: str, password: str) -> Path:
    """A file with a password, which nothing that the service says or stores may have."""
    service.hides(password)
    path = service.folder / f"{name}.password"
    path.write_text(password)
    return path


def files_of(service: Service, recording: str, sizes: Mapping[str, int]) -> dict[str, Path]:
    """Files beside the manifests, with bytes of their own.

    :param sizes: role → bytes.
    """
    folder = service.folder / "state" / "recordings" / recording
    folder.mkdir(parents=True)
    made = {role: folder / f"{role}.{FILES[role]}" for role in sizes}
    for role, path in made.items():
        path.write_bytes(os.urandom(sizes[role]))
    return made


def drop(service: Service, environment: str, recording: str, files: Mapping[str, Path]) -> Path:
    """Leave a manifest as a transcoder does. :returns: where it was left."""
    spool = service.folder / "state" / "recordings"
    told: dict[str, Any] = {"organisation": ORGANISATION, "environment": environment, "id": recording}
    told |= {"name": recording, "files": {role: str(path) for role, path in files.items()}}
    (spool / f"{recording}.tmp").write_text(json.dumps(told))
    return (spool / f"{recording}.tmp").rename(spool / f"{recording}.json")


def pushes(service: Service, recording: str) -> dict[str, dict[str, Any]]:
    """Remote → state and number of counted attempts of a recording's push."""
    found = service.ask(
        "SELECT p.remote, p.state, p.attempts FROM pushes p JOIN recordings r ON p.recording = r.uid "
        f"WHERE r.id = '{recording}'"
    )
    return {remote: {"state": state, "attempts": made} for remote, state, made in found}


def attempts(service: Service, recording: str) -> dict[str, list[tuple[int, str, str]]]:
    """Remote → number, status and reason of each attempt, in their order."""
    found = service.ask(
        "SELECT a.remote, a.number, a.status, a.reason FROM push_attempts a JOIN recordings r ON a.recording = r.uid "
        f"WHERE r.id = '{recording}' ORDER BY a.id"
    )
    rows: dict[str, list[tuple[int, str, str]]] = {}
    for remote, *attempt in found:
        rows.setdefault(remote, []).append(tuple(attempt))  # type: ignore[arg-type]
    return rows


def state(service: Service, recording: str, remote: str) -> str:
    """The state of one push; empty: not there yet."""
    return pushes(service, recording).get(remote, {}).get("state", "")
