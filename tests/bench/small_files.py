"""Files of 2 KB put by OpenSSH's sftp: 1,000 one after the other in one session; 250 in each of 8 at once.

Ours answers each CLOSE when the file is checked, fsynced and recorded in a committed transaction; while loading, its
worker processes validate and load the rows meanwhile on the same cores. The others write into the page cache.
Logins are not counted. No file is deleted before the end: for minutes after thousands of deletions ext4 takes as long
to find a free inode as OpenSSH's server for a whole file, and only those who make files would be measured by that.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from tests.bench.measure import RATIO, Results, figure, table
from tests.bench.servers import (
    SCHEMA,
    AsyncsshServer,
    Door,
    Ours,
    PlainDoor,
    Rclone,
    Server,
    Sshd,
    running,
    together,
    warehouse_of,
)
from tests.live.material import large_csv

BYTES = 2000
SESSIONS = {1: 1000, 8: 250}  # at once: files in each


def run(folder: Path, rounds: int = 5) -> str:
    """:returns: the table."""
    loading, door, plain = Ours(folder / "ours"), Door(folder / "door"), PlainDoor(folder / "plain")
    openssh = Sshd(folder / "sshd")
    servers: list[Server] = [loading, door, plain, openssh, AsyncsshServer(folder / "asyncssh")]
    servers.append(Rclone(folder / "rclone"))
    floors = {(loading, 1): 0.5, (door, 1): 0.5, (plain, 1): 1.15, (loading, 8): 1.0, (door, 8): 1.0}
    results = Results()
    loaded: dict[int, list[float]] = {}
    with running(*servers):
        local = folder / "small.csv"
        large_csv(local, BYTES)
        for number in range(rounds):
            for at_once in SESSIONS:
                for server in servers:
                    begun = time.perf_counter()
                    files, measured = put(server, local, at_once, number)
                    results.note((server, at_once), **measured)
                    if server is loading:
                        loaded.setdefault(at_once, []).append(files / (time.perf_counter() - begun))
        arrived = warehouse_of(loading)
    rows = [
        [
            str(at_once),
            server.name + (", while loading" if server is loading else ""),
            results.figure((server, at_once), "rate"),
            results.figure((server, at_once), "server", 2),
            *results.ratio((server, at_once), (openssh, at_once), floors.get((server, at_once))),
        ]
        for at_once in SESSIONS
        for server in servers
    ]
    heads = ["sessions", "server", "files/s", "server CPU ms per file", f"this / OpenSSH, {RATIO}", "floor"]
    workers = ", ".join(f"{at_once}: {results.figure((loading, at_once), 'workers', 1)}" for at_once in SESSIONS)
    until = ", ".join(f"{at_once}: {figure(rates)}" for at_once, rates in loaded.items())
    return (
        f"{table(heads, rows)}\n\nWorker processes, CPU ms per file, by sessions: {workers}. From the first put to the "
        f"last row loaded, files/s, by sessions: {until}. In the catalog afterwards: {arrived}."
    )


def put(server: Server, local: Path, at_once: int, number: int) -> tuple[int, dict[str, float]]:
    """Put all files of one round, and wait until nothing of them is being worked on.

    :returns: how many; files/s, CPU milliseconds per file of the server until the last put, and of its workers.
    """
    names = [[f"s{at_once}-{number}-{one}-{index}.csv" for index in range(SESSIONS[at_once])] for one in range(at_once)]
    files = sum(map(len, names))
    workers = server.worker_cpu_s()
    with contextlib.ExitStack() as stack:
        sessions = [stack.enter_context(server.sftp()) for _ in names]
        served = server.cpu_s()
        took = together(sessions, [[f"put {local} {SCHEMA}/{name}" for name in each] for each in names])
        served = server.cpu_s() - served
    server.settle()
    workers = server.worker_cpu_s() - workers
    return files, {"rate": files / took, "server": served / files * 1000, "workers": workers / files * 1000}
