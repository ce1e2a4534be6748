"""A CSV of a million rows, from the answer to CLOSE until the upload is COMPLETED: validated, transformed, loaded."""

from __future__ import annotations

import math
import time
from datetime import datetime
from pathlib import Path

from tests.bench.measure import figure, table
from tests.bench.servers import SCHEMA, Ours, running
from tests.live.material import large_csv

ROWS = 1_000_000


def run(folder: Path, rounds: int = 5) -> str:
    """:returns: the table."""
    ours = Ours(folder / "ours")
    waits, rates, own = [], [], []
    with running(ours):
        local = folder / "rows.csv"
        rows = large_csv(local, math.inf, ROWS)
        for number in range(rounds):
            name = f"rows-{number}.csv"
            with ours.sftp() as sftp:
                sftp.do(f"put {local} {SCHEMA}/{name}")
            closed = time.time()
            upload = ours.service.verdicts(name, within_s=300)[name]
            assert (upload["state"], upload["rows"]) == ("COMPLETED", rows), upload
            took = datetime.fromisoformat(upload["finished_at"]).timestamp() - closed
            waits.append(took)
            rates.append(rows / took)
            own.append(rows * (local.stat().st_size / rows) / took / 1e6)
        [counted] = ours.service.query(f"SELECT count(*) AS n FROM {SCHEMA}")
        assert counted["n"] == rows * rounds
        size = local.stat().st_size
    heads = ["rows", "bytes", "CLOSE to COMPLETED, s", "validated and loaded rows/s", "MB/s"]
    return table(heads, [[f"{rows:,}", f"{size:,}", figure(waits, 2), figure(rates), figure(own)]])
