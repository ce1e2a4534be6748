"""Recordings, the remotes they go to, and lanes in the queue.

What each column means is said in ``catalog/tables.py``.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the tables; jobs of before are in no lane."""
    op.add_column("jobs", sa.Column("lane", sa.String(length=63), server_default="", nullable=False))
    op.create_index(
        "ix_jobs_lane",
        "jobs",
        ["lane", "due_at"],
        sqlite_where=sa.text("ended_at IS NULL AND lane != ''"),
        postgresql_where=sa.text("ended_at IS NULL AND lane != ''"),
    )
