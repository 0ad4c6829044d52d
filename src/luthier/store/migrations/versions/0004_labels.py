"""Labels made with people: what is labelled, its rows, and the log of what people said, which only grows."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes what is not there yet: an upgrade that was killed goes on."""
    _table(
        "labellings",
        sa.Column("workspace", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("labels", sa.JSON, nullable=False),
        sa.Column("encoder", sa.String, nullable=False),
        sa.Column("model", sa.String, nullable=False),
        sa.Column("dataset", sa.String, nullable=False),
        sa.Column("author", sa.String, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("workspace", "name"),
    )
    _table(
        "labelling_rows",
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("workspace", sa.String, nullable=False),
        sa.Column("labelling", sa.String, nullable=False),
        sa.Column("id", sa.String, nullable=False),
        sa.Column("text", sa.String, nullable=False),
        sa.Column("columns", sa.JSON, nullable=False),
        sa.Column("source", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        sqlite_autoincrement=True,
    )
    _index("labelling_rows_by_id", "labelling_rows", "workspace", "labelling", "id", unique=True)
    _table(
        "labels",
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("workspace", sa.String, nullable=False),
        sa.Column("labelling", sa.String, nullable=False),
        sa.Column("row", sa.String, nullable=False),
        sa.Column("author", sa.String, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("verb", sa.String, nullable=False),
        sa.Column("value", sa.JSON, nullable=False),
        sa.Column("suggested", sa.JSON, nullable=False),
        sa.Column("undoes", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        sqlite_autoincrement=True,
    )
    _index("labels_by_labelling", "labels", "workspace", "labelling", "seq")


def _table(name: str, *columns: Any, **options: Any) -> None:
    if name not in sa.inspect(op.get_bind()).get_table_names():
        op.create_table(name, *columns, **options)


def _index(name: str, table: str, *columns: str, unique: bool = False) -> None:
    if name not in {str(index["name"]) for index in sa.inspect(op.get_bind()).get_indexes(table)}:
        op.create_index(name, table, list(columns), unique=unique)
