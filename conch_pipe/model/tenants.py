"""Who may come: organisations, their credentials, and a client that has logged in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of one connection, as the log names it."""

    address: str
    port: int
    banner: str = ""  # the client's SSH version string or HTTP user agent, escaped, at most 255 characters
    session: str = ""  # our id of the connection: 16 hexadecimal digits
    door: str = "sftp"  # or http


@dataclass(frozen=True, slots=True)
class Client:
    """Who is at a door after logging in: a credential of an organisation, on one connection."""

    client_id: str
    organisation: str
    schemas: frozenset[str]  # names of the schemas enabled for the organisation at login
    peer: Peer


@dataclass(frozen=True, slots=True)
class Organisation:
    """A tenant."""

    name: str  # unique, ``[a-z0-9][a-z0-9-]{0,62}``
    title: str
    created_at: datetime
    schemas: tuple[str, ...] = ()  # enabled schemas, sorted


@dataclass(frozen=True, slots=True)
class Secret:
    """One secret of a credential; two are alive while a partner changes over."""

    hash: bytes  # bcrypt
    created_at: datetime
    expires_at: datetime | None = None  # None: until revoked


@dataclass(frozen=True, slots=True)
class Credential:
    """A client_id with what is needed to check its secret."""

    client_id: str
    organisation: str
    label: str
    created_at: datetime
    revoked_at: datetime | None
    last_login_at: datetime | None = None
    secrets: tuple[Secret, ...] = ()  # alive ones, newest first
    schemas: tuple[str, ...] = ()  # enabled for its organisation
