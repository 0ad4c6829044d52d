"""What a finished training tells in files: its figures step by step as CSV (OpenAI's and Azure's columns), and its evaluation as JSON."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from pathlib import Path
from typing import Any

from luthier.core.types import Artifact
from luthier.store import files

COLUMNS = (
    "step",
    "train_loss",
    "train_mean_token_accuracy",
    "valid_loss",
    "valid_mean_token_accuracy",
    "validation_mean_token_accuracy",
    "full_valid_loss",
    "full_valid_mean_token_accuracy",
)
"""OpenAI's checkpoints say ``valid_``, Azure's files ``validation_``: both are written. A label counts as one token."""


def metrics(figures: dict[str, float], train_loss: float | None = None) -> dict[str, float]:
    """The figures of a validation by OpenAI's names; only what was measured."""
    named: dict[str, float | None] = {
        "train_loss": train_loss,
        "valid_loss": figures.get("validation_loss"),
        "full_valid_loss": figures.get("validation_loss"),
        "valid_mean_token_accuracy": figures.get("accuracy"),
        "full_valid_mean_token_accuracy": figures.get("accuracy"),
    }
    return {name: round(float(value), 6) for name, value in named.items() if value is not None}


def step_metrics(model: Artifact) -> bytes:
    """``step_metrics.csv`` from the curves of a trained model; a cell is empty where nothing was measured."""
    path = Path(model.path) / "curves.json"
    curves = files.read_json(path) if path.is_file() else {"steps": [], "epochs": []}
    rows: dict[int, dict[str, Any]] = {}
    for point in curves["steps"]:
        rows.setdefault(int(point["step"]), {})["train_loss"] = round(point["loss"], 6)
    for point in curves["epochs"]:
        measured = metrics({key: value for key, value in point.items() if key not in ("step", "epoch")})
        rows.setdefault(int(point["step"]), {}).update(measured)
        if "valid_mean_token_accuracy" in measured:
            rows[int(point["step"])]["validation_mean_token_accuracy"] = measured["valid_mean_token_accuracy"]
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({"step": step} | row for step, row in sorted(rows.items()))
    return out.getvalue().encode()


def headline(evaluation: dict[str, Any]) -> dict[str, Any]:
    """The evaluation in a few figures: each score with its interval, the best simple method beside it, the rows it was measured on."""
    scores = {
        name: {key: score[key] for key in ("value", "low", "high", "higher_is_better") if score.get(key) is not None}
        for name, score in evaluation.get("scores", {}).items()
    }
    contenders = [
        {"name": row["name"], **({"gained": row["gained"]} if "gained" in row else {})} for row in evaluation.get("comparison", ())
    ]
    return {
        "primary_metric": evaluation.get("primary_metric", ""),
        "rows": evaluation.get("rows", {}),
        "scores": scores,
        "comparison": contenders,
        "cross_validation": evaluation.get("cross_validation") or {},
    }


def sentence(evaluation: dict[str, Any]) -> str:
    """The headline as a sentence."""
    scores = evaluation.get("scores", {})
    names = [name for name in (evaluation.get("primary_metric", ""), "macro_f1", "ece") if name in scores]
    said = ", ".join(f"{name} {scores[name]['value']:.3f}" for name in dict.fromkeys(names))
    return f"Evaluated on {evaluation.get('rows', {}).get('test', 0)} test rows that no training saw: {said}" if said else "Evaluated"


def evaluation_file(evaluation: dict[str, Any], reasons: list[str]) -> bytes:
    """The headline and what the gate said, as JSON."""
    return (json.dumps(headline(evaluation) | {"gate": reasons}, indent=2, ensure_ascii=False) + "\n").encode()


def file_id(job: str, name: str) -> str:
    """A result file's id follows from its job and name: a job that goes on after a kill makes no second one."""
    return "file-" + hashlib.sha256(f"{job}/{name}".encode()).hexdigest()[:24]
