"""The tables of the catalog, as SQLAlchemy sees them.

The migrations make them (``migrations/versions``); a test holds both together. Every time is UTC. No SQL here or in
the query modules is peculiar to one database: SQLite today, PostgreSQL by settings later.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    Uuid,
)


class UtcTime(TypeDecorator[datetime]):
    """A moment in UTC: aware in Python, stored without a zone where the database has none (SQLite)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """SQLite would drop a zone silently, so everything is UTC before it gets there."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give the zone back."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite counts ids up only in a column declared exactly INTEGER.
_Id = BigInteger().with_variant(Integer, "sqlite")

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
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("client_id", ForeignKey(credentials.c.client_id), nullable=False, index=True),
    Column("hash", LargeBinary(60), nullable=False),  # bcrypt, cost 10; the secret itself is nowhere
    Column("created_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime),  # set by a rotation; NULL: until the next one
)

# Who sent a file is kept as text, not as a reference: the record outlives the credential.
uploads = Table(
    "uploads",
    metadata,
    Column("id", Uuid, primary_key=True),  # UUIDv7, given at OPEN
    Column("organisation", String(63), nullable=False),
    Column("client_id", String(64), nullable=False),
    Column("door", String(16), nullable=False),  # sftp, http, cli
    Column("schema", String(255), nullable=False),
    Column("name", String(255), nullable=False),  # the client's file name: a label, never a path
    Column("state", String(16), nullable=False),  # PENDING, PROCESSING, COMPLETED, FAILED
    Column("bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),  # hexadecimal, of the file as received
    Column("received_at", UtcTime, nullable=False),  # when the client closed it
    Column("object_key", String(255), nullable=False),  # of the raw copy; empty once that is deleted
    Column("finished_at", UtcTime),  # when it became COMPLETED or FAILED
    Column("rows", BigInteger),  # loaded; written when COMPLETED
    Column("rejected", BigInteger),  # rows left out; written with the verdict
    Column("problem", Text),  # the first problem or the reason of failure, one line
    Column("problem_count", BigInteger, nullable=False),  # all of them, also beyond the stored ones
    Column("peer", String(64), nullable=False),  # address of the client
    Column("banner", String(255), nullable=False),  # its software, escaped
    Column("session", String(32), nullable=False),  # our id of the connection
    Column("seconds", JSON, nullable=False),  # stage → duration in seconds; written when settled
    CheckConstraint("state IN ('PENDING', 'PROCESSING', 'COMPLETED', 'FAILED')", name="state"),
    # The same-bytes rule and a STAT on another connection.
    Index(None, "client_id", "schema", "name", "received_at"),
    Index(None, "organisation", "received_at"),
    Index(None, "state", "received_at"),
    Index(None, "received_at"),
    Index(None, "finished_at"),
)

# What was recorded under a key that a client gave, for 30 days; as it was then, also when the upload has gone on.
idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("client_id", String(64), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("created_at", UtcTime, nullable=False, index=True),
    Column("upload_id", Uuid, nullable=False),
    Column("organisation", String(63), nullable=False),  # from here on as in uploads
    Column("door", String(16), nullable=False),
    Column("schema", String(255), nullable=False),
    Column("name", String(255), nullable=False),
    Column("state", String(16), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("received_at", UtcTime, nullable=False),
)

# Bytes of small files, recorded with them, until the raw copy is in the object store.
contents = Table(
    "contents",
    metadata,
    Column("upload_id", ForeignKey(uploads.c.id, ondelete="CASCADE"), primary_key=True),
    Column("content", LargeBinary, nullable=False),
)

problems = Table(
    "problems",
    metadata,
    Column("upload_id", ForeignKey(uploads.c.id, ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),  # from 1, in the order of the file
    Column("reason", Text, nullable=False),  # a sentence without the value
    Column("line", BigInteger),  # physical line, from 1; NULL: the file as a whole
    Column("row", BigInteger),  # record, from 1, the header not counted
    Column("column", Text),
    Column("value", Text),  # at most 80 characters of it
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("kind", String(32), nullable=False),  # ingest, …
    Column("subject", String(64), nullable=False),  # id of what it is about, for ingest the upload's
    Column("lane", String(63), nullable=False, server_default=""),  # a remote's name; empty: it waits for no other job
    Column("payload", JSON, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("due_at", UtcTime, nullable=False),  # not before this; moved by a retry
    Column("lease_until", UtcTime),  # set by claim and renew, NULL while nobody works on it
    Column("claims", Integer, nullable=False),  # times leased, also by processes that died
    Column("failures", Integer, nullable=False),  # attempts settled as failed
    Column("fence", Integer, nullable=False),  # grows with each lease; an older one may not settle
    Column("ended_at", UtcTime),  # set once; NULL: the job is alive
    Column("outcome", String(8)),  # with ended_at: done or dead
    Column("reason", Text, nullable=False),  # why it was retried or died, the last time
    CheckConstraint("(ended_at IS NULL) = (outcome IS NULL)", name="ended"),
    CheckConstraint("outcome IN ('done', 'dead')", name="outcome"),
    Index(None, "subject"),
)

# Only what is alive, so that a claim costs the same after a million jobs; by kind and lane, so that those of one do not
# stand in the way of another's.
Index(
    "ix_jobs_alive",
    jobs.c.kind,
    jobs.c.lane,
    jobs.c.due_at,
    jobs.c.id,
    sqlite_where=jobs.c.ended_at.is_(None),
    postgresql_where=jobs.c.ended_at.is_(None),
)

remotes = Table(
    "remotes",
    metadata,
    Column("name", String(63), primary_key=True),  # [a-z0-9][a-z0-9-]{0,62}
    Column("organisation", ForeignKey(organisations.c.name), nullable=False, index=True),
    Column("host", String(100), nullable=False),
    Column("port", Integer, nullable=False),
    Column("username", String(100), nullable=False),
    Column("folder", String(100), nullable=False),
    Column("max_connections", Integer, nullable=False),
    Column("source_address", String(64), nullable=False),
    Column("algorithms", String(64), nullable=False),  # name of a preset
    Column("temporary_names", Boolean, nullable=False),
    Column("marker", String(255), nullable=False),
    Column("chunk_size", Integer, nullable=False),
    Column("any_host_key", Boolean, nullable=False),
    Column("public_key", Text, nullable=False),  # half of the private key in remote_secrets; empty: there is none
    Column("enabled", Boolean, nullable=False),
    Column("disabled_reason", String(64), nullable=False),  # host_key, operator; empty while enabled
    Column("disabled_at", UtcTime),
    Column("refused_key", LargeBinary),  # host key shown instead of a pinned one
    Column("created_at", UtcTime, nullable=False),
    Column("changed_at", UtcTime),  # by an operator; attempts since then know the change
)

remote_host_keys = Table(
    "remote_host_keys",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),  # oldest first
    Column("remote", ForeignKey(remotes.c.name), nullable=False, index=True),
    Column("blob", LargeBinary, nullable=False),  # of the public key
    Column("added_at", UtcTime, nullable=False),
    Column("origin", String(16), nullable=False),  # given, learnt, trusted
)

# Sealed, and nowhere else; see sealing.py.
remote_secrets = Table(
    "remote_secrets",
    metadata,
    Column("remote", ForeignKey(remotes.c.name), primary_key=True),
    Column("field", String(16), primary_key=True),  # password, private_key
    Column("sealed", LargeBinary, nullable=False),
)

environments = Table(
    "environments",
    metadata,
    Column("organisation", ForeignKey(organisations.c.name), primary_key=True),
    Column("name", String(63), primary_key=True),  # [a-z0-9][a-z0-9-]{0,62}
    Column("created_at", UtcTime, nullable=False),
    Column("delete_delivered", Boolean, nullable=False),
)

environment_remotes = Table(
    "environment_remotes",
    metadata,
    Column("organisation", String(63), primary_key=True),
    Column("environment", String(63), primary_key=True),
    Column("remote", ForeignKey(remotes.c.name), primary_key=True, index=True),
    ForeignKeyConstraint(["organisation", "environment"], [environments.c.organisation, environments.c.name]),
)

# Environments and remotes are kept as text from here on: these records outlive them.
recordings = Table(
    "recordings",
    metadata,
    Column("uid", Uuid, primary_key=True),  # UUIDv7
    Column("id", String(100), nullable=False),  # the sender's
    Column("organisation", String(63), nullable=False),
    Column("environment", String(63), nullable=False),
    Column("name", String(255), nullable=False),  # of the remote files, without their endings
    Column("saved_at", UtcTime, nullable=False),  # the attempts are counted from here
    Column("deleted_at", UtcTime),  # its local files are gone
    Column("purge_at", UtcTime),  # they will be, not everything having arrived
    Index(None, "organisation", "id", unique=True),
    Index(None, "organisation", "environment", "saved_at"),
    Index(None, "saved_at"),
)

recording_files = Table(
    "recording_files",
    metadata,
    Column("recording", ForeignKey(recordings.c.uid, ondelete="CASCADE"), primary_key=True),
    Column("role", String(16), primary_key=True),  # main, raw, snapshot, filmstrip
    Column("path", Text, nullable=False),
    Column("name", String(255), nullable=False),  # on the remote
    Column("bytes", BigInteger, nullable=False),
    Column("mtime_ns", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),  # hexadecimal
)

pushes = Table(
    "pushes",
    metadata,
    Column("id", Uuid, primary_key=True),  # UUIDv7; the subject of its jobs
    Column("recording", ForeignKey(recordings.c.uid, ondelete="CASCADE"), nullable=False),
    Column("remote", String(63), nullable=False),
    Column("state", String(16), nullable=False),  # WAITING, PARTIAL, DELIVERED, GIVEN_UP
    Column("attempts", Integer, nullable=False),  # made and counted
    Column("ended_at", UtcTime),  # of the last of these
    Column("manual", Boolean, nullable=False),  # the next attempt is one more, not counted
    Column("released_at", UtcTime),  # when one was last asked for: also while another was under way
    Column("arrived", JSON, nullable=False),  # roles
    Column("problems", JSON, nullable=False),  # role → why it has not arrived
    Column("final_at", UtcTime),  # with DELIVERED and GIVEN_UP
    CheckConstraint("state IN ('WAITING', 'PARTIAL', 'DELIVERED', 'GIVEN_UP')", name="state"),
    Index(None, "recording", "remote", unique=True),
    Index(None, "remote", "state"),
    Index(None, "state"),
)

push_attempts = Table(
    "push_attempts",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("push", ForeignKey(pushes.c.id, ondelete="CASCADE"), nullable=False, index=True),
    Column("recording", Uuid, nullable=False),  # the push's, for the index; so is the remote
    Column("remote", String(63), nullable=False),
    Column("number", Integer, nullable=False),  # from 1; 0: not counted
    Column("began_at", UtcTime, nullable=False),
    Column("host", String(100), nullable=False),  # what the remote was then; so are the next three
    Column("port", Integer, nullable=False),
    Column("username", String(100), nullable=False),
    Column("folder", String(100), nullable=False),
    Column("status", String(32), nullable=False),
    Column("reason", String(64), nullable=False),  # one word; empty: all is well
    Column("detail", Text, nullable=False),  # a sentence
    Column("files", JSON, nullable=False),  # what became of each
    Column("host_key", String(64), nullable=False),  # its fingerprint
    Column("algorithms", Text, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("refused_key", LargeBinary),
    Column("connected", Boolean, nullable=False),
    Column("late", Boolean, nullable=False),  # its moment had passed while the service was down
    Column("shared", Boolean, nullable=False),  # without a connection: another had just met the same failure
    Index(None, "recording", "began_at"),
    Index(None, "remote", "began_at"),
    Index(None, "status", "began_at"),
    Index(None, "began_at"),
)

webhooks = Table(
    "webhooks",
    metadata,
    Column("id", String(32), primary_key=True),  # wh_ and 20 letters or digits; the lane of its jobs
    Column("organisation", ForeignKey(organisations.c.name), nullable=False, index=True),
    Column("environment", String(63), nullable=False),  # empty: all that happens in the organisation
    Column("url", String(200), nullable=False),
    Column("events", JSON, nullable=False),  # names, see model.Happening
    Column("shape", String(16), nullable=False),  # standard, pipe
    Column("enabled", Boolean, nullable=False),
    Column("disabled_reason", String(64), nullable=False),  # operator, gone; empty while enabled
    Column("created_at", UtcTime, nullable=False),
    Column("changed_at", UtcTime),  # by an operator; attempts since then know the change
    Column("sealed", LargeBinary, nullable=False),  # the signing secret; see sealing.py
    Column("sealed_before", LargeBinary),  # the one before, which signs as well for a while
    Column("before_until", UtcTime),
)

webhook_attempts = Table(
    "webhook_attempts",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("webhook", ForeignKey(webhooks.c.id, ondelete="CASCADE"), nullable=False),
    Column("message", String(64), nullable=False),  # its id, the same for each attempt
    Column("event", String(32), nullable=False),
    Column("number", Integer, nullable=False),  # from 1; 0: a test
    Column("began_at", UtcTime, nullable=False, index=True),
    Column("status", Integer),  # of HTTP; NULL: no answer came
    Column("reason", String(64), nullable=False),  # one word; empty: it was taken
    Column("detail", Text, nullable=False),
    Column("body", Text, nullable=False),  # the beginning of the answer
    Column("seconds", Float, nullable=False),
    Column("next_at", UtcTime),  # of the next attempt; NULL: there is none
    Column("shared", Boolean, nullable=False),
    Index(None, "webhook", "began_at"),
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
