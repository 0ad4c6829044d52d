"""Versions of endpoints and how traffic goes from one to another; what is deployed already becomes the first version of its endpoint."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes what is not there yet: an upgrade that was killed goes on."""
    _table(
        "endpoint_versions",
        sa.Column("workspace", sa.String, nullable=False),
        sa.Column("endpoint", sa.String, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        *(sa.Column(name, sa.String, nullable=False) for name in ("task", "export", "evaluation", "model", "state")),
        *(sa.Column(name, sa.Integer, nullable=False) for name in ("traffic", "mirror", "replaces")),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("workspace", "endpoint", "number"),
    )
    _table(
        "rollouts",
        sa.Column("seq", sa.Integer, nullable=False),
        *(sa.Column(name, sa.String, nullable=False) for name in ("id", "workspace", "endpoint")),
        *(sa.Column(name, sa.Integer, nullable=False) for name in ("candidate", "against")),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("plan", sa.JSON, nullable=False),
        sa.Column("step", sa.Integer, nullable=False),
        sa.Column("step_at", sa.Float, nullable=False),
        sa.Column("looks", sa.Integer, nullable=False),
        sa.Column("next_look", sa.BigInteger, nullable=False),
        sa.Column("decision", sa.JSON, nullable=False),
        *(sa.Column(name, sa.Float, nullable=False) for name in ("created_at", "finished_at")),
        *(sa.Column(name, sa.String, nullable=False) for name in ("lease_owner", "lease_token")),
        sa.Column("lease_expires_at", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("id"),
        sqlite_autoincrement=True,
    )
    _index("rollouts_by_endpoint", "rollouts", "workspace", "endpoint", "seq")
    running = sa.text("state = 'running'")
    _index("rollouts_running", "rollouts", "workspace", "endpoint", unique=True, sqlite_where=running, postgresql_where=running)
    known = "SELECT 1 FROM endpoint_versions v WHERE v.workspace = e.workspace AND v.endpoint = e.name"
    op.execute(
        "INSERT INTO endpoint_versions"
        " (workspace, endpoint, number, task, export, evaluation, model, state, traffic, mirror, replaces, created_at)"
        " SELECT e.workspace, e.name, 1, e.task, e.export, e.evaluation, e.model, 'open', 100, 0, 0, e.deployed_at FROM endpoints e"
        f" WHERE NOT EXISTS ({known})"
    )


def _table(name: str, *columns: Any, **options: Any) -> None:
    if name not in sa.inspect(op.get_bind()).get_table_names():
        op.create_table(name, *columns, **options)


def _index(name: str, table: str, *columns: str, **options: Any) -> None:
    if name not in {str(index["name"]) for index in sa.inspect(op.get_bind()).get_indexes(table)}:
        op.create_index(name, table, list(columns), **options)
