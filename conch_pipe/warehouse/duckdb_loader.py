"""Runs in a worker process: puts uploads' Parquet into the DuckDB file, each exactly once.

The file is open only while loading, so that an analyst can open it in between: it is attached to an empty DuckDB in
memory that the worker keeps, because starting one for each small upload cost 14 of 22 ms. Detaching it checkpoints:
leaving that out made loads slower still (after 300 small uploads opening took 85 ms to replay them).

Uploads that wait together share one attaching and one checkpoint, and nothing else: each has a transaction of its own.
Column names and types come from the Parquet itself. The rows and the ledger's row are that one transaction, and the
ledger's primary key makes a repeat harmless.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from conch_pipe.crashpoints import crashpoint
from conch_pipe.errors import Code, PipeError

LEDGER = "_uploads"
ROW = "_row"  # the number of a record in its file
# Added to the columns of the Parquet file, after them.
OURS = (("_upload_id", "UUID"), ("_loaded_at", "TIMESTAMP"), ("_organisation", "VARCHAR"))
POLL_S = 0.02
# What the oldest DuckDB we work with writes; analysts may have that one. A file that exists keeps its own version.
STORAGE_VERSION = "v1.5.0"

# The worker's DuckDB in memory, as it was configured by the first call.
_kept: list[duckdb.DuckDBPyConnection] = []

_LEDGER = f"""
CREATE TABLE IF NOT EXISTS "{LEDGER}" (
    upload_id UUID PRIMARY KEY, organisation VARCHAR NOT NULL, client_id VARCHAR NOT NULL, "schema" VARCHAR NOT NULL,
    table_name VARCHAR NOT NULL, name VARCHAR NOT NULL, sha256 VARCHAR NOT NULL, rows BIGINT NOT NULL,
    loaded_at TIMESTAMP NOT NULL
)"""  # noqa: S608 - a constant


def load_many(arguments: dict[str, Any]) -> dict[str, Any]:
    """Load uploads one after the other; one that is there already does nothing and answers the same.

    :param arguments: ``path`` of the DuckDB file; ``loads``, one or more, each with ``parquet``, ``table`` and, for the
        ledger, ``upload_id``, ``organisation``, ``client_id``, ``schema``, ``name``, ``sha256`` and ``loaded_at``
        (ISO 8601, UTC); ``memory`` and ``threads`` for DuckDB; ``busy_s``: how long to wait for a file in use
        elsewhere; ``open_s``: no further load begins when the file has been open for so long.
    :returns: ``{"results": [...]}``: of the first loads, in order, ``{"rows": n}``, an upload's rows in the warehouse,
        or ``{"error": {"code", "message", "detail"}}``. What an error or the time left over was not begun.
    :raises PipeError: of none is anything certain but what the ledger says. BUSY when another process has the file
        open; NO_SPACE; FAILED. An error of one load is NO_SPACE, UNKNOWN_OUTCOME when COMMIT failed, or FAILED, also
        when the Parquet's columns do not fit the table's.
    """
    path = Path(arguments["path"])
    results: list[dict[str, Any]] = []
    there: set[object] = set()  # what a commit has shown to be there: nobody else changes it while the file is open
    try:
        with _attached(path, arguments) as connection:
            end = time.monotonic() + arguments.get("open_s", 2.0)
            for one in arguments["loads"]:
                # Whatever is wrong with it, the connection is closed and the next call begins with a fresh one.
                try:
                    rows = _load(connection, one, there)
                except (duckdb.Error, PipeError) as error:
                    results.append({"error": _told(_explain(error))})
                    raise
                results.append({"rows": rows})
                if time.monotonic() >= end:
                    break
    except (duckdb.Error, PipeError) as error:
        if not results or "error" not in results[-1]:  # attaching or detaching failed
            raise _explain(error) from error
    _sync_names(path.parent)
    return {"results": results}


def _told(error: PipeError) -> dict[str, str]:
    return {"code": error.code.value, "message": error.message[:1000], "detail": error.detail[-8192:]}


def quoted(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def is_locked(error: duckdb.Error) -> bool:
    """Another process has the file open."""
    return isinstance(error, duckdb.IOException) and "Could not set lock on file" in str(error)


def is_full(error: duckdb.Error) -> bool:
    """There was no room for the file, or for its log."""
    return any(words in str(error) for words in ("No space left on device", "Disk quota exceeded"))


@contextmanager
def _attached(path: Path, arguments: dict[str, Any]) -> Iterator[duckdb.DuckDBPyConnection]:
    """The file as the default database; released at the end, and checkpointed unless something was raised."""
    connection = _kept.pop() if _kept else _start(arguments)
    try:
        new = not path.exists()
        _attach(connection, path, new, time.monotonic() + arguments.get("busy_s", 2.0))
        if new:
            # A worker makes files for itself alone; the analysts' group may read this one.
            path.chmod(0o640)
        connection.execute("USE warehouse")
        yield connection
        connection.execute("USE memory")
        connection.execute("DETACH warehouse")
    except BaseException:
        # Whatever is open or half done ends with it; an internal error makes DuckDB refuse everything later.
        connection.close()
        raise
    _kept.append(connection)


def _start(arguments: dict[str, Any]) -> duckdb.DuckDBPyConnection:
    return duckdb.connect(
        config={
            "memory_limit": arguments.get("memory", "256MB"),
            "threads": arguments.get("threads", 2),
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            # Rows carry their number. In order, two threads wait for each other: 1.1 s for 1 M rows in place of 0.35.
            "preserve_insertion_order": False,
        }
    )


def _attach(connection: duckdb.DuckDBPyConnection, path: Path, new: bool, end: float) -> None:
    """:param end: monotonic time until which a file in use elsewhere is tried again."""
    options = f" (STORAGE_VERSION '{STORAGE_VERSION}')" if new else ""
    literal = "'" + str(path).replace("'", "''") + "'"
    while True:
        try:
            connection.execute(f"ATTACH {literal} AS warehouse{options}")
        except duckdb.IOException as error:
            if not is_locked(error) or time.monotonic() >= end:
                raise
            time.sleep(POLL_S)
            continue
        return


def _load(connection: duckdb.DuckDBPyConnection, arguments: dict[str, Any], there: set[object]) -> int:
    """:param there: the ledger, and tables with columns, that need not be made or looked at; this load's are added."""
    connection.begin()
    crashpoint("P5")
    if LEDGER not in there:
        connection.execute(_LEDGER)
    loaded = connection.execute(
        f'SELECT rows FROM "{LEDGER}" WHERE upload_id = ?',  # noqa: S608 - a constant
        [arguments["upload_id"]],
    ).fetchone()
    if loaded is not None:
        connection.rollback()
        return int(loaded[0])
    source, columns = _described(connection, arguments["parquet"])
    shape = arguments["table"], tuple(columns.items())
    if shape not in there:
        _prepare_table(connection, arguments["table"], columns)
    inserted = connection.execute(
        f"INSERT INTO {quoted(arguments['table'])} BY NAME SELECT *, ?::UUID AS _upload_id, ?::TIMESTAMP AS _loaded_at,"  # noqa: S608 - quoted
        f" ? AS _organisation FROM ({source})",
        [arguments["upload_id"], _naive(arguments), arguments["organisation"]],
    ).fetchone()
    rows = int(inserted[0]) if inserted else 0
    crashpoint("P6")
    connection.execute(
        f'INSERT INTO "{LEDGER}" VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?::TIMESTAMP)',  # noqa: S608 - a constant
        [
            *(
                arguments[name]
                for name in ("upload_id", "organisation", "client_id", "schema", "table", "name", "sha256")
            ),
            rows,
            _naive(arguments),
        ],
    )
    crashpoint("P7")
    try:
        connection.commit()
    except duckdb.Error as error:
        if is_full(error):
            raise  # the upload waits for room; whatever came of this COMMIT, the ledger tells the next attempt
        # The next attempt looks into the ledger first.
        raise PipeError(Code.UNKNOWN_OUTCOME, "the warehouse's answer is unknown", str(error)) from error
    crashpoint("P8")
    there |= {LEDGER, shape}
    return rows


