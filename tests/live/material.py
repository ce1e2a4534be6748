"""The files the clients put, and what must be in the warehouse afterwards: written by hand, not by the service."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

_FILES = Path(__file__).parent / "files"
# Quotes, commas and line breaks inside values, letters beyond ASCII, empty and missing values, zones, large and small.
TRANSACTIONS = _FILES / "transactions.csv"
TRANSACTION_ROWS = [
    {
        "transaction_id": "T-1", "store_id": "S1", "register_id": None, "sold_at": "2026-03-01T04:30:00Z",
        "business_date": "2026-02-28", "kind": "sale", "currency": "EUR", "gross_amount": "119.00", "tax_amount": "19",
        "discount_amount": 0, "items": 3, "payment_method": "cash", "loyalty": True, "note": "plain, with a comma",
        "net_amount": "100.00",
    },
    {
        "transaction_id": "T-2", "store_id": "S1", "register_id": None, "sold_at": "2026-02-20T10:00:00Z",
        "business_date": None, "kind": "return", "currency": "RON", "gross_amount": "-0.01", "tax_amount": 0,
        "discount_amount": 0, "items": 0, "payment_method": "card", "loyalty": False,
        "note": 'two\nlines and a "quote"', "net_amount": "-0.01",
    },
    {
        "transaction_id": "T-3", "store_id": "S,2", "register_id": None, "sold_at": "2026-06-30T06:30:00.123456Z",
        "business_date": "2026-06-30", "kind": "void", "currency": "USD", "gross_amount": 0, "tax_amount": 0,
        "discount_amount": 0, "items": None, "payment_method": None, "loyalty": None, "note": None, "net_amount": 0,
    },
    {
        "transaction_id": "T-4", "store_id": "București", "register_id": None, "sold_at": "2026-12-31T23:59:59Z",
        "business_date": "2026-12-31", "kind": "sale", "currency": "GBP", "gross_amount": "1234567890123456.78",
        "tax_amount": "0.99", "discount_amount": 0, "items": 1000000, "payment_method": "voucher", "loyalty": True,
        "note": "£€ 🧾", "net_amount": "1234567890123455.79",
    },
]  # fmt: skip

# The guide's wrapper; times without a zone are the stores' own, in winter and in summer.
SHIFTS = _FILES / "shifts.json"
SHIFT_ROWS = [
    {
        "shift_id": "A", "store_id": "S1", "employee_id": "E1", "role": "till", "starts_at": "2026-01-15T06:00:00Z",
        "ends_at": "2026-01-15T14:00:00Z", "break_minutes": 30, "status": "worked", "hourly_rate": "21.5",
        "published": False, "minutes": 450,
    },
    {
        "shift_id": "B", "store_id": "S1", "employee_id": "E2", "role": None, "starts_at": "2026-07-15T19:00:00Z",
        "ends_at": "2026-07-16T03:00:00Z", "break_minutes": 0, "status": "planned", "hourly_rate": "19.99",
        "published": False, "minutes": 480,
    },
    {
        "shift_id": "C", "store_id": "S2", "employee_id": "Eé", "role": None, "starts_at": "2026-07-15T08:00:00Z",
        "ends_at": "2026-07-15T12:00:00Z", "break_minutes": 0, "status": "planned", "hourly_rate": None,
        "published": False, "minutes": 240,
    },
]  # fmt: skip
SYSTEM_COLUMNS = {"_upload_id", "_row", "_loaded_at", "_organisation"}

LARGE_BYTES = 30_000_000
_LARGE_HEADER = "transaction_id,store_id,sold_at,currency,gross_amount,tax_amount,items,note\n"


def plain(value: Any) -> Any:
    """A value without its spelling: 7, "7" and "7.00" are one number, two spellings of a moment one moment in UTC.

    What is neither a number nor a time stays the text it is.
    """
    if value is None:
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


def assert_rows_are(
    found: list[Mapping[str, Any]], expected: list[Mapping[str, Any]], upload: Mapping[str, Any]
) -> None:
    """The warehouse holds exactly these records: as many, in their order, every column of each, and whose they are.

    :raises AssertionError: and says which row and column differ.
    """
    assert [row["_row"] for row in found] == list(range(1, len(expected) + 1))
    for row, record in zip(found, expected, strict=True):
        columns = {name: plain(value) for name, value in row.items() if name not in SYSTEM_COLUMNS}
        wanted = {name: plain(value) for name, value in record.items()}
        assert {name: columns.get(name) for name in wanted} == wanted, f"row {row['_row']}"
        extra = {name: value for name, value in columns.items() if name not in wanted and value is not None}
        assert not extra, f"row {row['_row']} has values nobody sent: {extra}"
        assert str(row["_upload_id"]) == upload["id"]
        assert row["_organisation"] == upload["organisation"]
        assert row["_loaded_at"]


def large_rows() -> Iterator[str]:
    """Rows without end, of lengths that differ in the last column and before it; number n has the amount n cents."""
    for number in itertools.count(1):
        yield (
            f"L{number},{'S' * (number % 11 + 1)}{number % 97},"
            f"2026-03-{number % 28 + 1:02}T{number % 24:02}:00:00Z,EUR,"
            f"{number // 100}.{number % 100:02},0.00,{number % 7},{'note ' * (number % 13)}{number}\n"
        )


def large_csv(path: Path, size: float = LARGE_BYTES, rows: float = math.inf) -> int:
    """Write a good CSV of orgTransactions, of about ``size`` bytes, of at most ``rows`` rows.

    :returns: the number of rows n; the sum of gross_amount is n * (n + 1) / 2 cents.
    """
    with path.open("w", newline="") as file:
        written = file.write(_LARGE_HEADER)
        for number, row in enumerate(large_rows(), 1):
            written += file.write(row)
            if written >= size or number >= rows:
                return number
    raise AssertionError("rows have no end")


def never_whole(path: Path, size: int, step: int = 1024) -> None:
    """As ``large_csv``, but where a client's write may end (a multiple of ``step``) there is never a whole record.

    A cut in the text of the last column, or right after it, cannot be told from a file whose last line lacks its
    line end; only a schema with ``final_newline`` tells. So no multiple of ``step`` lies there.
    """
    with path.open("w", newline="") as file:
        written = file.write(_LARGE_HEADER)
        for row in large_rows():
            if written >= size:
                return
            seems_whole = range(written + row.rindex(",") + 1, written + len(row) + 1)
            if not any(at % step == 0 for at in seems_whole):
                written += file.write(row)
