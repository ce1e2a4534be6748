"""1,000 files of 2 KB, put one after the other in one session by OpenSSH's sftp; login not counted.

Ours answers each CLOSE when the file is checked, fsynced and recorded in a committed transaction, and validates and
loads the rows meanwhile; the others write into the page cache.
"""

from __future__ import annotations

from pathlib import Path

from tests.bench.measure import figure, ratio, table
from tests.bench.servers import SCHEMA, AsyncsshServer, Ours, Server, Sshd, running, warehouse_of
from tests.live.material import large_csv

FILES = 1000
BYTES = 2000


def run(folder: Path, rounds: int = 5) -> str:
    """:returns: the table."""
    ours = Ours(folder / "ours")
    servers: list[Server] = [ours, Sshd(folder / "sshd"), AsyncsshServer(folder / "asyncssh")]
    rates: dict[Server, list[float]] = {server: [] for server in servers}
    cpu: dict[Server, list[float]] = {server: [] for server in servers}
    with running(*servers):
        local = folder / "small.csv"
        large_csv(local, BYTES)
        for number in range(rounds):
            for server in servers:
                names = [f"r{number}-{index}.csv" for index in range(FILES)]
                before = server.cpu_s()
                with server.sftp() as sftp:
                    took = sftp.do(*(f"put {local} {SCHEMA}/{name}" for name in names))
                server.settle(*names)
                rates[server].append(FILES / took)
                cpu[server].append((server.cpu_s() - before) / FILES * 1000)
        arrived = warehouse_of(ours)
    rows = [
        [
            server.name,
            figure(rates[server]),
            figure(cpu[server], 2),
            ratio(rates[ours], rates[server]) if server is not ours else "",
        ]
        for server in servers
    ]
    heads = ["server", "files/s", "server CPU ms per file (ours with loading's bookkeeping)", "ours / theirs"]
    return table(heads, rows) + f"\n\nIn our catalog afterwards: {arrived}."
