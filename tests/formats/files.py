"""Small schemas and files for the tests of formats/."""

from __future__ import annotations

from pathlib import Path

import duckdb

from conch_pipe.formats.check import check
from conch_pipe.formats.limits import Limits
from conch_pipe.formats.schema import Schema, parse_schema
from conch_pipe.model import Verdict

SALES = """
[columns.id]
type = "integer"
required = true
aliases = ["sale id"]

[columns.amount]
type = "decimal(6,2)"

[columns.note]
type = "text"
max_length = 20
"""

EVERYTHING = """
unknown_columns = "ignore"

[columns.t]
type = "text"
max_length = 12

[columns.p]
type = "text"
trim = true
pattern = "[a-z]+"

[columns.i]
type = "integer"
min = -5
max = 9223372036854775807

[columns.d]
type = "decimal(7,3)"
max = 5000.5

[columns.b]
type = "boolean"

[columns.day]
type = "date"
min = 1900-01-01

[columns.at]
type = "timestamp"

[columns.utc]
type = "timestamp"
zone = "utc"

[columns.local]
type = "timestamp"
zone = "Europe/Bucharest"

[columns.e]
type = "enum"
values = ["A", "b", "c d"]
default = "A"
"""


def schema(text: str = SALES, *, top: str = "", name: str = "sales") -> Schema:
    """A schema; ``top`` goes before its tables."""
    return parse_schema(f"{top}\n{text}", name)


def judge(folder: Path, data: bytes | str, wanted: Schema | None = None, name: str = "a.csv", **limits) -> Verdict:
    """The verdict on a file of these bytes; the Parquet is ``rows.parquet`` in the folder."""
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return check(wanted or schema(), path, parquet=folder / "rows.parquet", limits=Limits(**limits))


def rows(folder: Path, columns: str = "*") -> list[tuple]:
    """The rows written by :func:`judge`; times as text, because fetching them needs pytz.

    As the warehouse does: without ``_row`` the place of a row is its number.
    """
    source = f"SELECT * FROM read_parquet('{folder}/rows.parquet')"
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        if "_row" not in [column for column, *_ in connection.execute(f"DESCRIBE {source}").fetchall()]:
            place = f"read_parquet('{folder}/rows.parquet', file_row_number = true)"
            source = f"SELECT file_row_number + 1 AS _row, * EXCLUDE (file_row_number) FROM {place}"
        return connection.execute(f"SELECT {columns} FROM ({source})").fetchall()


def told(verdict: Verdict) -> list[str]:
    """The problems in short: ``line/row column: reason [value]``."""
    found = []
    for one in verdict.problems:
        place = "/".join("-" if number is None else str(number) for number in (one.line, one.row))
        column = f" {one.column}" if one.column else ""
        value = f" [{one.value}]" if one.value is not None else ""
        found.append(f"{place}{column}: {one.reason}{value}")
    return found
