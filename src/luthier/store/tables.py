"""The tables of the one database. Everything that belongs to somebody carries its workspace."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, Column, Float, Index, Integer, String, Table

from luthier.store import rollout_tables as rollout_tables  # METADATA knows every table
from luthier.store.columns import METADATA as METADATA
from luthier.store.columns import count as _count
from luthier.store.columns import data as _data
from luthier.store.columns import later as _later
from luthier.store.columns import lease as _lease
from luthier.store.columns import moment as _time
from luthier.store.columns import several as _texts
from luthier.store.columns import some_rows as _where
from luthier.store.columns import words as _text


def _turn(context: Any) -> int:
    return -int(context.get_current_parameters().get("priority") or 0)


RUNS = Table(
    "runs",
    METADATA,
    Column("workspace", String, primary_key=True, default="default"),
    Column("id", String, primary_key=True),
    _text("name", None),
    _text("state", None),
    Column("plan", JSON, nullable=False),
    Column("created_at", Float, nullable=False),
    _time("finished_at"),
)

JOBS = Table(
    "jobs",
    METADATA,
    Column("workspace", String, primary_key=True, default="default"),
    Column("id", String, primary_key=True),
    *_texts("run", "stage", "state"),
    _text("artifact"),
    _data("error"),
    *_lease(),
    Column("updated_at", Float, nullable=False),
)

ENDPOINTS = Table(
    "endpoints",
    METADATA,
    Column("workspace", String, primary_key=True, default="default"),
    Column("name", String, primary_key=True),
    *_texts("task", "export", "evaluation", "model"),
    Column("deployed_at", Float, nullable=False),
)

EVENTS = Table(
    "events",
    METADATA,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("at", Float, nullable=False),
    _text("name", None),
    _text("subject"),
    _text("body", None),
    Column("workspace", String, nullable=False, default="default", server_default="default"),
    Index("events_by_subject", "subject", "name", "seq"),
    Index("events_by_workspace", "workspace", "seq"),
    sqlite_autoincrement=True,
)

WORKSPACES = Table("workspaces", METADATA, Column("name", String, primary_key=True), _time("created_at"), _data("settings"))

KEYS = Table(
    "keys",
    METADATA,
    Column("id", String, primary_key=True),
    _text("workspace", None),
    _text("name"),
    _text("digest", None, unique=True),
    _text("prefix", None),
    _data("scopes", list),
    _data("limits"),
    _time("created_at"),
    _time("expires_at"),
    _time("last_used_at"),
    _time("revoked_at"),
    Index("keys_by_workspace", "workspace", "created_at"),
)
"""API keys: ``digest`` is the hash, ``prefix`` what people recognise a key by; the key itself is kept nowhere."""

FILES = Table(
    "files",
    METADATA,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    _text("id", None, unique=True),
    *_texts("workspace", "filename", "purpose"),
    _count("size_bytes"),
    _text("sha256"),
    _text("blob"),
    _text("status", None),
    _text("status_details"),
    _data("facts"),
    _time("created_at"),
    _time("expires_at"),
    *_lease(),
    Index("files_by_workspace", "workspace", "seq"),
    Index("files_by_purpose", "workspace", "purpose", "seq"),
    Index("files_by_expiry", "expires_at"),
    Index("files_by_status", "status", "seq"),
    sqlite_autoincrement=True,
)

UPLOADS = Table(
    "uploads",
    METADATA,
    Column("id", String, primary_key=True),
    *_texts("workspace", "filename", "purpose"),
    _text("mime_type"),
    _count("size_bytes"),
    _text("state", None),
    _text("file"),
    _data("expires_after"),
    _time("created_at"),
    _time("expires_at"),
)

PARTS = Table(
    "upload_parts",
    METADATA,
    Column("id", String, primary_key=True),
    _text("upload", None),
    _count("size_bytes"),
    _text("blob", None),
    _time("created_at"),
    Index("upload_parts_by_upload", "upload"),
)

TUNINGS = Table(
    "fine_tuning_jobs",
    METADATA,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    _text("id", None, unique=True),
    _text("workspace", None),
    _text("state", None),
    _text("wish"),
    _text("model", None),
    _text("training_file", None),
    _text("validation_file"),
    _text("suffix"),
    Column("seed", BigInteger, nullable=False),
    _data("request"),
    _data("spec"),
    _data("method"),
    _data("hyperparameters"),
    _data("metadata"),
    _data("integrations", list),
    _data("error"),
    _text("fine_tuned_model"),
    _data("result_files", list),
    _data("results"),
    _count("trained_tokens"),
    Column("priority", Integer, nullable=False, default=0),
    _data("needs"),
    _text("idempotency"),
    _later("fingerprint"),
    _later("turn", Integer, _turn),
    _later("card"),
    Column("attempts", Integer, nullable=False, default=0),
    _time("created_at"),
    _time("started_at"),
    _time("finished_at"),
    _time("estimated_finish"),
    *_lease(),
    Index("fine_tuning_jobs_by_workspace", "workspace", "seq"),
    Index("fine_tuning_jobs_by_state", "state", "priority", "seq"),
    Index("fine_tuning_jobs_by_file", "training_file"),
    Index("fine_tuning_jobs_by_validation_file", "validation_file"),
    Index("fine_tuning_jobs_by_idempotency", "workspace", "idempotency", unique=True, **_where("idempotency <> ''")),
    Index("fine_tuning_jobs_by_fingerprint", "workspace", "fingerprint"),
    Index("fine_tuning_jobs_by_turn", "state", "workspace", "turn", "seq"),
    Index("fine_tuning_jobs_by_wish", "wish", **_where("wish <> ''")),
    sqlite_autoincrement=True,
)
"""Fine-tuning jobs. ``request`` is what the caller sent, ``spec`` the recipe made of it, ``results`` the evaluation block; ``wish`` is
"cancel" or "pause" while the runner has not acted on it yet; ``needs`` is what it takes of the machine (memory_bytes, threads, device) and
``card`` the accelerator that it has there. ``idempotency``: the hash of the caller's key, unique where there is one; ``fingerprint``: that
of the request. ``turn`` is the priority negated, so that one index has the queue in its order."""

WORKERS = Table(
    "workers",
    METADATA,
    Column("machine", String, primary_key=True),
    _count("memory_bytes"),
    _time("seen_at"),
)
"""The machines with a worker that were seen lately, and the most memory that each gives to jobs."""

TUNING_METADATA = Table(
    "fine_tuning_metadata",
    METADATA,
    Column("job_seq", Integer, primary_key=True),
    Column("key", String, primary_key=True),
    _text("value", None),
    _text("workspace", None),
    Index("fine_tuning_metadata_by_value", "workspace", "key", "value", "job_seq"),
)

CHECKPOINTS = Table(
    "checkpoints",
    METADATA,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    _text("id", None, unique=True),
    *_texts("workspace", "job", "name"),
    _text("artifact"),
    _count("step"),
    _data("metrics"),
    _time("created_at"),
    Index("checkpoints_by_job", "job", "step", unique=True),
    Index("checkpoints_by_name", "workspace", "name"),
    sqlite_autoincrement=True,
)

TUNED_MODELS = Table(
    "tuned_models",
    METADATA,
    Column("workspace", String, primary_key=True),
    Column("name", String, primary_key=True),
    _text("job"),
    _text("base", None),
    _text("task", None),
    _text("model", None),
    _text("evaluation"),
    _text("export"),
    _time("created_at"),
)
"""Models by the names that callers use (``ft:...``): which artifacts are behind each; ``export`` is empty until it was exported."""

DEPLOYMENTS = Table(
    "deployments",
    METADATA,
    Column("workspace", String, primary_key=True),
    Column("name", String, primary_key=True),
    _text("model", None),
    _text("state", None),
    _data("sku"),
    _data("properties"),
    _data("error"),
    _time("created_at"),
    _later("card"),
    _later("needs", JSON, dict),
    *_lease(),
    Index("deployments_by_state", "state"),
)
"""What was asked to be deployed, by the resource manager's call; ``endpoints`` holds what answers."""

