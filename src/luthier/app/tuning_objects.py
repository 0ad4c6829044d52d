"""Rows as the objects that OpenAI's clients read: job, event, checkpoint, and the list around them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from luthier.core.errors import InputError
from luthier.store.journal import Entry

ORGANIZATION = "luthier"


def page(found: list[dict[str, Any]], limit: int) -> dict[str, Any]:
    """The first ``limit`` objects, and whether there are more: clients ask on as long as ``has_more`` is true."""
    data = found[:limit]
    return {
        "object": "list",
        "data": data,
        "has_more": len(found) > limit,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
    }


def _when(seconds: float) -> int | None:
    return int(seconds) or None


def job(row: Mapping[str, Any]) -> dict[str, Any]:
    """A ``fine_tuning.job``; ``luthier`` holds what OpenAI has no word for (task, evaluation, artifacts)."""
    return {
        "object": "fine_tuning.job",
        "id": row["id"],
        "created_at": int(row["created_at"]),
        "model": row["model"],
        "status": row["state"],
        "fine_tuned_model": row["fine_tuned_model"] or None,
        "finished_at": _when(row["finished_at"]),
        "estimated_finish": _when(row["estimated_finish"]) if row["state"] == "running" else None,
        "organization_id": ORGANIZATION,
        "result_files": list(row["result_files"] or []),
        "training_file": row["training_file"],
        "validation_file": row["validation_file"] or None,
        "trained_tokens": int(row["trained_tokens"]) or None,
        "hyperparameters": dict(row["hyperparameters"]),
        "method": dict(row["method"]),
        "seed": int(row["seed"]),
        "error": _error(row["error"]),
        "integrations": [_integration(one) for one in row["integrations"]],
        "metadata": dict(row["metadata"]),
        "user_provided_suffix": row["suffix"] or None,
        "suffix": row["suffix"] or None,
        "luthier": {key: value for key, value in row["results"].items() if key not in ("started", "waiting", "deaths")}
        | {"priority": row["priority"], "attempts": row["attempts"]},
    }


def _error(said: dict[str, Any]) -> dict[str, Any] | None:
    if not said:
        return None
    return {
        "code": said.get("code", "error"),
        "message": said.get("message", ""),
        "param": said.get("param") or None,
        "hint": said.get("hint", ""),
    }


def _integration(one: dict[str, Any]) -> dict[str, Any]:
    return one | ({"wandb": {"tags": [], "name": None, "entity": None} | one["wandb"]} if "wandb" in one else {})


def event(entry: Entry) -> dict[str, Any]:
    """A ``fine_tuning.job.event``; its id holds the journal's cursor."""
    body = entry.body
    return {
        "object": "fine_tuning.job.event",
        "id": f"ftevent-{entry.seq:012d}",
        "created_at": int(entry.at),
        "level": body["level"],
        "message": body["message"],
        "type": body["type"],
        "data": body["data"],
    }


def event_seq(name: str) -> int:
    """The journal's cursor in an event's id; raises ``InputError``."""
    number = name.removeprefix("ftevent-")
    if not (name.startswith("ftevent-") and number.isascii() and number.isdigit() and len(number) <= 18):
        raise InputError(f"after: {name!r} is no event's id", "send the id of the last event that you have")
    return int(number)


FIGURES = (
    "train_loss",
    "train_mean_token_accuracy",
    "valid_loss",
    "valid_mean_token_accuracy",
    "full_valid_loss",
    "full_valid_mean_token_accuracy",
)


def checkpoint(row: Mapping[str, Any]) -> dict[str, Any]:
    """A ``fine_tuning.job.checkpoint``."""
    metrics = {"step": float(row["step"])} | {name: float(value) for name, value in row["metrics"].items() if value is not None}
    return {
        "object": "fine_tuning.job.checkpoint",
        "id": row["id"],
        "created_at": int(row["created_at"]),
        "fine_tuned_model_checkpoint": row["name"],
        "fine_tuning_job_id": row["job"],
        "step_number": int(row["step"]),
        "metrics": metrics,
    }
