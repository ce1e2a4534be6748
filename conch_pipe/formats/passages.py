"""The places of a file that its problems are about, as text for people: lines of CSV, records of JSON.

A look for a person, not a check: bounded in what it reads and what it returns, and nothing is an error. Never imports
DuckDB. Blocks, and belongs in a thread.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO

from conch_pipe.formats.json_text import WRAPPERS
from conch_pipe.formats.sniff import BOM, format_of
from conch_pipe.formats.words import shown
from conch_pipe.model import Problem

LONGEST = 500  # characters of a passage
MOST = 200  # passages of one look
CSV_BYTES = 128 << 20  # read of a file at most: counting lines is fast …
JSON_BYTES = 8 << 20  # … and parsing is not
_CHUNK = 1 << 20
_KEPT = LONGEST * 4  # bytes of a line: a character has up to 4


def passages(file: Path | bytes, name: str, problems: Sequence[Problem]) -> tuple[str | None, ...]:
    """For each problem the line or record it is about.

    :param file: where it is, or what is in it.
    :param name: tells CSV from JSON by its end.
    :returns: as many as there are problems; None: the problem has no place, or it is beyond what is looked at.
    """
    with io.BytesIO(file) if isinstance(file, bytes) else file.open("rb") as opened:
        if format_of(name) == "json":
            wanted = sorted({one.row for one in problems if one.row is not None})[:MOST]
            records = _records(opened, wanted)
            return tuple(records.get(one.row or 0) for one in problems)
        wanted = sorted({one.line for one in problems if one.line is not None})[:MOST]
        lines = _lines(opened, wanted)
        return tuple(lines.get(one.line or 0) for one in problems)


def _lines(file: BinaryIO, wanted: list[int]) -> dict[int, str]:
    """Lines by their numbers, from 1; they end with LF, CRLF or CR."""
    found: dict[int, str] = {}
    number, kept = 1, b""  # the line that has begun, as far as it is kept
    read = 0
    while wanted and wanted[-1] not in found and read < CSV_BYTES and (chunk := file.read(_CHUNK)):
        if chunk.endswith(b"\r"):
            chunk += file.read(1)
        read += len(chunk)
        breaks = chunk.count(b"\n") + chunk.count(b"\r") - chunk.count(b"\r\n")
        if not any(number <= one <= number + breaks for one in wanted):
            number += breaks
            kept = b"" if breaks else kept
            continue
        lines = (kept + chunk).splitlines(keepends=True)
        kept = b"" if lines[-1].endswith((b"\n", b"\r")) else lines.pop()[:_KEPT]
        for place in wanted:
            if number <= place < number + len(lines):
                found[place] = _line(lines[place - number], place)
        number += len(lines)
    if kept and number in wanted:
        found[number] = _line(kept, number)
    return found


def _line(line: bytes, number: int) -> str:
    text = line[:_KEPT].removeprefix(BOM if number == 1 else b"").decode("utf-8", "replace")
    return shown(text.rstrip("\r\n"), LONGEST)


def _records(file: BinaryIO, wanted: list[int]) -> dict[int, str]:
    """Records by their numbers, from 1, written on one line."""
    import ijson  # type: ignore[import-untyped]

    found: dict[int, str] = {}
    if not wanted:
        return found
    head = file.read(1 << 16).removeprefix(BOM).lstrip(b" \t\r\n")
    for prefix in ["item"] if head.startswith(b"[") else [f"{one}.item" for one in WRAPPERS]:
        file.seek(0)
        number = 0
        try:
            for number, record in enumerate(ijson.items(_Bounded(file), prefix), 1):
                if number in wanted:
                    found[number] = shown(json.dumps(record, ensure_ascii=False, default=_number), LONGEST)
                if number >= wanted[-1]:
                    return found
        except (ijson.JSONError, ArithmeticError, ValueError, RecursionError):
            pass  # this far and no further
        if number:
            break
    return found


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal) else str(value)


class _Bounded:
    """As much of a file as is looked at, without a byte order mark."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left = JSON_BYTES
        if file.read(3) != BOM:
            file.seek(0)

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(min(self._left, size if size >= 0 else self._left))
        self._left -= len(data)
        return data
