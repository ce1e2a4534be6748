"""Reads a schema from its TOML text and names all its mistakes at once, each with its line and key.

Does not try the SQL of derived columns or the Python function: that needs DuckDB (see ``engine.prove``).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from datetime import date, datetime
from typing import Any

from conch_pipe.errors import Mistakes
from conch_pipe.formats.columns import Column, Completeness, Derived, Schema
from conch_pipe.formats.lexical import Type, known_zone, type_of, value_of
from conch_pipe.formats.values import fits

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
# 63 bytes is PostgreSQL's longest identifier; names that begin with _ are the warehouse's own.
IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}")
FUNCTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)
COLUMNS = 1600  # PostgreSQL's limit for one table
_SECTION = re.compile(r"\s*\[\s*([^\]]+?)\s*\]")
_KEY = re.compile(r"\s*([\w.\"'-]+)\s*=")

KEYS = ("title", "description", "table", "on_bad_row", "unknown_columns", "completeness", "columns", "derived")
COMPLETENESS = ("final_newline", "trailer", "count_key", "min_rows")
DERIVED = ("type", "sql", "description")
COLUMN = ("type", "required", "default", "aliases", "rename", "examples", "description")
OF_TYPE = {
    "text": ("pattern", "max_length", "trim"),
    "integer": ("min", "max"),
    "decimal": ("min", "max"),
    "boolean": (),
    "date": ("min", "max"),
    "timestamp": ("min", "max", "zone"),
    "enum": ("values",),
}
ALL_OF_TYPE = {key for keys in OF_TYPE.values() for key in keys}


def parse_schema(text: str, name: str) -> Schema:
    """Read a schema.

    :param text: TOML; see the shipped ``schemas/*.toml`` for every key.
    :param name: the folder's name, ``[A-Za-z][A-Za-z0-9_]{0,63}``.
    :raises Mistakes: all that is wrong, each as ``line 12, columns.total.min: is not a number``.
    """
    try:
        # Numbers stay as they are written, so that 0.1 as a limit is exactly that.
        data = tomllib.loads(text, parse_float=str)
    except tomllib.TOMLDecodeError as error:
        raise Mistakes(f"schema {name}", [f"not TOML: {error}"]) from None
    reader = _Reader(text)
    if not NAME.fullmatch(name):
        reader.wrong((), "a schema's name is 1 to 64 letters, digits and _, beginning with a letter")
    schema = reader.schema(data, name)
    if reader.mistakes:
        raise Mistakes(f"schema {name}", [text for _, text in sorted(reader.mistakes, key=lambda one: one[0])])
    return schema


class _Reader:
    """Collects mistakes while the values are taken out of the TOML document."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.lines = _places(text)
        self.mistakes: list[tuple[int, str]] = []

    def wrong(self, key: tuple[str, ...], what: str) -> None:
        line = next((self.lines[key[:n]] for n in range(len(key), 0, -1) if key[:n] in self.lines), 0)
        where = ", ".join(([f"line {line}"] if line else []) + ([".".join(key)] if key else []))
        self.mistakes.append((line, f"{where}: {what}" if where else what))

    def take(self, table: Any, path: tuple[str, ...], key: str, kind: type, default: Any) -> Any:
        """One value of the wanted type, or the default."""
        value = table.get(key, default)
        if value is not default and (type(value) is not kind or value == ""):
            words = {str: "a text that is not empty", bool: "true or false", int: "a whole number", list: "a list"}
            self.wrong((*path, key), f"must be {words.get(kind, 'a table')}")
            return default
        return value

    def choice(self, table: Any, key: str, *choices: str) -> str:
        value = self.take(table, (), key, str, choices[0])
        if value not in choices:
            self.wrong((key,), "must be " + " or ".join(f'"{one}"' for one in choices))
        return str(value)

    def unknown(self, table: Any, path: tuple[str, ...], known: tuple[str, ...]) -> None:
        for key in table:
            if key not in known:
                self.wrong((*path, key), "is not a key here; there are " + ", ".join(known))

    def schema(self, data: dict[str, Any], name: str) -> Schema:
        self.unknown(data, (), (*KEYS, "transform"))
        columns = tuple(self.each(data, "columns", self.column))
        transform = self.take(data, (), "transform", dict, {})
        self.unknown(transform, ("transform",), ("python",))
        python = self.take(transform, ("transform",), "python", str, None)
        if python is not None and not FUNCTION.fullmatch(python):
            self.wrong(("transform", "python"), 'must be like "package.module:function"')
        derived = tuple(self.each(data, "derived", self.derived))
        for one in derived:
            if one.sql is None and python is None:
                self.wrong(("derived", one.name), "needs sql, or a Python transformer that sets it")
        table = self.take(data, (), "table", str, name)
        if table != name and not IDENTIFIER.fullmatch(table):
            self.wrong(("table",), "is not a table name: 1 to 63 letters, digits and _, beginning with a letter")
        if not columns:
            self.wrong(("columns",), "there are no columns")
        if len(columns) + len(derived) > COLUMNS:
            self.wrong(("columns",), f"there are more than {COLUMNS} columns")
        self.once(columns, derived)
        return Schema(
            name=name,
            columns=columns,
            title=self.take(data, (), "title", str, name),
            description=self.take(data, (), "description", str, ""),
            table=table,
            on_bad_row=self.choice(data, "on_bad_row", "reject_file", "reject_row"),
            unknown_columns=self.choice(data, "unknown_columns", "reject", "ignore"),
            derived=derived,
            completeness=self.completeness(self.take(data, (), "completeness", dict, {})),
            python=python,
            text=self.text,
        )

    def each(self, data: dict[str, Any], key: str, read: Callable[[str, Any], Any]) -> list[Any]:
        found = []
        for name, table in self.take(data, (), key, dict, {}).items():
            if not isinstance(table, dict):
                self.wrong((key, name), "must be a table")
            elif not IDENTIFIER.fullmatch(name):
                self.wrong((key, name), "a column's name is 1 to 63 letters, digits and _, beginning with a letter")
            else:
                found.append(read(name, table))
        return found

    def type_of(self, table: Any, path: tuple[str, ...]) -> Type:
        try:
            return type_of(self.take(table, path, "type", str, None) or "")
        except ValueError as error:
            self.wrong((*path, "type"), str(error))
            return Type("text")

    def column(self, name: str, table: dict[str, Any]) -> Column:
        path = ("columns", name)
        type_ = self.type_of(table, path)
        allowed = (*COLUMN, *OF_TYPE[type_.kind])
        for key in table:
            if key in ALL_OF_TYPE and key not in allowed:
                self.wrong((*path, key), f"a column of type {type_} has no {key}")
            elif key not in allowed:
                self.wrong((*path, key), "is not a key here; there are " + ", ".join(allowed))
        table = {key: value for key, value in table.items() if key in allowed}
        zone = self.zone(table, path) if type_.kind == "timestamp" else None
        column = Column(
            name=name,
            type=type_,
            required=self.take(table, path, "required", bool, False),
            default=self.cell(table, path, "default", type_, zone),
            minimum=self.cell(table, path, "min", type_, zone),
            maximum=self.cell(table, path, "max", type_, zone),
            pattern=self.pattern(table, path),
            max_length=self.take(table, path, "max_length", int, None),
            values=self.texts(table, path, "values"),
            zone=zone,
            trim=self.take(table, path, "trim", bool, False),
            aliases=self.texts(table, path, "aliases"),
            rename=self.take(table, path, "rename", str, None),
            examples=self.texts(table, path, "examples"),
            description=self.take(table, path, "description", str, ""),
        )
        self.column_makes_sense(column, path)
        return column

    def column_makes_sense(self, column: Column, path: tuple[str, ...]) -> None:
        if column.required and column.default is not None:
            self.wrong((*path, "default"), "a required column needs no default")
        if column.type.kind == "enum" and not column.values:
            self.wrong((*path, "values"), "an enum needs its values")
        if column.max_length is not None and column.max_length < 1:
            self.wrong((*path, "max_length"), "must be 1 or more")
        if column.rename is not None and not IDENTIFIER.fullmatch(column.rename):
            self.wrong((*path, "rename"), "a name is 1 to 63 letters, digits and _, beginning with a letter")
        low, high = (
            one if one is None else value_of(column.type, one, column.zone) for one in (column.minimum, column.maximum)
        )
        if low is not None and high is not None and low > high:  # type: ignore[operator]
            self.wrong((*path, "max"), "is less than min")
        elif column.default is not None and not fits(column, column.default):
            self.wrong((*path, "default"), "breaks the column's own rules")
        for example in column.examples:
            if not fits(column, example):
                self.wrong((*path, "examples"), f"{example} breaks the column's own rules")

    def cell(self, table: Any, path: tuple[str, ...], key: str, type_: Type, zone: str | None) -> str | None:
        """A value of the column's own type, as a cell would be written."""
        value = table.get(key)
        if value is None:
            return None
        if isinstance(value, bool):
            value = "true" if value else "false"
        elif isinstance(value, (date, datetime)):
            value = value.isoformat()
        elif not isinstance(value, (str, int)):
            self.wrong((*path, key), f"must be a value of type {type_}")
            return None
        try:
            value_of(type_, str(value), zone)
        except ValueError as error:
            self.wrong((*path, key), str(error))
            return None
        return str(value)

    def zone(self, table: Any, path: tuple[str, ...]) -> str:
        zone = str(self.take(table, path, "zone", str, "required"))
        if zone not in ("required", "utc") and not known_zone(zone):
            self.wrong((*path, "zone"), 'must be "required", "utc" or a time zone such as "Europe/Bucharest"')
            return "required"
        return zone

    def pattern(self, table: Any, path: tuple[str, ...]) -> str | None:
        pattern = self.take(table, path, "pattern", str, None)
        try:
            re.compile(pattern or "")
        except re.error as error:
            self.wrong((*path, "pattern"), f"is not a regular expression: {error}")
            return None
        return None if pattern is None else str(pattern)

    def texts(self, table: Any, path: tuple[str, ...], key: str) -> tuple[str, ...]:
        values = self.take(table, path, key, list, [])
        if not all(isinstance(one, str) and one == one.strip() and one and one.isprintable() for one in values):
            self.wrong((*path, key), "must be a list of texts without blanks around them")
            return ()
        if len(set(values)) != len(values):
            self.wrong((*path, key), "names a value twice")
        return tuple(values)

    def derived(self, name: str, table: dict[str, Any]) -> Derived:
        path = ("derived", name)
        self.unknown(table, path, DERIVED)
        type_ = self.type_of(table, path)
        if type_.kind == "enum":
            self.wrong((*path, "type"), "a derived column is text, not enum")
        sql = self.take(table, path, "sql", str, None)
        return Derived(name, type_, sql, self.take(table, path, "description", str, ""))

    def completeness(self, table: dict[str, Any]) -> Completeness:
        path = ("completeness",)
        self.unknown(table, path, COMPLETENESS)
        found = Completeness(
            self.take(table, path, "final_newline", bool, False),
            self.take(table, path, "trailer", str, None),
            self.take(table, path, "count_key", str, None),
            self.take(table, path, "min_rows", int, 0),
        )
        if found.min_rows < 0:
            self.wrong((*path, "min_rows"), "must be 0 or more")
        if found.trailer is not None and not re.fullmatch(r"[!-~]{1,64}", re.sub('[",]', " ", found.trailer)):
            self.wrong((*path, "trailer"), "must be one word without commas and quotes")
        return found

    def once(self, columns: tuple[Column, ...], derived: tuple[Derived, ...]) -> None:
        """Names that a header or a table could not tell apart."""
        seen: dict[str, str] = {}
        for column in columns:
            for name in dict.fromkeys(one.casefold() for one in (column.name, *column.aliases)):
                if seen.setdefault(name, column.name) != column.name:
                    self.wrong(("columns", column.name), f"{name} is a name of {seen[name]} too")
        outputs: set[str] = set()
        names = [(("columns", c.name), c.output) for c in columns] + [(("derived", d.name), d.name) for d in derived]
        for path, name in names:
            if name.lower() in outputs:
                self.wrong(path, f"the table has a column {name} already")
            outputs.add(name.lower())


def _places(text: str) -> dict[tuple[str, ...], int]:
    """The line of every key, for messages only: TOML's reader does not tell them."""
    section: tuple[str, ...] = ()
    places: dict[tuple[str, ...], int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if found := _SECTION.match(line):
            section = tuple(part.strip(" \"'") for part in found[1].split("."))
            places.setdefault(section, number)
        elif found := _KEY.match(line):
            places.setdefault((*section, *(part.strip("\"'") for part in found[1].split("."))), number)
    return places
