"""DuckDB as the checker of one file: an in-memory instance of its own, without network, extensions or other files.

Runs in worker processes and the CLI only: a fault in DuckDB's CSV reader can end the process, and the analytics file
is held by another one.
"""

# Names and literals are quoted in rules.py; SQL of the operator's own schema is meant to be SQL.
# ruff: noqa: S608

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import duckdb

from conch_pipe.errors import Code, Mistakes, PipeError
from conch_pipe.formats import rules
from conch_pipe.formats.columns import Schema
from conch_pipe.formats.csv_text import Canonical
from conch_pipe.formats.limits import Limits
from conch_pipe.formats.words import shown
from conch_pipe.model import Problem

NOT_GOOD = "a row is not good"
FILE = "_file"  # whose row it is, in a Parquet of several files: the path under which its rows were asked for
# Measured on 1 M rows of 10 columns, one thread: snappy 0.83 s 22 MB, none 0.79 s 42 MB, zstd 0.83 s 7 MB.
# No temporary file: its name would be outside the allowed paths.
PARQUET = "(FORMAT parquet, COMPRESSION zstd, USE_TMP_FILE false)"
# What the system says of a full disk or quota; DuckDB's errors have no code for it in Python.
FULL = ("No space left on device", "Disk quota exceeded")
# A record of JSON or a rewritten one may take more bytes than in the partner's file: quotes, doubled.
LINE = 3


# How a check gets its instance: ``connected`` or ``kept``.
Connect = Callable[..., AbstractContextManager[duckdb.DuckDBPyConnection]]

_kept: dict[tuple[Limits, tuple[Path, ...]], duckdb.DuckDBPyConnection] = {}


