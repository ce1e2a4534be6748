"""Queries about credentials, and how their names and secrets are made.

A secret is kept as its bcrypt hash only. Checking one is the doors' business.
"""

from __future__ import annotations

import base64
import secrets as random
import string
from collections.abc import Iterable
from datetime import datetime, timedelta

import bcrypt
from sqlalchemy import Connection, bindparam, delete, insert, or_, select, update

from conch_pipe.catalog.prepared import Prepared
from conch_pipe.catalog.queries import organisations, telling
from conch_pipe.catalog.tables import credentials, secrets
from conch_pipe.errors import Code, PipeError
from conch_pipe.model import Credential, Secret

BCRYPT_COST = 10
OVERLAP_S = 7 * 86_400
LENT_S = 600.0  # a visit logs in within seconds

_ONE = Prepared(
    select(
        credentials.c.client_id,
        credentials.c.organisation,
        credentials.c.label,
        credentials.c.created_at,
        credentials.c.revoked_at,
        credentials.c.last_login_at,
    ).where(credentials.c.client_id == bindparam("client"))
)
_ALIVE = Prepared(
    select(secrets.c.hash, secrets.c.created_at, secrets.c.expires_at)
    .where(
        secrets.c.client_id == bindparam("client"),
        or_(secrets.c.expires_at.is_(None), secrets.c.expires_at > bindparam("now")),
    )
    .order_by(secrets.c.id.desc())
)
_LETTERS = string.ascii_lowercase + string.digits


def new_client_id() -> str:
    """``pipe_`` and 20 random lower-case letters or digits (103 bits)."""
    return "pipe_" + "".join(random.choice(_LETTERS) for _ in range(20))


def new_secret() -> str:
    """A secret to be shown once: 32 random bytes in base64url, 43 characters."""
    return base64.urlsafe_b64encode(random.token_bytes(32)).rstrip(b"=").decode()


def hash_secret(secret: str) -> bytes:
    """bcrypt; takes about 50 ms of the calling thread."""
    return bcrypt.hashpw(secret.encode(), bcrypt.gensalt(BCRYPT_COST))


def fresh(_: Connection) -> tuple[str, bytes]:
    """A new secret and its hash; asked like a query, since hashing belongs in a thread."""
    secret = new_secret()
    return secret, hash_secret(secret)


def create(connection: Connection, organisation: str, label: str, hashed: bytes, at: datetime) -> Credential:
    """:raises PipeError: NOT_FOUND for an unknown organisation."""
    organisations.existing(connection, organisation)
    client_id = new_client_id()
    connection.execute(
        insert(credentials).values(client_id=client_id, organisation=organisation, label=label, created_at=at)
    )
    connection.execute(insert(secrets).values(client_id=client_id, hash=hashed, created_at=at))
    return existing(connection, client_id, at)


def lend(
    connection: Connection, organisation: str, label: str, hashed: bytes, at: datetime, for_s: float
) -> Credential:
    """A secret for a short while, of the organisation's one credential of that label, which is made when missing.

    One row however often it is lent, and it stays: uploads name it. Several may borrow at a time.

    :param for_s: seconds after which the secret ends by itself, when its borrower died.
    :returns: the credential; the new secret is the first.
    :raises PipeError: NOT_FOUND for an unknown organisation.
    """
    organisations.existing(connection, organisation)
    named = (
        credentials.c.organisation == organisation,
        credentials.c.label == label,
        credentials.c.revoked_at.is_(None),
    )
    client_id = connection.execute(
        select(credentials.c.client_id).where(*named).order_by(credentials.c.created_at).limit(1)
    ).scalar()
    if client_id is None:
        client_id = new_client_id()
        connection.execute(
            insert(credentials).values(client_id=client_id, organisation=organisation, label=label, created_at=at)
        )
    connection.execute(delete(secrets).where(secrets.c.client_id == client_id, secrets.c.expires_at <= at))
    end = at + timedelta(seconds=for_s)
    connection.execute(insert(secrets).values(client_id=client_id, hash=hashed, created_at=at, expires_at=end))
    return existing(connection, client_id, at)


def give_back(connection: Connection, client_id: str, secret: Secret) -> None:
    """A lent secret ends now; again is no error."""
    connection.execute(delete(secrets).where(secrets.c.client_id == client_id, secrets.c.hash == secret.hash))


