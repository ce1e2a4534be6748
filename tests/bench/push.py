"""Our client and others putting to OpenSSH's sshd (one large file), and to rclone's server (groups of small ones).

CPU is the client's. A group is connect, log in, put four files of 2 KB, leave; by password.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.bench.big_upload import repeated_csv
from tests.bench.measure import RATIO, Results, table
from tests.bench.servers import SCHEMA, Rclone, Server, Sshd, running

BYTES = 1_000_000_000
ROOM = 4_000_000_000  # bytes in memory: the source, one copy, and peace
GROUPS = 300
AT_ONCE = (1, 8)
GCM = "aes128-gcm@openssh.com"
FLOORS = {("OpenSSH sftp", ""): 1.5, ("OpenSSH sftp", GCM): 1.1}
GROUP_FLOOR = 2.0


def run(folder: Path, rounds: int = 5, size: int = BYTES) -> str:
    """:returns: the tables."""
    large, small = Sshd(folder / "sshd"), Rclone(folder / "rclone") if shutil.which("rclone") else None
    results = Results()
    clients = {"ours": scripted, "OpenSSH sftp": openssh, "asyncssh": scripted}
    if small is not None:
        clients["rclone"] = rclone
    with running(large, *([small] if small is not None else [])):
        local = folder / "large.csv"
        repeated_csv(local, size)
        size = local.stat().st_size
        for number in range(rounds):
            for cipher in ("", GCM):
                for client, put in clients.items():
                    if cipher and put is rclone:  # 1.60 takes no list of ciphers
                        continue
                    name = f"push-{number}.csv"
                    took, cpu = put(client, large, local, name, cipher)
                    stored = large.folder / "files" / SCHEMA / name
                    assert stored.stat().st_size == size, f"{client} put {stored.stat().st_size} bytes"
                    large.settle(name)
                    results.note((client, cipher), rate=size / took / 1e6, cpu=cpu / size * 1e9)
            for at_once in AT_ONCE if small is not None else ():
                for client in ("ours", "asyncssh"):
                    count = GROUPS if at_once > 1 else GROUPS // 3
                    words = ("groups", str(count), str(at_once), f"{SCHEMA}/g")
                    found = child(client, small, *words)  # type: ignore[arg-type]
                    results.note((client, at_once), rate=count / found["seconds"], cpu=found["cpu"] / count * 1000)
    rows = [
        [
            "AES-GCM" if cipher else "its default",
            client,
            results.figure((client, cipher), "rate"),
            results.figure((client, cipher), "cpu", 2),
            *results.ratio(("ours", cipher), (client, cipher), FLOORS.get((client, cipher))),
        ]
        for cipher in ("", GCM)
        for client in clients
    ]
    heads = ["cipher", "client", "MB/s", "CPU s/GB", f"ours / this, {RATIO}", "floor"]
    text = f"{size:,} bytes to OpenSSH's sshd.\n\n" + table(heads, rows)
    if small is None:
        return text + "\n\nrclone is not installed: groups not measured."
    rows = [
        [
            str(at_once),
            client,
            results.figure((client, at_once), "rate"),
            results.figure((client, at_once), "cpu", 2),
            *results.ratio(("ours", at_once), (client, at_once), None if client == "ours" else GROUP_FLOOR),
        ]
        for at_once in AT_ONCE
        for client in ("ours", "asyncssh")
    ]
    heads = ["at once", "client", "groups/s", "CPU ms per group", f"ours / this, {RATIO}", "floor"]
    return text + "\n\nGroups to rclone's server.\n\n" + table(heads, rows)


def child(client: str, server: Server, *words: str) -> dict[str, float]:
    """Run push_client.py. :returns: what it printed."""
    user, password = server.login()
    command = [sys.executable, "-m", "tests.bench.push_client", client, str(server.port), user]
    command += [str(server.key) if server.key else password, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def scripted(client: str, server: Server, local: Path, name: str, cipher: str) -> tuple[float, float]:
    """A put by a Python client. :returns: seconds, CPU seconds."""
    found = child(client, server, "big", str(local), f"{SCHEMA}/{name}", cipher)
    return found["seconds"], found["cpu"]


def openssh(client: str, server: Server, local: Path, name: str, cipher: str) -> tuple[float, float]:
    """A put by sftp. :returns: seconds, CPU seconds."""
    with server.sftp(*([f"-oCiphers={cipher}"] if cipher else [])) as sftp:
        cpu = sftp.cpu_s()
        took = sftp.do(f"put {local} {SCHEMA}/{name}")
        return took, sftp.cpu_s() - cpu


def rclone(client: str, server: Server, local: Path, name: str, cipher: str) -> tuple[float, float]:
    """A put by ``rclone copyto`` with its defaults, login and start of the program included."""
    command = ["rclone", "copyto", str(local), f":sftp:{server.folder}/files/{SCHEMA}/{name}"]
    command += ["--config", str(server.folder / "none.conf"), "--ignore-checksum", "--ignore-times"]
    command += ["--sftp-host", server.host, "--sftp-port", str(server.port), "--sftp-user", server.login()[0]]
    command += ["--sftp-key-file", str(server.key)]
    before, began = os.times(), time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    took, after = time.perf_counter() - began, os.times()
    assert done.returncode == 0, done.stderr
    return took, after.children_user + after.children_system - before.children_user - before.children_system
