"""Run by alembic: migrates over the connection that ``versions.py`` gives, inside its transaction."""

from __future__ import annotations

from alembic import context

from conch_pipe.catalog.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite's DDL is transactional when the driver does not begin by itself (engine.py): a crash changes nothing.
    transactional_ddl=True,
    render_as_batch=True,
)
context.run_migrations()
