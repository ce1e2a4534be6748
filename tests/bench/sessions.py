"""Full sessions by one client, and by 8 at once: connect, key exchange, login, put 2 KB, leave.

By password; at OpenSSH's server by key. Ours has seen the password before, as is so for a partner's next connection.

The client is libssh2 in 8 threads of one process, so that it does not use up the machine itself.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

from tests.bench import libssh2
from tests.bench.measure import figure, ratio, table
from tests.bench.servers import SCHEMA, AsyncsshServer, Ours, Server, Sshd, running, warehouse_of
from tests.bench.small_files import BYTES
from tests.live.material import large_csv

CLIENTS = 8
SESSIONS = 400


def run(folder: Path, rounds: int = 5) -> str:
    """:returns: the table."""
    lib = libssh2.load()
    if lib is None:
        return "libssh2 is not installed: not measured."
    ours = Ours(folder / "ours")
    servers: list[Server] = [ours, Sshd(folder / "sshd"), AsyncsshServer(folder / "asyncssh")]
    rates: dict[tuple[Server, int], list[float]] = {(s, c): [] for s in servers for c in (1, CLIENTS)}
    cpu: dict[tuple[Server, int], list[float]] = {(s, c): [] for s in servers for c in (1, CLIENTS)}
    with running(*servers):
        large_csv(folder / "small.csv", BYTES)
        content = (folder / "small.csv").read_bytes()
        for server in servers:
            many(lib, server, "warm", 1, 3, content)
        for number in range(rounds):
            for clients in (1, CLIENTS):
                for server in servers:
                    count = SESSIONS if clients > 1 else SESSIONS // 4
                    before = server.cpu_s()
                    took = many(lib, server, f"r{number}c{clients}", clients, count, content)
                    server.wait_for_sessions()
                    cpu[server, clients].append((server.cpu_s() - before) / count * 1000)
                    rates[server, clients].append(count / took)
                    server.settle()
        arrived = warehouse_of(ours)
    rows = [
        [
            str(clients),
            server.name,
            figure(rates[server, clients]),
            figure(cpu[server, clients], 2),
            ratio(rates[ours, clients], rates[server, clients]) if server is not ours else "",
        ]
        for clients in (1, CLIENTS)
        for server in servers
    ]
    heads = ["clients", "server", "sessions/s", "server CPU ms per session", "ours / theirs"]
    return table(heads, rows) + f"\n\nIn our catalog afterwards: {arrived}."


def many(lib, server: Server, prefix: str, clients: int, count: int, content: bytes) -> float:
    """``count`` sessions by ``clients`` threads. :returns: seconds."""
    user, password = (word.encode() for word in server.login())
    key = str(server.key).encode() if server.key else None
    numbers = iter(range(count))
    lock = threading.Lock()
    wrong: list[BaseException] = []

    def work() -> None:
        while not wrong:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            try:
                path = f"{SCHEMA}/{prefix}-{number}.csv".encode()
                libssh2.one_session(lib, server.port, user, password, key, path, content)
            except (AssertionError, OSError) as error:
                wrong.append(error)

    threads = [threading.Thread(target=work) for _ in range(clients)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - begun
    if wrong:
        raise wrong[0]
    return took