@contextmanager
def connected(limits: Limits, folder: Path, *paths: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """An instance that can reach only these paths, for one file.

    :param folder: for what does not fit into memory.
    :raises PipeError: NO_SPACE when work files found no room: nothing is wrong with the partner's file.
    """
    connection = _open(limits, folder, paths)
    try:
        with _full_told():
            yield connection
    finally:
        connection.close()


@contextmanager
def kept(limits: Limits, folder: Path, *paths: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """The same, kept for the next file whose paths are the same: relative ones, with a current folder for each file.

    Opening and closing an instance took 14 to 20 of the 38 ms of a small file. Whatever raises ends it. Nobody may
    leave tables in it: a schema's Python function gets an instance of its own.
    """
    key = limits, (folder, *paths)
    connection = _kept.pop(key, None) or _open(limits, folder, paths)
    try:
        with _full_told():
            yield connection
    except BaseException:
        connection.close()
        raise
    _kept[key] = connection


def _open(limits: Limits, folder: Path, paths: tuple[Path, ...]) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(
        ":memory:",
        config={
            "threads": limits.threads,
            "memory_limit": limits.memory,
            "temp_directory": str(folder / "spill"),
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "allow_community_extensions": "false",
        },
    )
    allowed = ", ".join(rules.text(str(path)) for path in paths)
    connection.execute("SET python_enable_replacements = false")
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET enable_progress_bar = false")
    # A kept instance sees another file under the same name each time.
    connection.execute("SET enable_external_file_cache = false")
    connection.execute(f"SET allowed_paths = [{allowed}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


@contextmanager
def _full_told() -> Iterator[None]:
    try:
        yield
    except duckdb.IOException as error:
        if any(words in str(error) for words in FULL):
            raise PipeError(Code.NO_SPACE, "no space left for work files", str(error)) from error
        raise


def reader(
    path: Path | Sequence[Path], names: list[str], limits: Limits, *, ours: bool, empty_is_null: bool = True
) -> str:
    """The table function that reads a CSV file as text, without guessing anything; of several, with ``filename``.

    ``new_line`` must stay unset for files of others: with it a CRLF file had no rows and no error (DuckDB 1.5 and
    2.0). Ours end lines with LF, which DuckDB guesses wrong when the first cells have CRLF inside quotes.

    :param ours: a rewritten file, which has no header.
    :param empty_is_null: also an empty cell in quotes.
    """
    line = limits.line_bytes * LINE if ours else limits.line_bytes
    columns = ", ".join(f"{rules.text(name)}: 'VARCHAR'" for name in names)
    end = "new_line = '\\n', " if ours else ""
    if isinstance(path, Path):
        files = rules.text(str(path))
    else:
        files = f"[{', '.join(rules.text(str(one)) for one in path)}], filename = true"
    return (
        f"read_csv({files}, columns = {{{columns}}}, auto_detect = false, header = {not ours}, "
        "delim = ',', quote = '\"', escape = '\"', strict_mode = true, null_padding = false, nullstr = '', "
        f"{end}allow_quoted_nulls = {empty_is_null}, max_line_size = {line}, buffer_size = {line * 2})"
    )


def prove(
    connection: duckdb.DuckDBPyConnection,
    schema: Schema,
    path: Path,
    width: int,
    positions: tuple[int | None, ...],
    parquet: Path,
    limits: Limits,
) -> int | None:
    """Write the Parquet of a CSV file in which nothing is wrong, in one streaming statement.

    :returns: the number of rows, or None when anything at all is wrong: ``explain`` knows what.
    """
    source = reader(path, [f"c{n}" for n in range(width)], limits, ours=False)
    # Numbering records would take one thread; the place in the Parquet says the same. A transformer wants the number.
    number = "NULL" if schema.python is None else "row_number() OVER ()"
    rows = rules.judged(schema, source, positions, number, "0")
    proved = f"CASE WHEN {rules.good(schema)} THEN true ELSE error({rules.text(NOT_GOOD)}) END"
    typed = f"{rows} SELECT {rules.typed_rows(schema)} FROM judged WHERE {proved}"
    try:
        return _write(connection, schema, typed, parquet, numbered=schema.python is not None)
    except (duckdb.InvalidInputException, duckdb.ConversionException, duckdb.OutOfRangeException):
        parquet.unlink(missing_ok=True)
        return None


def prove_many(
    connection: duckdb.DuckDBPyConnection,
    schema: Schema,
    paths: Mapping[Path, Path],
    width: int,
    positions: tuple[int | None, ...],
    parquet: Path,
    limits: Limits,
) -> list[int] | None:
    """The same of several files whose headers are alike, planned once and written to one Parquet.

    :param paths: the files, each with the name its rows have in the column ``_file``; ``_row`` counts within a file.
    :returns: the number of rows of each, or None when anything at all is wrong with any of them.
    """
    source = reader(list(paths), [f"c{n}" for n in range(width)], limits, ours=False)
    judged = rules.judged(schema, source, positions, "filename", "0")
    proved = f"CASE WHEN {rules.good(schema)} THEN true ELSE error({rules.text(NOT_GOOD)}) END"
    typed = f"{judged} SELECT {rules.typed_rows(schema)} FROM judged WHERE {proved}"
    try:
        connection.execute(f"CREATE TEMP TABLE proved AS SELECT {rules.table_rows(schema)} FROM ({typed})")
    except (duckdb.InvalidInputException, duckdb.ConversionException, duckdb.OutOfRangeException):
        return None
    try:
        counts = dict(connection.execute("SELECT _row, count(*) FROM proved GROUP BY _row").fetchall())
        names = ", ".join(f"({rules.text(str(path))}, {rules.text(str(name))})" for path, name in paths.items())
        numbered = (
            f"SELECT file AS {FILE}, row_number() OVER (PARTITION BY _row ORDER BY proved.rowid) AS _row, "
            f"proved.* EXCLUDE (_row) FROM proved JOIN (VALUES {names}) names(path, file) ON _row = path"
        )
        _copied(connection, numbered, parquet)
        return [counts.get(str(path), 0) for path in paths]
    finally:
        connection.execute("DROP TABLE proved")


def explain(
    connection: duckdb.DuckDBPyConnection, schema: Schema, file: Canonical, limits: Limits
) -> tuple[int, int, list[Problem]]:
    """What is wrong with the values of a rewritten file.

    :returns: number of bad rows, number of problems, the first problems by row and column.
    """
    rows = _judged(schema, file, limits)
    bad, count = connection.execute(
        f"{rows} SELECT count(*) FILTER (NOT ({rules.good(schema)})), coalesce(sum({rules.problem_count(schema)}), 0) "
        "FROM judged"
    ).fetchall()[0]
    if not bad:
        return 0, 0, []
    found = connection.execute(
        f"{rows} SELECT {rules.problems_of(schema)} FROM judged WHERE NOT ({rules.good(schema)}) "
        f"ORDER BY _row LIMIT {limits.problems}"
    ).fetchall()
    problems = [
        Problem(one["r"], line or None, row, file.names[one["n"]], None if one["x"] is None else shown(one["x"]))
        for row, line, cells in found
        for one in cells
    ]
    return int(bad), int(count), problems[: limits.problems]


def write_good(
    connection: duckdb.DuckDBPyConnection, schema: Schema, file: Canonical, parquet: Path, limits: Limits
) -> int:
    """Write the Parquet of the good rows of a rewritten file.

    :returns: the number of rows.
    :raises PipeError: BAD_FILE when a derived column cannot be computed.
    """
    rows = _judged(schema, file, limits)
    good = f"{rows} SELECT {rules.typed_rows(schema)} FROM judged WHERE {rules.good(schema)}"
    try:
        return _write(connection, schema, good, parquet, numbered=True)
    except (duckdb.InvalidInputException, duckdb.ConversionException, duckdb.OutOfRangeException) as error:
        parquet.unlink(missing_ok=True)
        if not schema.derived and schema.python is None:
            raise
        words = shown(str(error).splitlines()[0], 200)
        raise PipeError(Code.BAD_FILE, f"the derived columns cannot be computed: {words}") from error


def _judged(schema: Schema, file: Canonical, limits: Limits) -> str:
    names = ["_row", "_line", *(f"c{n}" for n in range(file.width))]
    source = reader(file.path, names, limits, ours=True, empty_is_null=file.empty_is_null)
    return rules.judged(schema, source, file.positions, "CAST(_row AS BIGINT)", "CAST(_line AS BIGINT)")


def _write(connection: duckdb.DuckDBPyConnection, schema: Schema, typed: str, parquet: Path, *, numbered: bool) -> int:
    """Typed rows to the table's columns to Parquet.

    :param numbered: with ``_row``; without it every record is there, and its place is its number.
    :returns: the number of rows.
    """
    if schema.python is None:
        select = f"SELECT {rules.table_rows(schema, numbered=numbered)} FROM ({typed})"
    else:
        connection.execute(f"CREATE TEMP TABLE checked AS SELECT {rules.table_rows(schema)} FROM ({typed})")
        select = _transformed(connection, schema)
    return _copied(connection, select, parquet)


def _copied(connection: duckdb.DuckDBPyConnection, select: str, parquet: Path) -> int:
    parquet.unlink(missing_ok=True)
    return int(connection.execute(f"COPY ({select}) TO {rules.text(str(parquet))} {PARQUET}").fetchall()[0][0])


def _transformed(connection: duckdb.DuckDBPyConnection, schema: Schema) -> str:
    """Let the schema's Python function change the rows.

    :returns: a SELECT of the table's columns.
    """
    relation = transformer(schema)(connection.table("checked"))
    wanted = {"_row": "BIGINT", **{output.name: output.sql_type for output in schema.outputs}}
    there = {name.lower() for name in getattr(relation, "columns", ())}
    missing = [name for name in wanted if name.lower() not in there]
    if missing:
        raise PipeError(Code.FAILED, f"the transformer of {schema.name} does not return {', '.join(missing)}")
    relation.create("transformed")
    columns = ", ".join(
        f"CAST({rules.quoted(name)} AS {kind}) AS {rules.quoted(name)}" for name, kind in wanted.items()
    )
    return f"SELECT {columns} FROM transformed"


def transformer(schema: Schema) -> Callable[[Any], Any]:
    """The schema's Python function, ``transform(relation) -> relation``.

    :raises PipeError: FAILED when there is none of that name.
    """
    module, _, name = (schema.python or "").partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise PipeError(Code.FAILED, f"the transformer {schema.python} cannot be loaded", str(error)) from error
    if not callable(function):
        raise PipeError(Code.FAILED, f"the transformer {schema.python} is not a function")
    return function


def prove_schema(schema: Schema) -> None:
    """Try what only DuckDB can tell: derived SQL, patterns, time zones, the Python function. For ``schema check``.

    :raises Mistakes: all of them.
    """
    mistakes: list[str] = []
    with connected(Limits(), Path()) as connection:
        for column in schema.columns:
            x = f"CAST(NULL AS VARCHAR) AS x0, {rules.typed(column, 'x0')} AS t0"
            for sample in ("NULL", "'2026-01-01 00:00'"):
                select = f"SELECT {rules.reason(column, 'x0', 't0')} FROM (SELECT {x.replace('NULL', sample, 1)})"
                if trouble := _trouble(connection, select):
                    mistakes.append(f"columns.{column.name}: {trouble}")
                    break
        columns = ", ".join(f"CAST(NULL AS {c.type.sql}) AS {rules.quoted(c.name)}" for c in schema.columns)
        for one in schema.derived:
            select = f"SELECT CAST(({one.sql or 'NULL'}) AS {one.type.sql}) FROM (SELECT 1 AS _row, {columns})"
            if trouble := _trouble(connection, select):
                mistakes.append(f"derived.{one.name}.sql: {trouble}")
    if schema.python is not None:
        try:
            transformer(schema)
        except PipeError as error:
            mistakes.append(f"transform.python: {error.message}")
    if mistakes:
        raise Mistakes(f"schema {schema.name}", mistakes)


def _trouble(connection: duckdb.DuckDBPyConnection, select: str) -> str | None:
    try:
        connection.execute(select).fetchall()
    except duckdb.Error as error:
        return str(error).splitlines()[0]
    return None
