"""Many small files at a time: they share checks, a Parquet and transactions, and each keeps what is its own."""

from __future__ import annotations

import pytest

from tests.live.material import large_csv
from tests.live.sessions import put, session

pytestmark = pytest.mark.live

FILES = 80
BAD = 13  # each so many is not what its schema says


def test_in_a_storm_of_small_files_each_has_its_own_rows_and_its_own_verdict(service, target, tmp_path):
    large_csv(tmp_path / "rows.csv", 2_000)
    head, *rows = (tmp_path / "rows.csv").read_text().splitlines(keepends=True)
    own = {f"storm-{n}.csv": rows[n % 7 : n % 7 + n % 11 + 1] for n in range(FILES)}
    bad = {name for n, name in enumerate(own) if n % BAD == BAD - 1}

    with session(target) as sftp:
        for name, lines in own.items():
            put(sftp, f"/orgTransactions/{name}", "".join([head, *lines, "no row\n" * (name in bad)]).encode())
    verdicts = service.verdicts(*own)

    assert {name for name, one in verdicts.items() if one["state"] == "FAILED"} == bad
    assert all(f"line {len(own[name]) + 2}" in verdicts[name]["problem"] for name in bad)
    loaded = service.rows("orgTransactions", [one["id"] for one in verdicts.values()])
    for name, one in verdicts.items():
        wanted = [] if name in bad else [line.partition(",")[0] for line in own[name]]
        found = loaded[one["id"]]
        assert [row["transaction_id"] for row in found] == wanted
        assert [row["_row"] for row in found] == list(range(1, len(wanted) + 1))