WEBHOOKS = Table(
    "webhooks",
    METADATA,
    Column("id", String, primary_key=True),
    _text("workspace", None),
    _text("name"),
    _text("url", None),
    _data("events", list),
    _text("secret", None),
    _text("old_secret"),
    _time("old_secret_until"),
    _text("state", "enabled"),
    _time("created_at"),
    _time("updated_at"),
    Index("webhooks_by_workspace", "workspace", "created_at"),
)

DELIVERIES = Table(
    "deliveries",
    METADATA,
    Column("id", String, primary_key=True),
    *_texts("workspace", "webhook"),
    _data("event"),
    _text("state", None),
    Column("attempts", Integer, nullable=False, default=0),
    _text("last_error"),
    _time("created_at"),
    _time("next_at"),
    *_lease(),
    Index("deliveries_by_state", "state", "next_at"),
    Index("deliveries_by_webhook", "webhook", "created_at"),
)

AUDIT = Table(
    "audit",
    METADATA,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("at", Float, nullable=False),
    _text("workspace", None),
    _text("key"),
    _text("action", None),
    _text("object"),
    _text("request_id"),
    Column("status", Integer, nullable=False, default=0),
    Index("audit_by_workspace", "workspace", "seq"),
    sqlite_autoincrement=True,
)

BATCHES = Table(
    "batches",
    METADATA,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    _text("id", None, unique=True),
    *_texts("workspace", "state", "endpoint", "input_file"),
    _data("request"),
    _text("fingerprint"),
    _data("errors", list),
    _data("counts"),
    _text("output_file"),
    _text("error_file"),
    _data("times"),
    _time("created_at"),
    _time("expires_at"),
    *_lease(),
    Index("batches_by_workspace", "workspace", "seq"),
    Index("batches_by_state", "state", "seq"),
    Index("batches_by_file", "input_file"),
    Index("batches_by_fingerprint", "workspace", "fingerprint"),
    sqlite_autoincrement=True,
)
"""Files of requests. ``times``: when it came into each state (``completed_at`` ...); ``counts``: requests in all, answered, refused."""

LABELLINGS = Table(
    "labellings",
    METADATA,
    Column("workspace", String, primary_key=True, default="default"),
    Column("name", String, primary_key=True),
    _text("kind", None),
    _data("labels", list),
    _text("encoder", None),
    _text("model"),
    _text("dataset"),
    _text("author"),
    _time("created_at"),
)
"""What people label: ``kind`` is label, labels or spans; ``dataset`` the artifact that the rows came from ("" for files)."""

LABELLING_ROWS = Table(
    "labelling_rows",
    METADATA,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    *_texts("workspace", "labelling", "id", "text"),
    _data("columns"),
    _text("source"),
    Index("labelling_rows_by_id", "workspace", "labelling", "id", unique=True),
    sqlite_autoincrement=True,
)
"""The messages of a labelling, each once: ``id`` is the hash of its content."""

LABELS = Table(
    "labels",
    METADATA,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    *_texts("workspace", "labelling", "row", "author"),
    _time("at"),
    _text("verb", None),
    _data("value"),
    _data("suggested"),
    Column("undoes", Integer, nullable=False, default=0),
    Index("labels_by_labelling", "workspace", "labelling", "seq"),
    sqlite_autoincrement=True,
)
"""What people said, one row each, never changed: a correction is a new row, and so is an undo (``undoes``: the seq that it takes back)."""
