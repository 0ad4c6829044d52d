"""The service: workspaces, keys, files, fine-tuning jobs, checkpoints, deployments, webhooks, audit; and whose each row is."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes what is not there yet: an upgrade that was killed goes on."""
    for name, columns in (("runs", ["id"]), ("jobs", ["id"]), ("endpoints", ["name"])):
        _with_workspace(name, columns)
    if "workspace" not in _columns("events"):
        op.add_column("events", sa.Column("workspace", sa.String, nullable=False, server_default="default"))
    _index("events_by_workspace", "events", ["workspace", "seq"])
    _people()
    _data()
    _work()
    _made()
    _notices()


def _columns(table: str) -> set[str]:
    return {column["name"] for column in sa.inspect(op.get_bind()).get_columns(table)}


def _tables() -> set[str]:
    return set(sa.inspect(op.get_bind()).get_table_names())


def _with_workspace(name: str, key: list[str]) -> None:
    """The table again with its workspace in the key; what was in it belongs to the workspace ``default``."""
    new = f"{name}_new"
    if name in _tables() and "workspace" in _columns(name):
        return
    if name in _tables():
        old = sa.Table(name, sa.MetaData(), autoload_with=op.get_bind())
        if new in _tables():
            op.drop_table(new)
        columns: list[Any] = [sa.Column(c.name, c.type, nullable=False) for c in old.columns]
        op.create_table(new, sa.Column("workspace", sa.String, nullable=False), *columns, sa.PrimaryKeyConstraint("workspace", *key))
        names = ", ".join(c.name for c in old.columns)
        op.execute(f"INSERT INTO {new} (workspace, {names}) SELECT 'default', {names} FROM {name}")
        op.drop_table(name)
    op.rename_table(new, name)


def _table(name: str, *columns: Any, **options: Any) -> None:
    if name not in _tables():
        op.create_table(name, *columns, **options)


def _index(name: str, table: str, columns: Sequence[str], *, unique: bool = False) -> None:
    if name not in {index["name"] for index in sa.inspect(op.get_bind()).get_indexes(table)}:
        op.create_index(name, table, list(columns), unique=unique)


