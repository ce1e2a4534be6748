"""The queue."""

from __future__ import annotations

from sqlalchemy import JSON, CheckConstraint, Column, Index, Integer, String, Table, Text

from conch_pipe.catalog.tables.base import Id, UtcTime, metadata

jobs = Table(
    "jobs",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
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
