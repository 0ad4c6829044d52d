"""Models by the names that callers use: an endpoint or deployment, a tuned model, a checkpoint, a base of the catalog, in this order."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import Engine, RowMapping, Table, delete, exists, select

from luthier.app.encoders import Encoders
from luthier.catalog import cards
from luthier.catalog.card import ModelCard
from luthier.core import registry
from luthier.core.errors import Conflict, Forbidden, InputError, LuthierError, Overloaded, UnknownName
from luthier.core.tuning import FINAL
from luthier.store import files
from luthier.store.tables import CHECKPOINTS, DEPLOYMENTS, ENDPOINTS, TUNED_MODELS, TUNINGS

if TYPE_CHECKING:
    from luthier.app.service import Service

LONGEST = 300
"""Characters of a model's name."""

CLASSIFIER = "text-classification"
Kind = Literal["endpoint", "deployment", "tuned", "checkpoint", "base"]


class BeingReady(Overloaded):
    """The model is there, and what answers for it is being made: clients ask again by themselves."""

    code = "model_not_ready"
    retry_after_s = 20


@dataclass(frozen=True, slots=True)
class Served:
    """What answers for a name, as a ``Host`` opens it."""

    name: str
    task: str
    export_id: str
    model_id: str
    folder: Path


@dataclass(frozen=True)
class Model:
    """What a name means. ``base``: the catalog's name of where it comes from; ``row``: its row, where it has one."""

    name: str
    kind: Kind
    base: str
    task: str = ""
    job: str = ""
    created_at: float = 0.0
    row: RowMapping | None = None
    card: ModelCard | None = None


