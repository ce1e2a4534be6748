"""1,000 files of 2 KB, put one after the other in one session by OpenSSH's sftp; login not counted.

Ours answers each CLOSE when the file is checked, fsynced and recorded in a committed transaction; it validates and
loads the rows meanwhile, on the same cores, or ("door alone") afterwards. The others write into the page cache.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from tests.bench.measure import figure, ratio, table
from tests.bench.servers import SCHEMA, AsyncsshServer, Ours, Server, Sshd, running, warehouse_of
from tests.live.material import large_csv

FILES = 1000
BYTES = 2000


def run(folder: Path, rounds: int = 5) -> str:
    """:returns: the table."""
    ours = Ours(folder / "ours")
    others: list[Server] = [Sshd(folder / "sshd"), AsyncsshServer(folder / "asyncssh")]
    rates: dict[str, list[float]] = {}
    cpu: dict[str, list[float]] = {}
    loaded: list[float] = []
    with running(ours, *others):
        local = folder / "small.csv"
        large_csv(local, BYTES)
        for number in range(rounds):
            ways: dict[str, tuple[Server, contextlib.AbstractContextManager[None]]]
            ways = {ours.name: (ours, contextlib.nullcontext()), "pipe-sftp, door alone": (ours, ours.workers_held())}
            ways |= {server.name: (server, contextlib.nullcontext()) for server in others}
            for way, (server, circumstance) in ways.items():
                names = [f"{way.partition(', ')[2]}{number}-{index}.csv".replace(" ", "-") for index in range(FILES)]
                begun = time.perf_counter()
                with circumstance, server.sftp() as sftp:
                    before = server.cpu_s()
                    took = sftp.do(*(f"put {local} {SCHEMA}/{name}" for name in names))
                    spent = server.cpu_s() - before
                server.settle(*names)
                rates.setdefault(way, []).append(FILES / took)
                cpu.setdefault(way, []).append(spent / FILES * 1000)
                if way == ours.name:
                    loaded.append(FILES / (time.perf_counter() - begun))
        arrived = warehouse_of(ours)
    rows = [
        [way, figure(rates[way]), figure(cpu[way], 2), ratio(rates[ours.name], rates[way]) if way != ours.name else ""]
        for way in rates
    ]
    heads = ["server", "files/s", "server CPU ms per file (main process)", "pipe-sftp / this"]
    return (
        table(heads, rows)
        + f"\n\nFrom the first put to the last row loaded: {figure(loaded)} files/s."
        + f" In our catalog afterwards: {arrived}."
    )
