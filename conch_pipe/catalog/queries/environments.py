"""Queries about environments: to which remotes the recordings of an application go."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select, update

from conch_pipe.catalog.queries import organisations
from conch_pipe.catalog.tables import environment_remotes, environments, remotes
from conch_pipe.errors import Code, PipeError
from conch_pipe.model import Environment

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}\Z")


def create(
    connection: Connection,
    organisation: str,
    name: str,
    wanted: Iterable[str],
    delete_delivered: bool,
    at: datetime,
) -> Environment:
    """:param wanted: names of remotes.

    :raises PipeError: INVALID for a bad name; NOT_FOUND for the organisation or a remote of it; CONFLICT when the
        environment exists.
    """
    if not _NAME.match(name):
        raise PipeError(Code.INVALID, "an environment's name is 1 to 63 of a-z, 0-9 and -, and begins with no -")
    organisations.existing(connection, organisation)
    if get(connection, organisation, name) is not None:
        raise PipeError(Code.CONFLICT, f"environment {name} of {organisation} exists already")
    connection.execute(
        insert(environments).values(
            organisation=organisation, name=name, created_at=at, delete_delivered=delete_delivered
        )
    )
    _set_remotes(connection, organisation, name, wanted)
    return existing(connection, organisation, name)


def get(connection: Connection, organisation: str, name: str) -> Environment | None:
    """One environment with the names of its remotes."""
    found = find_all(connection, organisation, name)
    return found[0] if found else None


def existing(connection: Connection, organisation: str, name: str) -> Environment:
    """:raises PipeError: NOT_FOUND."""
    found = get(connection, organisation, name)
    if found is None:
        raise PipeError(Code.NOT_FOUND, f"no environment {name} of {organisation}")
    return found


def find_all(
    connection: Connection, organisation: str | None = None, name: str | None = None
) -> tuple[Environment, ...]:
    """All of them, or an organisation's, by organisation and name."""
    query = select(environments).order_by(environments.c.organisation, environments.c.name)
    links = select(environment_remotes).order_by(environment_remotes.c.remote)
    if organisation is not None:
        query = query.where(environments.c.organisation == organisation)
        links = links.where(environment_remotes.c.organisation == organisation)
    if name is not None:
        query = query.where(environments.c.name == name)
        links = links.where(environment_remotes.c.environment == name)
    linked: dict[tuple[str, str], list[str]] = {}
    for link in connection.execute(links):
        linked.setdefault((link.organisation, link.environment), []).append(link.remote)
    return tuple(
        Environment(
            row.organisation,
            row.name,
            row.created_at,
            tuple(linked.get((row.organisation, row.name), ())),
            row.delete_delivered,
        )
        for row in connection.execute(query)
    )


def edit(
    connection: Connection, organisation: str, name: str, wanted: Iterable[str] | None, delete_delivered: bool | None
) -> Environment:
    """Change what is not None; recordings that were accepted before keep their remotes.

    :raises PipeError: NOT_FOUND for the environment or a remote of its organisation.
    """
    existing(connection, organisation, name)
    if wanted is not None:
        _set_remotes(connection, organisation, name, wanted)
    if delete_delivered is not None:
        connection.execute(
            update(environments)
            .where(environments.c.organisation == organisation, environments.c.name == name)
            .values(delete_delivered=delete_delivered)
        )
    return existing(connection, organisation, name)


def remove(connection: Connection, organisation: str, name: str) -> None:
    """:raises PipeError: NOT_FOUND. Whether it is in use is not looked at."""
    existing(connection, organisation, name)
    links = environment_remotes.c
    connection.execute(delete(environment_remotes).where(links.organisation == organisation, links.environment == name))
    connection.execute(
        delete(environments).where(environments.c.organisation == organisation, environments.c.name == name)
    )


def forget_remote(connection: Connection, remote: str) -> None:
    """No environment has it any more."""
    connection.execute(delete(environment_remotes).where(environment_remotes.c.remote == remote))


def _set_remotes(connection: Connection, organisation: str, name: str, wanted: Iterable[str]) -> None:
    names = sorted(set(wanted))
    known = set(connection.execute(select(remotes.c.name).where(remotes.c.organisation == organisation)).scalars())
    missing = [one for one in names if one not in known]
    if missing:
        raise PipeError(Code.NOT_FOUND, f"no remote {', '.join(missing)} of {organisation}")
    links = environment_remotes.c
    connection.execute(delete(environment_remotes).where(links.organisation == organisation, links.environment == name))
    if names:
        connection.execute(
            insert(environment_remotes),
            [{"organisation": organisation, "environment": name, "remote": one} for one in names],
        )
