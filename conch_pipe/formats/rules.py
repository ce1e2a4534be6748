"""Compiles a schema into SQL: what a cell must look like, what it becomes, and why it is refused.

Values are read as text and judged here; DuckDB's own typed reading rounds 1.23456 and takes times without a zone
silently. Only strings are made here; names and values of the file never become part of them.
"""

# ruff: noqa: S608

from __future__ import annotations

from conch_pipe.formats.columns import Column, Schema
from conch_pipe.formats.lexical import AWARE, BLANKS, DATE, FALSE, INTEGER, NAIVE, NUMBER, OFFSET, TRUE, fraction

FIELD = 1 << 20  # bytes of one field


def quoted(name: str) -> str:
    """An SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """An SQL text literal."""
    return "'" + value.replace("'", "''") + "'"


def cell(column: Column, c: str) -> str:
    """The text of a cell: blanks off, the default where there is none.

    :param c: expression of the raw cell.
    """
    x = c
    if column.type.kind != "text":
        x = f"nullif(trim({c}), '')"
    elif column.trim:
        x = f"trim({c})"
    return x if column.default is None else f"coalesce({x}, {text(column.default)})"


def typed(column: Column, x: str) -> str:
    """The value of a cell, NULL where it has none.

    :param x: the cell's text, see :func:`cell`.
    """
    kind = column.type.kind
    if kind in ("text", "enum"):
        return x
    if kind == "boolean":
        return f"CASE WHEN lower({x}) IN ({_list(TRUE)}) THEN true WHEN lower({x}) IN ({_list(FALSE)}) THEN false END"
    if kind == "timestamp" and column.zone not in ("required", "utc"):
        naive = f"timezone({text(column.zone or '')}, TRY_CAST({x} AS TIMESTAMP))"
        return f"CASE WHEN {_full(x, NAIVE)} THEN {naive} ELSE {_instant(x)} END"
    if kind == "timestamp":
        return _instant(x)
    return f"TRY_CAST({x} AS {column.type.sql})"


def _instant(x: str) -> str:
    """A time with its zone; without one it is in the session's zone, which is UTC."""
    # DuckDB 1.5 does not read 09:30Z, only 09:30:00Z; the second attempt costs only where the first has failed.
    seconds = f"regexp_replace({x}, '^(.{{16}})([Z+-].*)$', '\\1:00\\2')"
    return f"coalesce(TRY_CAST({x} AS TIMESTAMPTZ), TRY_CAST({seconds} AS TIMESTAMPTZ))"


def reason(column: Column, x: str, t: str) -> str:
    """NULL, or why a cell is refused.

    :param x: the cell's text.
    :param t: its typed value.
    """
    empty = f"{x} IS NULL OR {x} = ''" if column.type.kind == "text" else f"{x} IS NULL"
    # An empty optional cell is judged no further; the other conditions never see NULL or an empty text.
    cases = [(empty, text("is empty") if column.expected else "NULL"), *_by_type(column, x, t)]
    if column.minimum is not None:
        cases.append((f"{t} < {_limit(column, column.minimum)}", text(f"less than {column.minimum}")))
    if column.maximum is not None:
        cases.append((f"{t} > {_limit(column, column.maximum)}", text(f"more than {column.maximum}")))
    return "CASE " + " ".join(f"WHEN {when} THEN {why}" for when, why in cases) + " END"


def _by_type(column: Column, x: str, t: str) -> list[tuple[str, str]]:
    """Conditions and reasons, in the order they are tried. A good cell meets each pattern once: they are what costs."""
    type_ = column.type
    if type_.kind == "text":
        return _text(column, x)
    if type_.kind == "enum":
        return [(f"{x} NOT IN ({_list(column.values)})", text("not one of " + ", ".join(column.values[:10])))]
    if type_.kind == "boolean":
        return [(f"{t} IS NULL", text("not true or false"))]
    if type_.kind == "integer":
        wrong = text("not an integer")
        return [(f"NOT {_full(x, INTEGER)}", wrong), (f"{t} IS NULL", text("too large for an integer"))]
    if type_.kind == "decimal":
        why = (
            f"CASE WHEN {_full(x, NUMBER)} THEN {text(f'more than {type_.scale} decimal places')} "
            f"WHEN contains({x}, ',') THEN {text('not a number like 1234.50, without commas')} "
            f"ELSE {text('not a number')} END"
        )
        return [(f"NOT {_full(x, fraction(type_.scale))}", why), (f"{t} IS NULL", text(f"too large for {type_}"))]
    if type_.kind == "date":
        wrong = text("not a date like 2026-02-28")
        return [(f"NOT {_full(x, DATE)}", wrong), (f"{t} IS NULL", text("there is no such date"))]
    return _timestamp(column, x, t)


