"""JSON rewritten as the same canonical CSV that checked CSV files become, so that there is one set of rules.

Read as a stream: never more than one record in memory, numbers exact. What other readers let pass is refused:
duplicate keys, NaN, half surrogate pairs, bottomless nesting. The syntax is yajl's business, by ijson.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, TextIO

import ijson  # type: ignore[import-untyped]

from conch_pipe.formats.columns import Schema
from conch_pipe.formats.csv_text import Canonical
from conch_pipe.formats.limits import Limits
from conch_pipe.formats.naming import folded, known_names, unknown_words
from conch_pipe.formats.sniff import BOM
from conch_pipe.formats.words import shown
from conch_pipe.model import Problem

WRAPPERS = ("data", "records", "items", "rows")
SHAPE = 'the file must be an array of objects, or an object with one under "data", "records", "items" or "rows"'
CHUNK = 1 << 16
_yajl = ijson.get_backend("yajl2_c")
Events = Iterator[tuple[str, Any]]


class _Refused(Exception):
    """The file as a whole is refused; the words are the problem's."""


def canonical(path: Path, schema: Schema, into: Path, limits: Limits) -> Canonical:
    """Rewrite a JSON file.

    :param path: UTF-8 without NUL, not empty, without half surrogate pairs and endless digits (see sniff.py).
    :param into: the new file: ``_row``, no line, then a cell for each column of the schema. null and absent are
        empty, "" is quoted.
    """
    names = tuple(column.name for column in schema.columns)
    result = Canonical(into, len(names), tuple(range(len(names))), names, empty_is_null=False)
    with path.open("rb") as source, into.open("w", encoding="utf-8", newline="") as target:
        if source.read(3) != BOM:
            source.seek(0)
        events = _yajl.basic_parse(source, use_float=False, buf_size=CHUNK)
        try:
            _Document(schema, result, target, limits).read(events)
        except _Refused as error:
            result.stop(Problem(str(error), row=result.records or None))
        except ijson.JSONError as error:
            result.stop(_syntax(path, str(error)))
        except InvalidOperation:  # an exponent that even Decimal does not hold
            result.stop(Problem(f"a number has more than {limits.digits} digits"))
    return result


class _Document:
    """One reading of one file."""

    def __init__(self, schema: Schema, result: Canonical, target: TextIO, limits: Limits) -> None:
        self.schema = schema
        self.result = result
        self.write = target.write
        self.limits = limits
        self.known = known_names(schema)
        self.slots: dict[str, int] = {}  # keys as they are written → column; -1: not known
        self.array = False

    def read(self, events: Events) -> None:
        """The whole document."""
        event, _ = next(events)
        said: Any = None
        if event == "start_array":
            self.records(events)
        elif event == "start_map":
            said = self.wrapped(events)
        else:
            raise _Refused(SHAPE)
        # yajl looks at what follows only when asked for more.
        for _ in events:
            pass
        if not self.array:
            raise _Refused(SHAPE)
        self.complete(said)

    def wrapped(self, events: Events) -> Any:
        """An object around the array. :returns: what stands under the schema's count_key."""
        seen: set[str] = set()
        said: Any = None
        for event, key in events:
            if event == "end_map":
                break
            if key in seen:
                raise _Refused(f"the key {shown(key, 64)} is there twice")
            if len(seen) >= self.limits.columns:
                raise _Refused(f"an object has more than {self.limits.columns} keys")
            seen.add(key)
            event, value = next(events)
            if event == "start_array" and key in WRAPPERS:
                if self.array:
                    raise _Refused("there is more than one array of records")
                self.records(events)
            elif event in ("start_array", "start_map"):
                self.skip(events, 2)
            elif key == self.schema.completeness.count_key:
                said = value
        return said

    def complete(self, said: Any) -> None:
        asked = self.schema.completeness.count_key
        records = self.result.records
        if asked is not None and (type(said) is not int or said != records):
            raise _Refused(f"the file says {shown(str(said), 20)} under {asked}, it has {records} records")

    def records(self, events: Events) -> None:
        """The array, up to its end."""
        self.array = True
        result, most = self.result, self.limits.rows
        for event, _ in events:
            if event == "end_array":
                return
            result.records += 1
            if result.records > most:
                raise _Refused(f"there are more than {most} rows, split the file")
            if event == "start_map":
                self.record(events)
            else:
                if event == "start_array":
                    self.skip(events, 2)
                self.left_out("the record is not an object")

    def record(self, events: Events) -> None:
        """One object: written, or left out with its first problem."""
        cells = [""] * self.result.width
        filled: set[int] = set()
        strangers: set[str] = set()
        wrong: tuple[str, str | None, str | None] | None = None
        for event, key in events:
            if event == "end_map":
                break
            slot = self.slots.get(key)
            if slot is None:
                slot = self.slot(key)
            twice = slot in filled if slot >= 0 else folded(key) in strangers
            if twice:
                wrong = wrong or (f"the key {shown(key, 64)} is there twice", self.column(slot), None)
            if slot >= 0:
                filled.add(slot)
            else:
                strangers.add(folded(key))
                if len(strangers) > self.limits.columns:
                    raise _Refused(f"an object has more than {self.limits.columns} keys")
                if self.schema.unknown_columns == "reject":
                    wrong = wrong or (unknown_words(self.schema, [key]), None, None)
            event, value = next(events)
            if event == "string":
                if len(value) > self.limits.field_bytes:
                    wrong = wrong or (f"longer than {self.limits.field_bytes} bytes", self.column(slot), shown(value))
                elif slot >= 0:
                    cells[slot] = '"' + value.replace('"', '""') + '"'
            elif event == "number":
                number = _digits(value, self.limits.digits)
                if number is None:
                    words = f"a number has more than {self.limits.digits} digits"
                    wrong = wrong or (words, self.column(slot), None)
                elif slot >= 0:
                    cells[slot] = number
            elif event == "boolean":
                if slot >= 0:
                    cells[slot] = "true" if value else "false"
            elif event != "null":
                self.skip(events, 3)
                if slot >= 0:
                    wrong = wrong or ("must be one value, not an object or array", self.column(slot), None)
        if wrong is not None:
            self.left_out(*wrong)
            return
        line = f"{self.result.records},0,{','.join(cells)}\n"
        if len(line) > self.limits.line_bytes // 4 and len(line.encode()) > self.limits.line_bytes:
            self.left_out(f"the record is longer than {self.limits.line_bytes} bytes")
        else:
            self.write(line)

    def slot(self, key: str) -> int:
        """The place of a key seen for the first time."""
        place = self.known.get(folded(key), -1)
        if len(self.slots) < 10_000:  # a hostile file has other keys in each record
            self.slots[key] = place
        return place

    def column(self, slot: int) -> str | None:
        return self.schema.columns[slot].name if slot >= 0 else None

    def left_out(self, reason: str, column: str | None = None, value: str | None = None) -> None:
        self.result.left_out += 1
        self.result.note(Problem(reason, None, self.result.records, column, value), self.limits.problems)

    def skip(self, events: Events, depth: int) -> None:
        """Read past a nested value whose opening was just read.

        :param depth: its own, from 1 for the whole document.
        """
        level = depth
        for event, _ in events:
            if event in ("start_map", "start_array"):
                level += 1
                if level > self.limits.depth:
                    raise _Refused(f"values are nested deeper than {self.limits.depth}")
            elif event in ("end_map", "end_array"):
                level -= 1
                if level < depth:
                    return


