"""Recordings, the remotes they go to, and lanes in the queue.

What each column means is said in ``catalog/tables``.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the tables; jobs of before are in no lane."""
    op.add_column("jobs", sa.Column("lane", sa.String(length=63), server_default="", nullable=False))
    op.drop_index("ix_jobs_alive", "jobs")
    op.create_index(
        "ix_jobs_alive",
        "jobs",
        ["kind", "lane", "due_at", "id"],
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_table(
        "recordings",
        sa.Column("uid", sa.Uuid(), nullable=False),
        sa.Column("id", sa.String(length=100), nullable=False),
        sa.Column("organisation", sa.String(length=63), nullable=False),
        sa.Column("environment", sa.String(length=63), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("saved_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("purge_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_recordings")),
    )
    op.create_index(
        op.f("ix_recordings_organisation_environment_saved_at"),
        "recordings",
        ["organisation", "environment", "saved_at"],
    )
    op.create_index(op.f("ix_recordings_organisation_id"), "recordings", ["organisation", "id"], unique=True)
    op.create_index(op.f("ix_recordings_saved_at"), "recordings", ["saved_at"])
    op.create_table(
        "environments",
        sa.Column("organisation", sa.String(length=63), nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("delete_delivered", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["organisation"], ["organisations.name"], name=op.f("fk_environments_organisation")),
        sa.PrimaryKeyConstraint("organisation", "name", name=op.f("pk_environments")),
    )
    op.create_table(
        "pushes",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("recording", sa.Uuid(), nullable=False),
        sa.Column("remote", sa.String(length=63), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("manual", sa.Boolean(), nullable=False),
        sa.Column("released_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("arrived", sa.JSON(), nullable=False),
        sa.Column("problems", sa.JSON(), nullable=False),
        sa.Column("final_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("state IN ('WAITING', 'PARTIAL', 'DELIVERED', 'GIVEN_UP')", name=op.f("ck_pushes_state")),
        sa.ForeignKeyConstraint(
            ["recording"], ["recordings.uid"], name=op.f("fk_pushes_recording"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pushes")),
    )
    op.create_index(op.f("ix_pushes_recording_remote"), "pushes", ["recording", "remote"], unique=True)
    op.create_index(op.f("ix_pushes_remote_state"), "pushes", ["remote", "state"])
    op.create_index(op.f("ix_pushes_state"), "pushes", ["state"])
    op.create_table(
        "recording_files",
        sa.Column("recording", sa.Uuid(), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("mtime_ns", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["recording"], ["recordings.uid"], name=op.f("fk_recording_files_recording"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("recording", "role", name=op.f("pk_recording_files")),
    )
    op.create_table(
        "remotes",
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("organisation", sa.String(length=63), nullable=False),
        sa.Column("host", sa.String(length=100), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column("username", sa.String(length=100), nullable=False),
        sa.Column("folder", sa.String(length=100), nullable=False),
        sa.Column("max_connections", sa.Integer(), nullable=False),
        sa.Column("source_address", sa.String(length=64), nullable=False),
        sa.Column("algorithms", sa.String(length=64), nullable=False),
        sa.Column("temporary_names", sa.Boolean(), nullable=False),
        sa.Column("marker", sa.String(length=255), nullable=False),
        sa.Column("chunk_size", sa.Integer(), nullable=False),
        sa.Column("any_host_key", sa.Boolean(), nullable=False),
        sa.Column("public_key", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("disabled_reason", sa.String(length=64), nullable=False),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("refused_key", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["organisation"], ["organisations.name"], name=op.f("fk_remotes_organisation")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_remotes")),
    )
    op.create_index(op.f("ix_remotes_organisation"), "remotes", ["organisation"])
    op.create_table(
        "environment_remotes",
        sa.Column("organisation", sa.String(length=63), nullable=False),
        sa.Column("environment", sa.String(length=63), nullable=False),
        sa.Column("remote", sa.String(length=63), nullable=False),
        sa.ForeignKeyConstraint(
            ["organisation", "environment"],
            ["environments.organisation", "environments.name"],
            name=op.f("fk_environment_remotes_organisation"),
        ),
        sa.ForeignKeyConstraint(["remote"], ["remotes.name"], name=op.f("fk_environment_remotes_remote")),
        sa.PrimaryKeyConstraint("organisation", "environment", "remote", name=op.f("pk_environment_remotes")),
    )
    op.create_index(op.f("ix_environment_remotes_remote"), "environment_remotes", ["remote"])
    op.create_table(
        "push_attempts",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("push", sa.Uuid(), nullable=False),
        sa.Column("recording", sa.Uuid(), nullable=False),
        sa.Column("remote", sa.String(length=63), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("host", sa.String(length=100), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column("username", sa.String(length=100), nullable=False),
        sa.Column("folder", sa.String(length=100), nullable=False),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("files", sa.JSON(), nullable=False),
        sa.Column("host_key", sa.String(length=64), nullable=False),
        sa.Column("algorithms", sa.Text(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("refused_key", sa.LargeBinary(), nullable=True),
        sa.Column("connected", sa.Boolean(), nullable=False),
        sa.Column("late", sa.Boolean(), nullable=False),
        sa.Column("shared", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["push"], ["pushes.id"], name=op.f("fk_push_attempts_push"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_push_attempts")),
    )
    op.create_index(op.f("ix_push_attempts_began_at"), "push_attempts", ["began_at"])
    op.create_index(op.f("ix_push_attempts_push"), "push_attempts", ["push"])
    op.create_index(op.f("ix_push_attempts_recording_began_at"), "push_attempts", ["recording", "began_at"])
    op.create_index(op.f("ix_push_attempts_remote_began_at"), "push_attempts", ["remote", "began_at"])
    op.create_index(op.f("ix_push_attempts_status_began_at"), "push_attempts", ["status", "began_at"])
    op.create_table(
        "remote_host_keys",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("remote", sa.String(length=63), nullable=False),
        sa.Column("blob", sa.LargeBinary(), nullable=False),
        sa.Column("added_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("origin", sa.String(length=16), nullable=False),
        sa.ForeignKeyConstraint(["remote"], ["remotes.name"], name=op.f("fk_remote_host_keys_remote")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_remote_host_keys")),
    )
    op.create_index(op.f("ix_remote_host_keys_remote"), "remote_host_keys", ["remote"])
    op.create_table(
        "remote_secrets",
        sa.Column("remote", sa.String(length=63), nullable=False),
        sa.Column("field", sa.String(length=16), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["remote"], ["remotes.name"], name=op.f("fk_remote_secrets_remote")),
        sa.PrimaryKeyConstraint("remote", "field", name=op.f("pk_remote_secrets")),
    )
