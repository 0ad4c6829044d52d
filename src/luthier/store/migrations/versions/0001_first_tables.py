"""The first tables: runs, jobs, endpoints, events."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the tables and the index (those that exist already, from an upgrade that was killed, are left)."""
    there = set(sa.inspect(op.get_bind()).get_table_names())
    if "runs" not in there:
        op.create_table(
            "runs",
            sa.Column("id", sa.String, primary_key=True),
            sa.Column("name", sa.String, nullable=False),
            sa.Column("state", sa.String, nullable=False),
            sa.Column("plan", sa.JSON, nullable=False),
            sa.Column("created_at", sa.Float, nullable=False),
            sa.Column("finished_at", sa.Float, nullable=False),
        )
    if "jobs" not in there:
        op.create_table(
            "jobs",
            sa.Column("id", sa.String, primary_key=True),
            sa.Column("run", sa.String, nullable=False),
            sa.Column("stage", sa.String, nullable=False),
            sa.Column("state", sa.String, nullable=False),
            sa.Column("artifact", sa.String, nullable=False),
            sa.Column("error", sa.JSON, nullable=False),
            sa.Column("lease_owner", sa.String, nullable=False),
            sa.Column("lease_token", sa.String, nullable=False),
            sa.Column("lease_expires_at", sa.Float, nullable=False),
            sa.Column("updated_at", sa.Float, nullable=False),
        )
    if "endpoints" not in there:
        op.create_table(
            "endpoints",
            sa.Column("name", sa.String, primary_key=True),
            sa.Column("task", sa.String, nullable=False),
            sa.Column("export", sa.String, nullable=False),
            sa.Column("evaluation", sa.String, nullable=False),
            sa.Column("model", sa.String, nullable=False),
            sa.Column("deployed_at", sa.Float, nullable=False),
        )
    if "events" not in there:
        op.create_table(
            "events",
            sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
            sa.Column("at", sa.Float, nullable=False),
            sa.Column("name", sa.String, nullable=False),
            sa.Column("subject", sa.String, nullable=False),
            sa.Column("body", sa.String, nullable=False),
            sqlite_autoincrement=True,
        )
    if "events_by_subject" not in {index["name"] for index in sa.inspect(op.get_bind()).get_indexes("events")}:
        op.create_index("events_by_subject", "events", ["subject", "name", "seq"])