def _people() -> None:
    """Workspaces, their keys, and what was done with them."""
    _table(
        "workspaces",
        sa.Column("name", sa.String, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("settings", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    _table(
        "keys",
        sa.Column("id", sa.String, nullable=False),
        sa.Column("workspace", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("prefix", sa.String, nullable=False),
        sa.Column("scopes", sa.JSON, nullable=False),
        sa.Column("limits", sa.JSON, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("expires_at", sa.Float, nullable=False),
        sa.Column("last_used_at", sa.Float, nullable=False),
        sa.Column("revoked_at", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("digest"),
    )
    _index("keys_by_workspace", "keys", ["workspace", "created_at"])
    _table(
        "audit",
        sa.Column("seq", sa.Integer, autoincrement=True, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("workspace", sa.String, nullable=False),
        sa.Column("key", sa.String, nullable=False),
        sa.Column("action", sa.String, nullable=False),
        sa.Column("object", sa.String, nullable=False),
        sa.Column("request_id", sa.String, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        sqlite_autoincrement=True,
    )
    _index("audit_by_workspace", "audit", ["workspace", "seq"])


def _data() -> None:
    """Files and uploads in parts."""
    _table(
        "files",
        sa.Column("seq", sa.Integer, autoincrement=True, nullable=False),
        sa.Column("id", sa.String, nullable=False),
        sa.Column("workspace", sa.String, nullable=False),
        sa.Column("filename", sa.String, nullable=False),
        sa.Column("purpose", sa.String, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.String, nullable=False),
        sa.Column("blob", sa.String, nullable=False),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("status_details", sa.String, nullable=False),
        sa.Column("facts", sa.JSON, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("expires_at", sa.Float, nullable=False),
        sa.Column("lease_owner", sa.String, nullable=False),
        sa.Column("lease_token", sa.String, nullable=False),
        sa.Column("lease_expires_at", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("id"),
        sqlite_autoincrement=True,
    )
    _index("files_by_expiry", "files", ["expires_at"])
    _index("files_by_purpose", "files", ["workspace", "purpose", "seq"])
    _index("files_by_status", "files", ["status", "seq"])
    _index("files_by_workspace", "files", ["workspace", "seq"])
    _table(
        "uploads",
        sa.Column("id", sa.String, nullable=False),
        sa.Column("workspace", sa.String, nullable=False),
        sa.Column("filename", sa.String, nullable=False),
        sa.Column("purpose", sa.String, nullable=False),
        sa.Column("mime_type", sa.String, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("file", sa.String, nullable=False),
        sa.Column("expires_after", sa.JSON, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("expires_at", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    _table(
        "upload_parts",
        sa.Column("id", sa.String, nullable=False),
        sa.Column("upload", sa.String, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("blob", sa.String, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    _index("upload_parts_by_upload", "upload_parts", ["upload"])


def _work() -> None:
    """Fine-tuning jobs."""
    _table(
        "fine_tuning_jobs",
        sa.Column("seq", sa.Integer, autoincrement=True, nullable=False),
        sa.Column("id", sa.String, nullable=False),
        sa.Column("workspace", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("wish", sa.String, nullable=False),
        sa.Column("model", sa.String, nullable=False),
        sa.Column("training_file", sa.String, nullable=False),
        sa.Column("validation_file", sa.String, nullable=False),
        sa.Column("suffix", sa.String, nullable=False),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("request", sa.JSON, nullable=False),
        sa.Column("spec", sa.JSON, nullable=False),
        sa.Column("method", sa.JSON, nullable=False),
        sa.Column("hyperparameters", sa.JSON, nullable=False),
        sa.Column("metadata", sa.JSON, nullable=False),
        sa.Column("integrations", sa.JSON, nullable=False),
        sa.Column("error", sa.JSON, nullable=False),
        sa.Column("fine_tuned_model", sa.String, nullable=False),
        sa.Column("result_files", sa.JSON, nullable=False),
        sa.Column("results", sa.JSON, nullable=False),
        sa.Column("trained_tokens", sa.BigInteger, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("needs", sa.JSON, nullable=False),
        sa.Column("idempotency", sa.String, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("started_at", sa.Float, nullable=False),
        sa.Column("finished_at", sa.Float, nullable=False),
        sa.Column("estimated_finish", sa.Float, nullable=False),
        sa.Column("lease_owner", sa.String, nullable=False),
        sa.Column("lease_token", sa.String, nullable=False),
        sa.Column("lease_expires_at", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("id"),
        sqlite_autoincrement=True,
    )
    _index("fine_tuning_jobs_by_file", "fine_tuning_jobs", ["training_file"])
    _index("fine_tuning_jobs_by_idempotency", "fine_tuning_jobs", ["workspace", "idempotency"])
    _index("fine_tuning_jobs_by_state", "fine_tuning_jobs", ["state", "priority", "seq"])
    _index("fine_tuning_jobs_by_validation_file", "fine_tuning_jobs", ["validation_file"])
    _index("fine_tuning_jobs_by_workspace", "fine_tuning_jobs", ["workspace", "seq"])
    _table(
        "fine_tuning_metadata",
        sa.Column("job_seq", sa.Integer, nullable=False),
        sa.Column("key", sa.String, nullable=False),
        sa.Column("value", sa.String, nullable=False),
        sa.Column("workspace", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("job_seq", "key"),
    )
    _index("fine_tuning_metadata_by_value", "fine_tuning_metadata", ["workspace", "key", "value", "job_seq"])


def _made() -> None:
    """What jobs make: checkpoints, tuned models, deployments."""
    _table(
        "checkpoints",
        sa.Column("seq", sa.Integer, autoincrement=True, nullable=False),
        sa.Column("id", sa.String, nullable=False),
        sa.Column("workspace", sa.String, nullable=False),
        sa.Column("job", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("artifact", sa.String, nullable=False),
        sa.Column("step", sa.BigInteger, nullable=False),
        sa.Column("metrics", sa.JSON, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("id"),
        sqlite_autoincrement=True,
    )
    _index("checkpoints_by_job", "checkpoints", ["job", "step"], unique=True)
    _index("checkpoints_by_name", "checkpoints", ["workspace", "name"])
    _table(
        "tuned_models",
        sa.Column("workspace", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("job", sa.String, nullable=False),
        sa.Column("base", sa.String, nullable=False),
        sa.Column("task", sa.String, nullable=False),
        sa.Column("model", sa.String, nullable=False),
        sa.Column("evaluation", sa.String, nullable=False),
        sa.Column("export", sa.String, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("workspace", "name"),
    )
    _table(
        "deployments",
        sa.Column("workspace", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("model", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("sku", sa.JSON, nullable=False),
        sa.Column("properties", sa.JSON, nullable=False),
        sa.Column("error", sa.JSON, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("lease_owner", sa.String, nullable=False),
        sa.Column("lease_token", sa.String, nullable=False),
        sa.Column("lease_expires_at", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("workspace", "name"),
    )
    _index("deployments_by_state", "deployments", ["state"])


def _notices() -> None:
    """Webhooks and their deliveries."""
    _table(
        "webhooks",
        sa.Column("id", sa.String, nullable=False),
        sa.Column("workspace", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("url", sa.String, nullable=False),
        sa.Column("events", sa.JSON, nullable=False),
        sa.Column("secret", sa.String, nullable=False),
        sa.Column("old_secret", sa.String, nullable=False),
        sa.Column("old_secret_until", sa.Float, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("updated_at", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    _index("webhooks_by_workspace", "webhooks", ["workspace", "created_at"])
    _table(
        "deliveries",
        sa.Column("id", sa.String, nullable=False),
        sa.Column("workspace", sa.String, nullable=False),
        sa.Column("webhook", sa.String, nullable=False),
        sa.Column("event", sa.JSON, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("last_error", sa.String, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("next_at", sa.Float, nullable=False),
        sa.Column("lease_owner", sa.String, nullable=False),
        sa.Column("lease_token", sa.String, nullable=False),
        sa.Column("lease_expires_at", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    _index("deliveries_by_state", "deliveries", ["state", "next_at"])
    _index("deliveries_by_webhook", "deliveries", ["webhook", "created_at"])
