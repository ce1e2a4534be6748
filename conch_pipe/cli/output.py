"""What the command prints: tables and sentences for people, one exact JSON document for programs.

Text of partners (names, values, banners) is printed without control characters and without rich's markup.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

WIDE = 10_000  # columns, when there is no terminal: a row folded into several lines is no use to grep


def plain(value: Any) -> Any:
    """A value in JSON's own types, but for Decimal; dataclasses become objects, times ISO 8601."""
    if value is None or isinstance(value, (bool, int, str, Decimal)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(one) for one in value]
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).hex()
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    return str(value)


def dumps(value: Any, indent: str = "") -> str:
    """JSON text with every digit of a Decimal, which the standard library can only round or quote."""
    value = plain(value)
    deeper = indent + "  "
    if isinstance(value, Decimal):
        return format(value, "f") if value.is_finite() else json.dumps(str(value))
    if isinstance(value, dict) and value:
        inner = ",\n".join(f"{deeper}{json.dumps(key)}: {dumps(one, deeper)}" for key, one in value.items())
        return f"{{\n{inner}\n{indent}}}"
    if isinstance(value, list) and value:
        inner = ",\n".join(deeper + dumps(one, deeper) for one in value)
        return f"[\n{inner}\n{indent}]"
    return json.dumps(value)


def cell(value: Any) -> str:
    """A value in a table: without control characters; a time in UTC to the second."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    value = plain(value)
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, (dict, list)):
        value = ", ".join(str(one) for one in value) if isinstance(value, list) else json.dumps(value, default=str)
    return printable(str(value))


def printable(text: str) -> str:
    """Control characters as escapes, so that no file name can repaint an operator's terminal."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


class Output:
    """Where one run of the command prints.

    :param as_json: one JSON document instead of tables and sentences.
    """

    def __init__(self, as_json: bool = False) -> None:
        self.as_json = as_json

    def document(self, value: Any) -> None:
        """The JSON document of a run; nothing without --json."""
        if self.as_json:
            click.echo(dumps(value))

    def say(self, text: str = "") -> None:
        """A line for people; nothing with --json."""
        if not self.as_json:
            click.echo(text)

    def error(self, code: str, message: str, mistakes: Sequence[str] = ()) -> None:
        """A failure: on stderr for people, as the document with --json."""
        if self.as_json:
            error: dict[str, Any] = {"code": code, "message": message}
            click.echo(dumps({"error": error | ({"mistakes": list(mistakes)} if mistakes else {})}))
        else:
            click.echo(f"conch-pipe: {message}", err=True)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str = "none") -> None:
        """A table for people; nothing with --json. Numbers stand to the right.

        :param empty: said when there are no rows.
        """
        if self.as_json:
            return
        listed = [list(row) for row in rows]
        if not listed:
            click.echo(empty)
            return
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
        for number, column in enumerate(columns):
            numeric = all(isinstance(row[number], (int, float, Decimal, type(None))) for row in listed)
            table.add_column(column, justify="right" if numeric else "left", overflow="fold")
        for row in listed:
            table.add_row(*(Text(cell(value)) for value in row))
        self._console().print(table)

    def facts(self, pairs: Iterable[tuple[str, Any]]) -> None:
        """Names and values below each other; nothing with --json."""
        known = [(name, cell(value)) for name, value in pairs]
        width = max((len(name) for name, _ in known), default=0)
        for name, value in known:
            self.say(f"{name:<{width}}  {value}".rstrip())

    def _console(self) -> Console:
        from rich.console import Console

        return Console(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else WIDE)