def _digits(value: int | Decimal, most: int) -> str | None:
    """A number as plain digits, exactly; None when that takes more than ``most`` of them."""
    if isinstance(value, Decimal):
        exponent = value.as_tuple().exponent
        if not isinstance(exponent, int) or not -most <= exponent <= most or value.adjusted() > most:
            return None
        text = format(value, "f")
    else:
        if not -(10**most) < value < 10**most:
            return None
        text = str(value)
    return text if sum(map(str.isdigit, text)) <= most else None


def _syntax(path: Path, words: str) -> Problem:
    """Where and why the file is no JSON; yajl does not say where, so it is fed again, at last byte by byte."""
    offset, line = _where(path)
    if "premature EOF" in words or "incomplete" in words.lower():
        return Problem("the file was cut: it ends in the middle of the JSON text", line)
    if "trailing garbage" in words:
        return Problem("there is more after the end of the JSON text (one object per line is not taken)", line)
    kind = words.splitlines()[0].partition(": ")[2].strip() or "syntax error"
    return Problem(f"not JSON at byte {offset}: {shown(kind, 60)}", line)


def _where(path: Path) -> tuple[int, int]:
    """The byte, from 1, with which the text stops being JSON, and its line; the end of the file if it never does."""
    done, line = 0, 1
    with path.open("rb") as file:
        if file.read(3) == BOM:
            done = 3
        file.seek(done)
        bad = None
        feed = _Feed()
        while chunk := file.read(CHUNK):
            if not feed.take(chunk):
                bad = chunk
                break
            done += len(chunk)
            line += chunk.count(b"\n")
        if bad is None:
            return done, line
        feed = _Feed()
        file.seek(3 if done >= 3 and _has_bom(path) else 0)
        left = done - file.tell()
        while left > 0 and (chunk := file.read(min(CHUNK, left))):
            feed.take(chunk)
            left -= len(chunk)
        for place in range(len(bad)):
            if not feed.take(bad[place : place + 1]):
                return done + place + 1, line + bad.count(b"\n", 0, place)
    return done + len(bad), line + bad.count(b"\n")


def _has_bom(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(3) == BOM


class _Feed:
    """yajl fed by hand, its events thrown away."""

    def __init__(self) -> None:
        self._events = ijson.sendable_list()
        self._parser = _yajl.basic_parse_coro(self._events, use_float=True)

    def take(self, data: bytes) -> bool:
        """:returns: False when the text is no JSON with these bytes."""
        try:
            self._parser.send(data)
        except (ijson.JSONError, InvalidOperation):
            return False
        except StopIteration:
            return True
        self._events.clear()
        return True
