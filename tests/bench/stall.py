"""How late the reactor runs a timer while files of 100 MB are put, checked and loaded.

The service runs under ``tests/bench/watched.py``: the same program with one more timer, every 2 ms, that writes down
how late it was; and the part of it that the thread was ready but had no core (from /proc, schedstat).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.bench.measure import table
from tests.bench.servers import SCHEMA, Ours, running
from tests.live.material import large_csv

PUT_BYTES = 100_000_000


def run(folder: Path, rounds: int = 5) -> str:
    """:returns: the table."""
    report = folder / "stalls.json"
    watched = [sys.executable, str(Path(__file__).with_name("watched.py")), str(report)]
    ours = Ours(folder / "ours", program=[*watched, "-n", "--pidfile="])
    with running(ours):
        local = folder / "put.csv"
        large_csv(local, PUT_BYTES)
        ciphers = [cipher for cipher in ("aes128-gcm@openssh.com", "aes128-ctr") if ours.cipher("-c", cipher)]
        for number in range(rounds):
            for cipher in ciphers:
                with ours.sftp("-c", cipher) as sftp:
                    sftp.do(f"put {local} {SCHEMA}/stall-{number}-{cipher.partition('@')[0]}.csv")
                ours.settle()
    return lateness(json.loads(report.read_text()))


def lateness(found: dict[str, Any]) -> str:
    """The table of a report of watched.py, and where the worst stood."""
    rows = [
        [phase, f"{one['count']:,}", *(f"{one[key]:.1f}" for key in ("p50", "p99", "p999", "worst", "worst_own"))]
        for phase, one in found["phases"].items()
    ]
    heads = ["phase", "timer runs", "p50 ms", "p99 ms", "p99.9 ms", "worst ms", "worst without waiting for a core, ms"]
    stacks = "\n\n".join(f"{one['own_ms']:.0f} ms:\n```\n{one['stack']}```" for one in found["stacks"][:3])
    return table(heads, rows) + (f"\n\nWhere it stood in the worst:\n\n{stacks}" if stacks else "")
