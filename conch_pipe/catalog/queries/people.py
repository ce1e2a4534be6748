"""Queries about people who sign in, and their sessions.

A password is kept as bcrypt of its digest, the text of a session as its SHA-256. Checking a password is done in login.
"""

from __future__ import annotations

import hashlib
import re
import secrets as random
from datetime import datetime, timedelta
from typing import Any

import bcrypt
from sqlalchemy import Connection, Row, delete, insert, or_, select, update

from conch_pipe.catalog.queries import organisations
from conch_pipe.catalog.tables import people, web_sessions
from conch_pipe.errors import Code, PipeError
from conch_pipe.model import Actor, Person, Position, Scope, password_digest

COST = 12  # bcrypt's: what people think up needs more than what is random
SHORTEST, LONGEST = 12, 200  # characters of a password
IDLE = timedelta(hours=12)  # without a request, and a session is over
LONGEST_SESSION = timedelta(days=7)
SEEN_EVERY = timedelta(minutes=1)  # is written down at most
SESSIONS = 20  # of one person; more end the oldest
_NAME = re.compile(r"[a-z0-9][a-z0-9.@_-]{0,99}\Z")
_SCOPES = {Position.OPERATOR: frozenset(Scope), Position.MEMBER: frozenset({Scope.READ})}


def hash_password(name: str, password: str, cost: int = COST) -> bytes:
    """bcrypt; takes about 250 ms of the calling thread. :raises PipeError: INVALID, it is no good."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise PipeError(Code.INVALID, f"a password has {SHORTEST} to {LONGEST} characters; any will do")
    if password.strip().casefold() == name.casefold():
        raise PipeError(Code.INVALID, "a password must not be the name")
    return bcrypt.hashpw(password_digest(password), bcrypt.gensalt(cost))


def check_name(name: str) -> None:
    """:raises PipeError: INVALID."""
    if not _NAME.match(name):
        raise PipeError(
            Code.INVALID, "a person's name is 1 to 100 of a-z, 0-9, ., @, _ and -, and begins with a letter or digit"
        )


def create(connection: Connection, name: str, hashed: bytes, organisation: str | None, at: datetime) -> Person:
    """:param organisation: of a member; None: an operator.

    :raises PipeError: CONFLICT when the name is taken; NOT_FOUND for the organisation.
    """
    if get(connection, name) is not None:
        raise PipeError(Code.CONFLICT, f"person {name} exists already")
    if organisation is not None:
        organisations.existing(connection, organisation)
    position = Position.OPERATOR if organisation is None else Position.MEMBER
    connection.execute(
        insert(people).values(name=name, position=position.value, organisation=organisation, hash=hashed, created_at=at)
    )
    return existing(connection, name)


def get(connection: Connection, name: str) -> Person | None:
    """One person."""
    row = connection.execute(select(people).where(people.c.name == name)).one_or_none()
    return None if row is None else _person(row)


def existing(connection: Connection, name: str) -> Person:
    """:raises PipeError: NOT_FOUND."""
    found = get(connection, name)
    if found is None:
        raise PipeError(Code.NOT_FOUND, f"no person {name}")
    return found


def find_all(connection: Connection, organisation: str | None) -> tuple[Person, ...]:
    """All of them, or an organisation's members, by name. :raises PipeError: NOT_FOUND for the organisation."""
    query = select(people).order_by(people.c.name)
    if organisation is not None:
        organisations.existing(connection, organisation)
        query = query.where(people.c.organisation == organisation)
    return tuple(_person(row) for row in connection.execute(query))


def set_password(connection: Connection, name: str, hashed: bytes) -> Person:
    """All sessions end. :raises PipeError: NOT_FOUND."""
    return _change(connection, name, {"hash": hashed}, ends=True)


def disable(connection: Connection, name: str, at: datetime) -> Person:
    """All sessions end; again keeps the first time. :raises PipeError: NOT_FOUND."""
    found = existing(connection, name)
    return _change(connection, name, {"disabled_at": found.disabled_at or at}, ends=True)


def enable(connection: Connection, name: str) -> Person:
    """Again is no error. :raises PipeError: NOT_FOUND."""
    return _change(connection, name, {"disabled_at": None}, ends=False)


def remove(connection: Connection, name: str) -> None:
    """With all sessions. :raises PipeError: NOT_FOUND."""
    existing(connection, name)
    connection.execute(delete(web_sessions).where(web_sessions.c.person == name))
    connection.execute(delete(people).where(people.c.name == name))


def password(connection: Connection, name: str) -> bytes | None:
    """The hash of an enabled person's."""
    query = select(people.c.hash).where(people.c.name == name, people.c.disabled_at.is_(None))
    return connection.execute(query).scalar_one_or_none()


def begin(connection: Connection, name: str, hashed: bytes, at: datetime) -> str:
    """A new session; see :class:`conch_pipe.interfaces.IPeople`."""
    if password(connection, name) != hashed:
        raise PipeError(Code.UNAUTHORIZED, "sign-in failed")
    connection.execute(update(people).where(people.c.name == name).values(last_sign_in_at=at))
    mine = select(web_sessions.c.sha256).where(web_sessions.c.person == name).order_by(web_sessions.c.began_at.desc())
    old = connection.execute(mine.offset(SESSIONS - 1)).scalars().all()
    connection.execute(delete(web_sessions).where(web_sessions.c.sha256.in_(old)))
    text = random.token_urlsafe(32)
    connection.execute(insert(web_sessions).values(sha256=_digest(text), person=name, began_at=at, seen_at=at))
    return text


def session(connection: Connection, text: str, at: datetime) -> tuple[Actor, datetime] | None:
    """Who has it, and when it was seen before."""
    query = (
        select(people.c.name, people.c.position, people.c.organisation, web_sessions.c.seen_at)
        .join(people, people.c.name == web_sessions.c.person)
        .where(
            web_sessions.c.sha256 == _digest(text),
            web_sessions.c.seen_at > at - IDLE,
            web_sessions.c.began_at > at - LONGEST_SESSION,
            people.c.disabled_at.is_(None),
        )
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    return Actor(row.name, _SCOPES[Position(row.position)], row.organisation), row.seen_at


def seen(connection: Connection, text: str, at: datetime) -> None:
    """A request came."""
    connection.execute(update(web_sessions).where(web_sessions.c.sha256 == _digest(text)).values(seen_at=at))


def end(connection: Connection, text: str) -> None:
    """Again is no error."""
    connection.execute(delete(web_sessions).where(web_sessions.c.sha256 == _digest(text)))


def sweep(connection: Connection, at: datetime) -> int:
    """Delete the sessions that are over; how many they were."""
    over = or_(web_sessions.c.seen_at <= at - IDLE, web_sessions.c.began_at <= at - LONGEST_SESSION)
    return connection.execute(delete(web_sessions).where(over)).rowcount


def _change(connection: Connection, name: str, values: dict[str, Any], *, ends: bool) -> Person:
    existing(connection, name)
    connection.execute(update(people).where(people.c.name == name).values(**values))
    if ends:
        connection.execute(delete(web_sessions).where(web_sessions.c.person == name))
    return existing(connection, name)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _person(row: Row) -> Person:
    return Person(
        row.name, Position(row.position), row.organisation, row.created_at, row.disabled_at, row.last_sign_in_at
    )
