"""One put of a large CSV by OpenSSH's sftp, with its default ciphers and with aes128-gcm; login not counted.

Ours also hashes, fsyncs while receiving, checks at CLOSE and records; CPU is the server's until the answer to CLOSE.
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.bench.measure import figure, ratio, table
from tests.bench.servers import SCHEMA, AsyncsshServer, Ours, Server, Sshd, running
from tests.live.material import large_csv

BYTES = int(os.environ.get("BENCH_BYTES", 1_000_000_000))
CIPHERS = {"default": (), "aes128-gcm": ("-c", "aes128-gcm@openssh.com")}


def run(folder: Path, rounds: int = 3) -> str:
    """:returns: the table."""
    ours = Ours(folder / "ours", {"workers.wall_s": 600, "workers.cpu_s": 600})
    servers: list[Server] = [ours, Sshd(folder / "sshd"), AsyncsshServer(folder / "asyncssh")]
    speeds: dict[tuple[Server, str], list[float]] = {(s, c): [] for s in servers for c in CIPHERS}
    cpu: dict[tuple[Server, str], list[float]] = {(s, c): [] for s in servers for c in CIPHERS}
    with running(*servers):
        local = folder / "big.csv"
        large_csv(local, BYTES)
        size = local.stat().st_size
        asked = [
            (cipher, options, server)
            for cipher, options in CIPHERS.items()
            for server in servers
            if server.takes(*options)
        ]
        for number in range(rounds):
            for cipher, options, server in asked:
                name = f"big-{cipher}-{number}.csv"
                with server.sftp(*options) as sftp:
                    before = server.cpu_s()
                    took = sftp.do(f"put {local} {SCHEMA}/{name}")
                    spent = server.cpu_s() - before
                server.settle(name)
                speeds[server, cipher].append(size / took / 1e6)
                cpu[server, cipher].append(spent / size * 1e9)
    rows = [
        [
            cipher,
            server.name,
            figure(speeds[server, cipher]),
            figure(cpu[server, cipher], 2),
            ratio(speeds[ours, cipher], speeds[server, cipher]) if server is not ours else "",
        ]
        for cipher in CIPHERS
        for server in servers
    ]
    heads = ["client's cipher", "server", "MB/s", "server CPU s/GB", "ours / theirs"]
    return f"{size:,} bytes.\n\n" + table(heads, rows)