def _described(connection: duckdb.DuckDBPyConnection, parquet: str) -> tuple[str, dict[str, str]]:
    """A SELECT of the rows with ``_row``, and its columns with their types.

    Without a ``_row`` of its own a Parquet has every record of the file, and the place of a row is its number.
    """
    path = "'" + parquet.replace("'", "''") + "'"
    source = f"SELECT * FROM read_parquet({path})"  # noqa: S608 - quoted
    columns = {column: type_ for column, type_, *_ in connection.execute(f"DESCRIBE {source}").fetchall()}
    if ROW not in columns:
        source = (
            f"SELECT file_row_number + 1 AS {ROW}, * EXCLUDE (file_row_number) "  # noqa: S608 - quoted
            f"FROM read_parquet({path}, file_row_number = true)"
        )
        columns = {ROW: "BIGINT", **columns}
    return source, columns


def _prepare_table(connection: duckdb.DuckDBPyConnection, table: str, wanted: dict[str, str]) -> None:
    """Create the table, or add the columns it lacks. What a schema no longer has stays, and is NULL in new rows."""
    taken = sorted({name for name, _ in OURS} & {column.lower() for column in wanted})
    if taken or table.lower() == LEDGER:
        raise PipeError(Code.FAILED, "the schema uses a name that the warehouse needs", f"{table}: {taken}")
    wanted |= dict(OURS)
    columns = ", ".join(f"{quoted(column)} {type_}" for column, type_ in wanted.items())
    connection.execute(f"CREATE TABLE IF NOT EXISTS {quoted(table)} ({columns})")
    held = {column.lower(): type_ for column, type_, *_ in connection.execute(f"DESCRIBE {quoted(table)}").fetchall()}
    for column, type_ in wanted.items():
        if column.lower() not in held:
            connection.execute(f"ALTER TABLE {quoted(table)} ADD COLUMN {quoted(column)} {type_}")
        elif held[column.lower()] != type_:
            raise PipeError(
                Code.FAILED,
                f"column {column} is {held[column.lower()]} in the warehouse and {type_} in the schema",
                f"table {table}",
            )


