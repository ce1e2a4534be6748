"""Statements compiled once: values and errors are the same as by way of SQLAlchemy."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from uuid import uuid4

import pytest
from sqlalchemy import bindparam, insert, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import IntegrityError, OperationalError

from conch_pipe.catalog.engine import make_engine
from conch_pipe.catalog.prepared import Prepared
from conch_pipe.catalog.queries import uploads as queries
from conch_pipe.catalog.tables import metadata, uploads

AT = datetime(2026, 3, 1, 12, 0, 0, 5, tzinfo=UTC)
ROW = {
    "id": uuid4(), "organisation": "acme", "client_id": "a", "door": "sftp", "schema": "s", "name": "ü.csv",
    "state": "PENDING", "bytes": 3, "sha256": "ab", "received_at": AT, "object_key": "k", "finished_at": None,
    "rows": None, "rejected": None, "problem": None, "problem_count": 0, "peer": "", "banner": "", "session": "",
    "seconds": {"load": 0.5},
}  # fmt: skip
ADD = Prepared(insert(uploads).values({name: bindparam(name) for name in ROW}))
FIND = Prepared(select(uploads).where(uploads.c.received_at <= bindparam("at")).limit(1))


@pytest.fixture
def connection():
    engine = make_engine("sqlite://", 1)
    metadata.create_all(engine)
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        yield connection


def test_values_go_in_and_come_out_as_by_way_of_sqlalchemy(connection):
    ADD.run(connection, ROW)

    (by_us,) = FIND.run(connection, {"at": AT.astimezone(timezone(timedelta(hours=2)))})

    assert tuple(by_us) == tuple(connection.execute(select(uploads)).one())
    assert dict(zip(uploads.c.keys(), by_us, strict=True)) == ROW
    assert FIND.run(connection, {"at": AT - timedelta(seconds=1)}) == []


def test_it_is_part_of_the_connections_transaction(connection):
    savepoint = connection.begin_nested()
    ADD.run(connection, ROW)

    savepoint.rollback()

    assert FIND.run(connection, {"at": AT}) == []


def test_errors_are_sqlalchemys_and_tell_no_values(connection):
    ADD.run(connection, ROW)
    with pytest.raises(IntegrityError) as caught:
        ADD.run(connection, ROW)
    assert "acme" not in str(caught.value)

    connection.exec_driver_sql("DROP TABLE problems")
    connection.exec_driver_sql("DROP TABLE contents")
    connection.exec_driver_sql("DROP TABLE uploads")
    with pytest.raises(OperationalError, match="no such table"):
        FIND.run(connection, {"at": AT})


def test_a_time_without_a_zone_is_refused(connection):
    with pytest.raises(ValueError, match="zone"):
        FIND.run(connection, {"at": AT.replace(tzinfo=None)})


@pytest.mark.parametrize("name", ["_ADD", "_GET", "_SAME", "_LATEST", "_ADD_CONTENT", "_GET_CONTENT", "_DROP_CONTENT"])
def test_no_statement_is_peculiar_to_one_database(name):
    """Each compiles for PostgreSQL as well, with the names its caller gives."""
    compiled = getattr(queries, name)._statement.compile(dialect=postgresql.dialect())

    assert not compiled.post_compile_params
