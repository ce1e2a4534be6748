"""How each type of column is written, once: for the SQL that checks files and for values in schema files.

The patterns mean the same to Python's ``re`` and to RE2. Knows no SQL and no file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

# Unicode's spaces (Zs): what DuckDB's trim(x) takes off; trim(x, ' ') costs 0.1 s more per column and 1 M rows.
BLANKS = " \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
TYPE = re.compile(r"(text|integer|boolean|date|timestamp|enum)|decimal\(([0-9]{1,2}), *([0-9]{1,2})\)")

INTEGER = "[+-]?[0-9]+"
NUMBER = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)"
# Year 0 would be 1 BC to DuckDB, and Python has none.
DATE = r"(?:[1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])-[0-9]{2}-[0-9]{2}"
# .NET writes seven decimals of a second; more than microseconds is accepted only when it is zeros.
CLOCK = r"(?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:\.[0-9]{1,6}0*)?)?"
OFFSET = r"(?:Z|[+-](?:0[0-9]|1[0-4])(?::?[0-5][0-9])?)"
NAIVE = f"{DATE}[T ]{CLOCK}"
AWARE = NAIVE + OFFSET

TRUE = ("true", "1", "yes")
FALSE = ("false", "0", "no")
BIGINT = range(-(2**63), 2**63)


def fraction(scale: int) -> str:
    """The pattern of a number with at most ``scale`` decimal places that are not 0."""
    return rf"[+-]?(?:[0-9]+(?:\.[0-9]{{0,{scale}}}0*)?|\.[0-9]{{1,{scale}}}0*)" if scale else r"[+-]?[0-9]+(?:\.0*)?"


@dataclass(frozen=True, slots=True)
class Type:
    """A column's type as the schema names it."""

    kind: str  # text, integer, decimal, boolean, date, timestamp, enum
    precision: int = 0  # of a decimal
    scale: int = 0

    def __str__(self) -> str:
        return f"decimal({self.precision},{self.scale})" if self.kind == "decimal" else self.kind

    @property
    def sql(self) -> str:
        """The type in Parquet, DuckDB and PostgreSQL alike."""
        return {
            "text": "VARCHAR",
            "enum": "VARCHAR",
            "integer": "BIGINT",
            "boolean": "BOOLEAN",
            "date": "DATE",
            "timestamp": "TIMESTAMP WITH TIME ZONE",
            "decimal": f"DECIMAL({self.precision},{self.scale})",
        }[self.kind]


def type_of(text: str) -> Type:
    """:param text: e.g. ``"decimal(18,2)"``. :raises ValueError: in words."""
    found = TYPE.fullmatch(text.strip())
    if found is None:
        raise ValueError("is not a type: text, integer, decimal(p,s), boolean, date, timestamp or enum")
    if found[1]:
        return Type(found[1])
    precision, scale = int(found[2]), int(found[3])
    if not 1 <= precision <= 38 or scale > precision:
        raise ValueError("decimal(p,s) needs 1 to 38 digits p, of which s are decimal places")
    return Type("decimal", precision, scale)


def known_zone(name: str) -> bool:
    """Is it the name of a time zone, e.g. ``Europe/Bucharest``?"""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def value_of(type_: Type, text: str, zone: str | None = None) -> str | int | Decimal | bool | date | datetime:
    """Read one value as a cell of that type would be read.

    :param zone: of a timestamp column: "required", "utc" or an IANA name.
    :returns: text and enum as they are; timestamps in UTC.
    :raises ValueError: the reason, in the words of the checks.
    """
    if type_.kind in ("text", "enum"):
        return text
    text = text.strip(BLANKS)
    if type_.kind == "integer":
        return _integer(text)
    if type_.kind == "decimal":
        return _decimal(type_, text)
    if type_.kind == "boolean":
        return _boolean(text)
    return _date(text) if type_.kind == "date" else _timestamp(text, zone or "required")


def _integer(text: str) -> int:
    if not re.fullmatch(INTEGER, text):
        raise ValueError("not an integer")
    if len(text) > 40 or int(text) not in BIGINT:
        raise ValueError("too large for an integer")
    return int(text)


def _decimal(type_: Type, text: str) -> Decimal:
    if not re.fullmatch(NUMBER, text):
        raise ValueError("not a number")
    if not re.fullmatch(fraction(type_.scale), text):
        raise ValueError(f"more than {type_.scale} decimal places")
    if abs(Decimal(text)) >= Decimal(10) ** (type_.precision - type_.scale):
        raise ValueError(f"too large for {type_}")
    return Decimal(text)


def _boolean(text: str) -> bool:
    if text.lower() not in TRUE + FALSE:
        raise ValueError("not true or false")
    return text.lower() in TRUE


def _date(text: str) -> date:
    if not re.fullmatch(DATE, text):
        raise ValueError("not a date like 2026-02-28")
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError("there is no such date") from None


def _timestamp(text: str, zone: str) -> datetime:
    if not re.fullmatch(NAIVE + OFFSET + "?", text):
        raise ValueError("not a time like 2026-02-28T09:30:00+02:00")
    try:
        moment = datetime.fromisoformat(re.sub(r"(\.[0-9]{6})0+", r"\1", text))
    except ValueError:
        raise ValueError("there is no such date or time") from None
    if moment.tzinfo is None:
        if zone == "required":
            raise ValueError("the time has no zone")
        # fold=1: the hour that comes twice in autumn is taken as the second, as ICU in DuckDB does.
        moment = moment.replace(tzinfo=UTC if zone == "utc" else ZoneInfo(zone), fold=1)
        if moment.astimezone(UTC).astimezone(moment.tzinfo).replace(tzinfo=None) != moment.replace(tzinfo=None):
            raise ValueError(f"this time does not exist in {zone}")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("there is no such date or time") from None
