"""Queries about tokens of programs, and how their texts are made.

A text is kept as its SHA-256 only: it is random, so nothing slower is needed.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets as random
import string
from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy import Connection, Row, insert, or_, select, update

from conch_pipe.catalog.queries import organisations
from conch_pipe.catalog.tables import api_tokens
from conch_pipe.errors import Code, PipeError
from conch_pipe.model import Actor, Scope, Token

DAYS = 90  # that a token is good for
MOST_DAYS = 730
USED_EVERY = timedelta(hours=1)  # is written down at most
NAME_LENGTH = 100
_TEXT = re.compile(r"pst_([a-z0-9]{12})_[A-Za-z0-9_-]{43}\Z")
_LETTERS = string.ascii_lowercase + string.digits


def new_text() -> str:
    """``pst_``, the token's id, ``_`` and 32 random bytes in base64url."""
    token_id = "".join(random.choice(_LETTERS) for _ in range(12))
    return f"pst_{token_id}_{random.token_urlsafe(32)}"


def create(
    connection: Connection,
    text: str,
    name: str,
    scopes: Iterable[Scope],
    organisation: str | None,
    days: int,
    at: datetime,
) -> Token:
    """:param text: of :func:`new_text`.

    :raises PipeError: INVALID for the name, no scope or the days; NOT_FOUND for the organisation.
    """
    wanted = frozenset(scopes)
    if not 1 <= len(name) <= NAME_LENGTH or not name.isprintable() or name != name.strip():
        raise PipeError(Code.INVALID, f"a token's name is 1 to {NAME_LENGTH} characters without space around them")
    if not wanted:
        raise PipeError(Code.INVALID, "a token needs a scope: " + ", ".join(Scope))
    if not 1 <= days <= MOST_DAYS:
        raise PipeError(Code.INVALID, f"a token is good for 1 to {MOST_DAYS} days")
    if organisation is not None:
        organisations.existing(connection, organisation)
    token_id = text[4:16]
    connection.execute(
        insert(api_tokens).values(
            id=token_id,
            name=name,
            scopes=[one.value for one in Scope if one in wanted],
            organisation=organisation,
            sha256=_digest(text),
            created_at=at,
            expires_at=at + timedelta(days=days),
        )
    )
    return existing(connection, token_id)


def find(connection: Connection, text: str, at: datetime) -> Token | None:
    """The token of a text, if it is good at a time."""
    matched = _TEXT.match(text)
    if matched is None:
        return None
    row = connection.execute(select(api_tokens).where(api_tokens.c.id == matched[1])).one_or_none()
    if row is None or not hmac.compare_digest(row.sha256, _digest(text)):
        return None
    return _token(row) if row.revoked_at is None and at < row.expires_at else None


def actor(token: Token) -> Actor:
    """Who shows it."""
    return Actor(token.name, token.scopes, token.organisation)


def used(connection: Connection, token_id: str, at: datetime) -> None:
    """Remember that it was; written at most once an hour."""
    last = api_tokens.c.last_used_at
    connection.execute(
        update(api_tokens)
        .where(api_tokens.c.id == token_id, or_(last.is_(None), last <= at - USED_EVERY))
        .values(last_used_at=at)
    )


def existing(connection: Connection, token_id: str) -> Token:
    """Also a revoked or expired one. :raises PipeError: NOT_FOUND."""
    row = connection.execute(select(api_tokens).where(api_tokens.c.id == token_id)).one_or_none()
    if row is None:
        raise PipeError(Code.NOT_FOUND, "no such token: conch-pipe token list shows their ids")
    return _token(row)


def revoke(connection: Connection, token_id: str, at: datetime) -> Token:
    """End it for good; again keeps the first time. :raises PipeError: NOT_FOUND."""
    change = update(api_tokens).where(api_tokens.c.id == token_id, api_tokens.c.revoked_at.is_(None))
    connection.execute(change.values(revoked_at=at))
    return existing(connection, token_id)


def find_all(connection: Connection, organisation: str | None) -> tuple[Token, ...]:
    """All of them, or those bound to an organisation, oldest first. :raises PipeError: NOT_FOUND."""
    query = select(api_tokens).order_by(api_tokens.c.created_at, api_tokens.c.id)
    if organisation is not None:
        organisations.existing(connection, organisation)
        query = query.where(api_tokens.c.organisation == organisation)
    return tuple(_token(row) for row in connection.execute(query))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _token(row: Row) -> Token:
    return Token(
        token_id=row.id,
        name=row.name,
        scopes=frozenset(Scope(one) for one in row.scopes),
        organisation=row.organisation,
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        last_used_at=row.last_used_at,
    )