def _text(column: Column, x: str) -> list[tuple[str, str]]:
    # Bytes first: counting characters costs, and a text of n bytes has no more characters than that.
    n = min(FIELD, column.max_length or FIELD)
    long = f"longer than {FIELD} bytes" if n == FIELD else f"longer than {n} characters"
    cases = [(f"strlen({x}) > {n}" + (f" AND length({x}) > {n}" if n < FIELD else ""), text(long))]
    # PostgreSQL cannot store it. In CSV the scan has refused it; JSON can write it as an escape.
    cases.append((f"contains({x}, chr(0))", text("contains NUL")))
    if column.pattern is not None:
        cases.append((f"NOT {_full(x, column.pattern)}", text(f"does not match {column.pattern}")))
    return cases


def _timestamp(column: Column, x: str, t: str) -> list[tuple[str, str]]:
    years = f"{t} NOT BETWEEN '0001-01-01 00:00:00+00'::TIMESTAMPTZ AND '9999-12-31 23:59:59.999999+00'::TIMESTAMPTZ"
    wrong = text("not a time like 2026-02-28T09:30:00+02:00")
    none = (f"{t} IS NULL OR {years}", text("there is no such date or time"))
    if column.zone == "required":
        without = text("the time has no zone, write it like 2026-02-28T09:30:00+02:00")
        why = f"CASE WHEN {_full(x, NAIVE)} THEN {without} ELSE {wrong} END"
        return [(f"NOT {_full(x, AWARE)}", why), none]
    cases = [(f"NOT {_full(x, NAIVE + OFFSET + '?')}", wrong), none]
    if column.zone != "utc":
        there_and_back = f"timezone({text(column.zone or '')}, {t}) <> TRY_CAST({x} AS TIMESTAMP)"
        gap = text(f"this time does not exist in {column.zone}")
        cases.append((f"{_full(x, NAIVE)} AND {there_and_back}", gap))
    return cases


def _limit(column: Column, value: str) -> str:
    return f"({typed(column, text(value.strip(BLANKS)))})"


def _full(x: str, pattern: str) -> str:
    return f"regexp_full_match({x}, {text(pattern)})"


def _list(values: tuple[str, ...]) -> str:
    return ", ".join(text(value) for value in values)


def judged(schema: Schema, source: str, positions: tuple[int | None, ...], row: str, line: str) -> str:
    """The WITH clause of every check.

    It ends with ``judged``: ``_row``, ``_line``, and for column n of the schema ``x<n>`` (the cell), ``t<n>`` (typed)
    and ``r<n>`` (the reason or NULL).

    :param source: a table function whose columns are ``c0``, ``c1``, … as text.
    :param positions: for each column of the schema its place in the source, or None.
    :param row: expression for the record's number.
    :param line: expression for its first line.
    """
    cells, values, reasons = [], [], []
    for n, column in enumerate(schema.columns):
        raw = "CAST(NULL AS VARCHAR)" if positions[n] is None else f"c{positions[n]}"
        cells.append(f"{cell(column, raw)} AS x{n}")
        values.append(f"{typed(column, f'x{n}')} AS t{n}")
        reasons.append(f"{reason(column, f'x{n}', f't{n}')} AS r{n}")
    return (
        f"WITH cells AS (SELECT {row} AS _row, {line} AS _line, {', '.join(cells)} FROM {source}),\n"
        f"typed AS (SELECT *, {', '.join(values)} FROM cells),\n"
        f"judged AS (SELECT *, {', '.join(reasons)} FROM typed)\n"
    )


def good(schema: Schema) -> str:
    """Condition on ``judged``: nothing is wrong with the row."""
    return " AND ".join(f"r{n} IS NULL" for n in range(len(schema.columns)))


def typed_rows(schema: Schema) -> str:
    """SELECT list over ``judged``: the typed columns by their names in the file."""
    columns = [f"t{n} AS {quoted(column.name)}" for n, column in enumerate(schema.columns)]
    return ", ".join(["_row", *columns])


def table_rows(schema: Schema, *, numbered: bool = True) -> str:
    """SELECT list over typed rows: the table's columns, derived ones computed; with or without ``_row``."""
    own = [f"{quoted(column.name)} AS {quoted(column.output)}" for column in schema.columns]
    derived = [f"CAST(({one.sql or 'NULL'}) AS {one.type.sql}) AS {quoted(one.name)}" for one in schema.derived]
    return ", ".join([*(["_row"] if numbered else []), *own, *derived])


def problems_of(schema: Schema) -> str:
    """SELECT list over ``judged``: row, line, then a list of (number of the column, value, reason)."""
    found = [
        f"CASE WHEN r{n} IS NOT NULL THEN {{'n': {n}, 'x': left(x{n}, 200), 'r': r{n}}} END"
        for n in range(len(schema.columns))
    ]
    return f"_row, _line, list_filter([{', '.join(found)}], lambda one: one IS NOT NULL)"


def problem_count(schema: Schema) -> str:
    """Expression over ``judged``: how many cells of the row are wrong."""
    return " + ".join(f"(r{n} IS NOT NULL)::INTEGER" for n in range(len(schema.columns)))
