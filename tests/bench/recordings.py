"""Recordings on their way through the real service to OpenSSH's sshd, and the same files sent by other clients.

Ours looks at the spool, hashes, records, gives each group a connection of its own, reads sizes back and logs; the
others only send. A group is four files of 2 KB on one connection, by key. First groups, then one large main file.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.bench.big_upload import repeated_csv
from tests.bench.measure import RATIO, Results, cpu_s, table
from tests.bench.push import child
from tests.bench.servers import SCHEMA, Sshd, running
from tests.live.service import Service

GROUPS = 200
AT_ONCE = 8
BYTES = 700_000_000
ROOM = 3_000_000_000
ROLES = {"main": "mp4", "raw": "webm", "snapshot": "jpg", "filmstrip": "png"}
FAR_S = 300


class Pushing:
    """Our service, with sshd as a remote."""

    def __init__(self, folder: Path, server: Sshd) -> None:
        self.service = Service(folder, {"push.networks_allowed": "127.0.0.0/8", "push.look_s": 0.2})
        self.server = server

    def start(self) -> None:
        """The service is started with the remote in an environment."""
        service, server = self.service, self.server
        service.init()
        host_key = (server.folder / "host_key.pub").read_text()
        key = ("--key-file", str(server.key), "--username", server.login()[0], "--host-key", host_key)
        place = ("--host", server.host, "--port", str(server.port), "--folder", SCHEMA)
        service.command("remote", "add", "demo", "peer", *place, *key, "--max-connections", str(AT_ONCE))
        service.command("environment", "create", "demo", "bench", "--remote", "peer")
        service.start()
        self.spool = service.folder / "state" / "recordings"
        self.spool.mkdir(exist_ok=True)

    def deliver(self, files: dict[str, dict[str, Path]]) -> tuple[float, float]:
        """Drop a manifest for each group. :returns: seconds until the last is delivered, CPU seconds of the service."""
        for name, group in files.items():
            told: dict[str, Any] = {"id": name, "organisation": "demo", "environment": "bench", "name": name}
            told["files"] = {role: str(path) for role, path in group.items()}
            (self.spool / f"{name}.new").write_text(json.dumps(told))
        pid = self.service.pid()
        cpu, began = cpu_s(pid), time.perf_counter()
        for name in files:
            (self.spool / f"{name}.new").rename(self.spool / f"{name}.json")
        while (left := self.left()) and time.perf_counter() - began < FAR_S:
            time.sleep(0.05 if left < len(files) else 0.01)
        assert not self.left(), self.service.log_text()[-3000:]
        return time.perf_counter() - began, cpu_s(pid) - cpu

    def left(self) -> int:
        """Manifests not yet accepted, and pushes not yet delivered."""
        waiting = len(list(self.spool.glob("*.json")))
        with sqlite3.connect(f"file:{self.service.folder}/state/catalog.sqlite?mode=ro", uri=True) as database:
            (pushes,) = database.execute("SELECT count(*) FROM pushes WHERE state != 'DELIVERED'").fetchone()
        database.close()
        return waiting + pushes


def run(folder: Path, rounds: int = 3, size: int = BYTES) -> str:
    """:returns: the tables."""
    server = Sshd(folder / "sshd")
    (folder / "ours").mkdir()
    ours = Pushing(folder / "ours", server)
    results = Results()
    with running(server):
        ours.start()
        try:
            local = folder / "large.csv"
            repeated_csv(local, size)
            size = local.stat().st_size
            for number in range(rounds):
                files = groups(ours.spool, f"r{number}")
                took, cpu = ours.deliver(files)
                results.note(("ours", "groups"), rate=len(files) / took, cpu=cpu / len(files) * 1000)
                arrived(server, files)
                for name, send in OTHERS.items():
                    took = send(server, list(files.values()), f"{SCHEMA}/{name.split()[0]}{number}")
                    results.note((name, "groups"), rate=len(files) / took)
                    server.settle()
                main = ours.spool / f"large{number}.mp4"
                shutil.copyfile(local, main)
                took, cpu = ours.deliver({f"large{number}": {"main": main}})
                results.note(("ours", "large"), rate=size / took / 1e6, cpu=cpu / size * 1e9)
                for name, send in OTHERS.items():
                    if name != "asyncssh":  # its script sends small groups only
                        took = send(server, [{"main": main}], f"{SCHEMA}/{name.split()[0]}-large{number}")
                        results.note((name, "large"), rate=size / took / 1e6)
                server.settle()
                shutil.rmtree(server.folder / "files" / SCHEMA)
                (server.folder / "files" / SCHEMA).mkdir()
                main.unlink()
        finally:
            ours.service.stop()
    text = []
    for what, unit, per in (("groups", "groups/s", "CPU ms per group"), ("large", "MB/s", "CPU s/GB")):
        rows = [
            [
                client,
                results.figure((client, what), "rate"),
                results.figure((client, what), "cpu", 2),
                *results.ratio(("ours", what), (client, what))[:1],
            ]
            for client in ("ours", *OTHERS)
        ]
        title = f"{GROUPS} groups, {AT_ONCE} at once" if what == "groups" else f"One file of {size:,} bytes"
        text.append(f"{title}.\n\n" + table(["client", unit, per, f"ours / this, {RATIO}"], rows))
    return "\n\n".join(text)


def groups(spool: Path, prefix: str) -> dict[str, dict[str, Path]]:
    """Files of groups, in the spool."""
    made = {}
    for number in range(GROUPS):
        name = f"{prefix}-{number:03}"
        made[name] = {role: spool / f"{name}-{role}.{ending}" for role, ending in ROLES.items()}
        for path in made[name].values():
            path.write_bytes(os.urandom(2048))
    return made


def arrived(server: Sshd, files: dict[str, dict[str, Path]]) -> None:
    """Every file is there, with its bytes."""
    place = server.folder / "files" / SCHEMA
    for name, group in files.items():
        for role, ending in {
            "main": ".mp4",
            "raw": "_raw.webm",
            "snapshot": ".jpg",
            "filmstrip": "_filmstrip.jpg",
        }.items():
            assert (place / f"{name}{ending}").read_bytes() == group[role].read_bytes(), (name, role)


def _at_once(send: Callable[[int], None], count: int) -> float:
    began = time.perf_counter()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(send, range(count)))
    return time.perf_counter() - began


def openssh(server: Sshd, files: list[dict[str, Path]], remote: str) -> float:
    """A run of ``sftp -b`` for each group."""

    def send(number: int) -> None:
        lines = "".join(f"put {path} {remote}-{number}-{role}\n" for role, path in files[number].items())
        command = ["sftp", "-q", "-b", "-", "-P", str(server.port), *server.options(), "-oStrictHostKeyChecking=no"]
        command += ["-oUserKnownHostsFile=/dev/null", "-oLogLevel=ERROR", f"{server.login()[0]}@{server.host}"]
        subprocess.run(command, input=lines, text=True, check=True, capture_output=True)

    return _at_once(send, len(files))


def rclone(server: Sshd, files: list[dict[str, Path]], remote: str) -> float:
    """A run of ``rclone copy --files-from`` for each group."""

    def send(number: int) -> None:
        names = "".join(f"{path.name}\n" for path in files[number].values())
        folder = next(iter(files[number].values())).parent
        target = f":sftp:{server.folder}/files/{remote}-{number}"
        command = ["rclone", "copy", str(folder), target, "--files-from-raw", "-", "--config", "/dev/null"]
        command += ["--ignore-checksum", "--no-check-dest", "--sftp-host", server.host, "--sftp-port", str(server.port)]
        command += ["--sftp-user", server.login()[0], "--sftp-key-file", str(server.key), "--sftp-set-modtime=false"]
        subprocess.run(command, input=names, text=True, check=True, capture_output=True)

    return _at_once(send, len(files))


def asyncssh(server: Sshd, files: list[dict[str, Path]], remote: str) -> float:
    """One process with so many connections at a time; the files are its own, of the same size."""
    return child("asyncssh", server, "groups", str(len(files)), str(AT_ONCE), remote)["seconds"]


OTHERS: dict[str, Callable[[Sshd, list[dict[str, Path]], str], float]] = {
    "OpenSSH sftp": openssh,
    **({"rclone": rclone} if shutil.which("rclone") else {}),
    "asyncssh": asyncssh,
}
