"""The routes of the catalog: the models that one can start from, and the plugins of this server."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from luthier.api.access import Caller, MayRead
from luthier.api.pages import Named, Page
from luthier.api.routes import OWN
from luthier.app.shown import Shown
from luthier.app.tuning_objects import page
from luthier.catalog.card import ModelCard
from luthier.core import registry
from luthier.core.errors import UnknownName

PREFIXES = OWN
routes = APIRouter(prefix="/catalog", tags=["catalog"])


class Model(ModelCard):
    """A card, the bytes that tuning needs by each method, whether it can be used on this server right now, and why not."""

    memory_bytes: dict[str, int]
    usable: bool
    why_not: str


def _table(caller: Caller) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = Shown(caller.service.workspace).value(caller.service.model_table())
    return found


@routes.get("/models", response_model=Page[Model])
def models(caller: MayRead, task: Annotated[str, Query(max_length=100)] = "", usable: bool = False) -> dict[str, Any]:
    """Every model to start from (that fits ``task``; that is ``usable`` here), all on one page."""
    found = [row for row in _table(caller) if (not usable or row["usable"]) and (not task or task in row["tasks"])]
    return page(found, len(found))


@routes.get("/models/{model}", response_model=Model)
def model(model: Named, caller: MayRead) -> dict[str, Any]:
    """One model to start from, by its id or an alias."""
    table = _table(caller)
    known = {alias.lower(): row for row in table for alias in (row["id"], *row["aliases"])}
    if model.lower() not in known:
        raise UnknownName.among("model", model, (row["id"] for row in table))
    return known[model.lower()]


@routes.get("/plugins")
def plugins(caller: MayRead) -> dict[str, list[str]]:
    """Every task, method, metric, format, runtime, executor, sink and baseline, by room."""
    return {room: registry.names(room) for room in registry.ROOMS}
