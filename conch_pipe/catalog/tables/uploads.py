"""What came in."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    Uuid,
)

from conch_pipe.catalog.tables.base import UtcTime, metadata

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
