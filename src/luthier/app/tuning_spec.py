"""From a fine-tuning request to a recipe: which base, which task, and what ``auto`` becomes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from luthier.app import remote_fields
from luthier.app.deciding import Decision, decide
from luthier.catalog import cards
from luthier.catalog.card import ModelCard
from luthier.core.errors import InputError, LuthierError, SpecError, UnknownName
from luthier.core.plan import Plan
from luthier.core.spec import Spec, make_spec
from luthier.core.tuning import TuningRequest
from luthier.store.files import inside
from luthier.store.workspace import Workspace

if TYPE_CHECKING:
    from luthier.app.models import Models

KEPT_CHECKPOINTS = 3
TOKENS_A_ROW = 32.0
"""Tokens of an average row where the file's check does not say."""


@dataclass(frozen=True)
class Base:
    """What a training starts from: ``name`` as the caller wrote it, ``model`` as a recipe names it (an id, or a folder of ours)."""

    name: str
    model: str
    card: ModelCard


def find_base(workspace: Workspace, name: str, models: Models | None = None) -> Base:
    """A base of the catalog, one that the operator put into the folder ``models`` of the server, or (with ``models``) a tuned model or
    checkpoint of the workspace, to train on from.

    Never a path of the caller's: a request must not make the server read its own disk. Raises ``UnknownName``.
    """
    if models is not None and name.startswith("ft:"):
        folder = workspace.artifacts.get(models.artifact_of(name)).path
        return Base(name, folder, cards.find(folder))
    if "\\" in name or "\0" in name or name.startswith((".", "/", "~")) or ".." in name:
        raise UnknownName(f"unknown model {name!r}", "name a model of the catalog: GET /api/v1/catalog/models, or luthier models")
    own = inside(workspace.root / "models", name)
    try:
        there = (own / "config.json").is_file()
    except OSError:  # longer than the name of a file may be
        there = False
    if there:
        return Base(name, str(own), cards.find(str(own)))
    if os.path.isdir(name):
        raise UnknownName(f"unknown model {name!r}", "a folder is no model here: put it below 'models' in the server's home")
    card = cards.find(name)
    return Base(name, card.id, card)


@dataclass(frozen=True)
class Intent:
    """Everything that a job is, before it is a row."""

    base: Base
    decision: Decision
    spec: Spec
    plan: Plan
    hyperparameters: dict[str, Any]


def recipe(request: TuningRequest, base: Base, decision: Decision, files: dict[str, str], rows: dict[str, float], name: str) -> Spec:
    """The recipe. ``files``: local paths of ``train`` and ``validation``; ``rows``: ``count`` and ``tokens`` of the training file."""
    asked = request.asked
    train: dict[str, Any] = {"keep_checkpoints": KEPT_CHECKPOINTS} | request.train
    if request.seed is not None:
        train["seed"] = request.seed
    if asked.n_epochs != "auto":
        train |= {"epochs": asked.n_epochs, "patience": 0}
    if asked.batch_size != "auto":
        train |= {"batch_rows": asked.batch_size, "batch_tokens": max(8, round(asked.batch_size * _tokens_a_row(rows)))}
    if asked.beta not in (None, "auto"):
        train["beta"] = asked.beta
    data = (
        decision.data
        | request.data
        | {"train": [files["train"]]}
        | ({"validation": [files["validation"]]} if "validation" in files else {})
    )
    return make_spec(
        {
            "name": name,
            "task": decision.task,
            "model": base.model,
            "executor": request.executor,
            "data": data,
            "prepare": request.prepare,
            "train": train,
            "evaluate": request.evaluate,
            "export": request.export,
        }
    )


def _beta(request: TuningRequest, method: str) -> None:
    """Refuses what only one method reads, where it is another one."""
    if request.asked.beta is not None and method != "dpo":
        path = f"method.{method}.hyperparameters.beta" if request.method is not None else "hyperparameters.beta"
        raise SpecError(path, f"{method} has no beta", "leave it out, or send method.type dpo with preference pairs")


def scaled(spec: Spec, plan: Plan, request: TuningRequest) -> Spec:
    """The recipe with both learning rates multiplied, where the request asks for it."""
    factor = request.asked.learning_rate_multiplier
    if factor == "auto" or factor == 1:
        return spec
    rates = {name: getattr(plan.train, name) * factor for name in ("learning_rate", "head_learning_rate")}
    return make_spec(spec.model_dump(exclude_unset=True) | {"train": {**spec.train, **rates}})


def echoed(plan: Plan, request: TuningRequest, rows: dict[str, float]) -> dict[str, Any]:
    """What every ``auto`` became."""
    factor = request.asked.learning_rate_multiplier
    epochs = plan.train.epochs
    beta = {"beta": plan.train.beta} if request.method is not None and request.method.type == "dpo" else {}
    return {
        "n_epochs": int(epochs) if float(epochs).is_integer() else epochs,
        "batch_size": plan.train.batch_rows or max(1, round(plan.train.batch_tokens / _tokens_in_a_row(plan, rows))),
        "learning_rate_multiplier": 1.0 if factor == "auto" else factor,
    } | beta


def _tokens_in_a_row(plan: Plan, rows: dict[str, float]) -> float:
    """What a row counts in a batch: with method head it is one vector."""
    return 1.0 if plan.train.method == "head" else _tokens_a_row(rows)


def _tokens_a_row(rows: dict[str, float]) -> float:
    return rows["tokens"] / rows["count"] if rows.get("count") and rows.get("tokens") else TOKENS_A_ROW


def _columns(facts: dict[str, Any], data: dict[str, Any]) -> None:
    """Refuses names of columns that the table does not have, before a worker reads it."""
    known, asked = facts.get("columns"), data.get("map")
    named = [(f"map.{key}", column) for key, column in asked.items()] if isinstance(asked, dict) else []
    for field, column in [*named, ("group", data.get("group"))]:
        if known and column and column not in known:
            raise SpecError(f"data.{field}", f"the training file has no column {column!r}", "its columns: " + ", ".join(known[:20]))


def intend(
    service: Any, request: TuningRequest, facts: dict[str, Any], files: dict[str, str], name: str, *, check_memory: bool = True
) -> Intent:
    """The whole way from a request and its checked file to a plan; what cannot work is an ``InputError`` that names the field."""
    remote_fields.check(request.model_dump())
    base = find_base(service.workspace, request.model, service.models)
    method = request.method.type if request.method is not None else "supervised"
    _beta(request, method)
    decision = decide(facts, base.card, method=method, wanted=request.task)
    _columns(facts, request.data)
    rows = {"count": float(facts.get("rows", 0)), "tokens": float(facts.get("tokens", 0))}
    spec = recipe(request, base, decision, files, rows, name)
    try:
        plan = service.plan(spec, check_memory=check_memory)
        spec = scaled(spec, plan, request)
        plan = service.plan(spec, check_memory=check_memory)
    except (InputError, UnknownName):
        raise
    except LuthierError as error:  # too large for the memory, not on this machine: the caller can change that, repeating cannot
        raise SpecError("model", error.message, error.hint) from None
    plan.notes.append(f"task {decision.task}: {decision.why}")
    return Intent(base, decision, spec, plan, echoed(plan, request, rows))
