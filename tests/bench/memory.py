"""Memory of a server's main process: per idle logged-in session, and its growth during a put of 100 MB."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.bench import measure
from tests.bench.measure import Results, table
from tests.bench.servers import SCHEMA, AsyncsshServer, Ours, Rclone, Server, running
from tests.live.clients.base import Target, environment, login
from tests.live.clients.libraries import SCRIPTS
from tests.live.material import large_csv

SESSIONS = 200
PUT_BYTES = 100_000_000
PUT_MB = 16
SESSION_KIB = 12


def run(folder: Path, rounds: int = 3) -> str:
    """:returns: the table. Every round starts the servers anew, so that no memory freed before is used again."""
    results = Results()
    for number in range(rounds):
        place = folder / str(number)
        place.mkdir()
        ours = Ours(place / "ours")
        servers: list[Server] = [ours, AsyncsshServer(place / "asyncssh"), Rclone(place / "rclone")]
        with running(*servers):
            local = place / "put.csv"
            large_csv(local, PUT_BYTES)
            for server in servers:
                with server.sftp() as sftp:
                    sftp.do("ls")
                rest = measure.rss_bytes(server.pid()) / 1e6
                idle = per_idle_session(server) / 1024
                results.note(server.name, rest=rest, idle=idle, put=growth_in_a_put(server, local))
        shutil.rmtree(place)
    rows = [
        [server.name, *(results.figure(server.name, quantity, 1) for quantity in ("rest", "idle", "put"))]
        for server in servers
    ]
    heads = ["server", "RSS at rest, MB", f"KiB per idle session ({SESSIONS})", "growth in a 100 MB put, MB"]
    return (
        f"{table(heads, rows)}\n\nWorker processes are not counted. Ours, KiB per idle session "
        f"{results.at_most(ours.name, 'idle', SESSION_KIB)}, growth in MB {results.at_most(ours.name, 'put', PUT_MB)}."
    )


def growth_in_a_put(server: Server, local: Path) -> float:
    """MB by which the peak of the first put, its login included, is above what was resident before it."""
    before = measure.rss_bytes(server.pid())
    measure.reset_peak(server.pid())
    with server.sftp() as sftp:
        sftp.do(f"put {local} {SCHEMA}/measured.csv")
    peak = measure.peak_bytes(server.pid())
    server.settle("measured.csv")
    return (peak - before) / 1e6


def per_idle_session(server: Server) -> float:
    """Bytes that each of many logged-in sessions adds to the server's PSS."""
    user, password = server.login()
    target = Target(server.port, user, password, "", server.scratch)
    before = measure.pss_bytes(server.pid())
    script = [sys.executable, str(SCRIPTS / "idle_sessions.py"), str(SESSIONS)]
    with subprocess.Popen(
        script, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(target, login(target))
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(1)  # the last answers are out, collected memory is back
        after = measure.pss_bytes(server.pid())
        process.communicate("")
    return (after - before) / SESSIONS
