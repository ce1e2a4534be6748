"""Durable pieces of work, and how an attempt at one ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from conch_pipe.model.pushes import PushResult
from conch_pipe.model.uploads import Problem, Upload
from conch_pipe.model.webhooks import NoticeResult


@dataclass(frozen=True, slots=True)
class Job:
    """A durable piece of work: one row in the catalog, record and queue at once."""

    kind: str  # "ingest", …
    subject: str  # the id of what it is about, e.g. an upload's
    due_at: datetime
    id: int = 0  # 0: not stored yet
    payload: Mapping[str, Any] = field(default_factory=dict)
    claims: int = 0  # times it was leased since it was last settled, this time included: processes died on the others
    failures: int = 0  # attempts that ended badly
    fence: int = 0  # grows with each lease; a settle with an older fence is refused
    lane: str = ""  # what it shares with others and must take turns for, e.g. a remote's name; empty: nothing


def ingest_job(upload: Upload, due_at: datetime) -> Job:
    """The job that makes rows of an upload; its payload is what the job's events say of the upload."""
    told = {"organisation": upload.organisation, "client_id": upload.client_id, "schema": upload.schema}
    return Job("ingest", str(upload.id), due_at, payload=told | {"name": upload.name})


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt at a job ended; settled in one transaction with what it is about.

    Exactly one of the three: ``done``, ``retry_at`` or neither (dead: kept for the record, never due again).
    """

    done: bool = False
    retry_at: datetime | None = None
    failed: bool = True  # with retry_at: counts as a failure (False: released, or waiting for a resource)
    reason: str = ""
    stored: bool = False  # the upload's raw copy is durable in the object store: the catalog need not keep its bytes
    upload: Mapping[str, Any] | None = None  # columns of the upload to set, e.g. {"state": State.COMPLETED}
    problems: tuple[Problem, ...] = ()
    push: PushResult | None = None  # what an attempt to push changes
    notice: NoticeResult | None = None  # what an attempt to tell a webhook changes
