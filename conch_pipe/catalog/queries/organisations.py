"""Queries about organisations and the schemas enabled for them."""

from __future__ import annotations

import re
from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, insert, select

from conch_pipe.catalog.prepared import Prepared
from conch_pipe.catalog.tables import organisation_schemas, organisations
from conch_pipe.errors import Code, PipeError
from conch_pipe.model import Organisation

_SCHEMAS = Prepared(
    select(organisation_schemas.c.schema)
    .where(organisation_schemas.c.organisation == bindparam("name"))
    .order_by(organisation_schemas.c.schema)
)
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}\Z")


def create(connection: Connection, name: str, title: str, at: datetime) -> Organisation:
    """:raises PipeError: INVALID for a bad name, CONFLICT when it exists."""
    if not _NAME.match(name):
        raise PipeError(Code.INVALID, "an organisation's name is 1 to 63 of a-z, 0-9 and -, and begins with no -")
    if get(connection, name) is not None:
        raise PipeError(Code.CONFLICT, f"organisation {name} exists already")
    connection.execute(insert(organisations).values(name=name, title=title or name, created_at=at))
    return existing(connection, name)


def get(connection: Connection, name: str) -> Organisation | None:
    """One organisation with its schemas."""
    row = connection.execute(select(organisations).where(organisations.c.name == name)).one_or_none()
    return None if row is None else Organisation(row.name, row.title, row.created_at, schemas(connection, name))


def existing(connection: Connection, name: str) -> Organisation:
    """:raises PipeError: NOT_FOUND."""
    found = get(connection, name)
    if found is None:
        raise PipeError(Code.NOT_FOUND, f"no organisation {name}")
    return found


def schemas(connection: Connection, name: str) -> tuple[str, ...]:
    """Names of the schemas enabled for an organisation, sorted."""
    return tuple(schema for (schema,) in _SCHEMAS.run(connection, {"name": name}))


def find_all(connection: Connection) -> tuple[Organisation, ...]:
    """All of them, by name."""
    names = connection.execute(select(organisations.c.name).order_by(organisations.c.name)).scalars().all()
    return tuple(existing(connection, name) for name in names)


def enable_schema(connection: Connection, name: str, schema: str, at: datetime) -> Organisation:
    """Let an organisation send files of a schema; again is no error. :raises PipeError: NOT_FOUND."""
    if schema not in existing(connection, name).schemas:
        connection.execute(insert(organisation_schemas).values(organisation=name, schema=schema, enabled_at=at))
    return existing(connection, name)


def disable_schema(connection: Connection, name: str, schema: str) -> Organisation:
    """Take a schema away from an organisation; again is no error. :raises PipeError: NOT_FOUND."""
    existing(connection, name)
    enabled = organisation_schemas.c
    connection.execute(delete(organisation_schemas).where(enabled.organisation == name, enabled.schema == schema))
    return existing(connection, name)
