"""Whom messages are sent to, and the log of it."""

from __future__ import annotations

from sqlalchemy import JSON, Boolean, Column, Float, ForeignKey, Index, Integer, LargeBinary, String, Table, Text

from conch_pipe.catalog.tables.base import Id, UtcTime, metadata
from conch_pipe.catalog.tables.tenants import organisations

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
    Column("id", Id, primary_key=True, autoincrement=True),
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
