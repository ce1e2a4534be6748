"""Connections to SQLite, set up so that what is committed stays, and its errors as ours.

All that is peculiar to one database engine is here.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, OperationalError

from conch_pipe.catalog.prepared import tell
from conch_pipe.errors import Code, PipeError


def make_engine(url: str, busy_timeout_s: float) -> Engine:
    """An engine whose connections begin as their ``writes`` option says.

    :param url: ``sqlite:////var/lib/pipe-sftp/catalog.sqlite`` or ``sqlite://`` (memory).
    :param busy_timeout_s: how long to wait for another process that holds the database.
    """
    if make_url(url).get_backend_name() != "sqlite":
        raise PipeError(Code.INVALID, "the catalog's URL must begin with sqlite:///")
    # hide_parameters: an error's text goes to the log, and parameters are clients' data.
    engine = create_engine(url, hide_parameters=True, connect_args={"timeout": busy_timeout_s})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    # The driver must not begin transactions by itself: it would use a deferred BEGIN, which can fail in the middle.
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode = WAL")
    # NORMAL loses acknowledged commits on a power cut (research/reliability.md 6.2).
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")


def _begin_sqlite(connection: Connection) -> None:
    if connection.engine.get_execution_options().get("doubtful"):  # asked anew: a connection keeps what it began with
        _settle_log(connection)
    tell(connection, "BEGIN IMMEDIATE" if connection.get_execution_options().get("writes") else "BEGIN")


def doubt(engine: Engine) -> None:
    """A COMMIT failed: its connections are closed, and nothing is read or written before the log is durable again.

    The WAL holds the commit although its fsync failed: connections that stay open do not see it, but a restart does
    (test_crashes.py). With all closed, the next one reads what a restart would read.
    """
    engine.update_execution_options(doubtful=True)
    engine.dispose()


def _settle_log(connection: Connection) -> None:
    """Bring the log's commits into the database file and empty it.

    Else what was read back would be acknowledged, and later commits be appended, behind bytes that a power cut may
    take. Syncing the log once more proves nothing: after a failed fsync the kernel may call lost pages clean.

    :raises DBAPIError: it failed, or another process reads; nothing is certain yet.
    """
    busy, *_ = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
    if busy:
        held = sqlite3.OperationalError("the log is in use")
        held.sqlite_errorcode = sqlite3.SQLITE_BUSY
        raise OperationalError("PRAGMA wal_checkpoint", None, held)
    connection.engine.update_execution_options(doubtful=False)


@contextmanager
def wiping(connection: Connection) -> Iterator[None]:
    """What is deleted meanwhile is overwritten in the database's file; in its log, once that was emptied."""
    if connection.dialect.name != "sqlite":
        yield
        return
    before = connection.exec_driver_sql("PRAGMA secure_delete").scalar_one()
    connection.exec_driver_sql("PRAGMA secure_delete = ON")
    try:
        yield
    finally:
        connection.exec_driver_sql(f"PRAGMA secure_delete = {int(before)}")


def empty_log(connection: Connection) -> None:
    """Bring all commits into the database's file and cut the log to nothing: old versions of rows are in it.

    :param connection: that has not read or written anything yet.
    :raises PipeError: BUSY, another process is in the midst of reading or writing.
    """
    if connection.dialect.name != "sqlite":
        return
    for _ in range(3):  # each waits for others as long as a write does
        busy, *_ = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
        if not busy:
            return
    raise PipeError(Code.BUSY, "the catalog is in use elsewhere, and its log still has what was removed")


def explain(error: DBAPIError) -> PipeError:
    """An error of the driver, before COMMIT, as ours: nothing was recorded."""
    code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
    detail = str(error.orig)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return PipeError(Code.BUSY, "the catalog is in use elsewhere, try again later", detail)
    if code == sqlite3.SQLITE_FULL:
        return PipeError(Code.NO_SPACE, "no space left for the catalog", detail)
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return PipeError(Code.FAILED, "the catalog's file is damaged", detail)
    return PipeError(Code.FAILED, "the catalog failed", detail)


def explain_commit(error: DBAPIError) -> PipeError:
    """An error of COMMIT itself as ours."""
    # Both are said before the frame that makes the commit valid is whole: BUSY before anything is written, FULL by a
    # write. A failed fsync is SQLITE_IOERR.
    if getattr(error.orig, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL):
        return explain(error)
    return PipeError(Code.UNKNOWN_OUTCOME, "the catalog's answer is unknown", str(error.orig))
