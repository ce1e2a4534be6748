"""Small files that are checked together, or by an instance that is kept, get the verdict they get by themselves."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import duckdb
import pytest

from conch_pipe.formats import engine
from conch_pipe.formats.check import check_file, own_folder
from conch_pipe.formats.together import check_many
from tests.formats.files import SALES

GOOD = b"id,amount,note\n1,2.50,a\n2,3.50,b\n"
FILES = {
    "good": GOOD,
    "as long": GOOD.replace(b"2.50", b"9.99"),
    "other order": b"note,id,amount\nx,7,1.00\n",
    "no rows": b"id,amount\n",
    "bad value": b"id,amount,note\n1,x,a\n",
    "bad header": b"id,amount,what\n1,2,3\n",
    "quotes": b'id,amount,note\n1,2.50,"a ""b"", c"\n2,1.00,"two\nlines"\n',
    "blanks by quotes": b'id,amount,note\n1,2.50, "a"\n',
    "cut": b"id,amount,note\n1,2.50,a\n2,",
    "not utf-8": b"id,amount,note\n1,2.50,\xff\n",
    "windows": GOOD.replace(b"\n", b"\r\n"),
    "mark": b"\xef\xbb\xbf" + GOOD,
    "json": b'[{"id": 1, "amount": "2.50"}]',
    "empty": b"",
}


@pytest.fixture(autouse=True)
def _nothing_is_kept_for_others():
    own_folder.cache_clear()
    yield
    own_folder.cache_clear()
    while engine._kept:
        engine._kept.popitem()[1].close()


def asked(folder: Path, number: int, name: str, data: bytes) -> dict:
    path = folder / f"raw-{number}"
    path.write_bytes(data)
    os.utime(path, (1_000_000_000, 1_000_000_000))
    return {
        "schema_name": "sales",
        "path": str(path),
        "name": "a.json" if name == "json" else "a.csv",
        "sha256": hashlib.sha256(data).hexdigest(),
        "parquet": str(folder / f"rows-{number}.parquet"),
    }


def rows(arguments: dict) -> list | None:
    path = Path(arguments["parquet"])
    if not path.exists():
        return None
    with duckdb.connect() as connection:
        source = f"FROM read_parquet('{path}', file_row_number = true)"
        shared = "_file" in [name for name, *_ in connection.execute(f"DESCRIBE {source}").fetchall()]
        own = f"WHERE _file = '{path}'" if shared else ""
        number = "_row" if shared else "file_row_number + 1"
        found = connection.execute(f"SELECT {number}, id, amount, note {source} {own} ORDER BY 1").fetchall()
    path.unlink()
    return found


@pytest.mark.parametrize(
    "names", [tuple(FILES), ("good", "as long", "no rows", "windows", "mark"), ("good", "bad value")]
)
def test_company_changes_no_verdict_and_no_row(names, tmp_path):
    checks = [asked(tmp_path, number, name, FILES[name]) for number, name in enumerate(names)]
    alone = [check_file(one | {"schema_text": SALES}) for one in checks]
    written = [rows(one) for one in checks]

    with_desk = [one | {"desk": str(tmp_path)} for one in checks]
    told = check_many({"schema_text": SALES, "checks": with_desk})["results"]

    assert [one["verdict"] for one in told] == alone
    assert [rows(one) for one in checks] == written


def test_those_that_are_proved_together_share_a_parquet(tmp_path):
    names = ("good", "windows", "other order")
    checks = [asked(tmp_path, n, name, FILES[name]) | {"desk": str(tmp_path)} for n, name in enumerate(names)]

    check_many({"schema_text": SALES, "checks": checks})

    first, second, other = (Path(one["parquet"]) for one in checks)
    assert first.samefile(second)
    assert not first.samefile(other)


def test_an_instance_that_is_kept_reads_each_file_anew(tmp_path):
    """Same name, same length, same time: nothing of the file before may be left in it."""
    checks = [
        asked(tmp_path, number, name, FILES[name]) for number, name in enumerate(("good", "as long", "bad value"))
    ]

    told = [check_file(one | {"schema_text": SALES, "desk": str(tmp_path)}) for one in checks]

    assert [one["accepted"] for one in told] == [True, True, False]
    assert [found and str(found[0][2]) for found in map(rows, checks)] == ["2.50", "9.99", None]
    assert len(engine._kept) == 1


def test_an_instance_that_is_kept_reaches_no_other_file(tmp_path):
    (one,) = [asked(tmp_path, 0, "good", GOOD)]
    check_file(one | {"schema_text": SALES, "desk": str(tmp_path)})
    (connection,) = engine._kept.values()

    with pytest.raises(duckdb.PermissionException):
        connection.execute(f"SELECT * FROM read_text('{one['path']}')")
    with pytest.raises(duckdb.InvalidInputException):
        connection.execute("SET allowed_paths = ['/']")


def test_nothing_of_a_file_is_left_in_the_folder_of_the_worker(tmp_path):
    checks = [asked(tmp_path, number, name, data) for number, (name, data) in enumerate(FILES.items())]

    check_many({"schema_text": SALES, "checks": [one | {"desk": str(tmp_path)} for one in checks]})

    assert list(own_folder(str(tmp_path)).iterdir()) == []


def test_folders_of_workers_that_have_ended_go(tmp_path):
    left = tmp_path / "worker-4194305"  # no process has that number
    left.mkdir()
    (left / "source").write_bytes(b"x")

    own = own_folder(str(tmp_path))

    assert [path.name for path in tmp_path.iterdir()] == [own.name]


def test_a_copy_that_is_damaged_is_told_and_harms_nobody_else(tmp_path):
    checks = [asked(tmp_path, number, "good", GOOD) | {"desk": str(tmp_path)} for number in range(3)]
    checks[1]["sha256"] = "0" * 64
    Path(checks[2]["path"]).unlink()

    told = check_many({"schema_text": SALES, "checks": checks})["results"]

    assert told[0]["verdict"]["accepted"]
    assert [one["error"]["code"] for one in told[1:]] == ["conflict", "not_found"]
