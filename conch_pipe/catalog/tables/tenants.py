"""Who there is: organisations with their credentials, people and tokens."""

from __future__ import annotations

from sqlalchemy import JSON, CheckConstraint, Column, ForeignKey, LargeBinary, String, Table, Text

from conch_pipe.catalog.tables.base import Id, UtcTime, metadata

organisations = Table(
    "organisations",
    metadata,
    Column("name", String(63), primary_key=True),  # [a-z0-9][a-z0-9-]{0,62}
    Column("title", Text, nullable=False),  # for people
    Column("created_at", UtcTime, nullable=False),
)

organisation_schemas = Table(
    "organisation_schemas",
    metadata,
    Column("organisation", ForeignKey(organisations.c.name), primary_key=True),
    Column("schema", String(255), primary_key=True),  # name of a schema file; may be gone from disk
    Column("enabled_at", UtcTime, nullable=False),
)

credentials = Table(
    "credentials",
    metadata,
    Column("client_id", String(64), primary_key=True),  # pipe_ and 20 letters or digits; also the SFTP user name
    Column("organisation", ForeignKey(organisations.c.name), nullable=False, index=True),
    Column("label", Text, nullable=False),  # what the operator calls it
    Column("created_at", UtcTime, nullable=False),
    Column("revoked_at", UtcTime),  # set once, never cleared
    Column("last_login_at", UtcTime),  # written at most once a minute
)

secrets = Table(
    "secrets",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("client_id", ForeignKey(credentials.c.client_id), nullable=False, index=True),
    Column("hash", LargeBinary(60), nullable=False),  # bcrypt, cost 10; the secret itself is nowhere
    Column("created_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime),  # set by a rotation; NULL: until the next one
)

# Texts of tokens and sessions are nowhere, only their SHA-256: they are random, so that nothing can be guessed from it.
api_tokens = Table(
    "api_tokens",
    metadata,
    Column("id", String(12), primary_key=True),  # of a-z and 0-9; not secret
    Column("name", String(100), nullable=False),  # what the operator calls it
    Column("scopes", JSON, nullable=False),  # names, see model.Scope
    Column("organisation", ForeignKey(organisations.c.name)),  # all that it sees; NULL: every one
    Column("sha256", String(64), nullable=False),  # hexadecimal, of the whole text
    Column("created_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime, nullable=False),
    Column("revoked_at", UtcTime),  # set once, never cleared
    Column("last_used_at", UtcTime),  # written at most once an hour
)

people = Table(
    "people",
    metadata,
    Column("name", String(100), primary_key=True),  # [a-z0-9][a-z0-9.@_-]{0,99}
    Column("position", String(16), nullable=False),  # operator, member
    Column("organisation", ForeignKey(organisations.c.name)),  # of a member
    Column("hash", LargeBinary(60), nullable=False),  # bcrypt of the password's digest; see people.py
    Column("created_at", UtcTime, nullable=False),
    Column("disabled_at", UtcTime),  # NULL: may sign in
    Column("last_sign_in_at", UtcTime),
    CheckConstraint("(position = 'member') = (organisation IS NOT NULL)", name="position"),
)

web_sessions = Table(
    "web_sessions",
    metadata,
    Column("sha256", String(64), primary_key=True),  # hexadecimal, of the text in the cookie
    Column("person", ForeignKey(people.c.name, ondelete="CASCADE"), nullable=False, index=True),
    Column("began_at", UtcTime, nullable=False, index=True),
    Column("seen_at", UtcTime, nullable=False, index=True),  # the last request, to the minute
)
