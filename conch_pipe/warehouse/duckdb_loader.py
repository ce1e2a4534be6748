"""Runs in a worker process: puts uploads' Parquet into the DuckDB file, each exactly once.

The file is open only while loading, so that an analyst can open it in between: it is attached to an empty DuckDB in
memory that the worker keeps, because starting one for each small upload cost 14 of 22 ms. Detaching it checkpoints:
leaving that out made loads slower still (after 300 small uploads opening took 85 ms to replay them).

Uploads that wait together share one attaching and one checkpoint, and small ones their transaction: one of its own cost
each 8 ms of CPU. When one of them cannot be loaded none is, and each is then loaded by itself.
Column names and types come from the Parquet itself. The rows and the ledger's row are one transaction, and the ledger's
primary key makes a repeat harmless.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from conch_pipe.crashpoints import crashpoint
from conch_pipe.errors import Code, PipeError

LEDGER = "_uploads"
ROW = "_row"  # the number of a record in its file
FILE = "_file"  # in a Parquet of several uploads: the path by which one of them knows it
SMALL = 4 << 20  # bytes of Parquet that are loaded in one transaction; what has more is loaded by itself
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


Load = dict[str, Any]  # what load_many is asked of one upload


def load_many(arguments: dict[str, Any]) -> dict[str, Any]:
    """Load uploads in their order; one that is there already does nothing and answers the same.

    :param arguments: ``path`` of the DuckDB file; ``loads``, one or more, each with ``parquet``, ``table`` and, for the
        ledger, ``upload_id``, ``organisation``, ``client_id``, ``schema``, ``name``, ``sha256`` and ``loaded_at``
        (ISO 8601, UTC); ``memory`` and ``threads`` for DuckDB; ``busy_s``: how long to wait for a file in use
        elsewhere; ``open_s``: no further transaction begins when the file has been open for so long.
    :returns: ``{"results": [...]}``: of the first loads, in order, ``{"rows": n}``, an upload's rows in the warehouse,
        or ``{"error": {"code", "message", "detail"}}``. What an error or the time left over was not begun.
    :raises PipeError: of none is anything certain but what the ledger says. BUSY when another process has the file
        open; NO_SPACE; FAILED. An error of one load is NO_SPACE, UNKNOWN_OUTCOME when COMMIT failed, or FAILED, also
        when the Parquet's columns do not fit the table's.
    """
    path = Path(arguments["path"])
    results: list[dict[str, Any]] = []
    there: set[object] = set()  # what a commit has shown to be there: nobody else changes it while the file is open
    waiting = deque(_portions(arguments["loads"]))
    try:
        with _attached(path, arguments) as connection:
            end = time.monotonic() + arguments.get("open_s", 2.0)
            while waiting and (not results or time.monotonic() < end):
                loads = waiting.popleft()
                try:
                    rows = _load(connection, loads, there)
                except (duckdb.Error, PipeError) as error:
                    if len(loads) > 1 and _may_be_of_one(error):
                        connection.rollback()
                        waiting.extendleft([one] for one in reversed(loads))
                        continue
                    # Whatever is wrong with it, the connection is closed and the next call begins with a fresh one.
                    if len(loads) == 1:
                        results.append({"error": _told(_explain(error))})
                    raise
                results += [{"rows": rows[one["upload_id"]]} for one in loads]
    except (duckdb.Error, PipeError) as error:
        # Else it is told as one load's. Attaching and detaching are nobody's, nor is what may be the fault of any.
        if not results or "error" not in results[-1]:
            raise _explain(error) from error
    _sync_names(path.parent)
    return {"results": results}


def _portions(loads: Iterable[Load]) -> Iterator[list[Load]]:
    """Those that go into one transaction: small ones that follow each other, or a large one."""
    together: list[Load] = []
    held = 0  # bytes of their Parquet
    for one in loads:
        size = _size(one)
        if together and held + size > SMALL:
            yield together
            together, held = [], 0
        together.append(one)
        held += size
    if together:
        yield together


def _size(load: Load) -> int:
    try:
        return Path(load["parquet"]).stat().st_size
    except OSError:
        return SMALL  # by itself: its load will say so


def _may_be_of_one(error: duckdb.Error | PipeError) -> bool:
    """Whether the others may well be loaded without it: not when DuckDB is broken or the end of COMMIT unknown."""
    if isinstance(error, PipeError):
        return error.code is not Code.UNKNOWN_OUTCOME
    return not isinstance(error, (duckdb.InternalException, duckdb.FatalException))


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


def _load(connection: duckdb.DuckDBPyConnection, loads: Sequence[Load], there: set[object]) -> dict[str, int]:
    """Load uploads in one transaction, which is open when anything is raised.

    :param there: the ledger, and tables with columns, that need not be made or looked at; these loads' are added.
    :returns: rows by upload.
    """
    connection.begin()
    crashpoint("P5")
    if LEDGER not in there:
        connection.execute(_LEDGER)
    rows = _in_ledger(connection, loads)
    new = [one for one in loads if one["upload_id"] not in rows]
    if not new:
        connection.rollback()
        return rows
    shapes = set(there)
    for some in _by_parquet(new):
        rows |= _insert(connection, some, shapes)
    crashpoint("P6")
    names = ("upload_id", "organisation", "client_id", "schema", "table", "name", "sha256")
    entries = [[*(one[name] for name in names), rows[one["upload_id"]], _naive(one)] for one in new]
    values = ", ".join(["(?, ?, ?, ?, ?, ?, ?, ?, ?::TIMESTAMP)"] * len(entries))
    connection.execute(f'INSERT INTO "{LEDGER}" VALUES {values}', sum(entries, []))  # noqa: S608 - a constant
    crashpoint("P7")
    try:
        connection.commit()
    except duckdb.Error as error:
        if is_full(error):
            raise  # the upload waits for room; whatever came of this COMMIT, the ledger tells the next attempt
        # The next attempt looks into the ledger first.
        raise PipeError(Code.UNKNOWN_OUTCOME, "the warehouse's answer is unknown", str(error)) from error
    crashpoint("P8")
    there |= {LEDGER, *shapes}
    return rows


def _in_ledger(connection: duckdb.DuckDBPyConnection, loads: Sequence[Load]) -> dict[str, int]:
    """Rows by upload, of those that are loaded."""
    asked = f'SELECT upload_id, rows FROM "{LEDGER}" WHERE upload_id IN ({", ".join("?" * len(loads))})'  # noqa: S608 - a constant
    found = connection.execute(asked, [one["upload_id"] for one in loads]).fetchall()
    return {str(upload_id): int(rows) for upload_id, rows in found}


def _by_parquet(loads: Sequence[Load]) -> Iterable[list[Load]]:
    """Those whose rows are in the same file, by whatever name, and go into the same table."""
    if len(loads) == 1:
        return [list(loads)]
    found: dict[tuple[int, int, str], list[Load]] = defaultdict(list)
    for one in loads:
        file = Path(one["parquet"]).stat()
        found[file.st_dev, file.st_ino, one["table"]].append(one)
    return found.values()


def _insert(connection: duckdb.DuckDBPyConnection, loads: Sequence[Load], shapes: set[object]) -> dict[str, int]:
    """Insert the rows of one Parquet. :returns: their number by upload."""
    parquet, table = loads[0]["parquet"], loads[0]["table"]
    source, columns = _described(connection, parquet)
    shared = columns.pop(FILE, None) is not None
    shape = table, tuple(columns.items())
    if shape not in shapes:
        _prepare_table(connection, table, columns)
        shapes.add(shape)
    if not shared:
        return {one["upload_id"]: _insert_all(connection, source, one) for one in loads}
    own = ", ".join(name for name, _ in OURS)
    values = ", ".join(["(?, ?::UUID, ?::TIMESTAMP, ?)"] * len(loads))
    connection.execute(
        f"INSERT INTO {quoted(table)} BY NAME SELECT found.* EXCLUDE ({FILE}), {own} FROM ({source}) AS found "  # noqa: S608 - quoted
        f"JOIN (VALUES {values}) AS loads (path, {own}) ON {FILE} = path",
        [value for one in loads for value in (one["parquet"], one["upload_id"], _naive(one), one["organisation"])],
    )
    counted = connection.execute(f"SELECT {FILE}, count(*) FROM ({source}) GROUP BY {FILE}").fetchall()  # noqa: S608 - quoted
    counts = dict(counted)
    return {one["upload_id"]: int(counts.get(one["parquet"], 0)) for one in loads}


def _insert_all(connection: duckdb.DuckDBPyConnection, source: str, load: Load) -> int:
    """Insert all rows of a Parquet for one upload. :returns: their number."""
    inserted = connection.execute(
        f"INSERT INTO {quoted(load['table'])} BY NAME SELECT *, ?::UUID AS _upload_id, ?::TIMESTAMP AS _loaded_at,"  # noqa: S608 - quoted
        f" ? AS _organisation FROM ({source})",
        [load["upload_id"], _naive(load), load["organisation"]],
    ).fetchone()
    return int(inserted[0]) if inserted else 0


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


def _naive(load: Load) -> str:
    """The time without its zone: DuckDB's TIMESTAMP has none, and ours are all UTC."""
    return str(load["loaded_at"]).removesuffix("+00:00").removesuffix("Z")


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
