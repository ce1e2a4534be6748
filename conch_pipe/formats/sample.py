"""Good files of a schema, made up: to show partners, to try an installation, to measure.

Varied on purpose: quotes, commas, line breaks, other scripts, limits, nothing where nothing must be. Each value comes
from a small pool per column, so that a million rows take seconds. Never imports DuckDB.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from random import Random

from conch_pipe.errors import Code, PipeError
from conch_pipe.formats.columns import Column, Schema
from conch_pipe.formats.lexical import value_of
from conch_pipe.formats.values import fits

POOL = 200
CHUNK = 10_000
TEXTS = (
    "plain",
    "Main Street 5",
    "one, two, three",
    'said "yes", then left',
    "first line\nsecond line",
    "Ștefan cel Mare – București",
    "日本語 Ελληνικά العربية",
    "O'Brien'; DROP TABLE sales; --",
    "=1+1",
    "semi;colon\ttab|pipe\\slash",
    "NULL",
    "007",
    "{braces} <b>&amp;</b> %s",
)


def sample(schema: Schema, rows: int, format: str = "csv", seed: int = 0) -> str:
    """A file that the check accepts.

    :param format: "csv" or "json".
    :param seed: the same gives the same text.
    :raises PipeError: INVALID when no value fits a column's pattern: give it ``examples``.
    """
    return "".join(parts(schema, rows, format, seed))


def parts(schema: Schema, rows: int, format: str = "csv", seed: int = 0) -> Iterator[str]:
    """The same in parts, for files that should not be in memory as a whole."""
    if format not in ("csv", "json"):
        raise PipeError(Code.INVALID, "use csv or json")
    random = Random(f"{schema.name} {seed}")  # noqa: S311 - made-up rows, no secrets
    pools = [_pool(column, random) for column in schema.columns]
    make = _csv if format == "csv" else _json
    yield from make(schema, rows, pools, random)


def _rows(rows: int, pools: list[list[str]], random: Random) -> Iterator[list[tuple[str, ...]]]:
    for start in range(0, rows, CHUNK):
        count = min(CHUNK, rows - start)
        yield list(zip(*(random.choices(pool, k=count) for pool in pools), strict=True))


def _csv(schema: Schema, rows: int, pools: list[list[str | None]], random: Random) -> Iterator[str]:
    yield ",".join(column.name for column in schema.columns) + "\n"
    # A line without anything is no record: a single column says its nothing with quotes.
    nothing = '""' if len(pools) == 1 else ""
    quoted = [[nothing if value is None else _quoted(value) for value in pool] for pool in pools]
    for chunk in _rows(rows, quoted, random):
        yield "\n".join(map(",".join, chunk)) + "\n"
    if schema.completeness.trailer is not None:
        yield f"{schema.completeness.trailer},{rows}\n"


def _quoted(value: str) -> str:
    return '"' + value.replace('"', '""') + '"' if re.search('[",\r\n]', value) else value


def _json(schema: Schema, rows: int, pools: list[list[str | None]], random: Random) -> Iterator[str]:
    members = [
        [f"{json.dumps(column.name)}: {_json_value(column, value)}" for value in pool]
        for column, pool in zip(schema.columns, pools, strict=True)
    ]
    key = schema.completeness.count_key
    yield "[" if key is None else f'{{{json.dumps(key)}: {rows}, "data": ['
    separator = "\n"
    for chunk in _rows(rows, members, random):
        yield separator + ",\n".join("{" + ", ".join(row) + "}" for row in chunk)
        separator = ",\n"
    yield "\n]\n" if key is None else "\n]}\n"


def _json_value(column: Column, value: str | None) -> str:
    if value is None:
        return "null"
    # Numbers as they are written: a JSON number may not begin with + or 0.
    if column.type.kind in ("integer", "decimal") and re.fullmatch(r"-?(0|[1-9]\d*)(\.\d+)?", value):
        return value
    if column.type.kind == "boolean" and value in ("true", "false"):
        return value
    return json.dumps(value, ensure_ascii=False)


def _pool(column: Column, random: Random) -> list[str | None]:
    """Values that the column takes; None where it takes nothing."""
    wanted = list(column.examples) or list(_candidates(column, random))
    pool: list[str | None] = [value for value in wanted if fits(column, value)]
    if not pool:
        why = f"the pattern {column.pattern}" if column.pattern else f"the type {column.type}"
        raise PipeError(Code.INVALID, f"nothing made up fits {why} of the column {column.name}: give it examples")
    if not column.expected:
        pool += [None] * max(1, len(pool) // 10)
    return pool


def _candidates(column: Column, random: Random) -> Iterable[str]:
    kind = column.type.kind
    if kind == "text":
        codes = [f"{column.name[0].upper()}{random.randrange(10**6):06d}" for _ in range(POOL - len(TEXTS))]
        most = column.max_length or 100
        # What must be there is a code as a rule: a store, a receipt. The odd texts go where anything may stand.
        odd = () if column.expected else (*TEXTS, "x" * most)
        return [*odd, *(code[:most] for code in codes)]
    if kind == "enum":
        return column.values
    if kind == "boolean":
        return ("true", "false", "1", "0", "Yes", "no")
    if kind in ("integer", "decimal"):
        return _numbers(column, random)
    if kind == "date":
        return _dates(column, random)
    return _timestamps(column, random)


def _limits(column: Column) -> list[str]:
    return [one for one in (column.minimum, column.maximum) if one is not None]


def _numbers(column: Column, random: Random) -> Iterator[str]:
    scale = column.type.scale
    # Without limits of its own a column gets everyday numbers: a derived one must have room for their sum.
    digits = min(6, column.type.precision - scale) if column.type.kind == "decimal" else 6
    low = Decimal(column.minimum or -(10**digits) + 1)
    high = Decimal(column.maximum or max(10**digits - 1, int(low) + 1000))
    yield from _limits(column)
    yield from ("0", "1", "+7", "042")
    for _ in range(POOL):
        units = random.randint(int(low * 10**scale), int(high * 10**scale))
        yield format(Decimal(units).scaleb(-scale), "f")


def _dates(column: Column, random: Random) -> Iterator[str]:
    yield from _limits(column)
    yield from ("2024-02-29", "1970-01-01")
    low = date.fromisoformat(column.minimum or "2020-01-01")
    high = date.fromisoformat(column.maximum) if column.maximum else max(low, date(2026, 12, 31))
    for _ in range(POOL):
        yield (low + timedelta(days=random.randint(0, (high - low).days))).isoformat()


def _timestamps(column: Column, random: Random) -> Iterator[str]:
    yield from _limits(column)
    low, high = (
        one if limit is None else value_of(column.type, limit, column.zone)
        for limit, one in ((column.minimum, datetime(2020, 1, 1, tzinfo=UTC)), (column.maximum, None))
    )
    assert isinstance(low, datetime)  # noqa: S101 - value_of of a timestamp
    span = high - low if isinstance(high, datetime) else timedelta(days=2500)
    ends = ["Z", "+02:00", "-05:30", "+0545", "+01"] + ([""] * 5 if column.zone != "required" else [])
    forms = [
        "%Y-%m-%dT%H:%M:%S",
        "%Y-%m-%d %H:%M:%S",
        "%Y-%m-%dT%H:%M",
        "%Y-%m-%dT%H:%M:%S.%f",
        "%Y-%m-%dT%H:%M:%S.%f0",
    ]
    for _ in range(POOL):
        moment = low + timedelta(
            seconds=random.randint(0, int(span.total_seconds())), microseconds=random.randrange(10**6)
        )
        yield moment.strftime(random.choice(forms)) + random.choice(ends)
