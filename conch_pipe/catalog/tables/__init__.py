"""The tables of the catalog, as SQLAlchemy sees them.

The migrations make them (``migrations/versions``); a test holds both together. Every time is UTC. No SQL here or in
the query modules is peculiar to one database: SQLite today, PostgreSQL by settings later.
"""

from conch_pipe.catalog.tables.base import UtcTime, metadata
from conch_pipe.catalog.tables.jobs import jobs
from conch_pipe.catalog.tables.pushes import (
    environment_remotes,
    environments,
    push_attempts,
    pushes,
    recording_files,
    recordings,
    remote_host_keys,
    remote_secrets,
    remotes,
)
from conch_pipe.catalog.tables.tenants import (
    api_tokens,
    credentials,
    organisation_schemas,
    organisations,
    people,
    secrets,
    web_sessions,
)
from conch_pipe.catalog.tables.uploads import contents, idempotency_keys, problems, uploads
from conch_pipe.catalog.tables.webhooks import webhook_attempts, webhooks

__all__ = [
    "UtcTime",
    "api_tokens",
    "contents",
    "credentials",
    "environment_remotes",
    "environments",
    "idempotency_keys",
    "jobs",
    "metadata",
    "organisation_schemas",
    "organisations",
    "people",
    "problems",
    "push_attempts",
    "pushes",
    "recording_files",
    "recordings",
    "remote_host_keys",
    "remote_secrets",
    "remotes",
    "secrets",
    "uploads",
    "web_sessions",
    "webhook_attempts",
    "webhooks",
]
