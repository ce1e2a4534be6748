"""One put of a large CSV by OpenSSH's sftp, with its default ciphers and with aes128-gcm; login not counted.

Ours also hashes, fsyncs while receiving, checks the ends at CLOSE and records; its worker processes stand still, so
that the check of one round's rows is not in the next round. CPU until the answer to CLOSE, child processes included.
"""

from __future__ import annotations

from pathlib import Path

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
    together,
)
from tests.live.material import large_csv

BYTES = 1_000_000_000
ROOM = 6_000_000_000  # bytes in memory: the source, one copy, what a server holds of it, and peace
CIPHERS = {"default": (), "aes128-gcm": ("-c", "aes128-gcm@openssh.com")}
FLOORS = {
    ("OpenSSH sshd", "default"): 2.2,
    ("OpenSSH sshd", "aes128-gcm"): 1.5,
    ("asyncssh", "default"): 1.8,
    ("asyncssh", "aes128-gcm"): 1.3,
    ("rclone", "default"): 3.5,
    ("rclone", "aes128-gcm"): 2.5,
}
CPU_S_PER_GB = 1.8
_BLOCK = 16_000_000


def run(folder: Path, rounds: int = 5, size: int = BYTES) -> str:
    """:returns: the table."""
    return uploads(folder, rounds, size, 1, FLOORS)


def uploads(folder: Path, rounds: int, size: int, at_once: int, floors: dict[tuple[str, str], float]) -> str:
    """:returns: the table for so many uploads at once, each of ``size`` bytes."""
    ours = Door(folder / "ours")
    servers: list[Server] = [ours, Sshd(folder / "sshd"), AsyncsshServer(folder / "asyncssh")]
    servers += [Rclone(folder / "rclone"), StockConch(folder / "conch"), PlainDoor(folder / "plain")]
    results = Results()
    with running(*servers):
        local = folder / "big.csv"
        repeated_csv(local, size)
        spoken = {(c, s): s.cipher(*options) for c, options in CIPHERS.items() for s in servers}
        for number in range(rounds):
            for (cipher, server), found in spoken.items():
                if found is None:
                    continue
                names = [f"big-{cipher}-{number}-{one}.csv" for one in range(at_once)]
                measured = put(server, CIPHERS[cipher], local, names)
                server.settle(*names)
                results.note((server, cipher), **measured)
        size = local.stat().st_size
    rows = [
        [
            f"default: {spoken[cipher, server]}" if cipher == "default" else cipher,
            server.name,
            results.figure((server, cipher), "rate"),
            results.figure((server, cipher), "server", 2),
            results.figure((server, cipher), "client", 2),
            *results.ratio((ours, cipher), (server, cipher), floors.get((server.name, cipher))),
        ]
        for cipher in CIPHERS
        for server in servers
    ]
    heads = ["cipher", "server", "MB/s", "server CPU s/GB", "client CPU s/GB", f"ours / this, {RATIO}", "floor"]
    bounds = ", ".join(f"{one} {results.at_most((ours, one), 'server', CPU_S_PER_GB)}" for one in CIPHERS)
    return f"{at_once} × {size:,} bytes.\n\n" + table(heads, rows) + f"\n\nOur CPU s/GB, bound: {bounds}."


def put(server: Server, options: tuple[str, ...], local: Path, names: list[str]) -> dict[str, float]:
    """One upload for each name, all at once. :returns: MB/s in all, CPU seconds per GB of server and clients."""
    sessions = [server.sftp(*options) for _ in names]
    try:
        served, spent = server.cpu_s(), sum(session.cpu_s() for session in sessions)
        took = together(sessions, [[f"put {local} {SCHEMA}/{name}"] for name in names])
        served, spent = server.cpu_s() - served, sum(session.cpu_s() for session in sessions) - spent
    finally:
        for session in sessions:
            session.__exit__()
    size = local.stat().st_size * len(names)
    return {"rate": size / took / 1e6, "server": served / size * 1e9, "client": spent / size * 1e9}


def repeated_csv(path: Path, size: int) -> None:
    """A CSV of nearly ``size`` bytes whose rows repeat: nobody reads more of it than its ends."""
    large_csv(path, min(size, _BLOCK))
    with path.open("rb+") as file:
        file.readline()
        rows = file.read()
        while (room := size - file.tell()) >= len(rows):
            file.write(rows)
        file.write(rows[: rows.rfind(b"\n", 0, max(room, 0)) + 1])
