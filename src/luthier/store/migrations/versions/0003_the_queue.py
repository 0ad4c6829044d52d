"""The queue: one job for one Idempotency-Key, what makes looking for the next job quick, cards, and which workers there are."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

JOBS = "fine_tuning_jobs"
KEYED = f"{JOBS}_by_idempotency"


def upgrade() -> None:
    """Makes what is not there yet: an upgrade that was killed goes on."""
    _column(JOBS, "fingerprint", sa.String, "")
    _column(JOBS, "turn", sa.Integer, "0")
    op.execute(f"UPDATE {JOBS} SET turn = -priority WHERE turn <> -priority")
    _column(JOBS, "card", sa.String, "")
    _column("deployments", "card", sa.String, "")
    _column("deployments", "needs", sa.JSON, "{}")
    _unique_keys()
    _index(f"{JOBS}_by_fingerprint", JOBS, "workspace", "fingerprint")
    _index(f"{JOBS}_by_turn", JOBS, "state", "workspace", "turn", "seq")
    _index(f"{JOBS}_by_wish", JOBS, "wish", where="wish <> ''")
    if "workers" not in sa.inspect(op.get_bind()).get_table_names():
        op.create_table(
            "workers",
            sa.Column("machine", sa.String, nullable=False),
            sa.Column("memory_bytes", sa.BigInteger, nullable=False),
            sa.Column("seen_at", sa.Float, nullable=False),
            sa.PrimaryKeyConstraint("machine"),
        )


def _column(table: str, name: str, kind: Any, default: str) -> None:
    if name not in {column["name"] for column in sa.inspect(op.get_bind()).get_columns(table)}:
        op.add_column(table, sa.Column(name, kind, nullable=False, server_default=default))


def _indexes(table: str) -> dict[str, bool]:
    return {str(index["name"]): bool(index["unique"]) for index in sa.inspect(op.get_bind()).get_indexes(table)}


def _index(name: str, table: str, *columns: str, unique: bool = False, where: str = "") -> None:
    if name not in _indexes(table):
        some: dict[str, Any] = {"sqlite_where": sa.text(where), "postgresql_where": sa.text(where)} if where else {}
        op.create_index(name, table, list(columns), unique=unique, **some)


def _unique_keys() -> None:
    """Until now each row had the hash of its key, or of its request where there was none: which, it does not say, and many may be equal.
    It becomes the hash of the request; keys of requests before the upgrade are forgotten."""
    if _indexes(JOBS).get(KEYED) is not True:
        op.execute(f"UPDATE {JOBS} SET fingerprint = idempotency, idempotency = '' WHERE idempotency <> ''")
        if KEYED in _indexes(JOBS):
            op.drop_index(KEYED, JOBS)
        _index(KEYED, JOBS, "workspace", "idempotency", unique=True, where="idempotency <> ''")
