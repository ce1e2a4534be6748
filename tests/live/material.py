"""The files the clients put, and what must be in the warehouse afterwards.

Samples come from the service's own ``schema sample``; expectations are worked out here from the file's text alone.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

LARGE_BYTES = 30_000_000
SYSTEM_COLUMNS = {"_upload_id", "_row", "_loaded_at", "_organisation"}


def records(text: str, form: str) -> list[dict[str, Any]]:
    """The file's records as a partner reads them."""
    if form == "csv":
        return list(csv.DictReader(io.StringIO(text, newline="")))
    found = json.loads(text)
    return found if isinstance(found, list) else next(value for value in found.values() if isinstance(value, list))


def plain(value: Any) -> Any:
    """A value without its spelling: 7, "7" and "7.00" are one number, two spellings of a moment one moment in UTC.

    Empty text is no value. What is neither a number nor a time stays the text it is.
    """
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        return value
    text = str(value)
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        number = Decimal(text)
    except InvalidOperation:
        pass
    else:
        return number.normalize() if number.is_finite() else text
    if len(text) >= 8 and text[:4].isdigit():
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            return text
        if len(text) == 10:
            return date.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return text


def assert_rows_are(found: list[Mapping[str, Any]], sent: list[Mapping[str, Any]], upload: Mapping[str, Any]) -> None:
    """The warehouse holds exactly the records of the file: as many, in their order, every column of each.

    :raises AssertionError: and says which row and column differ.
    """
    assert [row["_row"] for row in found] == list(range(1, len(sent) + 1))
    for row, record in zip(found, sent, strict=True):
        columns = {name: plain(value) for name, value in row.items() if name not in SYSTEM_COLUMNS}
        expected = {name: plain(value) for name, value in record.items()}
        assert {name: columns.get(name) for name in expected} == expected, f"row {row['_row']}"
        extra = {name: value for name, value in columns.items() if name not in expected and value is not None}
        assert not extra, f"row {row['_row']} has values nobody sent: {extra}"
        assert str(row["_upload_id"]) == upload["id"]
        assert row["_organisation"] == upload["organisation"]


def large_csv(sample: str, path: Path, size: int = LARGE_BYTES) -> int:
    """Write a good CSV of about ``size`` bytes: the sample's header, its rows over and over.

    :returns: the number of rows.
    """
    header, *lines = sample.splitlines(keepends=True)
    block = "".join(lines)
    repeats = max(1, (size - len(header)) // len(block))
    with path.open("w", newline="") as file:
        file.write(header)
        for _ in range(repeats):
            file.write(block)
    return repeats * len(lines)


def never_whole(sample: str, path: Path, size: int, step: int = 1024) -> None:
    """As ``large_csv``, but no record ends where a client's write may end (a multiple of ``step``).

    Cut anywhere at such a place, the last record is not whole, so the cut can be told from a file that was sent.
    """
    header, *lines = sample.splitlines(keepends=True)
    written = 0
    with path.open("w", newline="") as file:
        written += file.write(header)
        at = 0
        while written < size:
            line = lines[at % len(lines)]
            at += 1
            if (written + len(line.encode())) % step:
                file.write(line)
                written += len(line.encode())
