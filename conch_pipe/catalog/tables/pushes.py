"""What goes out to remotes, and the log of it."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    Uuid,
)

from conch_pipe.catalog.tables.base import Id, UtcTime, metadata
from conch_pipe.catalog.tables.tenants import organisations

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
    Column("id", Id, primary_key=True, autoincrement=True),  # oldest first
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
    Column("id", Id, primary_key=True, autoincrement=True),
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
