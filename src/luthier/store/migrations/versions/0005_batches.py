"""Batches: files of requests that are answered when there is room."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes what is not there yet: an upgrade that was killed goes on."""
    if "batches" not in sa.inspect(op.get_bind()).get_table_names():
        op.create_table(
            "batches",
            sa.Column("seq", sa.Integer, nullable=False),
            sa.Column("id", sa.String, nullable=False, unique=True),
            sa.Column("workspace", sa.String, nullable=False),
            sa.Column("state", sa.String, nullable=False),
            sa.Column("endpoint", sa.String, nullable=False),
            sa.Column("input_file", sa.String, nullable=False),
            sa.Column("request", sa.JSON, nullable=False),
            sa.Column("fingerprint", sa.String, nullable=False),
            sa.Column("errors", sa.JSON, nullable=False),
            sa.Column("counts", sa.JSON, nullable=False),
            sa.Column("output_file", sa.String, nullable=False),
            sa.Column("error_file", sa.String, nullable=False),
            sa.Column("times", sa.JSON, nullable=False),
            sa.Column("created_at", sa.Float, nullable=False),
            sa.Column("expires_at", sa.Float, nullable=False),
            sa.Column("lease_owner", sa.String, nullable=False),
            sa.Column("lease_token", sa.String, nullable=False),
            sa.Column("lease_expires_at", sa.Float, nullable=False),
            sa.PrimaryKeyConstraint("seq"),
            sqlite_autoincrement=True,
        )
    there = {str(index["name"]) for index in sa.inspect(op.get_bind()).get_indexes("batches")}
    indexes = {
        "workspace": ["workspace", "seq"],
        "state": ["state", "seq"],
        "file": ["input_file"],
        "fingerprint": ["workspace", "fingerprint"],
    }
    for name, columns in indexes.items():
        if f"batches_by_{name}" not in there:
            op.create_index(f"batches_by_{name}", "batches", columns)
