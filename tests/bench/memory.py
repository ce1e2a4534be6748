"""Memory of the service's main process: per idle logged-in session, and its growth during a put of 100 MB."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from tests.bench import measure
from tests.bench.measure import figure, table
from tests.bench.servers import SCHEMA, AsyncsshServer, Ours, Server, running
from tests.live.clients.base import Target, environment, login
from tests.live.clients.libraries import SCRIPTS
from tests.live.material import large_csv

SESSIONS = 200
PUT_BYTES = 100_000_000
TARGET_MB = 16


def run(folder: Path, rounds: int = 3) -> str:
    """:returns: the table."""
    ours = Ours(folder / "ours")
    servers: list[Server] = [ours, AsyncsshServer(folder / "asyncssh")]
    idle: dict[Server, list[float]] = {server: [] for server in servers}
    growth: dict[Server, list[float]] = {server: [] for server in servers}
    rest: dict[Server, list[float]] = {server: [] for server in servers}
    with running(*servers):
        local = folder / "put.csv"
        large_csv(ours.service.sample(SCHEMA, 1000), local, PUT_BYTES)
        for server in servers:
            with server.sftp() as sftp:
                sftp.do(f"put {local} {SCHEMA}/warm.csv")
            server.settle("warm.csv")
        for number in range(rounds):
            for server in servers:
                rest[server].append(measure.rss_bytes(server.pid()) / 1e6)
                idle[server].append(per_idle_session(server) / 1024)
                name = f"put-{number}.csv"
                with server.sftp() as sftp:
                    before = measure.rss_bytes(server.pid())
                    measure.reset_peak(server.pid())
                    sftp.do(f"put {local} {SCHEMA}/{name}")
                    growth[server].append((measure.peak_bytes(server.pid()) - before) / 1e6)
                server.settle(name)
    rows = [
        [server.name, figure(rest[server]), figure(idle[server], 1), figure(growth[server], 1)] for server in servers
    ]
    heads = ["server", "RSS at rest, MB", f"KiB per idle session ({SESSIONS})", "growth in a 100 MB put, MB"]
    return table(heads, rows) + f"\n\nTarget for the growth: at most {TARGET_MB} MB. Worker processes are not counted."


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
