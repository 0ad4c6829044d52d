"""Models by name: the catalog's bases, tuned models, checkpoints, and what is deployed."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel

from luthier.api.access import MayReadOrInfer, MayTrain
from luthier.api.routes import OPENAI

PREFIXES = OPENAI
routes = APIRouter(prefix="/models", tags=["models"])

ModelName = Annotated[str, Path(max_length=300)]


class Capabilities(BaseModel):
    """What can be done with a model."""

    fine_tune: bool
    inference: bool
    completion: bool
    chat_completion: bool
    embeddings: bool


class ModelObject(BaseModel):
    """A model: OpenAI's fields and Azure's. ``luthier``: its kind, its task, whether it can be used on this machine."""

    id: str
    object: Literal["model"]
    created: int
    created_at: int
    owned_by: str
    status: str
    model: str | None
    fine_tune: str | None
    capabilities: Capabilities
    lifecycle_status: str
    deprecation: dict[str, int | None]
    luthier: dict[str, Any]


class ModelList(BaseModel):
    """Every model, on one page."""

    object: Literal["list"]
    data: list[ModelObject]
    has_more: bool
    first_id: str | None
    last_id: str | None


class ModelDeleted(BaseModel):
    """A model whose name is gone."""

    id: str
    object: Literal["model"]
    deleted: bool


@routes.get("", response_model=ModelList)
def models(caller: MayReadOrInfer) -> dict[str, Any]:
    """Everything that can be asked or tuned: deployments, tuned models, checkpoints, bases."""
    found = caller.service.models.list()
    ends = {"first_id": found[0]["id"], "last_id": found[-1]["id"]} if found else {"first_id": None, "last_id": None}
    return {"object": "list", "data": found, "has_more": False, **ends}


@routes.get("/{model:path}", response_model=ModelObject)
def model(model: ModelName, caller: MayReadOrInfer) -> dict[str, Any]:
    """One model, by any of its names."""
    return caller.service.models.get(model)


@routes.delete("/{model:path}", response_model=ModelDeleted)
def delete(model: ModelName, caller: MayTrain) -> dict[str, Any]:
    """Takes a tuned model away; refused while it is deployed or a job trains on it."""
    caller.service.models.delete(model)
    return {"id": model, "object": "model", "deleted": True}