def _naive(arguments: dict[str, Any]) -> str:
    """The time without its zone: DuckDB's TIMESTAMP has none, and ours are all UTC."""
    return str(arguments["loaded_at"]).removesuffix("+00:00").removesuffix("Z")


def _sync_names(folder: Path) -> None:
    """DuckDB fsyncs its files but not the folder in which it makes them."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _explain(error: duckdb.Error | PipeError) -> PipeError:
    if isinstance(error, PipeError):
        return error
    detail = str(error)
    if is_locked(error):
        return PipeError(Code.BUSY, "the analytics database is in use elsewhere", detail)
    if is_full(error):
        return PipeError(Code.NO_SPACE, "no space left for the analytics database", detail)
    return PipeError(Code.FAILED, "the rows could not be loaded", detail)


def loaded(arguments: dict[str, Any]) -> dict[str, Any]:
    """Look whether an upload is loaded; makes neither file nor ledger.

    :param arguments: ``path``, ``memory``, ``threads`` and ``busy_s`` as for a load; ``upload_id``.
    :returns: ``{"rows": n}``, or None in place of n when it is not.
    :raises PipeError: BUSY when another process has the file open. NO_SPACE, FAILED.
    """
    path = Path(arguments["path"])
    found = None
    try:
        if path.exists():
            with _attached(path, arguments) as connection:
                known = "SELECT 1 FROM duckdb_tables() WHERE database_name = 'warehouse' AND table_name = ?"
                if connection.execute(known, [LEDGER]).fetchone() is not None:
                    asked = f'SELECT rows FROM "{LEDGER}" WHERE upload_id = ?'  # noqa: S608 - a constant
                    found = connection.execute(asked, [arguments["upload_id"]]).fetchone()
    except duckdb.Error as error:
        raise _explain(error) from error
    return {"rows": None if found is None else int(found[0])}
