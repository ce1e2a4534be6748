"""Full sessions by one client, and by 8 at once: connect, key exchange, login, put 2 KB, leave.

By password; at OpenSSH's server by key. Ours has seen the password before, as is so for a partner's next connection;
its worker processes stand still. Each client is a process around libssh2, so that clients use little of the machine.
"""

from __future__ import annotations

import multiprocessing
import time
from multiprocessing.connection import Connection
from pathlib import Path

from tests.bench import libssh2
from tests.bench.measure import RATIO, Results, table
from tests.bench.servers import (
    SCHEMA,
    AsyncsshServer,
    Door,
    PlainDoor,
    Rclone,
    Server,
    Sshd,
    StockConch,
    running,
)
from tests.bench.small_files import BYTES
from tests.live.material import large_csv

SESSIONS = {1: 200, 8: 800}  # clients: sessions of all of them
FLOORS = {("asyncssh", 8): 2.0, ("rclone", 8): 0.65}


def run(folder: Path, rounds: int = 5) -> str:
    """:returns: the table."""
    if libssh2.load() is None:
        return "libssh2 is not installed: not measured."
    ours = Door(folder / "ours")
    servers: list[Server] = [ours, Sshd(folder / "sshd"), AsyncsshServer(folder / "asyncssh")]
    servers += [Rclone(folder / "rclone"), StockConch(folder / "conch"), PlainDoor(folder / "plain")]
    results = Results()
    with running(*servers):
        large_csv(folder / "small.csv", BYTES)
        content = (folder / "small.csv").read_bytes()
        for server in servers:
            many(server, "warm", 1, 3, content)
        for number in range(rounds):
            for clients, count in SESSIONS.items():
                for server in servers:
                    results.note((server, clients), **many(server, f"r{number}c{clients}", clients, count, content))
                    server.settle()
    rows = [
        [
            str(clients),
            server.name,
            results.figure((server, clients), "rate"),
            results.figure((server, clients), "server", 2),
            results.figure((server, clients), "client", 2),
            *results.ratio((ours, clients), (server, clients), FLOORS.get((server.name, clients))),
        ]
        for clients in SESSIONS
        for server in servers
    ]
    server_ms, client_ms = "server CPU ms per session", "client CPU ms per session"
    return table(["clients", "server", "sessions/s", server_ms, client_ms, f"ours / this, {RATIO}", "floor"], rows)


def many(server: Server, prefix: str, clients: int, count: int, content: bytes) -> dict[str, float]:
    """``count`` sessions by so many client processes. :returns: sessions/s, CPU milliseconds of each side for one."""
    fork = multiprocessing.get_context("fork")
    pipes, processes = [], []
    for client in range(clients):
        pipe, end = fork.Pipe()
        arguments = (server, f"{SCHEMA}/{prefix}-{client}", count // clients, content, end)
        processes.append(fork.Process(target=work, args=arguments, daemon=True))
        processes[-1].start()
        end.close()
        pipes.append(pipe)
    for pipe in pipes:
        pipe.recv()
    served = server.cpu_s()
    for pipe in pipes:
        pipe.send("go")
    told = [pipe.recv() for pipe in pipes]
    server.wait_for_sessions()
    served = server.cpu_s() - served
    for process in processes:
        process.join()
    took = max(ended for _, ended, _ in told) - min(begun for begun, _, _ in told)
    spent = sum(each for _, _, each in told)
    return {"rate": count / took, "server": served / count * 1000, "client": spent / count * 1000}


def work(server: Server, path: str, count: int, content: bytes, pipe: Connection) -> None:
    """One client process: says that it is ready, waits, then tells when it began and ended and its CPU seconds."""
    lib = libssh2.load()
    assert lib is not None
    user, password = (word.encode() for word in server.login())
    key = str(server.key).encode() if server.key else None
    pipe.send("ready")
    pipe.recv()
    spent, begun = time.process_time(), time.perf_counter()
    for number in range(count):
        libssh2.one_session(lib, server.port, user, password, key, f"{path}-{number}.csv".encode(), content)
    pipe.send((begun, time.perf_counter(), time.process_time() - spent))