def find(connection: Connection, client_id: str, at: datetime) -> Credential | None:
    """One credential, also a revoked one, with the secrets alive at a time. Asked at every login."""
    rows = _ONE.run(connection, {"client": client_id})
    if not rows:
        return None
    ((_, organisation, label, created_at, revoked_at, last_login_at),) = rows
    return Credential(
        client_id=client_id,
        organisation=organisation,
        label=label,
        created_at=created_at,
        revoked_at=revoked_at,
        last_login_at=last_login_at,
        secrets=tuple(Secret(*row) for row in _ALIVE.run(connection, {"client": client_id, "now": at})),
        schemas=organisations.schemas(connection, organisation),
    )


def existing(connection: Connection, client_id: str, at: datetime) -> Credential:
    """:raises PipeError: NOT_FOUND."""
    found = find(connection, client_id, at)
    if found is None:
        raise PipeError(Code.NOT_FOUND, f"no credential {client_id}")
    return found


def active(connection: Connection, client_ids: Iterable[str], at: datetime) -> dict[str, Credential]:
    """Those that are neither revoked nor unknown."""
    found = _found(connection, list(client_ids), at)
    return {credential.client_id: credential for credential in found if credential.revoked_at is None}


def find_all(connection: Connection, organisation: str | None, at: datetime) -> tuple[Credential, ...]:
    """All of them, or an organisation's, oldest first."""
    query = select(credentials.c.client_id).order_by(credentials.c.created_at, credentials.c.client_id)
    if organisation is not None:
        organisations.existing(connection, organisation)
        query = query.where(credentials.c.organisation == organisation)
    order = list(connection.execute(query).scalars())
    found = {credential.client_id: credential for credential in _found(connection, order, at)}
    return tuple(found[client_id] for client_id in order)


def logged_in(connection: Connection, client_id: str, at: datetime) -> None:
    """Remember the last login; a change is written at most once a minute."""
    last = credentials.c.last_login_at
    connection.execute(
        update(credentials)
        .where(credentials.c.client_id == client_id, or_(last.is_(None), last <= at - timedelta(seconds=60)))
        .values(last_login_at=at)
    )


def rotate(
    connection: Connection, client_id: str, hashed: bytes, at: datetime, overlap_s: float = OVERLAP_S
) -> Credential:
    """Add a secret; the newest of the old ones lives on for a while, all others end now.

    :param overlap_s: seconds the old secret goes on working; 0 ends it at once.
    :raises PipeError: NOT_FOUND, CONFLICT for a revoked credential.
    """
    credential = existing(connection, client_id, at)
    if credential.revoked_at is not None:
        raise PipeError(Code.CONFLICT, f"credential {client_id} is revoked")
    old = connection.execute(
        select(secrets.c.id).where(secrets.c.client_id == client_id).order_by(secrets.c.id.desc()).limit(1)
    ).scalar()
    connection.execute(delete(secrets).where(secrets.c.client_id == client_id, secrets.c.id != old))
    end = at + timedelta(seconds=overlap_s)
    connection.execute(
        update(secrets)
        .where(secrets.c.id == old, or_(secrets.c.expires_at.is_(None), secrets.c.expires_at > end))
        .values(expires_at=end)
    )
    connection.execute(insert(secrets).values(client_id=client_id, hash=hashed, created_at=at))
    return existing(connection, client_id, at)


def revoke(connection: Connection, client_id: str, at: datetime) -> Credential:
    """End a credential for good; again keeps the first time. :raises PipeError: NOT_FOUND."""
    change = update(credentials).where(credentials.c.client_id == client_id, credentials.c.revoked_at.is_(None))
    revoked = connection.execute(change.values(revoked_at=at)).rowcount == 1
    credential = existing(connection, client_id, at)
    if revoked:
        telling.credential_revoked(connection, credential, at)
    return credential


def _found(connection: Connection, client_ids: list[str], at: datetime) -> list[Credential]:
    rows = connection.execute(select(credentials).where(credentials.c.client_id.in_(client_ids))).all()
    alive: dict[str, list[Secret]] = {}
    for row in connection.execute(
        select(secrets)
        .where(secrets.c.client_id.in_(client_ids), or_(secrets.c.expires_at.is_(None), secrets.c.expires_at > at))
        .order_by(secrets.c.id.desc())
    ):
        alive.setdefault(row.client_id, []).append(Secret(row.hash, row.created_at, row.expires_at))
    schemas = {name: organisations.schemas(connection, name) for name in {row.organisation for row in rows}}
    return [
        Credential(
            client_id=row.client_id,
            organisation=row.organisation,
            label=row.label,
            created_at=row.created_at,
            revoked_at=row.revoked_at,
            last_login_at=row.last_login_at,
            secrets=tuple(alive.get(row.client_id, ())),
            schemas=schemas[row.organisation],
        )
        for row in rows
    ]