class Models:
    """The models of one workspace."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.workspace = service.workspace
        self.engine: Engine = service.workspace.engine()

    @cached_property
    def encoders(self) -> Encoders:
        """What makes base encoders ready."""
        return Encoders(self.workspace.root / "cache" / "encoders")

    # -- names ----------------------------------------------------------------------------------------------------

    def find(self, name: str) -> Model:
        """What the name means; raises ``UnknownName`` with the nearest names."""
        if not name or len(name) > LONGEST or not name.isprintable():
            raise UnknownName(f"unknown model {name[:LONGEST]!r}", "list them: GET /v1/models")
        found = self._deployed(name) or self._tuned(name) or self._checkpoint(name) or self._base(name)
        if found is None:
            raise UnknownName.among("model", name, (model.name for model in self._all()))
        return found

    def artifact_of(self, name: str) -> str:
        """The model artifact behind a tuned model, a checkpoint or an endpoint ("" for a base): where further training starts."""
        model = self.find(name)
        if model.kind == "deployment" and model.row is not None:
            return self.artifact_of(model.row["model"])
        if model.row is None:
            return ""
        return str(model.row["artifact"] if model.kind == "checkpoint" else model.row["model"])

    def _row(self, table: Table, name: str) -> RowMapping | None:
        mine = (table.c.workspace == self.workspace.name, table.c.name == name)
        with self.engine.connect() as connection:
            return connection.execute(select(table).where(*mine)).mappings().first()

    def _rows(self, table: Table) -> Sequence[RowMapping]:
        with self.engine.connect() as connection:
            return connection.execute(select(table).where(table.c.workspace == self.workspace.name)).mappings().all()

    def _deployed(self, name: str) -> Model | None:
        row = self._row(ENDPOINTS, name)
        if row is not None:
            return _endpoint(row, self._tuned_of(row["model"]))
        row = None if name.startswith(".") else self._row(DEPLOYMENTS, name)
        return None if row is None else self._deployment(row)

    def _deployment(self, row: RowMapping) -> Model | None:
        """A deployment of which nothing answers yet, or one of a base encoder; ``None`` where its endpoint was taken away."""
        meant = (
            None if row["model"] == row["name"] else self._tuned(row["model"]) or self._checkpoint(row["model"]) or self._base(row["model"])
        )
        if meant is None or (row["state"] == "succeeded" and meant.kind != "base"):
            return None
        return Model(row["name"], "deployment", meant.base, meant.task, meant.job, row["created_at"], row, meant.card)

    def _tuned_of(self, artifact: str) -> RowMapping | None:
        mine = (TUNED_MODELS.c.workspace == self.workspace.name, TUNED_MODELS.c.model == artifact)
        with self.engine.connect() as connection:
            return connection.execute(select(TUNED_MODELS).where(*mine).limit(1)).mappings().first()

    def _tuned(self, name: str) -> Model | None:
        row = self._row(TUNED_MODELS, name)
        return None if row is None else _tuned(row)

    def _checkpoint(self, name: str) -> Model | None:
        row = self._row(CHECKPOINTS, name)
        return None if row is None else _checkpoint(row)

    def _base(self, name: str) -> Model | None:
        """A card of the catalog, or a folder that the operator put below ``models``. The hub is never asked, no other folder is read."""
        for card in cards.list_cards():
            if name.lower() in (alias.lower() for alias in (card.id, card.hub, card.source.name, *card.aliases) if alias):
                return Model(card.id, "base", card.id, card=card)
        if name.startswith((".", "/", "~")) or ".." in name or "\\" in name:
            return None
        try:
            folder = files.inside(self.workspace.root / "models", name)
            there = (folder / "config.json").is_file()
        except (OSError, ValueError):
            return None
        return Model(name, "base", name, card=cards.find(str(folder))) if there else None

    def _all(self) -> Sequence[Model]:
        """Every model, each name once, in the order in which names are looked up."""
        tuned = {row["model"]: row for row in self._rows(TUNED_MODELS)}
        found = [_endpoint(row, tuned.get(row["model"])) for row in self._rows(ENDPOINTS)]
        known = {model.name for model in found}
        waiting = (row for row in self._rows(DEPLOYMENTS) if not row["name"].startswith(".") and row["name"] not in known)
        found += [model for row in waiting if (model := self._deployment(row)) is not None]
        found += [_tuned(row) for row in sorted(self._rows(TUNED_MODELS), key=lambda row: -row["created_at"])]
        known |= {model.name for model in found}
        found += [_checkpoint(row) for row in self._rows(CHECKPOINTS) if row["name"] not in known]
        bases = [Model(card.id, "base", card.id, card=card) for card in cards.list_cards()]
        return [*found, *(model for model in (*self._own(), *bases) if model.name not in known)]

    def _own(self) -> Iterator[Model]:
        """The bases that the operator put below ``models``, one folder deep."""
        for path in sorted((self.workspace.root / "models").glob("*/config.json")):
            with contextlib.suppress(LuthierError):  # a folder that holds no model is none
                yield Model(path.parent.name, "base", path.parent.name, card=cards.find(str(path.parent)))

    # -- as OpenAI and Azure show them ----------------------------------------------------------------------------

    def list(self) -> list[dict[str, Any]]:
        """Every model as OpenAI's object with Azure's fields."""
        return [self._shown(model) for model in self._all()]

    def get(self, name: str) -> dict[str, Any]:
        """One model; raises ``UnknownName``. An alias (``minilm``) is answered under the name that was asked for."""
        return self._shown(self.find(name)) | {"id": name}

    def _shown(self, model: Model) -> dict[str, Any]:
        usable = model.card is None or cards.availability(model.card)[0]
        answers = model.task == CLASSIFIER
        encoder = model.card is not None and model.card.architecture == "encoder"
        status = {"accepted": "pending", "creating": "running", "failed": "failed"}
        waits = model.kind == "deployment" and model.row is not None
        made = int(model.created_at)
        return {
            "id": model.name,
            "object": "model",
            "created": made,
            "created_at": made,
            "owned_by": self.workspace.name if model.card is None else model.card.hub.partition("/")[0] or "luthier",
            "status": status.get(model.row["state"], "succeeded") if waits and model.row is not None else "succeeded",
            "model": model.base if model.kind != "base" else None,
            "fine_tune": model.job or None,
            "capabilities": {
                "fine_tune": bool(model.task) or (usable and _tunable(model.card)),
                "inference": answers or (encoder and usable),
                "completion": answers,
                "chat_completion": answers,
                "embeddings": answers or (encoder and usable),
            },
            "lifecycle_status": "generally-available",
            "deprecation": {"fine_tune": None, "inference": None},
            "luthier": {"kind": model.kind, "task": model.task, "usable": usable},
        }

    # -- taking away ----------------------------------------------------------------------------------------------

    def delete(self, name: str) -> None:
        """Takes a tuned model's name away (its artifacts stay). Raises ``Conflict`` while it is deployed or a job trains on it."""
        model = self.find(name)
        if model.kind in ("endpoint", "deployment"):
            raise Conflict(f"{name!r} is a deployment, not a model", f"take it away with DELETE /api/v1/deployments/{name}")
        if model.kind == "base":
            raise Forbidden(f"{name!r} is a model of the catalog, which belongs to everybody", "only tuned models can be deleted")
        if model.kind == "checkpoint" or self._checkpoint(name) is not None:
            raise Forbidden(f"{name!r} is a checkpoint of the job {model.job!r}", "only tuned models can be deleted")
        assert model.row is not None
        mine = self.workspace.name
        deployed = exists().where(DEPLOYMENTS.c.workspace == mine, DEPLOYMENTS.c.model == name, DEPLOYMENTS.c.state != "failed", ~_hidden())
        # Two names may stand for one artifact (a training that was asked for twice): what a deployment answers with, its own row says.
        by_hand = ~exists().where(DEPLOYMENTS.c.workspace == mine, DEPLOYMENTS.c.name == ENDPOINTS.c.name)
        answering = exists().where(ENDPOINTS.c.workspace == mine, ENDPOINTS.c.model == model.row["model"], by_hand)
        training = exists().where(TUNINGS.c.workspace == mine, TUNINGS.c.model == name, TUNINGS.c.state.not_in(FINAL))
        this = (TUNED_MODELS.c.workspace == mine, TUNED_MODELS.c.name == name)
        with self.engine.begin() as connection:
            if connection.execute(delete(TUNED_MODELS).where(*this, ~deployed, ~answering, ~training)).rowcount:
                connection.execute(delete(DEPLOYMENTS).where(DEPLOYMENTS.c.workspace == mine, DEPLOYMENTS.c.model == name, _hidden()))
                return
            busy = connection.execute(select(training)).scalar()
        if busy:
            raise Conflict(f"{name!r} is what a job trains on", "wait until the job ends, or cancel it")
        raise Conflict(f"{name!r} is deployed", "take the deployment away first: DELETE /api/v1/deployments/{name}")

    # -- answering ------------------------------------------------------------------------------------------------

    def serving(self, name: str) -> Served:
        """What answers chats and completions for the name. Raises ``BeingReady`` where it is made first (and asks for that)."""
        model = self.find(name)
        if model.kind == "endpoint" and model.row is not None:
            return self._of(name, model.task, model.row["export"], model.row["model"])
        if model.card is not None:
            raise InputError(f"model: {name!r} is a base model: it has learned no answers yet", "fine-tune it, or ask it for embeddings")
        if model.kind == "tuned" and model.row is not None and model.row["export"]:
            return self._of(name, model.task, model.row["export"], model.row["model"])
        if model.kind == "deployment" and model.row is not None:
            raise self.service.deployments.not_ready(model.row)
        raise self.service.deployments.prepare(name)

    def embedding(self, name: str) -> Served:
        """What gives embeddings for the name: a base encoder, or what answers for it otherwise."""
        model = self.find(name)
        if model.card is None:
            return self.serving(name)
        if model.card.architecture != "encoder":
            raise InputError(f"model: {name!r} is a {model.card.architecture} model; embeddings need an encoder", "try all-minilm-l6-v2")
        usable, why_not = cards.availability(model.card)
        if not usable:
            # The caller can name another one; asking again for this one helps nobody, so this is no 503.
            raise InputError(f"model: {name!r} cannot be used here: {why_not}", "GET /api/v1/catalog/models says which can")
        folder = self.encoders.folder(model.card)
        if folder is None:
            raise BeingReady(f"{name!r} is being made ready for embeddings, once", f"ask again in {BeingReady.retry_after_s} seconds")
        return Served(f"encoder {model.card.id}", "embedding", folder.name, model.card.id, folder)

    def _of(self, name: str, task: str, export: str, model: str) -> Served:
        return Served(name, task, export, model, self.workspace.artifacts.root / export)


def _hidden() -> Any:
    """A deployment that exists only so that a model is made ready."""
    return DEPLOYMENTS.c.name.startswith(".", autoescape=True)


def _endpoint(row: RowMapping, tuned: RowMapping | None) -> Model:
    known = {"base": row["model"], "job": ""} if tuned is None else {"base": tuned["name"], "job": tuned["job"]}
    return Model(row["name"], "endpoint", task=row["task"], created_at=row["deployed_at"], row=row, **known)


def _tuned(row: RowMapping) -> Model:
    return Model(row["name"], "tuned", row["base"], row["task"], row["job"], row["created_at"], row)


def _checkpoint(row: RowMapping) -> Model:
    """Its task is its job's; only classifiers are trained so far, and its export says so once it is made."""
    parts = row["name"].split(":")
    base = parts[1] if len(parts) > 1 and parts[0] == "ft" else ""
    return Model(row["name"], "checkpoint", base, CLASSIFIER, row["job"], row["created_at"], row)


def _tunable(card: ModelCard | None) -> bool:
    return card is not None and any(card.architecture in registry.get("tasks", task).architectures for task in registry.names("tasks"))
