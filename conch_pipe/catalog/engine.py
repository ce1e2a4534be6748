"""Connections to SQLite, set up so that what is committed stays, and its errors as ours.

All that is peculiar to one database engine is here.
"""

from __future__ import annotations

import sqlite3

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

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
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


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
    if getattr(error.orig, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
        return explain(error)  # SQLite says it before it writes anything
    return PipeError(Code.UNKNOWN_OUTCOME, "the catalog's answer is unknown", str(error.orig))
