"""Questions to the DuckDB file for an operator, beside the running service.

Blocks, so it is for the command line only. Opens the file for reading and only as long as the question takes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC
from pathlib import Path
from typing import Any

from conch_pipe.errors import Code, PipeError

POLL_S = 0.05


def query(
    path: Path,
    sql: str,
    *,
    limit: int | None = None,
    wait_s: float = 10.0,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Ask the warehouse.

    :param sql: one statement that only reads.
    :param limit: at most so many rows are fetched; None: all.
    :param wait_s: how long to wait while a load has the file.
    :returns: names of the columns, and rows of Python values; times with a zone are in UTC.
    :raises PipeError: NOT_FOUND when nothing was loaded yet, BUSY, INVALID for a statement that DuckDB refuses.
    """
    if not path.exists():
        raise PipeError(Code.NOT_FOUND, "there is no analytics database yet: it is made by the first load")
    import duckdb

    try:
        connection = _open(path, wait_s, sleep)
        try:
            return _ask(connection, sql, limit)
        finally:
            connection.close()
    except duckdb.Error as error:
        raise PipeError(Code.INVALID, str(error)) from error


def _open(path: Path, wait_s: float, sleep: Callable[[float], None]) -> Any:
    import duckdb

    from conch_pipe.warehouse.duckdb_loader import is_locked

    tries = max(1, round(wait_s / POLL_S))
    for left in reversed(range(tries)):
        try:
            return duckdb.connect(path, read_only=True)
        except duckdb.IOException as error:
            if not is_locked(error):
                raise PipeError(Code.FAILED, "the analytics database cannot be opened", str(error)) from error
            if left:
                sleep(POLL_S)
            else:
                message = f"the analytics database was in use for {wait_s:g} s: try again"
                raise PipeError(Code.BUSY, message, str(error)) from error
    raise AssertionError("not reached")


def _ask(connection: Any, sql: str, limit: int | None) -> tuple[list[str], list[tuple[Any, ...]]]:
    connection.execute("SET TimeZone = 'UTC'")
    relation = connection.sql(sql)
    if relation is None:
        return [], []
    columns = list(relation.columns)
    zoned = [str(type_) == "TIMESTAMP WITH TIME ZONE" for type_ in relation.types]
    if any(zoned):
        # DuckDB wants pytz for these; as times without a zone they need nothing, and are UTC.
        places = enumerate(zoned, 1)
        relation = relation.project(", ".join(f"#{n}::TIMESTAMP" if is_zoned else f"#{n}" for n, is_zoned in places))
    rows = (relation if limit is None else relation.limit(limit)).fetchall()
    return columns, [
        tuple(
            value.replace(tzinfo=UTC) if is_zoned and value is not None else value
            for value, is_zoned in zip(row, zoned, strict=True)
        )
        for row in rows
    ]
